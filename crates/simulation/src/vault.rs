//! The site's database, on a host of its own: a network away, and now and then it refuses, or does what it was asked and
//! does not say so. Receipts are kept as the store keeps them; reading them over `/v1/receipts` is not simulated.
//!
//! Only a number goes over the simulated wire; what it stands for lies beside it, because what a message says is not what
//! the network may break.

use crate::trace::Trace;
use gateway::shelf::{Asked, Shelf};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Claim, ForkAt, ReceiptFilter, ShipError, ShippedReceipt, Spent, StoreError, StoredReceipt};
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
    Spent(Month),
    Sealed,
}

enum Answer {
    Done,
    Taken(u64),
    Fork(Box<Claim>, Box<Claim>),
    Spent(Vec<Spent>),
    Sealed(bool),
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
                Answer::Done
            }
            Ask::Ship(rows) => self.ship(rows),
            Ask::Spent(month) => {
                let mut sums: BTreeMap<_, types::MicroEur> = BTreeMap::new();
                for row in self.rows.iter().filter(|row| row.month == month) {
                    let sum = sums.entry((row.tenant, row.project, row.key)).or_default();
                    *sum = sum.saturating_add(row.cost);
                }
                let spent = |((tenant, project, key), cost)| Spent { tenant, project, key, cost };
                Answer::Spent(sums.into_iter().map(spent).collect())
            }
            // What is here counts as sealed: the sealer is not simulated.
            Ask::Sealed => Answer::Sealed(true),
        }
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
    fn incarnation_begin<'a>(&'a self, _: &'a str, inc: IncarnationId, _: UnixMillis) -> Asked<'a, ()> {
        Box::pin(async move { self.ask(Ask::Begin(inc)).await.map(|_| ()) })
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

    fn spent(&self, month: Month) -> Asked<'_, Vec<Spent>> {
        Box::pin(async move {
            match self.ask(Ask::Spent(month)).await? {
                Answer::Spent(rows) => Ok(rows),
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

    fn receipt(&self, _: ReceiptId) -> Asked<'_, Option<StoredReceipt>> {
        Box::pin(async { Err(unavailable()) })
    }

    fn receipts<'a>(&'a self, _: &'a ReceiptFilter) -> Asked<'a, Vec<StoredReceipt>> {
        Box::pin(async { Err(unavailable()) })
    }
}
