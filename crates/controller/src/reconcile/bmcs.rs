//! What is wanted of BMCs: inventories, power, firmware, the installer's boot; and a glance at every BMC every few minutes.
//!
//! Everything is asked for by the machines' wants, under (machine, entry, attempt): the same wish is not sent again before
//! [`SEND_AGAIN`], because a machine that boots cannot be hurried; an installation and a component's firmware not before they
//! can have ended ([`PROVISION_AGAIN`], [`FIRMWARE_AGAIN`]). What came of it is seen in the next inventory and nowhere else.
//!
//! Each BMC's work stands by itself, as a task: one that answers slowly or never delays no other. One look and one deed at a
//! time of each; all together are bounded ([`redfish::sweep::Places`]). What comes back is stored as it comes.
//!
//! What failed is tried again later each time ([`Backoff`]); but what may have been done is not, because what does harm when it
//! is done twice was perhaps done once ([`redfish::Error::Unsure`]): it is let be for as long as if it had been granted. Why a
//! BMC does not do or say what is asked is kept with its machine ([`trouble`]). Firmware that a BMC took over is watched to its
//! end ([`updates`]), so that a restart that it waits for is asked for.
//!
//! If we crash here: what was sent is done or not; the next start looks first, and what is still wanted is sent. What must not
//! be done twice is written down before it is sent (`store::Sent`), under the reconciler's epoch: a controller that another has
//! taken over from sends nothing.

mod deeds;
mod memory;
mod trouble;
mod updates;

use super::Bell;
use super::hands::{Wanted, Wants};
use deeds::Wish;
use fleet::action::Action;
use fleet::observed::{BmcSeen, UpdateState, Updates};
use memory::{Memory, NEVER};
use redfish::backoff::Backoff;
use redfish::sweep::{self, Options, Places, Seen, Want};
use redfish::{Address, Client, Credentials, Fingerprint, Password, Trust};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use store::{Bmc, Observation, StepError, Store, StoreError};
use tokio::task::{Id, JoinError, JoinSet};
use types::{MachineId, UnixMillis};

/// All BMCs are looked at so often; with 256 at a time it takes 18 s (`redfish::sweep`).
pub const GLANCE_EVERY: i64 = 240_000;
/// And read as a whole so often, since a glance shows no parts: 1,250 inventories take 284 s at worst (`redfish::sweep`), 8 %
/// of the time. At once where a glance shows another machine or another complaint.
pub const READ_EVERY: i64 = 3_600_000;
/// An inventory that is wanted is read again after this: a BMC lists its parts some minutes after power on.
pub const READ_AGAIN: i64 = 15_000;
/// The same wish of the same stay: a machine boots in ten minutes.
pub const SEND_AGAIN: i64 = 900_000;
/// Ten minutes to boot and an hour for the operating system ([`fleet::lifecycle::Limits`]), and most of that once more: an
/// installation that is begun anew while it runs never ends. A person's release begins it at once.
pub const PROVISION_AGAIN: i64 = 7_200_000;
/// All 66 components take two hours, with two restarts.
pub const FIRMWARE_AGAIN: i64 = 7_200_000;
/// How often wants are looked at if nothing changes.
const TICK: Duration = Duration::from_secs(1);
/// Deeds at a time; each is a few requests of half a second. Those of BMCs that do not answer stand aside, as looks do.
const DEEDS_MAX: usize = 64;
/// Results that are stored as one transaction: of about 10 kB each.
const STORED_MAX: usize = 256;

/// What this executor works with.
#[derive(Clone)]
pub struct BmcParts {
    pub store: Store,
    pub wants: Wants,
    pub bell: Bell,
    pub clock: Arc<dyn Fn() -> UnixMillis + Send + Sync>,
    pub random: crate::controller::FillRandom,
    /// The CA that signs BMCs' certificates; those with a pin need none.
    pub ca: Option<Arc<rustls::RootCertStore>>,
    /// Plain http, for BMCs on this machine only: the twin's.
    pub plain_on_loopback: bool,
    /// Where BMCs fetch firmware: `URL/COMPONENT`.
    pub firmware_url: Option<String>,
    pub read_again: i64,
}

/// One BMC, and what is remembered of it.
struct Known {
    bmc: Bmc,
    client: Client,
    backoff: Backoff,
    memory: Memory,
    /// Of deeds: who refuses one answers looks all the same.
    refusals: Backoff,
    /// It refused our credentials, or we its certificate: no other deed will do better.
    barred: bool,
    /// What it was asked to flash.
    updates: Updates,
    /// Of looks at that: a task that cannot be read delays nothing else.
    watches: Backoff,
    asked_at: UnixMillis,
    watched_at: UnixMillis,
    /// The look and the deed that are under way. A result of any other task is of another BMC that stood here before.
    asking: Option<Id>,
    doing: Option<Id>,
    watching: Option<Id>,
}

/// What a task came back with.
enum Ended {
    Look { began: UnixMillis, result: Result<Seen, redfish::Error> },
    Deed { wish: Wish, action: Action, done: Option<Result<Option<redfish::Task>, redfish::Error>> },
    Watch { seen: Vec<(String, UpdateState)>, error: Option<redfish::Error> },
}

/// A wish that was sent.
struct Noted {
    again_at: UnixMillis,
    /// Kept while nobody wants it: it is under way all the same.
    once: bool,
    /// It was refused, or never reached its BMC.
    failed: bool,
}

struct Executor {
    parts: BmcParts,
    known: BTreeMap<MachineId, Known>,
    unusable: BTreeMap<MachineId, String>,
    /// The wishes that were sent; none before those of the last start are read.
    sent: Option<BTreeMap<Wish, Noted>>,
    /// Wishes that were not granted and are to be sent again sooner, to be written down.
    refused: Vec<store::Sent>,
    looks: Places,
    deeds: Places,
    /// Every look and deed under way, and whose it is. Dropped with the executor, all of them end.
    tasks: JoinSet<Ended>,
    whose: HashMap<Id, MachineId>,
    /// Seen and not stored.
    seen: BTreeMap<MachineId, (UnixMillis, BmcSeen)>,
    troubles: trouble::Troubles,
    /// Machines whose updates are to be stored.
    updated: BTreeSet<MachineId>,
}

/// Does what is wanted of BMCs until it is dropped.
pub async fn run(parts: BmcParts) {
    let wants = parts.wants.clone();
    let mut executor = Executor {
        parts,
        known: BTreeMap::new(),
        unusable: BTreeMap::new(),
        sent: None,
        refused: Vec::new(),
        looks: Places::new(&Options::default()),
        deeds: Places::new(&Options { concurrency: DEEDS_MAX, ..Options::default() }),
        tasks: JoinSet::new(),
        whose: HashMap::new(),
        seen: BTreeMap::new(),
        troubles: trouble::Troubles::default(),
        updated: BTreeSet::new(),
    };
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            Some(ended) = executor.tasks.join_next_with_id() => executor.ended(ended).await,
            () = wants.changed() => executor.turn().await,
            _ = tick.tick() => executor.turn().await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "BMCs could not be looked after; it is tried again");
        }
    }
}

impl Known {
    /// Whether it does not let us in: a deed more would only lock the account.
    fn is_barred(&self, now: UnixMillis) -> bool {
        self.barred && !self.refusals.is_due(now)
    }
}

impl Executor {
    /// Begins what is due, and waits for nobody.
    async fn turn(&mut self) -> Result<(), StoreError> {
        self.store().await?;
        self.refresh().await?;
        self.missing().await?;
        self.look();
        self.watch();
        self.send().await
    }

    fn now(&self) -> UnixMillis {
        (self.parts.clock)()
    }

    /// Where BMCs are, as of now.
    async fn refresh(&mut self) -> Result<(), StoreError> {
        let rows = self.parts.store.bmcs().await?;
        let there: BTreeSet<MachineId> = rows.iter().map(|bmc| bmc.machine).collect();
        self.known.retain(|machine, _| there.contains(machine));
        self.unusable.retain(|machine, _| there.contains(machine));
        for bmc in rows {
            if self.known.get(&bmc.machine).is_some_and(|known| known.bmc == bmc) {
                continue;
            }
            match self.client(&bmc) {
                Ok(client) => {
                    let observed = self.parts.store.observed(bmc.machine).await?;
                    self.troubles.stored(bmc.machine, observed.bmc_trouble);
                    self.unusable.remove(&bmc.machine);
                    let known = Known {
                        client,
                        backoff: Backoff::default(),
                        memory: Memory::new(observed.bmc),
                        refusals: Backoff::default(),
                        barred: false,
                        updates: observed.updates.unwrap_or_default(),
                        watches: Backoff::default(),
                        asked_at: NEVER,
                        watched_at: NEVER,
                        asking: None,
                        doing: None,
                        watching: None,
                        bmc,
                    };
                    // Somebody set right what was wrong: what failed before is tried at once.
                    let (machine, now) = (known.bmc.machine, self.now());
                    for (_, noted) in self.sent.iter_mut().flatten().filter(|(wish, _)| wish.machine == machine) {
                        if noted.failed {
                            noted.again_at = now;
                        }
                    }
                    self.known.insert(machine, known);
                }
                Err(error) => {
                    self.recall(bmc.machine).await?;
                    let text = error.to_string();
                    let now = self.now();
                    self.troubles.set(bmc.machine, error.kind(), &text, None, now);
                    if self.unusable.insert(bmc.machine, text.clone()).as_ref() != Some(&text) {
                        tracing::warn!(machine = %bmc.machine, bmc = %bmc.url, text, "its BMC cannot be asked");
                    }
                }
            }
        }
        Ok(())
    }

    fn client(&self, bmc: &Bmc) -> Result<Client, redfish::Error> {
        let plain = self.parts.plain_on_loopback && bmc.url.starts_with("http://127.0.0.1:");
        let trust = match (&bmc.pin, &self.parts.ca) {
            (Some(pin), _) => Trust::Pin(Fingerprint::parse(pin)?),
            (None, _) if plain => Trust::Plain,
            (None, Some(ca)) => Trust::Ca(ca.clone()),
            (None, None) => {
                let why = "it has no pin and the site has no CA for BMCs; set a pin (`hoheit machine bmc set --pin`)";
                return Err(redfish::Error::Input(why.to_owned()));
            }
        };
        let credentials = Credentials::new(bmc.username.clone(), Password::new(bmc.password.clone()));
        Client::new(&Address::new(&bmc.url, credentials, trust)?, redfish::Limits::default())
    }

    /// What the last start left of a machine whose BMC we do not know: it is so since then.
    async fn recall(&mut self, machine: MachineId) -> Result<(), StoreError> {
        if !self.troubles.knows(machine) {
            let observed = self.parts.store.observed(machine).await?;
            self.troubles.stored(machine, observed.bmc_trouble);
        }
        Ok(())
    }

    /// Machines of which nobody has said where their BMC is.
    async fn missing(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let wants = self.parts.wants.picked(|action| deeds::is_deed(action) || *action == Action::ReadInventory);
        for machine in wants.into_iter().map(|it| it.machine) {
            if !self.known.contains_key(&machine) && !self.unusable.contains_key(&machine) {
                self.recall(machine).await?;
                let text = "it is not known where its BMC is; say so with `hoheit machine bmc set`";
                self.troubles.set(machine, trouble::NOT_SET, text, None, now);
            }
        }
        Ok(())
    }

    /// How far firmware is, of those that flash some for their present stay. Who does not let us in, or does not answer, is not
    /// asked more often for it: wrong passwords lock an account.
    fn watch(&mut self) {
        let now = self.now();
        for (machine, known) in &mut self.known {
            let tasks = updates::running(&known.updates);
            if tasks.is_empty() || known.watching.is_some() || now.0 - known.watched_at.0 < updates::WATCH_EVERY {
                continue;
            }
            let due = known.backoff.is_due(now) && known.watches.is_due(now) && !known.is_barred(now);
            let stay = (known.updates.entry, known.updates.attempt);
            if !due || self.parts.wants.of(*machine).is_none_or(|it| (it.entry, it.attempt) != stay) {
                continue;
            }
            known.watched_at = now;
            let (client, places) = (known.client.clone(), self.looks.clone());
            let watching = async move {
                let ((seen, error), _) = places.work(updates::look(&client, tasks)).await;
                Ended::Watch { seen, error }
            };
            let task = self.tasks.spawn(watching).id();
            known.watching = Some(task);
            self.whose.insert(task, *machine);
        }
    }

    /// Inventories that are wanted or old, and glances that are due; the well ones first.
    fn look(&mut self) {
        let now = self.now();
        let reads = self.parts.wants.picked(|action| *action == Action::ReadInventory);
        let wanted: BTreeSet<MachineId> = reads.into_iter().map(|it| it.machine).collect();
        let mut due = Vec::new();
        for (machine, known) in &self.known {
            let age = now.0 - known.asked_at.0;
            let seen = known.memory.last.is_some();
            let read = wanted.contains(machine) || seen && now.0 - known.memory.read_at.0 >= READ_EVERY;
            let want = match read {
                true if age >= self.parts.read_again => Want::Inventory,
                false if age >= GLANCE_EVERY && seen => Want::Glance(known.memory.layout.clone()),
                _ => continue,
            };
            if known.asking.is_none() && known.backoff.is_due(now) {
                due.push((known.backoff.failures, *machine, want));
            }
        }
        due.sort_by_key(|(failures, machine, _)| (*failures, *machine));
        for (_, machine, want) in due {
            let Some(known) = self.known.get_mut(&machine) else { continue };
            known.asked_at = now;
            let (client, places, clock) = (known.client.clone(), self.looks.clone(), self.parts.clock.clone());
            let looking = async move {
                let asking = async { (clock(), sweep::ask(&client, &want).await) };
                let ((began, result), _) = places.work(asking).await;
                Ended::Look { began, result }
            };
            let task = self.tasks.spawn(looking).id();
            known.asking = Some(task);
            self.whose.insert(task, machine);
        }
    }

    /// Power, firmware and the installer's boot.
    async fn send(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let mut sent = match self.sent.take() {
            Some(sent) => sent,
            None => {
                let all = self.parts.store.bmc_sent().await?.into_iter().map(Wish::of_sent);
                all.map(|(wish, again_at)| (wish, Noted { again_at, once: true, failed: false })).collect()
            }
        };
        let wanted = self.parts.wants.picked(deeds::is_deed);
        let asked: BTreeMap<MachineId, &Wanted> = wanted.iter().map(|it| (it.machine, it)).collect();
        self.troubles.wanted_by(|machine| asked.contains_key(&machine));
        sent.retain(|wish, noted| {
            let of = asked.get(&wish.machine);
            let here = of.map_or(noted.once, |it| wish.is_of(it));
            here && now < noted.again_at
        });
        let mut begin = Vec::new();
        for one in &wanted {
            let free = self.known.get(&one.machine).is_some_and(|known| known.doing.is_none() && !known.is_barred(now));
            let mut wishes = deeds::each(&one.actions).map(|action| (Wish::of(one, &action), action));
            begin.extend(wishes.find(|(wish, _)| free && !sent.contains_key(wish)));
        }
        let again = |action: &Action| UnixMillis(now.0 + deeds::once(action).unwrap_or(SEND_AGAIN));
        let once = begin.iter().filter(|(_, action)| deeds::once(action).is_some());
        let mut write = std::mem::take(&mut self.refused);
        write.extend(once.map(|(wish, action)| wish.sent(again(action))));
        if !begin.is_empty() || !write.is_empty() {
            let epoch = self.parts.wants.epoch();
            match self.parts.store.bmc_sending(epoch, &write).await {
                Ok(()) => {}
                Err(StepError::Fenced { .. }) => {
                    tracing::warn!("another controller looks after this site's machines now; nothing more is sent");
                    self.parts.wants.end(epoch);
                    return Ok(());
                }
                Err(StepError::Store(error)) => {
                    (self.sent, self.refused) = (Some(sent), write);
                    return Err(error);
                }
            }
        }
        for (wish, action) in begin {
            let Some(known) = self.known.get_mut(&wish.machine) else { continue };
            let noted = Noted { again_at: again(&action), once: deeds::once(&action).is_some(), failed: false };
            sent.insert(wish.clone(), noted);
            let (client, places, wants) = (known.client.clone(), self.deeds.clone(), self.parts.wants.clone());
            let firmware = self.parts.firmware_url.clone();
            let machine = wish.machine;
            let doing = async move {
                // It may have waited for its place. A machine that went on meanwhile is left alone.
                let deed = async {
                    match wish.is_wanted(&wants, &action) {
                        true => Some(deeds::carry_out(&client, &action, firmware.as_deref()).await),
                        false => None,
                    }
                };
                let (done, _) = places.work(deed).await;
                Ended::Deed { wish, action, done }
            };
            let task = self.tasks.spawn(doing).id();
            known.doing = Some(task);
            self.whose.insert(task, machine);
        }
        self.sent = Some(sent);
        Ok(())
    }

    /// Takes what has come back, and stores what was seen.
    async fn ended(&mut self, first: Result<(Id, Ended), JoinError>) -> Result<(), StoreError> {
        self.take(first);
        for _ in 1..STORED_MAX {
            let Some(next) = self.tasks.try_join_next_with_id() else { break };
            self.take(next);
        }
        self.store().await
    }

    fn take(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let now = self.now();
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(machine) = self.whose.remove(&id) else { return };
        let Some(known) = self.known.get_mut(&machine) else { return };
        let is_look = known.asking.take_if(|task| *task == id).is_some();
        let is_deed = known.doing.take_if(|task| *task == id).is_some();
        let is_watch = known.watching.take_if(|task| *task == id).is_some();
        let mut bytes = [0; 8];
        (self.parts.random)(&mut bytes);
        let dice = u64::from_le_bytes(bytes);
        match ended {
            Ok((_, Ended::Look { began, result })) if is_look => {
                known.backoff = match &result {
                    Ok(_) => {
                        self.troubles.over(machine, false);
                        Backoff::succeeded()
                    }
                    Err(error) => {
                        let backoff = known.backoff.failed(now, error.retry(), dice);
                        self.troubles.set(machine, error.kind(), &error.to_string(), Some(backoff.not_before), now);
                        backoff
                    }
                };
                if let Some(seen) = known.memory.take(machine, result, began, now) {
                    self.seen.insert(machine, (now, seen));
                }
            }
            Ok((_, Ended::Deed { wish, action, done })) if is_deed => match done {
                // What came of it shows in the inventory, which may be read at once.
                Some(Ok(task)) => {
                    tracing::info!(%machine, ?action, "asked of its BMC");
                    (known.asked_at, known.refusals, known.barred) = (NEVER, Backoff::succeeded(), false);
                    if updates::note(&mut known.updates, &wish, &action, task, now) {
                        self.updated.insert(machine);
                    }
                    self.troubles.over(machine, true);
                }
                Some(Err(error)) => {
                    tracing::warn!(%machine, ?action, %error, "its BMC did not do what is wanted");
                    let harmful = deeds::once(&action).is_some();
                    let at = match &error {
                        // Perhaps it was done: it has the time that it takes.
                        redfish::Error::Unsure(_) if harmful => self.again_at(&wish),
                        error => {
                            known.refusals = known.refusals.failed(now, error.retry(), dice);
                            known.barred = trouble::bars(error);
                            let at = known.refusals.not_before;
                            self.again(wish, at);
                            Some(at)
                        }
                    };
                    match trouble::is_of_all(&error) {
                        true => self.troubles.set(machine, error.kind(), &error.to_string(), at, now),
                        false => {
                            let text = format!("{}: {error}", deeds::words(&action));
                            self.troubles.set(machine, trouble::DEED, &text, at, now);
                        }
                    }
                }
                // Not wanted when its turn came; if it is once more, it is sent.
                None => self.again(wish, now),
            },
            Ok((_, Ended::Watch { seen, error })) if is_watch => {
                if updates::take(&mut known.updates, seen, now) {
                    self.updated.insert(machine);
                    // What it installed shows in an inventory of afterwards.
                    known.asked_at = NEVER;
                }
                known.watches = match &error {
                    None => Backoff::succeeded(),
                    Some(error) => known.watches.failed(now, error.retry(), dice),
                };
                if let Some(error) = error.filter(trouble::is_of_all) {
                    known.backoff = known.backoff.failed(now, error.retry(), dice);
                    if trouble::bars(&error) {
                        (known.refusals, known.barred) = (known.refusals.failed(now, error.retry(), dice), true);
                    }
                    let at = Some(known.backoff.not_before);
                    self.troubles.set(machine, error.kind(), &error.to_string(), at, now);
                }
            }
            // Of a BMC that was here before.
            Ok(_) => {}
            Err(error) => tracing::error!(%machine, %error, "asking its BMC failed; it is asked again"),
        }
    }

    /// A wish that was not done is sent again at this time.
    fn again(&mut self, wish: Wish, at: UnixMillis) {
        let Some(noted) = self.sent.as_mut().and_then(|sent| sent.get_mut(&wish)) else { return };
        (noted.again_at, noted.failed) = (at, true);
        if noted.once {
            self.refused.push(wish.sent(at));
        }
    }

    /// When this wish is sent again.
    fn again_at(&self, wish: &Wish) -> Option<UnixMillis> {
        self.sent.as_ref()?.get(wish).map(|noted| noted.again_at)
    }

    async fn store(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let mut seen: Vec<_> =
            self.seen.iter().map(|(machine, (at, seen))| (*machine, *at, Observation::Bmc(seen.clone()))).collect();
        seen.extend(self.troubles.news().map(|(machine, it)| (machine, now, Observation::BmcTrouble(it))));
        for machine in &self.updated {
            if let Some(known) = self.known.get(machine) {
                seen.push((*machine, now, Observation::Updates(known.updates.clone())));
            }
        }
        if seen.is_empty() {
            return Ok(());
        }
        self.parts.store.observe(&seen).await?;
        self.seen.clear();
        self.troubles.told();
        self.updated.clear();
        self.parts.bell.ring();
        Ok(())
    }
}
