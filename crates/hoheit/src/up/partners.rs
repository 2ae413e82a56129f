//! What partners' dialects and the broker need of this process: keys derived from the pepper, documents and their data keys, the
//! shells over the gateway, and what ends with an instance.
//!
//! If we crash here: nothing is kept here; what an instance leaves is destroyed when its deletion is asked again (`controller::osb`).

use super::folder::Folder;
use super::options::Options;
use anyhow::{Context, Result};
use controller::{BrokerParts, OnDeprovision};
use gateway::{Clock, Gateway, SystemClock};
use knowledge::{Knowledge, ReaderProgram};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use store::Store;
use types::ProjectId;

/// What access tokens of `/oauth/token` are keyed with, derived from the pepper and used for nothing else.
fn token_key(pepper: &[u8; 32]) -> [u8; 32] {
    derived(pepper, b"hoheit access tokens v1")
}

/// What the data keys of projects are wrapped with, derived likewise: whoever loses the pepper loses what is stored of documents.
fn documents_key(pepper: &[u8; 32]) -> [u8; 32] {
    derived(pepper, b"hoheit documents v1")
}

fn derived(pepper: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, pepper);
    let tag = aws_lc_rs::hmac::sign(&key, purpose);
    tag.as_ref().try_into().expect("a tag of HMAC-SHA-256 has 32 bytes")
}

/// Documents of projects. They are read by this program again, in a process of its own.
pub fn knowledge(folder: &Folder, store: &Store, clock: &Arc<SystemClock>) -> Result<Knowledge> {
    let (now, dice) = (clock.clone(), clock.clone());
    let path =
        std::env::current_exe().context("where this program lies: it reads documents in a process of its own")?;
    Ok(Knowledge::new(knowledge::Parts {
        store: store.clone(),
        kek: documents_key(&folder.pepper),
        clock: Arc::new(move || now.now()),
        random: Arc::new(move |bytes| dice.random(bytes)),
        reader: ReaderProgram { path, args: vec![crate::READ_DOCUMENT.to_owned()] },
        limits: knowledge::Limits::default(),
    }))
}

/// The other dialects, over this gateway.
pub fn shells(
    options: &Options,
    folder: &Folder,
    store: &Store,
    knowledge: Knowledge,
    gateway: &Arc<Gateway>,
    clock: &Arc<SystemClock>,
    address: SocketAddr,
) -> partners::Partners {
    let (wall, random) = (clock.clone(), clock.clone());
    partners::Partners::new(partners::Parts {
        inner: gateway::inner::Inner::new(gateway.clone()),
        store: store.clone(),
        knowledge,
        settings: options.settings(),
        web: None,
        site: folder.site.site.clone(),
        public_url: options.public_url(address),
        token_key: token_key(&folder.pepper),
        clock: Arc::new(move || wall.now()),
        random: Arc::new(move |bytes| random.random(bytes)),
    })
}

/// An instance that ends takes its project's data key along, and with it everything that the project stored.
struct Shredding(Knowledge);

impl OnDeprovision for Shredding {
    fn on_deprovision(&self, project: ProjectId) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move { self.0.vault().destroy(project).await.map_err(|error| error.to_string()) })
    }
}

pub fn broker(options: &Options, public_url: &Arc<OnceLock<String>>, knowledge: &Knowledge) -> BrokerParts {
    let public_url = public_url.clone();
    BrokerParts {
        public_url: Arc::new(move || public_url.get().cloned().unwrap_or_default()),
        certificate_header: options.broker_certificate_header.clone(),
        on_deprovision: Arc::new(Shredding(knowledge.clone())),
    }
}
