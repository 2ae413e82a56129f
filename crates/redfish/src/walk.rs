//! Through a BMC's resources, within the limits of one reading. Collections are read in one request each where the BMC can
//! (`$expand`), else member by member. What cannot be read is a gap; the walk goes on without it.

use crate::client::{Client, Reply};
use crate::error::{Error, READING, REQUESTS};
use crate::limits::GAPS_MAX;
use crate::path::Path;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// A part of a machine that could not be read, so nothing may be concluded from its absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub path: String,
    pub why: String,
    /// True if it may be readable later.
    pub retry: bool,
}

#[derive(Clone)]
pub(crate) struct Walk(Arc<State>);

struct State {
    client: Client,
    requests: AtomicU32,
    bytes: AtomicU64,
    expands: AtomicBool,
    gaps: Mutex<(Vec<Gap>, usize)>,
}

/// A resource and where it lies.
pub(crate) type Resource = (Path, Value);

/// One request for a collection and its members. `.` leaves out what is only linked to.
const EXPAND: &str = "$expand=.($levels=1)";

impl Walk {
    pub fn new(client: &Client) -> Walk {
        Walk(Arc::new(State {
            client: client.clone(),
            requests: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
            expands: AtomicBool::new(false),
            gaps: Mutex::default(),
        }))
    }

    pub fn client(&self) -> &Client {
        &self.0.client
    }

    pub fn requests(&self) -> u32 {
        self.0.requests.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The service root; also learns whether collections can be had in one request.
    pub async fn root(&self) -> Result<Value, Error> {
        let root = self.get(&Path::root()).await?;
        let expand = &root["ProtocolFeaturesSupported"]["ExpandQuery"];
        let able = expand["NoLinks"] == Value::Bool(true) && expand["Levels"] == Value::Bool(true);
        self.0.expands.store(able, Ordering::Relaxed);
        Ok(root)
    }

    /// A resource: a JSON object.
    pub async fn get(&self, path: &Path) -> Result<Value, Error> {
        let limits = &self.client().0.limits;
        let asked = self.0.requests.fetch_add(1, Ordering::Relaxed);
        if asked >= limits.requests_max {
            return Err(Error::TooLarge { what: REQUESTS.to_owned(), limit: limits.requests_max.into() });
        }
        let Reply { body, bytes, .. } = self.client().get(path).await?;
        let before = self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > limits.reading_bytes_max {
            return Err(Error::TooLarge { what: READING.to_owned(), limit: limits.reading_bytes_max });
        }
        match body.is_object() {
            true => Ok(body),
            false => Err(Error::Shape { path: path.to_string(), field: "it".to_owned(), wanted: "an object" }),
        }
    }

    /// As [`Walk::get`]; what does not end the reading is noted as a gap.
    pub async fn get_or_gap(&self, path: &Path) -> Result<Option<Value>, Error> {
        let got = self.get(path).await;
        self.or_gap(path.as_str(), got)
    }

    pub fn or_gap<T>(&self, path: &str, got: Result<T, Error>) -> Result<Option<T>, Error> {
        match got {
            Ok(got) => Ok(Some(got)),
            Err(error) if error.ends_reading() => Err(error),
            Err(error) => {
                self.gap(path, &error);
                Ok(None)
            }
        }
    }

    pub fn gap(&self, path: &str, error: &Error) {
        let retry = error.retry() == crate::Retry::Later;
        let mut gaps = self.0.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        match gaps.0.len() < GAPS_MAX {
            true => gaps.0.push(Gap { path: path.to_owned(), why: error.to_string(), retry }),
            false => gaps.1 += 1,
        }
    }

    /// All gaps, in the order of their paths: which of two requests ended first says nothing.
    pub fn gaps(&self) -> Vec<Gap> {
        let (mut gaps, more) = self.0.gaps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        gaps.sort_by(|a, b| (&a.path, &a.why).cmp(&(&b.path, &b.why)));
        if more > 0 {
            gaps.push(Gap { path: Path::ROOT.to_owned(), why: format!("and {more} more"), retry: true });
        }
        gaps
    }

    /// The members of the collection that `field` of a resource links to; none if there is no such link.
    pub async fn linked(&self, resource: &Value, field: &str, from: &Path) -> Result<Vec<Resource>, Error> {
        let link = self.client().link(resource, field, from);
        match self.or_gap(from.as_str(), link)?.flatten() {
            Some(path) => self.members(&path).await,
            None => Ok(Vec::new()),
        }
    }

    /// The members of a collection.
    pub async fn members(&self, collection: &Path) -> Result<Vec<Resource>, Error> {
        let members = self.list(collection).await;
        let Some(members) = self.or_gap(collection.as_str(), members)? else { return Ok(Vec::new()) };
        self.fill(members).await
    }

    /// What is still a mere link is fetched, over as many lanes as there are.
    pub async fn fill(&self, members: Vec<Resource>) -> Result<Vec<Resource>, Error> {
        let mut filled: Vec<Option<Resource>> = Vec::new();
        let mut fetches = JoinSet::new();
        for (at, (path, value)) in members.into_iter().enumerate() {
            if is_link(&value) {
                let walk = self.clone();
                filled.push(None);
                fetches.spawn(async move {
                    (at, walk.get_or_gap(&path).await.map(|value| value.map(|value| (path, value))))
                });
            } else {
                filled.push(Some((path, value)));
            }
        }
        while let Some(fetched) = fetches.join_next().await {
            let Ok((at, fetched)) = fetched else { continue };
            filled[at] = fetched?;
        }
        Ok(filled.into_iter().flatten().collect())
    }

    /// The members as the collection has them: links or whole resources, over all its pages.
    async fn list(&self, collection: &Path) -> Result<Vec<Resource>, Error> {
        let limits = &self.client().0.limits;
        let (mut page, mut path) = self.first_page(collection).await?;
        let mut members: Vec<Resource> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut pages = BTreeSet::from([collection.clone(), path.clone()]);
        let counted = page["Members@odata.count"].as_u64();
        let endless = |why: String| Error::Endless { path: collection.to_string(), why };
        let mut claimed = 0;
        loop {
            // A DGX's collection of storage has no `Members` at all: that is none.
            for member in crate::field::list(&page, "Members", path.as_str())? {
                claimed += 1;
                if members.len() >= limits.members_max {
                    self.gap(collection.as_str(), &endless(format!("more than {} members", limits.members_max)));
                    return Ok(members);
                }
                let id = self.client().reference(member, "a member", &path);
                let Some(id) = self.or_gap(collection.as_str(), id)? else { continue };
                if id.same(collection) || !seen.insert(id.clone()) {
                    self.gap(collection.as_str(), &endless(format!("{id} is a member of itself or named twice")));
                    continue;
                }
                members.push((id, member.clone()));
            }
            let next = match &page["Members@odata.nextLink"] {
                Value::String(next) => self.client().path(next, path.as_str()),
                Value::Null => break,
                _ => Err(Error::Shape {
                    path: path.to_string(),
                    field: "Members@odata.nextLink".to_owned(),
                    wanted: "text",
                }),
            };
            let Some(next) = self.or_gap(collection.as_str(), next)? else { return Ok(members) };
            if pages.len() > limits.pages_max || !pages.insert(next.clone()) {
                let why = format!("{next} was read already, or is one page more than {}", limits.pages_max);
                self.gap(collection.as_str(), &endless(why));
                return Ok(members);
            }
            let Some(got) = self.get_or_gap(&next).await? else { return Ok(members) };
            (page, path) = (got, next);
        }
        if let Some(counted) = counted.filter(|counted| *counted != claimed) {
            let error = Error::Shape {
                path: collection.to_string(),
                field: format!("Members@odata.count {counted} with {claimed} members"),
                wanted: "the number of members",
            };
            self.gap(collection.as_str(), &error);
        }
        Ok(members)
    }

    async fn first_page(&self, collection: &Path) -> Result<(Value, Path), Error> {
        if self.0.expands.load(Ordering::Relaxed) {
            let expanded = collection.query(EXPAND);
            match self.get(&expanded).await {
                Ok(page) => return Ok((page, expanded)),
                Err(error) if error.ends_reading() => return Err(error),
                // Promised and not kept, which is common. From here on member by member.
                Err(_) => self.0.expands.store(false, Ordering::Relaxed),
            }
        }
        Ok((self.get(collection).await?, collection.clone()))
    }
}

/// Nothing but where it lies.
fn is_link(value: &Value) -> bool {
    value.as_object().is_none_or(|object| object.keys().all(|key| key == "@odata.id"))
}
