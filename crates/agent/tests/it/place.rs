//! A site on loopback with a desk in memory, its clock in the test's hands, and agents of it.

use agent::ca::Authority;
use agent::clock::Clock;
use agent::desk::MemoryDesk;
use agent::enrol::{Claim, EnrolError, Identity, enrol_in_memory};
use agent::link::{Address, Link, LinkError};
use agent::site::{Limits, Site};
use agent::token::Token;
use agent::wire::{Answer, REPORT, Report, State};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tokio::sync::oneshot;
use types::{MachineId, UnixMillis};

/// A clock that goes when it is told to.
#[derive(Debug)]
pub struct Dial(AtomicI64, AtomicU64);

pub const NOW: i64 = 1_790_000_000_000;
pub const DAY: i64 = 24 * 3_600 * 1_000;

impl Dial {
    pub fn at(now: i64) -> Arc<Dial> {
        static SEEDS: AtomicU64 = AtomicU64::new(0);
        // Each clock its own numbers.
        let seed = SEEDS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Arc::new(Dial(AtomicI64::new(now), AtomicU64::new(seed)))
    }

    pub fn pass(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for Dial {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = self.1.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) ^ 0x5bf0_3635_dcf5_9a1c;
            let next = next.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }
}

pub struct Place {
    pub site: Arc<Site<MemoryDesk>>,
    pub clock: Arc<Dial>,
    pub address: Address,
    pub at: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

impl Place {
    pub async fn open() -> Place {
        Place::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Place {
        let clock = Dial::at(NOW);
        let (authority, _) = Authority::make("site", clock.clone()).unwrap();
        let site = Site::new(MemoryDesk::default(), authority, vec!["127.0.0.1".into()], limits, clock.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let address = Address::parse(&format!("https://{at}")).unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = agent::site::serve(site.clone(), listener, async {
            let _ = stopped.await;
        });
        let served = tokio::spawn(async { serving.await.unwrap() });
        Place { site, clock, address, at, stop: Some(stop), served }
    }

    pub async fn close(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.served.await.unwrap();
    }

    /// A token for a machine, good for an hour.
    pub fn token(&self, machine: u128, serial: Option<&str>) -> Token {
        let token = self.site.make_token();
        let over = UnixMillis(self.clock.now().0 + 3_600_000);
        self.site.desk().expect(&token, MachineId(machine), serial, over);
        token
    }

    pub async fn enrol(&self, token: &Token, serial: &str) -> Result<Identity, EnrolError> {
        enrol_in_memory(&self.address, token, &claim(serial), self.clock.clone()).await
    }

    /// An agent of this machine, enrolled, with its connection.
    pub async fn agent(&self, machine: u128, serial: &str) -> Agent {
        let identity = self.enrol(&self.token(machine, Some(serial)), serial).await.unwrap();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let link = Link::new(self.address.clone(), identity.tls(clock).unwrap());
        Agent { link, report: first_report(MachineId(machine), serial) }
    }

    pub fn codes(&self, machine: Option<u128>) -> Vec<String> {
        self.site.desk().look().codes(machine.map(MachineId)).into_iter().map(str::to_owned).collect()
    }
}

pub fn claim(serial: &str) -> Claim {
    Claim { serial: serial.into(), hostname: "node".into() }
}

pub struct Agent {
    pub link: Link,
    /// The report that is sent next.
    pub report: Report,
}

impl Agent {
    pub async fn send(&mut self) -> Result<Answer, LinkError> {
        let answer = self.link.post(REPORT, &self.report).await;
        self.report.number += 1;
        answer
    }
}

pub fn first_report(machine: MachineId, serial: &str) -> Report {
    let state = State::default();
    Report {
        machine,
        serial: serial.into(),
        instance: 11,
        number: 1,
        sent_at: UnixMillis(NOW),
        digest: state.digest(),
        state: Some(state),
        events: Vec::new(),
        done: Vec::new(),
    }
}
