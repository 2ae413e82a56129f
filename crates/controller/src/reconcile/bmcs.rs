//! What is wanted of BMCs: inventories, power, firmware, the installer's boot; and a glance at every BMC every few minutes.
//!
//! Everything is asked for by the machines' wants, under (machine, entry, attempt): the same wish is not sent again before
//! [`SEND_AGAIN`], because a machine that boots cannot be hurried; an installation and a component's firmware not before they
//! can have ended ([`PROVISION_AGAIN`], [`FIRMWARE_AGAIN`]). What came of it is seen in the next inventory and nowhere else.
//!
//! Each BMC's work stands by itself, as a task: one that answers slowly or never delays no other. One look and one deed at a
//! time of each; all together are bounded ([`redfish::sweep::Places`]). What comes back is stored as it comes.
//!
//! If we crash here: what was sent is done or not; the next start looks first, and what is still wanted is sent. What must not
//! be done twice is written down before it is sent (`store::Sent`), under the reconciler's epoch: a controller that another has
//! taken over from sends nothing.

mod deeds;
mod memory;

use super::Bell;
use super::hands::{Wanted, Wants};
use deeds::Wish;
use fleet::action::Action;
use fleet::observed::BmcSeen;
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
/// What a BMC refused is asked of it again.
const REFUSED_AGAIN: i64 = 10_000;
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
    asked_at: UnixMillis,
    /// The look and the deed that are under way. A result of any other task is of another BMC that stood here before.
    asking: Option<Id>,
    doing: Option<Id>,
}

/// What a task came back with.
enum Ended {
    Look { began: UnixMillis, result: Result<Seen, redfish::Error> },
    Deed { wish: Wish, action: Action, done: Option<Result<(), redfish::Error>> },
}

/// A wish that was sent.
struct Noted {
    again_at: UnixMillis,
    /// Kept while nobody wants it: it is under way all the same.
    once: bool,
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

impl Executor {
    /// Begins what is due, and waits for nobody.
    async fn turn(&mut self) -> Result<(), StoreError> {
        self.store().await?;
        self.refresh().await?;
        self.look();
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
        for bmc in rows {
            if self.known.get(&bmc.machine).is_some_and(|known| known.bmc == bmc) {
                continue;
            }
            match self.client(&bmc) {
                Ok(client) => {
                    let last = self.parts.store.observed(bmc.machine).await?.bmc;
                    let known = Known {
                        client,
                        backoff: Backoff::default(),
                        memory: Memory::new(last),
                        asked_at: NEVER,
                        asking: None,
                        doing: None,
                        bmc,
                    };
                    self.known.insert(known.bmc.machine, known);
                }
                Err(error) => {
                    let text = error.to_string();
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
                all.map(|(wish, again_at)| (wish, Noted { again_at, once: true })).collect()
            }
        };
        let wanted = self.parts.wants.picked(deeds::is_deed);
        let asked: BTreeMap<MachineId, &Wanted> = wanted.iter().map(|it| (it.machine, it)).collect();
        sent.retain(|wish, noted| {
            let of = asked.get(&wish.machine);
            let here = of.map_or(noted.once, |it| wish.is_of(it));
            here && now < noted.again_at
        });
        let mut begin = Vec::new();
        for one in &wanted {
            let free = self.known.get(&one.machine).is_some_and(|known| known.doing.is_none());
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
            let noted = Noted { again_at: again(&action), once: deeds::once(&action).is_some() };
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
        match ended {
            Ok((_, Ended::Look { began, result })) if is_look => {
                let mut bytes = [0; 8];
                (self.parts.random)(&mut bytes);
                known.backoff = match &result {
                    Ok(_) => Backoff::succeeded(),
                    Err(error) => known.backoff.failed(now, error.retry(), u64::from_le_bytes(bytes)),
                };
                if let Some(seen) = known.memory.take(machine, result, began, now) {
                    self.seen.insert(machine, (now, seen));
                }
            }
            Ok((_, Ended::Deed { wish, action, done })) if is_deed => match done {
                // What came of it shows in the inventory, which may be read at once.
                Some(Ok(())) => {
                    tracing::info!(%machine, ?action, "asked of its BMC");
                    known.asked_at = NEVER;
                }
                Some(Err(error)) => {
                    tracing::warn!(%machine, ?action, %error, "its BMC did not do what is wanted");
                    self.again(wish, UnixMillis(now.0 + REFUSED_AGAIN));
                }
                // Not wanted when its turn came; if it is once more, it is sent.
                None => self.again(wish, now),
            },
            // Of a BMC that was here before.
            Ok(_) => {}
            Err(error) => tracing::error!(%machine, %error, "asking its BMC failed; it is asked again"),
        }
    }

    /// A wish that was not done is sent again at this time.
    fn again(&mut self, wish: Wish, at: UnixMillis) {
        let Some(noted) = self.sent.as_mut().and_then(|sent| sent.get_mut(&wish)) else { return };
        noted.again_at = at;
        if noted.once {
            self.refused.push(wish.sent(at));
        }
    }

    async fn store(&mut self) -> Result<(), StoreError> {
        if self.seen.is_empty() {
            return Ok(());
        }
        let seen: Vec<_> =
            self.seen.iter().map(|(machine, (at, seen))| (*machine, *at, Observation::Bmc(seen.clone()))).collect();
        self.parts.store.observe(&seen).await?;
        self.seen.clear();
        self.parts.bell.ring();
        Ok(())
    }
}
