//! What is wanted of BMCs: inventories, power, firmware, the installer's boot; and a glance at every BMC every few minutes.
//!
//! Everything is asked for by the machines' wants, under (machine, entry, attempt): the same wish is not sent again before
//! [`SEND_AGAIN`], because a machine that boots cannot be hurried. What came of it is seen in the next inventory and
//! nowhere else.
//!
//! A turn waits for its sweep: one BMC that answers slowly delays what is sent to the others, by `redfish`'s limit for a whole
//! reading at worst.
//!
//! If we crash here: what was sent is done or not; the next start looks first, and what is still wanted is sent.

use super::Bell;
use super::hands::{Wanted, Wants};
use fleet::action::Action;
use fleet::observed::BmcSeen;
use redfish::backoff::Backoff;
use redfish::sweep::{self, Report, Seen, Target, Want};
use redfish::{Address, BootTarget, Client, Credentials, Fingerprint, Layout, Password, Reset, Trust};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Bmc, Observation, Store, StoreError};
use tokio::sync::mpsc;
use types::{MachineId, UnixMillis};

/// All BMCs are looked at so often; with 256 at a time it takes 18 s (`redfish::sweep`).
pub const GLANCE_EVERY: i64 = 240_000;
/// An inventory that is wanted is read again after this: a BMC lists its parts some minutes after power on.
pub const READ_AGAIN: i64 = 15_000;
/// The same wish of the same stay: a machine boots in ten minutes, firmware takes longer and shows in the inventory.
pub const SEND_AGAIN: i64 = 900_000;
/// How often wants are looked at if nothing changes.
const TICK: Duration = Duration::from_secs(1);
/// Wishes carried out at a time; each is a few requests of half a second.
const SENDING_MAX: usize = 64;

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
    layout: Layout,
    /// The last inventory, complete or not.
    last: Option<BmcSeen>,
    asked_at: UnixMillis,
}

/// The wishes that were sent, and when.
type Sent = BTreeMap<(MachineId, u64, u32, String), UnixMillis>;

struct Executor {
    parts: BmcParts,
    known: BTreeMap<MachineId, Known>,
    sent: Sent,
    unusable: BTreeMap<MachineId, String>,
}

/// Does what is wanted of BMCs until it is dropped.
pub async fn run(parts: BmcParts) {
    let mut executor = Executor { parts, known: BTreeMap::new(), sent: Sent::new(), unusable: BTreeMap::new() };
    loop {
        if let Err(error) = executor.turn().await {
            tracing::warn!(%error, "BMCs could not be looked after; it is tried again");
        }
        let wants = executor.parts.wants.clone();
        tokio::select! {
            () = wants.changed() => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

impl Executor {
    async fn turn(&mut self) -> Result<(), StoreError> {
        self.refresh().await?;
        self.look().await?;
        self.send().await;
        Ok(())
    }

    fn now(&self) -> UnixMillis {
        (self.parts.clock)()
    }

    /// Where BMCs are, as of now.
    async fn refresh(&mut self) -> Result<(), StoreError> {
        let rows = self.parts.store.bmcs().await?;
        let there: std::collections::BTreeSet<MachineId> = rows.iter().map(|bmc| bmc.machine).collect();
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
                        layout: Layout::default(),
                        last,
                        asked_at: UnixMillis(i64::MIN / 2),
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

    /// Inventories that are wanted, and glances that are due.
    async fn look(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let reads = self.parts.wants.picked(|action| *action == Action::ReadInventory);
        let wanted: BTreeMap<MachineId, Wanted> = reads.into_iter().map(|it| (it.machine, it)).collect();
        let mut targets = Vec::new();
        for (machine, known) in &mut self.known {
            let age = now.0 - known.asked_at.0;
            let want = match wanted.contains_key(machine) {
                true if age >= self.parts.read_again => Want::Inventory,
                false if age >= GLANCE_EVERY && known.last.is_some() => Want::Glance(known.layout.clone()),
                _ => continue,
            };
            if !known.backoff.is_due(now) {
                continue;
            }
            known.asked_at = now;
            let (client, backoff) = (known.client.clone(), known.backoff);
            targets.push(Target { name: machine.to_string(), client, want, backoff });
        }
        if targets.is_empty() {
            return Ok(());
        }
        let (tell, mut told) = mpsc::unbounded_channel::<Report>();
        let (clock, random) = (self.parts.clock.clone(), self.parts.random.clone());
        let dice = move || {
            let mut bytes = [0; 8];
            random(&mut bytes);
            u64::from_le_bytes(bytes)
        };
        let options = sweep::Options::default();
        let sweeping =
            async move { sweep::sweep(targets, &options, || clock(), dice, |report| drop(tell.send(report))).await };
        tokio::pin!(sweeping);
        let mut swept = false;
        loop {
            let mut reports = Vec::new();
            tokio::select! {
                _ = &mut sweeping, if !swept => swept = true,
                received = told.recv_many(&mut reports, 256) => {
                    if received == 0 {
                        return Ok(());
                    }
                }
            }
            if swept {
                while let Ok(report) = told.try_recv() {
                    reports.push(report);
                }
            }
            self.store(reports).await?;
            if swept {
                return Ok(());
            }
        }
    }

    /// Makes observations of what BMCs said.
    async fn store(&mut self, reports: Vec<Report>) -> Result<(), StoreError> {
        let now = self.now();
        let mut seen = Vec::new();
        for report in reports {
            let Ok(machine) = report.name.parse::<MachineId>() else { continue };
            let Some(known) = self.known.get_mut(&machine) else { continue };
            known.backoff = report.backoff;
            let next = match report.result {
                Ok(Seen::Inventory(reading)) => {
                    known.layout = reading.layout;
                    if let Some(gap) = reading.gaps.first() {
                        // What could not be read is not missing; it is asked for again.
                        tracing::info!(%machine, text = ?gap, "an inventory with gaps");
                        if known.last.is_some() {
                            continue;
                        }
                    }
                    Some(BmcSeen { at: now, silent_since: None, inventory: reading.inventory })
                }
                Ok(Seen::Glance(glance)) => known.last.clone().map(|mut last| {
                    known.layout = glance.layout;
                    (last.at, last.silent_since) = (now, None);
                    (last.inventory.power, last.inventory.complaints) = (glance.power, glance.complaints);
                    last
                }),
                Err(error) => {
                    tracing::info!(%machine, %error, "its BMC did not say what it was asked");
                    known.last.clone().map(|last| BmcSeen { silent_since: last.silent_since.or(Some(now)), ..last })
                }
            };
            if let Some(next) = next.filter(|next| known.last.as_ref() != Some(next)) {
                known.last = Some(next.clone());
                seen.push((machine, now, Observation::Bmc(next)));
            }
        }
        if !seen.is_empty() {
            self.parts.store.observe(&seen).await?;
            self.parts.bell.ring();
        }
        Ok(())
    }

    /// Power, firmware and the installer's boot.
    async fn send(&mut self) {
        let now = self.now();
        let doable = |action: &Action| {
            use Action::{PowerCycle, PowerOff, PowerOn, Provision, UpdateFirmware};
            matches!(action, PowerOn | PowerOff | PowerCycle | Provision | UpdateFirmware { .. })
        };
        let wanted = self.parts.wants.picked(doable);
        self.sent.retain(|(machine, entry, attempt, _), at| {
            let still = wanted.iter().any(|it| (it.machine, it.entry, it.attempt) == (*machine, *entry, *attempt));
            still && now.0 - at.0 < SEND_AGAIN
        });
        let mut sending = tokio::task::JoinSet::new();
        for one in wanted {
            let Some(known) = self.known.get(&one.machine) else { continue };
            for action in &one.actions {
                let name = serde_json::to_string(action).unwrap_or_default();
                let wish = (one.machine, one.entry, one.attempt, name);
                if self.sent.contains_key(&wish) || sending.len() >= SENDING_MAX {
                    continue;
                }
                self.sent.insert(wish, now);
                let (client, action, machine) = (known.client.clone(), action.clone(), one.machine);
                let firmware = self.parts.firmware_url.clone();
                sending.spawn(async move {
                    let done = carry_out(&client, &action, firmware.as_deref()).await;
                    (machine, action, done)
                });
            }
        }
        while let Some(ended) = sending.join_next().await {
            let Ok((machine, action, done)) = ended else { continue };
            match done {
                Ok(()) => {
                    tracing::info!(%machine, ?action, "asked of its BMC");
                    // What came of it shows in the inventory, which may be read at once.
                    if let Some(known) = self.known.get_mut(&machine) {
                        known.asked_at = UnixMillis(i64::MIN / 2);
                    }
                }
                Err(error) => {
                    tracing::warn!(%machine, ?action, %error, "its BMC did not do what is wanted");
                    // Sooner than a wish that was granted: after the next tick but ten.
                    let soon = UnixMillis(now.0 - SEND_AGAIN + 10_000);
                    for ((of, ..), at) in &mut self.sent {
                        if *of == machine {
                            *at = soon;
                        }
                    }
                }
            }
        }
    }
}

async fn carry_out(client: &Client, action: &Action, firmware: Option<&str>) -> Result<(), redfish::Error> {
    match action {
        Action::PowerOn => client.reset(Reset::On).await.map(drop),
        Action::PowerOff => client.reset(Reset::ForceOff).await.map(drop),
        Action::PowerCycle => client.reset(Reset::Cycle).await.map(drop),
        // The installer comes over the network; it asks the site for the machine's token.
        Action::Provision => {
            client.boot_once(BootTarget::UefiHttp).await?;
            client.reset(Reset::Cycle).await.map(drop)
        }
        Action::UpdateFirmware { components } => {
            let base = firmware.ok_or_else(|| {
                redfish::Error::Input("no place for firmware is configured (`hoheit up --firmware-url`)".to_owned())
            })?;
            for component in components {
                client.update(&format!("{}/{component}", base.trim_end_matches('/')), &[]).await?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
