//! What must hold after every run, whatever went wrong in it: judged from the vault, the journal on the disk, the engines'
//! own books and what customers saw.

use crate::customers::Saw;
use crate::engines::Attempt;
use crate::site::{self, ENGINES, JOURNAL, Site};
use gateway::record::{Record, decode};
use journal::{Crank, Journal};
use ledger::hash::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use types::{MicroEur, Outcome, ReceiptClaims, UsageSource};

pub struct Evidence {
    pub memory: Vec<Saw>,
    pub attempts: Vec<Attempt>,
    pub crashes: Vec<Duration>,
    /// From when until when the disk was full.
    pub fulls: Vec<(Duration, Duration)>,
    pub site: Site,
}

/// What a run was made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub requests: u64,
    pub receipts: u64,
    pub completed: u64,
    pub unresolved: u64,
    /// Of those, with a count from a watermark.
    pub marked: u64,
    pub refused: u64,
    pub crashes: u64,
    pub faults: u64,
    /// Tokens that engines produced and no receipt counts: of attempts that were given up, lost in a crash, or on their
    /// way when a client left.
    pub tokens_unbilled: u64,
    pub tokens_billed: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.receipts += other.receipts;
        self.completed += other.completed;
        self.unresolved += other.unresolved;
        self.marked += other.marked;
        self.refused += other.refused;
        self.crashes += other.crashes;
        self.faults += other.faults;
        self.tokens_unbilled += other.tokens_unbilled;
        self.tokens_billed += other.tokens_billed;
    }
}

/// A request that was dispatched and has no receipt, because its intent was not durable when the gateway went down, is
/// this old at most when that happens: a commit, and two journeys of the network.
const UNPROMISED_MAX: Duration = Duration::from_millis(site::COMMIT_MILLIS_MAX + 2 * 6 + 2);

/// A second token arrives no sooner than a millisecond after the first, so between two watermarks' commits a client sees
/// no more than this beyond the step; what the network held up arrives together and is counted in one step.
const UNMARKED_TOKENS_MAX: u64 = 24;

struct Case<'a> {
    receipts: BTreeMap<String, ReceiptClaims>,
    attempts: BTreeMap<&'a str, Vec<&'a Attempt>>,
    broken: &'a mut Vec<String>,
}

pub fn check(evidence: &Evidence, broken: &mut Vec<String>) -> Tally {
    let rows = evidence.site.vault.receipts();
    let mut receipts = BTreeMap::new();
    let mut chains: BTreeMap<_, BTreeMap<u64, (String, Hash)>> = BTreeMap::new();
    for row in &rows {
        let Ok(claims) = ledger::receipt::claims_of(&row.signing_input) else {
            broken.push(format!("receipt {} cannot be read", row.id));
            continue;
        };
        chains.entry((claims.sub, claims.inc)).or_default().insert(claims.seq, (claims.prev.clone(), Hash(row.leaf)));
        if receipts.insert(claims.jti.to_string(), claims).is_some() {
            broken.push(format!("request {} has two receipts", row.id));
        }
    }
    let mut attempts: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in &evidence.attempts {
        attempts.entry(&attempt.request).or_default().push(attempt);
    }
    let forks = evidence.site.vault.forks();
    if forks > 0 || evidence.site.status().forked {
        broken.push(format!("the log forked ({forks} times seen by the store)"));
    }
    chains_are_whole(&chains, broken);
    journal_is_finished(evidence, &receipts, broken);
    let mut case = Case { receipts, attempts, broken };
    case.customers_have_receipts(&evidence.memory);
    case.receipts_are_what_engines_counted();
    case.work_has_receipts(evidence);
    case.residency_is_kept(evidence);
    case.budgets_are_kept();
    case.tally(evidence)
}

type Chain = BTreeMap<u64, (String, Hash)>;

fn chains_are_whole<K: std::fmt::Debug>(chains: &BTreeMap<K, Chain>, broken: &mut Vec<String>) {
    for (whose, chain) in chains {
        let mut end = Hash([0; 32]);
        for ((seq, (prev, leaf)), expected) in chain.iter().zip(1..) {
            if *seq != expected || *prev != end.b64url() {
                broken.push(format!("the chain of {whose:?} is broken at {seq}, {expected} was expected"));
                break;
            }
            end = *leaf;
        }
    }
}

/// Every intent that the journal still holds has its receipt in the store, and so has every receipt of the journal.
fn journal_is_finished(evidence: &Evidence, receipts: &BTreeMap<String, ReceiptClaims>, broken: &mut Vec<String>) {
    let options = journal::Options {
        segment_bytes: site::SEGMENT_BYTES,
        low_water_bytes: 0,
        disk: Arc::new(evidence.site.disk.clone()),
        on_fatal: Arc::new(|_| {}),
        crank: Some(Crank::default()),
        ..Default::default()
    };
    let recovered = match Journal::open(Path::new(JOURNAL), [0xff; 16], options) {
        Ok((_, recovered)) => recovered,
        Err(error) => return broken.push(format!("the journal cannot be read: {error}")),
    };
    let mut written = BTreeSet::new();
    for record in recovered.records() {
        let decoded = record.map_err(|error| error.to_string());
        let id = match decoded.and_then(|it| decode(&it.payload).map_err(|error| error.to_string())) {
            Ok(Record::Intent(intent)) => intent.draft.jti.to_string(),
            Ok(Record::Receipt(receipt)) => {
                let id = receipt.id.to_string();
                if !written.insert(id.clone()) {
                    broken.push(format!("the journal holds two receipts of {id}"));
                }
                id
            }
            Ok(Record::Watermark(_)) => continue,
            Err(error) => return broken.push(format!("the journal cannot be read: {error}")),
        };
        if !receipts.contains_key(&id) {
            broken.push(format!("{id} is in the journal and has no receipt in the store"));
        }
    }
}

impl Case<'_> {
    fn blame(&mut self, what: String) {
        self.broken.push(what);
    }

    /// No byte of an answer without a durable intent, no end of a stream without a durable receipt: so whoever saw the
    /// name of a receipt finds it, and whoever saw the end finds it `completed`.
    fn customers_have_receipts(&mut self, memory: &[Saw]) {
        for saw in memory {
            let Some(id) = &saw.receipt else {
                if saw.whole {
                    self.blame(format!("a whole answer to {} names no receipt", saw.project));
                }
                continue;
            };
            // The journal has failed and the process is ending: the receipt may be there or not, and the client was told.
            let told = saw.status == 500;
            let Some(claims) = self.receipts.get(id) else {
                if !told {
                    self.blame(format!("a client was answered {} with {id}, and there is no such receipt", saw.status));
                }
                continue;
            };
            let (outcome, output) = (claims.outcome, claims.usage.output);
            if claims.project.to_string() != saw.project {
                self.blame(format!("{id} was answered to {} and belongs to {}", saw.project, claims.project));
            } else if saw.whole && outcome != Outcome::Completed {
                self.blame(format!("{id} was answered whole and is {}", outcome.as_str()));
            } else if saw.whole && saw.tokens != output && !saw.replayed {
                self.blame(format!("{id} was answered with {} tokens and counts {output}", saw.tokens));
            } else if outcome == Outcome::Unresolved
                && saw.tokens > output + site::limits().watermark_tokens + UNMARKED_TOKENS_MAX
            {
                self.blame(format!(
                    "{id}: the client read {} tokens before the crash, counted are {output}",
                    saw.tokens
                ));
            } else if matches!(outcome, Outcome::Aborted | Outcome::Partial) && saw.tokens > output {
                self.blame(format!("{id}: the client read {} tokens, counted are {output}", saw.tokens));
            }
        }
    }

    /// Nothing is billed that no engine has counted; what was completed is what one engine counted, exactly.
    fn receipts_are_what_engines_counted(&mut self) {
        let mut found = Vec::new();
        for (id, claims) in &self.receipts {
            let none = Vec::new();
            let attempts = self.attempts.get(id.as_str()).unwrap_or(&none);
            let machine = claims.served_by.as_ref().map(|it| it.machine.as_str());
            let mut served = attempts.iter().filter(|it| Some(machine_of(it.engine)) == machine.map(str::to_owned));
            let usage = &claims.usage;
            match claims.outcome {
                Outcome::Completed => {
                    let exact = |it: &&Attempt| it.output == usage.output && it.input == usage.input;
                    if claims.usage_source != UsageSource::Engine || !served.any(exact) {
                        found.push(format!("{id} counts {usage:?} ({:?}), engines {attempts:?}", claims.usage_source));
                    }
                }
                Outcome::Refused if !attempts.is_empty() => found.push(format!("{id} was refused and dispatched")),
                _ if usage.output > 0 && served.clone().all(|it| it.output < usage.output) => {
                    found.push(format!("{id} counts {} tokens, engines {attempts:?}", usage.output));
                }
                _ => {}
            }
        }
        self.broken.append(&mut found);
    }

    /// What engines did has a receipt, but for what a crash took before its intent was durable.
    ///
    /// On a full disk that can take as long as the disk is full: the engine works, its client hears nothing, and if the process
    /// dies before there is room both are as if nothing had been.
    fn work_has_receipts(&mut self, evidence: &Evidence) {
        let near = |a: Duration, b: Duration| a <= b + UNPROMISED_MAX;
        let lost = |began: Duration, crash: Duration| {
            let full =
                |(from, until): &(Duration, Duration)| near(*from, began) && near(began, *until) && near(crash, *until);
            near(began, crash) && (near(crash, began) || evidence.fulls.iter().any(full))
        };
        let mut found = Vec::new();
        for (id, attempts) in self.attempts.iter().filter(|(id, _)| !self.receipts.contains_key(**id)) {
            let began = attempts.iter().map(|it| it.began).min().unwrap_or_default();
            if !evidence.crashes.iter().any(|crash| lost(began, *crash)) {
                found.push(format!("an engine worked for {id} from {began:?} and there is no receipt: {attempts:?}"));
            }
        }
        self.broken.append(&mut found);
    }

    /// No work for a project that is bound to a country was done in another, receipt or not.
    fn residency_is_kept(&mut self, evidence: &Evidence) {
        for account in site::accounts() {
            let Some(country) = account.country else { continue };
            for attempt in &evidence.attempts {
                if attempt.project == account.project.to_string() && ENGINES[attempt.engine].1 != country {
                    self.blame(format!("{attempt:?} is of a project that is bound to {country}"));
                }
            }
        }
    }

    fn budgets_are_kept(&mut self) {
        for account in site::accounts() {
            let scopes: [(Option<MicroEur>, Covers<'_>); 3] = [
                (account.budgets[0], &|it| it.sub == account.tenant),
                (account.budgets[1], &|it| it.project == account.project),
                (account.budgets[2], &|it| it.key == account.key),
            ];
            for (budget, covers) in scopes {
                let Some(budget) = budget else { continue };
                let spent: i64 = self.receipts.values().filter(|it| covers(it)).map(|it| it.cost_micro_eur.0).sum();
                if spent > budget.0 {
                    self.broken.push(format!("{:?} spent {spent} of {budget}", account.tenant));
                }
            }
        }
    }

    fn tally(&self, evidence: &Evidence) -> Tally {
        let of = |outcome| self.receipts.values().filter(|it| it.outcome == outcome).count() as u64;
        let produced: u64 = evidence.attempts.iter().map(|it| it.output).sum();
        let billed: u64 = self.receipts.values().map(|it| it.usage.output).sum();
        Tally {
            requests: evidence.memory.len() as u64,
            receipts: self.receipts.len() as u64,
            completed: of(Outcome::Completed),
            unresolved: of(Outcome::Unresolved),
            marked: self.receipts.values().filter(|it| it.usage_source == UsageSource::Watermark).count() as u64,
            refused: of(Outcome::Refused),
            crashes: evidence.crashes.len() as u64,
            faults: 0,
            tokens_unbilled: produced.saturating_sub(billed),
            tokens_billed: billed,
        }
    }
}

type Covers<'a> = &'a dyn Fn(&ReceiptClaims) -> bool;

fn machine_of(engine: usize) -> String {
    site::engine_id(engine).to_string()
}
