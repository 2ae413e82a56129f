//! A pass over the machines that are due: read, decide, store, hand on.
//!
//! The stages, and what a crash after each leaves behind:
//!
//! 1. read the due machines with everything seen of them: nothing changed;
//! 2. decide each (`fleet::lifecycle::step`), make the order or the certificate that it asks for: nothing changed;
//! 3. store all decisions as one transaction, fenced by epoch and version: all of it is true, nothing is done yet;
//! 4. hand the wants on: a start reads them from the rows.

use super::certify;
use super::hands::{Wanted, Wants};
use fleet::action::Action;
use fleet::drains::{self, DrainLimits, Permits};
use fleet::lifecycle::{self, Rules};
use fleet::machine::{Finding, Lifecycle, Machine, Scheduling, Spec};
use fleet::order::{self, Cable, OrderKind, RobotFit};
use ledger::key::SigningKey;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use store::{Decided, Due, FleetEvent, StepError, Store, StoreError};
use types::{AcceptanceId, MachineId, OrderId, TaskId, UnixMillis};

/// Machines per transaction: 256 rows of about 4 kB, some 1,500 statements of 30 µs, so that nobody waits longer than 50 ms
/// for the database's one writer.
pub const BATCH_MACHINES_MAX: u32 = 256;

/// A machine that nothing is seen of is looked at so often, for its time limits and for silence. The shortest of those is
/// 5 minutes; 1,250 machines are ten steps a second.
const LOOK_AGAIN: i64 = 120_000;
/// What is wanted of it, or waits for a permit, is asked for again so often.
const ASK_AGAIN: i64 = 30_000;
/// A machine whose step the database refuses is tried again so often: a person must look at the log, and a row that is refused four
/// times a second hides everything else in it.
const LEFT_OUT_MILLIS: i64 = 30_000;
/// Old events are looked for so often, and then in each turn until none are left: counting a million of them takes 0.1 s.
const FORGET_EVERY: i64 = 3_600_000;
/// A certificate waits for a checkpoint, and the sealer tells nobody.
const SEALED_SOON: i64 = 250;

/// Holds a machine whose certificate a verifier would refuse.
const CERTIFICATE_IMPOSSIBLE: &str = "certificate_impossible";

/// What a reconciler works with.
#[derive(Clone)]
pub struct ReconcilerParts {
    pub store: Store,
    pub site: String,
    /// Signs certificates.
    pub key: Arc<SigningKey>,
    pub clock: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    pub random: crate::controller::FillRandom,
    /// Limits and the XID table; permits are this reconciler's own.
    pub rules: Rules,
    pub drains: DrainLimits,
    pub orders: order::Limits,
    pub wants: Wants,
    /// Robots that are there, asked in each turn.
    pub robots: Arc<dyn super::orders::Robots>,
    /// Told after each turn.
    pub counts: super::Counts,
    /// For tests; none in production.
    pub fault: Option<FaultHook>,
}

/// Where a test may break off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Read,
    Decided,
    Stored,
    Handed,
    OrdersRead,
    OrdersStored,
}

/// Asked after each stage; `Break` ends the turn there as a crash would.
pub type FaultHook = Arc<dyn Fn(Stage) -> ControlFlow<()> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum PassError {
    #[error("another controller reconciles since epoch {present}")]
    Fenced { present: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("broken off by a test")]
    BrokenOff,
}

impl From<StepError> for PassError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Fenced { present, .. } => PassError::Fenced { present },
            StepError::Store(error) => PassError::Store(error),
        }
    }
}

/// What a turn did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    pub machines: u32,
    /// More is due already.
    pub more: bool,
}

/// The reconciler of one site, from one start on.
pub struct Reconciler {
    pub(super) parts: ReconcilerParts,
    pub(super) epoch: u64,
    /// Every machine, as last read or stored: for what only a look at the whole fleet can permit.
    fleet: BTreeMap<MachineId, (Spec, Machine)>,
    cables: Cables,
    /// Open orders as last read, with their versions.
    pub(super) open: BTreeMap<OrderId, store::OrderRow>,
    /// Domain pages that were told: cause, domain and since when.
    told: BTreeSet<(String, String, i64)>,
    /// When old events were last looked for.
    forgot_at: Option<UnixMillis>,
    /// Machines whose step could not be stored, and until when they are left alone.
    left_out: BTreeMap<MachineId, UnixMillis>,
}

/// The cable plan of the site that is applied.
#[derive(Default)]
struct Cables {
    version: u64,
    by_slot: BTreeMap<String, Vec<Cable>>,
    /// Where robots may drive, of those that the site file names.
    robots: BTreeMap<String, Vec<String>>,
}

impl Reconciler {
    /// Takes over: from here on, an earlier reconciler of this site is refused.
    pub async fn start(mut parts: ReconcilerParts) -> Result<Reconciler, PassError> {
        let epoch = parts.store.fleet_epoch_take().await?;
        parts.store.custody_fill().await?;
        parts.rules.listening_since = (parts.clock)();
        parts.wants.begin(epoch);
        let mut reconciler = Reconciler {
            parts,
            epoch,
            fleet: BTreeMap::new(),
            cables: Cables::default(),
            open: BTreeMap::new(),
            told: BTreeSet::new(),
            forgot_at: None,
            left_out: BTreeMap::new(),
        };
        reconciler.read_cables().await?;
        let mut after = None;
        loop {
            let rows = reconciler.parts.store.machines(after, None, crate::input::LIST_LIMIT_MAX).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.machine.id);
            for row in rows {
                reconciler.hand_on(&row.spec, &row.machine, row.wants);
                reconciler.fleet.insert(row.machine.id, (row.spec, row.machine));
            }
        }
        Ok(reconciler)
    }

    /// Machines, then orders. Who was taken over from notices it here, also while nothing is due.
    pub async fn turn(&mut self) -> Result<Pass, PassError> {
        let present = self.parts.store.fleet_epoch().await?;
        if present != self.epoch {
            return Err(PassError::Fenced { present });
        }
        let pass = self.machines().await?;
        let orders = self.orders().await?;
        self.forget().await;
        Ok(Pass { more: pass.more || orders, ..pass })
    }

    /// Some old events; that some are left does no harm.
    async fn forget(&mut self) {
        let now = self.now();
        if self.forgot_at.is_some_and(|at| now.0 - at.0 < FORGET_EVERY) {
            return;
        }
        match self.parts.store.fleet_events_forget().await {
            Ok(0) => self.forgot_at = Some(now),
            Ok(events) => tracing::info!(events, "old events of machines were forgotten"),
            Err(error) => {
                self.forgot_at = Some(now);
                tracing::warn!(%error, "old events could not be forgotten");
            }
        }
    }

    pub(super) fn now(&self) -> UnixMillis {
        (self.parts.clock)()
    }

    pub(super) fn id<T>(&self, from_parts: fn(UnixMillis, [u8; 10]) -> T) -> T {
        let mut random = [0; 10];
        (self.parts.random)(&mut random);
        from_parts(self.now(), random)
    }

    pub(super) fn at(&self, stage: Stage) -> Result<(), PassError> {
        match self.parts.fault.as_ref().map(|fault| fault(stage)) {
            Some(ControlFlow::Break(())) => Err(PassError::BrokenOff),
            _ => Ok(()),
        }
    }

    /// One batch of machines.
    pub async fn machines(&mut self) -> Result<Pass, PassError> {
        let now = self.now();
        let mut due = self.parts.store.machines_due(now, BATCH_MACHINES_MAX).await?;
        let full = due.len() == BATCH_MACHINES_MAX as usize;
        self.left_out.retain(|_, until| *until > now);
        due.retain(|one| !self.left_out.contains_key(&one.row.machine.id));
        self.at(Stage::Read)?;
        if due.is_empty() {
            return Ok(Pass::default());
        }
        for one in &due {
            self.fleet.insert(one.row.machine.id, (one.row.spec.clone(), one.row.machine.clone()));
        }
        self.read_cables().await?;
        let permits = self.permits(now);
        let pages = self.untold(&permits);
        let rules = Rules { permits, ..self.parts.rules.clone() };
        let mut batch = Vec::with_capacity(due.len());
        for one in due {
            batch.push(self.decide(one, &rules, now).await?);
        }
        if let Some(first) = batch.first_mut() {
            first.happened.splice(0..0, pages);
        }
        self.at(Stage::Decided)?;
        let stored = self.store(&batch, now).await?;
        self.at(Stage::Stored)?;
        // Whom a person changed meanwhile is due still, as it is now; what was decided for it is not true.
        batch.retain(|one| stored.contains(&one.machine.id));
        let more = full || batch.iter().any(changed);
        for one in batch {
            self.hand_on(&one.due.row.spec, &one.machine, one.wants);
            self.fleet.insert(one.machine.id, (one.due.row.spec, one.machine));
        }
        let machines = u32::try_from(stored.len()).unwrap_or(u32::MAX);
        self.parts.counts.machines(self.fleet.values().map(|(_, machine)| machine), machines);
        self.at(Stage::Handed)?;
        Ok(Pass { machines, more })
    }

    /// Stores a batch; if the database refuses it, machine by machine, so that one that cannot be stored stops no other. Answers
    /// whose decisions are true.
    async fn store(&mut self, batch: &[Decided], now: UnixMillis) -> Result<BTreeSet<MachineId>, PassError> {
        let store = &self.parts.store;
        let refused = match store.machines_step(self.epoch, batch).await {
            // An error of the machine's own is the same the next time; one of the database's is everybody's.
            Err(StepError::Store(error)) if !matches!(error, StoreError::Unavailable(_)) => error,
            other => return Ok(other?.stored.into_iter().collect()),
        };
        tracing::warn!(error = %refused, machines = batch.len(), "a batch of steps was refused; machine by machine");
        let mut stored = BTreeSet::new();
        for one in batch {
            match store.machines_step(self.epoch, std::slice::from_ref(one)).await {
                Err(StepError::Store(error)) if !matches!(error, StoreError::Unavailable(_)) => {
                    let machine = one.machine.id;
                    tracing::error!(%machine, %error, source = ?error, "a machine's step cannot be stored");
                    self.left_out.insert(machine, UnixMillis(now.0 + LEFT_OUT_MILLIS));
                }
                other => stored.extend(other?.stored),
            }
        }
        Ok(stored)
    }

    fn hand_on(&self, spec: &Spec, machine: &Machine, actions: Vec<Action>) {
        self.parts.wants.set(Wanted {
            machine: machine.id,
            slot: spec.slot.clone(),
            lifecycle: machine.lifecycle,
            entry: machine.entry,
            attempt: machine.attempt,
            actions,
        });
    }

    fn permits(&self, now: UnixMillis) -> Permits {
        let waits = |machine: &Machine| machine.lifecycle == Lifecycle::Accepted && machine.repair.is_some();
        match self.fleet.values().any(|(_, machine)| waits(machine)) {
            true => drains::decide(self.fleet.values().map(|(spec, machine)| (spec, machine)), &self.parts.drains, now),
            false => Permits::default(),
        }
    }

    /// Pages about whole domains, once each.
    fn untold(&mut self, permits: &Permits) -> Vec<FleetEvent> {
        let mut events = Vec::new();
        for page in &permits.pages {
            if self.told.insert((page.code.clone(), page.about.clone(), page.at.0)) {
                tracing::error!(domain = %page.about, text = page.text, "several machines complain about one domain");
                events.push(FleetEvent {
                    seq: 0,
                    at: page.at,
                    machine: None,
                    kind: "page".to_owned(),
                    text: page.text.clone(),
                });
            }
        }
        events
    }

    async fn read_cables(&mut self) -> Result<(), PassError> {
        // The file with its serial numbers is megabytes, and a pass comes many times a second.
        if self.parts.store.site_version().await? == self.cables.version {
            return Ok(());
        }
        let Some(model) = self.parts.store.site_model().await? else { return Ok(()) };
        let (by_slot, robots) = super::orders::plan(&model);
        self.cables = Cables { version: model.version, by_slot, robots };
        Ok(())
    }

    async fn decide(&self, due: Due, rules: &Rules, now: UnixMillis) -> Result<Decided, PassError> {
        let (spec, before) = (&due.row.spec, &due.row.machine);
        let step = lifecycle::step(spec, before, &due.observed, rules, now);
        let machine = step.next;
        let mut decided = Decided {
            at: now,
            wake_at: UnixMillis(now.0 + wait(before, &machine, &step.actions)),
            wants: Vec::new(),
            events_taken: step.events_taken,
            order: None,
            cancel_orders: false,
            acceptance: None,
            happened: Vec::new(),
            machine,
            due,
        };
        for action in step.actions {
            match action {
                Action::OpenOrder { kind } => decided.order = Some(self.order(kind, &decided, now)),
                Action::CancelOrder => decided.cancel_orders = true,
                Action::Certify => {
                    let certified = decided.due.observed.certified.as_ref();
                    if certified.is_none_or(|seen| seen.entry != decided.machine.entry) {
                        match self.certificate(&decided, now).await? {
                            Ok(acceptance) => decided.acceptance = Some(acceptance),
                            Err(why) => uncertified(&mut decided, &why, now),
                        }
                    }
                }
                // Told as an event when the hold began; metrics and `fleet watch` show it as long as it lasts.
                Action::Page { .. } => {}
                other => decided.wants.push(other),
            }
        }
        decided.happened = happened(&decided.due.row.machine, &decided.machine, now);
        Ok(decided)
    }

    fn order(&self, kind: OrderKind, decided: &Decided, now: UnixMillis) -> order::Order {
        let spec = &decided.due.row.spec;
        let bill = spec.serials.get("chassis").map(String::as_str).filter(|serial| !serial.is_empty());
        let custody = decided.due.observed.custody.as_ref().map(|custody| custody.serial.as_str());
        let cables = self.cables.by_slot.get(&spec.slot).map(Vec::as_slice).unwrap_or_default();
        let faulty = fleet::diagnosis::faulty_parts(&decided.due.observed);
        let work = order::Work { spec, machine: &decided.machine, serial: bill.or(custody), cables, faulty: &faulty };
        order::make(kind, self.id(OrderId::from_parts), &work, || self.id(TaskId::from_parts), now)
    }

    /// The certificate, or why there is none: a machine whose certificate cannot be made stops nobody else's.
    async fn certificate(
        &self,
        decided: &Decided,
        now: UnixMillis,
    ) -> Result<Result<store::NewAcceptance, Uncertified>, PassError> {
        let machine = decided.machine.id;
        let orders = self.parts.store.orders_of(machine).await?;
        let former = self.parts.store.acceptances_of(machine).await?.pop();
        let mut opening = [0; 32];
        (self.parts.random)(&mut opening);
        let seen = certify::Seen {
            site: &self.parts.site,
            spec: &decided.due.row.spec,
            machine: &decided.machine,
            observed: &decided.due.observed,
            orders: &orders,
            former: former.as_ref(),
        };
        let claims = match certify::claims(&seen, self.id(AcceptanceId::from_parts), &opening, now) {
            Ok(claims) => claims,
            Err(missing) => return Ok(Err(Uncertified::Missing(missing))),
        };
        let signing_input = match ledger::acceptance::signing_input(&self.parts.key.kid(), &claims) {
            Ok(signing_input) => signing_input,
            Err(error) => return Ok(Err(Uncertified::Impossible(error))),
        };
        let leaf = ledger::acceptance::leaf(&signing_input).0;
        let entry = decided.machine.entry;
        Ok(Ok(store::NewAcceptance { id: claims.jti, machine, entry, at: now, signing_input, leaf }))
    }

    /// The robots that are there and what they are fit for.
    pub(super) fn robots(&self) -> Vec<RobotFit> {
        let mut fit = self.parts.robots.fit();
        for robot in &mut fit {
            if let Some(zones) = self.cables.robots.get(&robot.id) {
                robot.zones.clone_from(zones);
            }
        }
        fit
    }
}

/// Why a machine gets no certificate.
#[derive(Debug, thiserror::Error)]
enum Uncertified {
    /// It may come.
    #[error("its certificate waits: {0}")]
    Missing(certify::Missing),
    /// A person must look.
    #[error("its certificate cannot be made: {0}")]
    Impossible(ledger::acceptance::AcceptanceError),
}

/// Says so on the machine, which is looked at again like any other.
fn uncertified(decided: &mut Decided, why: &Uncertified, now: UnixMillis) {
    let machine = &mut decided.machine;
    let again = match why {
        Uncertified::Missing(_) => {
            if machine.hold.is_none() {
                machine.reason = why.to_string();
            }
            ASK_AGAIN
        }
        Uncertified::Impossible(_) => {
            let before = decided.due.row.machine.hold.as_ref().filter(|hold| hold.code == CERTIFICATE_IMPOSSIBLE);
            let at = before.map_or(now, |hold| hold.at);
            machine.reason = why.to_string();
            machine.hold = Some(Finding::new(CERTIFICATE_IMPOSSIBLE, "", why.to_string(), at));
            LOOK_AGAIN
        }
    };
    decided.wake_at = UnixMillis(now.0 + again);
}

/// Whether a step may go on at once.
fn changed(decided: &Decided) -> bool {
    let (before, after) = (&decided.due.row.machine, &decided.machine);
    before.entry != after.entry || before.attempt != after.attempt || decided.order.is_some() || decided.cancel_orders
}

/// How long a machine may be left alone.
fn wait(before: &Machine, machine: &Machine, actions: &[Action]) -> i64 {
    // What it enters is decided on at once.
    if (before.entry, before.attempt) != (machine.entry, machine.attempt) {
        return 0;
    }
    if actions.contains(&Action::Certify) {
        return SEALED_SOON;
    }
    let permit = machine.lifecycle == Lifecycle::Accepted && machine.repair.is_some();
    let asks = actions.iter().any(|action| !matches!(action, Action::Page { .. }));
    if permit || asks { ASK_AGAIN } else { LOOK_AGAIN }
}

/// What people are told of a step.
fn happened(before: &Machine, after: &Machine, now: UnixMillis) -> Vec<FleetEvent> {
    let mut events = Vec::new();
    let mut tell = |kind: &str, text: &str| events.push(FleetEvent::of(after, now, kind, text));
    if before.entry != after.entry {
        tell(after.lifecycle.as_str(), &after.reason);
    } else if before.attempt != after.attempt {
        tell("again", &after.reason);
    }
    match (&before.hold, &after.hold) {
        (None, Some(hold)) => tell("held", &format!("{}: {}", hold.code, hold.text)),
        (Some(old), Some(hold)) if (&old.code, &old.about) != (&hold.code, &hold.about) => {
            tell("held", &format!("{}: {}", hold.code, hold.text));
        }
        (Some(hold), None) if before.entry == after.entry => tell("goes on", &format!("{} is mended", hold.code)),
        _ => {}
    }
    if before.health != after.health {
        tell(after.health.as_str(), &format!("was {}", before.health));
    }
    if (before.scheduling == Scheduling::Open) != (after.scheduling == Scheduling::Open) {
        let text = if after.scheduling == Scheduling::Open { "capacity from now on" } else { "no new work" };
        tell(after.scheduling.as_str(), text);
    }
    if before.repair.is_none()
        && let (Some(repair), Lifecycle::Accepted) = (&after.repair, after.lifecycle)
    {
        tell("fault", &repair.text);
    }
    events
}
