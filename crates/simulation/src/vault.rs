//! The site's database, on a host of its own: a network away, and now and then it refuses, or does what it was asked and
//! does not say so. Receipts are kept as the store keeps them; reading them over `/v1/receipts` is not simulated.
//!
//! Only a number goes over the simulated wire; what it stands for lies beside it, because what a message says is not what
//! the network may break.

use crate::trace::Trace;
use gateway::shelf::{Asked, Shelf};
use metering::lease::{Claim as Held, Grant, Sharing, grant};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{
    BudgetOf, Carried, Claim, ForkAt, IdempotencyRow, KeyHolder, LeaseAsk, LeaseError, ReceiptFilter, ShipError,
    ShippedReceipt, StoreError, StoredReceipt,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream};
use types::{IncarnationId, Month, ReceiptId, UnixMillis};

pub const HOST: &str = "vault";
const PORT: u16 = 5432;

/// As a pool's: who waits longer hears that the database is not available.
const PATIENCE: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    Refuses,
    /// Does it, and the answer never leaves.
    DoesNotSay,
}

enum Ask {
    Begin(IncarnationId),
    Ship(Vec<ShippedReceipt>),
    Lease(IncarnationId, Vec<LeaseAsk>, Sharing),
    Wanted(IncarnationId),
    Close(IncarnationId, Vec<IncarnationId>, Vec<Carried>),
    Sealed,
    Receipt(ReceiptId),
    KeyClaim(IdempotencyRow, UnixMillis),
    KeyTake(IdempotencyRow, ReceiptId),
}

enum Answer {
    Begun(u64),
    Taken(u64),
    Fork(Box<Claim>, Box<Claim>),
    Granted(Vec<Grant>),
    Wanted,
    Closed,
    Stale,
    Sealed(bool),
    Receipt(Option<Box<StoredReceipt>>),
    Key(KeyHolder),
    Conflict,
    Refused,
}

#[derive(Default)]
struct State {
    mood: Mood,
    asks: BTreeMap<u64, Ask>,
    answers: BTreeMap<u64, Answer>,
    next: u64,
    incarnations: Vec<IncarnationId>,
    rows: Vec<ShippedReceipt>,
    by_id: BTreeMap<ReceiptId, usize>,
    by_journal: BTreeMap<(IncarnationId, u64), usize>,
    by_chain: BTreeMap<(types::TenantId, IncarnationId, u64), usize>,
    /// The last turn, and what was granted.
    leases: BTreeMap<(BudgetOf, Month, IncarnationId), (u64, types::MicroEur)>,
    keys: BTreeMap<(types::ProjectId, [u8; 32]), IdempotencyRow>,
    forks: u64,
}

#[derive(Clone)]
pub struct Vault {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

impl Vault {
    pub fn new(trace: Trace) -> Self {
        Vault { state: Arc::default(), trace }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn be(&self, mood: Mood) {
        self.state().mood = mood;
    }

    pub fn receipts(&self) -> Vec<ShippedReceipt> {
        self.state().rows.clone()
    }

    pub fn forks(&self) -> u64 {
        self.state().forks
    }

    /// The host.
    pub async fn serve(self) -> turmoil::Result {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (mut socket, _) = listener.accept().await?;
            let vault = self.clone();
            tokio::task::spawn_local(async move {
                let Ok(number) = socket.read_u64().await else { return };
                if vault.perform(number) && socket.write_u8(1).await.is_ok() {
                    // Until the other side has it.
                    let _ = socket.read_u8().await;
                }
            });
        }
    }

    /// False: nobody hears of it.
    fn perform(&self, number: u64) -> bool {
        let mut state = self.state();
        let Some(ask) = state.asks.remove(&number) else { return false };
        let mood = state.mood;
        let answer = if mood == Mood::Refuses { Answer::Refused } else { state.answer(ask) };
        if let Answer::Taken(count) = &answer {
            self.trace.note(format_args!("vault took {count} ({mood:?})"));
        }
        state.answers.insert(number, answer);
        mood != Mood::DoesNotSay
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, StoreError> {
        let number = {
            let mut state = self.state();
            state.next += 1;
            let number = state.next;
            state.asks.insert(number, ask);
            number
        };
        let exchange = async {
            let mut socket = TcpStream::connect((HOST, PORT)).await?;
            socket.write_u64(number).await?;
            socket.read_u8().await
        };
        let heard = tokio::time::timeout(PATIENCE, exchange).await;
        let answer = self.state().answers.remove(&number);
        match (heard, answer) {
            (Ok(Ok(_)), Some(Answer::Conflict)) => Err(StoreError::Conflict { what: "this incarnation" }),
            (Ok(Ok(_)), Some(Answer::Refused)) | (_, None) | (Err(_) | Ok(Err(_)), _) => Err(unavailable()),
            (Ok(Ok(_)), Some(answer)) => Ok(answer),
        }
    }
}

fn unavailable() -> StoreError {
    sqlx::Error::PoolTimedOut.into()
}

impl State {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Begin(inc) if self.incarnations.contains(&inc) => Answer::Conflict,
            Ask::Begin(inc) => {
                self.incarnations.push(inc);
                Answer::Begun(self.incarnations.len() as u64)
            }
            Ask::Ship(rows) => self.ship(rows),
            Ask::Lease(inc, ..) | Ask::Wanted(inc) if self.incarnations.last() != Some(&inc) => Answer::Stale,
            Ask::Lease(inc, asks, sharing) => {
                Answer::Granted(asks.iter().map(|asked| self.lease(inc, asked, sharing)).collect())
            }
            // There is one gateway, so nobody is short of what it holds.
            Ask::Wanted(_) => Answer::Wanted,
            Ask::Close(inc, gone, carried) => {
                self.leases.retain(|(_, _, of), _| !gone.contains(of));
                for Carried { of, month, amount } in carried {
                    self.leases.insert((of, month, inc), (0, amount));
                }
                Answer::Closed
            }
            // What is here counts as sealed: the sealer is not simulated.
            Ask::Sealed => Answer::Sealed(true),
            Ask::Receipt(id) => Answer::Receipt(self.by_id.get(&id).map(|at| Box::new(stored(&self.rows[*at], *at)))),
            Ask::KeyClaim(row, now) => match self.keys.get(&(row.project, row.name)) {
                Some(held) if held.until > now => {
                    Answer::Key(KeyHolder::Other { request: held.request, receipt: held.receipt })
                }
                _ => {
                    self.keys.insert((row.project, row.name), row);
                    Answer::Key(KeyHolder::Ours)
                }
            },
            Ask::KeyTake(row, from) => match self.keys.get_mut(&(row.project, row.name)) {
                Some(held) if held.receipt == from => {
                    *held = row;
                    Answer::Key(KeyHolder::Ours)
                }
                _ => Answer::Key(KeyHolder::Other { request: [0; 32], receipt: from }),
            },
        }
    }

    /// As the store does it.
    fn lease(&mut self, inc: IncarnationId, asked: &LeaseAsk, sharing: Sharing) -> Grant {
        let covers = |row: &ShippedReceipt| {
            row.month == asked.month
                && match asked.of {
                    BudgetOf::Tenant(id) => row.tenant == id,
                    BudgetOf::Project(id) => row.project == id,
                    BudgetOf::Key(id) => row.key == id,
                }
        };
        let mut held: BTreeMap<IncarnationId, Held> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| covers(row)) {
            let settled = &mut held.entry(row.inc).or_default().settled;
            *settled = settled.saturating_add(row.cost);
        }
        let leases = self.leases.iter().filter(|((of, month, _), _)| (*of, *month) == (asked.of, asked.month));
        for ((_, _, whose), (_, granted)) in leases {
            held.entry(*whose).or_default().granted = Some(*granted);
        }
        let own = held.remove(&inc).unwrap_or_default();
        let others: Vec<Held> = held.into_values().collect();
        let place = (asked.of, asked.month, inc);
        if self.leases.get(&place).is_some_and(|(turn, _)| asked.turn <= *turn) {
            let nothing = metering::lease::Ask { held: own.granted.unwrap_or_default(), need: None };
            return grant(asked.limit, &others, own.settled, nothing, sharing);
        }
        let granted = grant(asked.limit, &others, own.settled, asked.ask, sharing);
        self.leases.insert(place, (asked.turn, granted.granted));
        granted
    }

    fn ship(&mut self, rows: Vec<ShippedReceipt>) -> Answer {
        let mut taken = 0;
        for row in rows {
            let places = [
                self.by_id.get(&row.id),
                self.by_journal.get(&(row.inc, row.journal_seq)),
                self.by_chain.get(&(row.tenant, row.inc, row.chain_seq)),
            ];
            let known = places.into_iter().flatten().next().map(|at| &self.rows[*at]);
            match known {
                None => {
                    let at = self.rows.len();
                    self.by_id.insert(row.id, at);
                    self.by_journal.insert((row.inc, row.journal_seq), at);
                    self.by_chain.insert((row.tenant, row.inc, row.chain_seq), at);
                    self.rows.push(row);
                    taken += 1;
                }
                Some(known) if *known == row => {}
                Some(known) => {
                    let (known, shipped) = (Box::new(claim(known)), Box::new(claim(&row)));
                    self.forks += 1;
                    return Answer::Fork(known, shipped);
                }
            }
        }
        Answer::Taken(taken)
    }
}

fn stored(row: &ShippedReceipt, at: usize) -> StoredReceipt {
    StoredReceipt {
        id: row.id,
        tenant: row.tenant,
        project: row.project,
        key: row.key,
        inc: row.inc,
        chain_seq: row.chain_seq,
        received_at: row.received_at,
        signing_input: row.signing_input.clone(),
        leaf: row.leaf,
        leaf_index: Some(at as u64),
    }
}

fn claim(row: &ShippedReceipt) -> Claim {
    Claim {
        id: row.id,
        tenant: row.tenant,
        inc: row.inc,
        journal_seq: row.journal_seq,
        chain_seq: row.chain_seq,
        cost: row.cost,
        leaf: row.leaf,
    }
}

impl Shelf for Vault {
    fn incarnation_begin<'a>(&'a self, _: &'a str, inc: IncarnationId, _: UnixMillis) -> Asked<'a, u64> {
        Box::pin(async move {
            match self.ask(Ask::Begin(inc)).await? {
                Answer::Begun(epoch) => Ok(epoch),
                _ => Err(unavailable()),
            }
        })
    }

    fn ship<'a>(&'a self, rows: &'a [ShippedReceipt]) -> Asked<'a, u64, ShipError> {
        Box::pin(async move {
            if rows.is_empty() {
                return Ok(0);
            }
            match self.ask(Ask::Ship(rows.to_vec())).await? {
                Answer::Taken(count) => Ok(count),
                Answer::Fork(known, shipped) => Err(ShipError::Fork { at: ForkAt::Store, known, shipped }),
                _ => Err(unavailable().into()),
            }
        })
    }

    fn lease<'a>(
        &'a self,
        inc: IncarnationId,
        asks: &'a [LeaseAsk],
        sharing: Sharing,
    ) -> Asked<'a, Vec<Grant>, LeaseError> {
        Box::pin(async move {
            match self.ask(Ask::Lease(inc, asks.to_vec(), sharing)).await? {
                Answer::Granted(grants) => Ok(grants),
                Answer::Stale => Err(LeaseError::Stale),
                _ => Err(unavailable().into()),
            }
        })
    }

    fn lease_wanted(&self, inc: IncarnationId) -> Asked<'_, Vec<(BudgetOf, Month)>, LeaseError> {
        Box::pin(async move {
            match self.ask(Ask::Wanted(inc)).await? {
                Answer::Wanted => Ok(Vec::new()),
                Answer::Stale => Err(LeaseError::Stale),
                _ => Err(unavailable().into()),
            }
        })
    }

    fn lease_close<'a>(
        &'a self,
        inc: IncarnationId,
        gone: &'a [IncarnationId],
        carried: &'a [Carried],
    ) -> Asked<'a, ()> {
        Box::pin(async move {
            match self.ask(Ask::Close(inc, gone.to_vec(), carried.to_vec())).await? {
                Answer::Closed => Ok(()),
                _ => Err(unavailable()),
            }
        })
    }

    fn sealed_through(&self, _: IncarnationId, _: u64) -> Asked<'_, bool> {
        Box::pin(async move {
            match self.ask(Ask::Sealed).await? {
                Answer::Sealed(sealed) => Ok(sealed),
                _ => Err(unavailable()),
            }
        })
    }

    fn receipt(&self, id: ReceiptId) -> Asked<'_, Option<StoredReceipt>> {
        Box::pin(async move {
            match self.ask(Ask::Receipt(id)).await? {
                Answer::Receipt(found) => Ok(found.map(|it| *it)),
                _ => Err(unavailable()),
            }
        })
    }

    fn receipts<'a>(&'a self, _: &'a ReceiptFilter) -> Asked<'a, Vec<StoredReceipt>> {
        Box::pin(async { Err(unavailable()) })
    }

    fn idempotency_claim<'a>(&'a self, row: &'a IdempotencyRow, now: UnixMillis) -> Asked<'a, KeyHolder> {
        Box::pin(async move {
            match self.ask(Ask::KeyClaim(row.clone(), now)).await? {
                Answer::Key(holder) => Ok(holder),
                _ => Err(unavailable()),
            }
        })
    }

    fn idempotency_take<'a>(&'a self, row: &'a IdempotencyRow, from: ReceiptId) -> Asked<'a, bool> {
        Box::pin(async move {
            match self.ask(Ask::KeyTake(row.clone(), from)).await? {
                Answer::Key(holder) => Ok(holder == KeyHolder::Ours),
                _ => Err(unavailable()),
            }
        })
    }

    fn idempotency_sweep(&self, _: UnixMillis) -> Asked<'_, u64> {
        Box::pin(async { Ok(0) })
    }
}
