//! The wiring of what looks after machines: reconcilers, BMCs, agents, robots. Nothing of it is needed to serve, so nothing
//! of it keeps a site from starting but a wrong option.
//!
//! Prepared before the control API, which hands out agents' tokens; started after the log can be written.

use super::{Folder, Options};
use agent::ca::Authority;
use agent::site::Site as AgentSite;
use anyhow::{Context, Result};
use controller::agents::{AgentDesk, DeskClock};
use controller::reconcile::bmcs::{self, BmcParts, READ_AGAIN};
use controller::reconcile::orders::{NoRobots, Robots};
use controller::reconcile::robots::{LinkedRobots, kept as robots_kept};
use controller::reconcile::{self, Bell, Counts, Ended, ReconcilerParts, Wants};
use gateway::{Clock as _, SystemClock};
use ledger::key::SigningKey;
use robots::Broker;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use types::UnixMillis;

type Now = Arc<dyn Fn() -> UnixMillis + Send + Sync>;
type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// What is there before anything runs.
pub struct Prepared {
    pub bell: Bell,
    pub counts: Counts,
    wants: Wants,
    store: Store,
    agents: Option<(Arc<AgentSite<AgentDesk>>, TcpListener)>,
}

/// What runs.
pub struct Running {
    tasks: Vec<JoinHandle<()>>,
    agents: Option<std::net::SocketAddr>,
    robots: Option<robots::Handle>,
}

fn clocks(clock: &Arc<SystemClock>) -> (Now, Random) {
    let (wall, dice) = (clock.clone(), clock.clone());
    (Arc::new(move || wall.now()), Arc::new(move |bytes: &mut [u8]| dice.random(bytes)))
}

/// Opens what can be wrong: the CA, the agents' port.
pub async fn prepare(options: &Options, folder: &Folder, store: &Store, clock: &Arc<SystemClock>) -> Result<Prepared> {
    let (bell, wants) = (Bell::default(), Wants::default());
    let agents = match options.agents {
        None => None,
        Some(address) => {
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("cannot listen for agents on {address}: is the port in use?"))?;
            let (now, random) = clocks(clock);
            let desk_clock = Arc::new(DeskClock { now, random });
            let authority = Authority::open(&folder.dir.join("keys"), &folder.site.site, desk_clock.clone())?;
            let mut names = options.agents_name.clone();
            names.extend(["127.0.0.1".to_owned(), "localhost".to_owned()]);
            if !address.ip().is_unspecified() {
                names.push(address.ip().to_string());
            }
            names.sort();
            names.dedup();
            let desk = AgentDesk::new(store.clone(), wants.clone(), bell.clone());
            Some((AgentSite::new(desk, authority, names, Default::default(), desk_clock), listener))
        }
    };
    Ok(Prepared { bell, counts: Counts::default(), wants, store: store.clone(), agents })
}

impl Prepared {
    /// Makes tokens, where agents can enrol.
    pub fn agent_token(&self) -> Option<controller::AgentTokens> {
        let site = self.agents.as_ref()?.0.clone();
        Some(Arc::new(move || {
            let token = site.make_token();
            (token.text(), token.hash())
        }))
    }

    pub async fn start(
        self,
        options: &Options,
        folder: &Folder,
        key: &Arc<SigningKey>,
        clock: &Arc<SystemClock>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Running> {
        let Prepared { bell, counts, wants, store, agents } = self;
        let (now, random) = clocks(clock);
        let mut running = Running { tasks: Vec::new(), agents: None, robots: None };
        if let Some((site, listener)) = agents {
            running.agents = Some(listener.local_addr()?);
            running.tasks.push(tokio::spawn(site.desk().clone().keep_flushing()));
            let stopped = stopped.clone();
            running.tasks.push(tokio::spawn(async move {
                if let Err(error) = agent::site::serve(site, listener, stop(stopped)).await {
                    tracing::error!(%error, "agents are not served");
                }
            }));
        }
        if !options.reconcile && options.database_url.is_some() {
            return Ok(running);
        }
        let mut linked: Arc<dyn Robots> = Arc::new(NoRobots);
        if let Some(url) = &options.mqtt_url {
            let options = robots::Options {
                broker: broker(options, url)?,
                client_id: format!("hoheit-{}", folder.site.site),
                rules: Default::default(),
                robots: Vec::new(),
                clock: now.clone(),
            };
            let (handle, reports) = robots::start(options, robots_kept(&store).await?)?;
            let robots = LinkedRobots::new(handle.clone(), now.clone());
            let listening = robots.clone().listen(reports, store.clone(), bell.clone());
            running.tasks.push(tokio::spawn(listening));
            running.tasks.push(tokio::spawn(robots.clone().keep(store.clone())));
            running.robots = Some(handle);
            linked = Arc::new(robots);
        }
        let parts = BmcParts {
            store: store.clone(),
            wants: wants.clone(),
            bell: bell.clone(),
            clock: now.clone(),
            random: random.clone(),
            ca: options.bmc_ca.as_deref().map(roots).transpose()?,
            plain_on_loopback: options.bmc_plain_on_loopback,
            firmware_url: options.firmware_url.clone(),
            read_again: READ_AGAIN,
        };
        let executor = tokio::spawn(bmcs::run(parts));
        let (looks, link) = (executor.abort_handle(), running.robots.clone());
        running.tasks.push(executor);
        let parts = ReconcilerParts {
            store,
            site: folder.site.site.clone(),
            key: key.clone(),
            clock: now,
            random,
            rules: Default::default(),
            drains: Default::default(),
            orders: Default::default(),
            wants,
            robots: linked,
            counts,
            fault: None,
        };
        running.tasks.push(tokio::spawn(reconciling(parts, bell, stop(stopped), looks, link)));
        Ok(running)
    }
}

/// Reconciles. When another controller has taken over, the executors end too: that one has its own, and two links with one name
/// would push each other off the broker.
async fn reconciling(
    parts: ReconcilerParts,
    bell: Bell,
    shutdown: impl Future<Output = ()> + Send,
    looks: AbortHandle,
    link: Option<robots::Handle>,
) {
    if reconcile::run(parts, bell, shutdown).await == Ended::Fenced {
        looks.abort();
        let _told = link.map(|link| link.stop());
    }
}

async fn stop(mut stopped: watch::Receiver<bool>) {
    let _ended = stopped.wait_for(|stop| *stop).await;
}

fn broker(options: &Options, url: &str) -> Result<Broker> {
    let password = match &options.mqtt_password_file {
        None => String::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path);
            text.with_context(|| format!("read {}", path.display()))?.trim_end_matches('\n').to_owned()
        }
    };
    let credentials = options.mqtt_user.clone().map(|user| (user, password));
    let ca =
        options.mqtt_ca.as_ref().map(|path| std::fs::read(path).with_context(|| format!("read {}", path.display())));
    Ok(Broker::new(url, credentials, ca.transpose()?.as_deref())?)
}

fn roots(path: &Path) -> Result<Arc<rustls::RootCertStore>> {
    let mut roots = rustls::RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(path).with_context(|| format!("read {}", path.display()))?;
    for certificate in read {
        roots.add(certificate.with_context(|| format!("a certificate in {}", path.display()))?)?;
    }
    anyhow::ensure!(!roots.is_empty(), "{} holds no certificate (PEM)", path.display());
    Ok(Arc::new(roots))
}

impl Running {
    /// Says where agents connect.
    pub fn announce(&self) {
        if let Some(address) = self.agents {
            println!("  agents        https://{address}");
        }
    }

    /// Everything that was told to stop has stopped, or is dropped: each is as safe as after a crash.
    pub async fn stop(self) {
        if let Some(robots) = self.robots {
            let _told = robots.stop();
        }
        for task in self.tasks {
            task.abort();
            let _ended = task.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever is told to stop leaves its executors to whoever stops everything; whoever is taken over from has none from then on.
    #[tokio::test]
    async fn executors_end_when_another_controller_has_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/hoheit.db", folder.path().display())).await.unwrap();
        let clock: Now = Arc::new(|| UnixMillis(1));
        let start = || {
            let wants = Wants::default();
            let options = robots::Options {
                // Nobody listens there.
                broker: Broker::new("mqtt://127.0.0.1:1", None, None).unwrap(),
                client_id: "hoheit-test".to_owned(),
                rules: Default::default(),
                robots: Vec::new(),
                clock: clock.clone(),
            };
            let (link, reports) = robots::start(options, Default::default()).unwrap();
            let parts = ReconcilerParts {
                store: store.clone(),
                site: "test".to_owned(),
                key: Arc::new(SigningKey::from_seed(&[1; 32]).unwrap()),
                clock: clock.clone(),
                random: Arc::new(|bytes| bytes.fill(1)),
                rules: Default::default(),
                drains: Default::default(),
                orders: Default::default(),
                wants: wants.clone(),
                robots: Arc::new(NoRobots),
                counts: Counts::default(),
                fault: None,
            };
            (parts, wants, link, reports, tokio::spawn(std::future::pending::<()>()))
        };
        let (parts, wants, link, mut reports, looks) = start();
        let first =
            reconciling(parts, Bell::default(), std::future::pending(), looks.abort_handle(), Some(link.clone()));
        let first = tokio::spawn(first);
        while wants.epoch() == 0 {
            tokio::task::yield_now().await;
        }
        store.fleet_epoch_take().await.unwrap();
        first.await.unwrap();
        assert!(looks.await.unwrap_err().is_cancelled());
        while reports.recv().await.is_some() {}
        assert_eq!(link.export().await, Err(robots::AskError::Stopped));
        let (parts, wants, link, _reports, looks) = start();
        let told = async {
            while wants.epoch() == 0 {
                tokio::task::yield_now().await;
            }
        };
        reconciling(parts, Bell::default(), told, looks.abort_handle(), Some(link.clone())).await;
        assert!(!looks.is_finished());
        assert!(link.export().await.is_ok());
    }
}
