//! The site file: what stands where, applied as a whole. `hoheit site apply|show`.

use super::Answer;
use crate::access::{Allowed, SiteRead, SiteUpdate};
use crate::input::{LargeBody, SITE_BODY_BYTES_MAX};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use fleet::machine::{Lifecycle, Machine, Spec};
use fleet::site::{self, PlannedMachine};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use store::{MachineRow, SiteChange, Store, StoreError};
use types::{Code, MachineId};
use utoipa::ToSchema;

/// The most problems of a file that an answer names; the rest is counted.
const PROBLEMS_SHOWN: usize = 20;

/// A site file to apply.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteNew {
    /// `site.toml`.
    pub text: String,
    /// The CSV with serial numbers, if the file names one.
    pub serials: Option<String>,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of it. Machines are named by their slots.
#[derive(Debug, Serialize, ToSchema)]
pub struct SiteApplied {
    /// None for a dry run, and where this very file is applied already and changes no machine.
    pub version: Option<u64>,
    pub added: Vec<String>,
    /// Each with what changes: `slot: field: old -> new`.
    pub changed: Vec<String>,
    /// No longer wanted from now on.
    pub removed: Vec<String>,
    /// Must be settled by a person first; as long as there are any, nothing is applied.
    pub refused: Vec<String>,
    pub warnings: Vec<String>,
}

/// The site that is applied.
#[derive(Debug, Serialize, ToSchema)]
pub struct SiteBody {
    pub version: u64,
    /// `sha256:<hex>` of the text.
    pub digest: String,
    #[schema(value_type = i64)]
    pub applied_at: types::UnixMillis,
    pub text: String,
    pub serials: Option<String>,
}

/// Every machine that is not retired.
pub(super) async fn machines(store: &Store) -> Result<Vec<MachineRow>, StoreError> {
    let mut all: Vec<MachineRow> = Vec::new();
    loop {
        let after = all.last().map(|row| row.machine.id);
        let page = store.machines(after, None, crate::input::LIST_LIMIT_MAX).await?;
        let last = page.len() < crate::input::LIST_LIMIT_MAX as usize;
        all.extend(page);
        if last {
            all.retain(|row| row.machine.lifecycle != Lifecycle::Retired);
            return Ok(all);
        }
    }
}

/// Makes a site file the site: adds its machines as planned, changes what was asked of others.
#[utoipa::path(put, path = "/api/v1/site", tag = "fleet", request_body = SiteNew,
    responses((status = 200, body = SiteApplied), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn apply(
    may: Allowed<SiteUpdate>,
    State(controller): State<Controller>,
    LargeBody(new): LargeBody<SiteNew, SITE_BODY_BYTES_MAX>,
) -> Answer<SiteApplied> {
    may.caller.require(None)?;
    let reading = site::read(&new.text, new.serials.as_deref());
    let Some(site) = reading.site.as_ref() else {
        let errors: Vec<String> = reading.errors().map(ToString::to_string).collect();
        let more = errors.len().saturating_sub(PROBLEMS_SHOWN) + reading.left_out;
        let mut text = errors.into_iter().take(PROBLEMS_SHOWN).collect::<Vec<_>>().join("\n");
        if more > 0 {
            text.push_str(&format!("\nand {more} more"));
        }
        return Err(Problem::invalid(format!("The site file has errors; nothing was applied.\n{text}")));
    };
    let _turn = controller.turn().await;
    let present = machines(controller.store()).await?;
    let before = controller.store().site_model().await?;
    // Robots, cabling, feeds: much of a file is no machine's, and what is looked up in it later is the file that is stored.
    let same = before.as_ref().is_some_and(|model| model.text == new.text && model.serials == new.serials);
    let before = before.and_then(|model| site::read(&model.text, model.serials.as_deref()).site);
    let before = before.map(|site| site.machines()).unwrap_or_default();
    let mut planned = site.machines();
    let retired = site::settle(&mut planned, &before, present.iter().map(|row| &row.spec));
    let at: BTreeMap<&str, &MachineRow> = present.iter().map(|row| (row.spec.slot.as_str(), row)).collect();
    let diff =
        site::diff(present.iter().map(|row| &row.spec), &planned, |slot| at.get(slot).map(|row| row.machine.lifecycle));
    let mut applied = SiteApplied {
        version: None,
        added: diff.added.clone(),
        changed: diff.changed.iter().map(|it| format!("{}: {}", it.slot, it.fields.join(", "))).collect(),
        removed: diff.removed.clone(),
        refused: diff.refused.iter().map(|it| format!("{}: {}", it.code, it.text)).collect(),
        warnings: reading.warnings().map(ToString::to_string).collect(),
    };
    applied.warnings.extend(retired.iter().map(|slot| {
        format!(
            "{slot}: its machine was retired and none is planned; name the chassis of another one, or apply the file without this \
             slot, and then with it again"
        )
    }));
    if new.dry_run || same && diff.is_empty() || !diff.refused.is_empty() {
        return match diff.refused.is_empty() || new.dry_run {
            true => Ok(Json(applied)),
            false => Err(Problem::new(
                Code::Conflict,
                format!("Nothing was applied; settle this first.\n{}", applied.refused.join("\n")),
            )),
        };
    }
    let change = change(&controller, &planned, &at, &diff);
    let digest = format!("sha256:{}", ledger::hash::sha256(&[new.text.as_bytes()]).hex());
    let counts = serde_json::json!({ "digest": digest, "added": diff.added.len(), "changed": diff.changed.len(),
        "removed": diff.removed.len() });
    let entry = may.entry(&controller, &site.name, None, &counts);
    let file = (new.text.as_str(), new.serials.as_deref());
    let version = controller.store().site_apply(file, &digest, controller.now(), &change, &entry).await?;
    controller.bell().ring();
    applied.version = Some(version);
    Ok(Json(applied))
}

fn change(
    controller: &Controller,
    planned: &[PlannedMachine],
    at: &BTreeMap<&str, &MachineRow>,
    diff: &site::Diff,
) -> SiteChange {
    let specs: BTreeMap<&str, &Spec> = planned.iter().map(|it| (it.spec.slot.as_str(), &it.spec)).collect();
    let new = |slot: &String| {
        let spec = (*specs.get(slot.as_str())?).clone();
        Some((spec, Machine::planned(controller.id(MachineId::from_parts), controller.now())))
    };
    let next = |slot: &str, spec: Option<&Spec>| {
        let row = at.get(slot)?;
        // What a person asked for is not the file's to take back.
        let asked = spec.cloned().unwrap_or_else(|| Spec { wanted: false, ..row.spec.clone() });
        let spec = Spec { generation: row.spec.generation + 1, drain: row.spec.drain.clone(), ..asked };
        Some((row.machine.id, row.version, spec))
    };
    let changed = diff.changed.iter().filter_map(|it| next(&it.slot, specs.get(it.slot.as_str()).copied()));
    SiteChange {
        add: diff.added.iter().filter_map(new).collect(),
        change: changed.chain(diff.removed.iter().filter_map(|slot| next(slot, None))).collect(),
    }
}

/// Shows the site file that is applied.
#[utoipa::path(get, path = "/api/v1/site", tag = "fleet",
    responses((status = 200, body = SiteBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(may: Allowed<SiteRead>, State(controller): State<Controller>) -> Answer<SiteBody> {
    may.caller.require(None)?;
    let model = controller.store().site_model().await?.ok_or_else(Problem::not_found)?;
    Ok(Json(SiteBody {
        version: model.version,
        digest: model.digest,
        applied_at: model.applied_at,
        text: model.text,
        serials: model.serials,
    }))
}
