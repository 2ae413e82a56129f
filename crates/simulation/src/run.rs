//! One run: a seed, a site, its customers, what goes wrong, and then peace until all is settled.

use crate::check::{self, Evidence};
use crate::customers::{Customer, Memory};
use crate::dice::{Dice, SharedDice};
use crate::engines::{Book, Engine};
use crate::faults::{CUSTOMERS, Faults};
use crate::site::{self, ENGINES, Site};
use crate::trace::Trace;
use crate::vault::{self, Vault};
use std::time::Duration;
use store::tiles::TileFiles;
use turmoil::Sim;

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// At each of three hosts.
    pub customers: u64,
    /// Of each customer, one after the other.
    pub requests: u64,
    /// Breaks the disk's promise, which the checks must find: for the test of the tests.
    pub lying_disk: bool,
}

impl Size {
    pub fn requests_in_all(&self) -> u64 {
        CUSTOMERS.len() as u64 * self.customers * self.requests
    }
}

/// A thousand requests or so: 60 customers at once.
pub const ORDINARY: Size = Size { customers: 20, requests: 17, lying_disk: false };

/// What came of a run.
pub struct Report {
    pub trace: String,
    pub tally: check::Tally,
    /// Invariants that did not hold.
    pub broken: Vec<String>,
}

/// Everybody has an answer by then: 17 requests with 2.5 s of patience each are 43 s.
const LONGEST: Duration = Duration::from_secs(120);

pub fn run(seed: u64, size: Size) -> Report {
    let mut dice = Dice::of(seed);
    let trace = Trace::default();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tiles = TileFiles::open(folder.path()).expect("an empty folder");
    let vault = Vault::new(trace.clone());
    let site = Site::new(dice.fork(), vault.clone(), trace.clone(), tiles);
    if size.lying_disk {
        site.disk.lie();
    }
    let (memory, book) = (Memory::default(), Book::default());
    let mut sim = turmoil::Builder::new()
        .rng_seed(dice.next())
        .simulation_duration(2 * LONGEST)
        .min_message_latency(Duration::from_millis(0))
        .max_message_latency(Duration::from_millis(dice.between(1, 6)))
        .tcp_capacity(4_096)
        .enable_random_order()
        .build();
    let serving = vault.clone();
    sim.host(vault::HOST, move || serving.clone().serve());
    for (number, (name, _)) in ENGINES.into_iter().enumerate() {
        let (book, trace, dice) = (book.clone(), trace.clone(), SharedDice::of(dice.fork()));
        let engine = Engine { number, book, trace, dice };
        sim.host(name, move || engine.clone().serve());
    }
    let serving = site.clone();
    sim.host(site::HOST, move || serving.clone().serve());
    for host in CUSTOMERS {
        let customers: Vec<_> = (0..size.customers)
            .map(|number| Customer::new(format!("{host}/{number}"), dice.fork(), memory.clone(), trace.clone()))
            .collect();
        sim.client(host, async move {
            let asking = customers.into_iter().map(|it| tokio::task::spawn_local(it.ask_all(size.requests)));
            for customer in asking.collect::<Vec<_>>() {
                customer.await?;
            }
            Ok(())
        });
    }
    let mut faults = Faults::new(dice.fork());
    let mut broken = live(&mut sim, &site, &mut faults, &trace);
    drop(sim);
    let (crashes, fulls) = (faults.crashes, faults.fulls);
    let evidence = Evidence { memory: memory.all(), attempts: book.all(), crashes, fulls, site };
    let mut tally = check::check(&evidence, &mut broken);
    tally.faults = faults.count;
    Report { trace: trace.text(), tally, broken }
}

fn live(sim: &mut Sim<'_>, site: &Site, faults: &mut Faults, trace: &Trace) -> Vec<String> {
    loop {
        match sim.step() {
            Ok(false) if sim.elapsed() < LONGEST => faults.step(sim, site, trace),
            Ok(true) => break,
            Ok(false) => return vec!["customers still wait for answers".to_owned()],
            Err(error) => return vec![format!("a host failed: {error}")],
        }
    }
    let peace = sim.elapsed();
    site.status().settle = true;
    loop {
        faults.end(sim, site, trace);
        if let Err(error) = sim.step() {
            return vec![format!("a host failed: {error}")];
        }
        if site.status().settled {
            trace.note(format_args!("settled"));
            return Vec::new();
        }
        if sim.elapsed() > peace + Duration::from_secs(20) {
            return vec!["in peace, some request never got its receipt into the store".to_owned()];
        }
    }
}
