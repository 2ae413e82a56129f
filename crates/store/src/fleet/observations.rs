//! What was seen of machines. Each source writes its own kind and nothing else, so none overwrites another; each write makes
//! the machine due.

use super::{from_json, json};
use crate::database::{Row, Session, int, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use fleet::observed::{
    AgentSeen, BmcSeen, BmcTrouble, Certified, Custody, Event, Observed, OrderSeen, SuiteRefused, Updates, Validation,
};
use fleet::order::Order;
use serde::Serialize;
use types::{MachineId, UnixMillis};

statements! {
    PUT = "INSERT INTO observations (machine, kind, at, body) VALUES ($1, $2, $3, $4)
           ON CONFLICT (machine, kind) DO UPDATE SET at = excluded.at, body = excluded.body";
    OF = "SELECT kind, body, at FROM observations WHERE machine = $1";
    ALIVE = "UPDATE observations SET at = $2 WHERE machine = $1 AND kind = 'agent' AND at < $2";
    ONE = "SELECT body FROM observations WHERE machine = $1 AND kind = $2";
    TOUCH = "UPDATE machines SET seen = seen + 1 WHERE id = $1";
    NEXT_INCIDENT = "UPDATE counters SET value = value + 1 WHERE name = 'incidents' RETURNING value";
    PUT_INCIDENT = "INSERT INTO incidents (seq, machine, body) VALUES ($1, $2, $3)";
    INCIDENTS = "SELECT seq, body FROM incidents WHERE machine = $1 ORDER BY seq LIMIT 256";
    LAST_ORDER = "SELECT body FROM orders WHERE machine = $1 ORDER BY entry DESC, id DESC LIMIT 1";
    LAST_ACCEPTANCE = "SELECT c.id, c.entry, c.ord, h.size FROM acceptances AS c CROSS JOIN tree_head AS h
                       WHERE c.machine = $1 AND h.id = 1 ORDER BY c.ord DESC LIMIT 1";
}

/// What one source saw.
#[derive(Debug, Clone)]
pub enum Observation {
    Custody(Custody),
    Bmc(BmcSeen),
    /// Or that there is none any more.
    BmcTrouble(Option<BmcTrouble>),
    Updates(Updates),
    Refused(SuiteRefused),
    Agent(AgentSeen),
    Validation(Validation),
    /// Workloads that run now.
    Running(u32),
}

impl Observation {
    fn kind(&self) -> &'static str {
        match self {
            Observation::Custody(_) => "custody",
            Observation::Bmc(_) => "bmc",
            Observation::BmcTrouble(_) => "bmc_trouble",
            Observation::Updates(_) => "updates",
            Observation::Refused(_) => "refused",
            Observation::Agent(_) => "agent",
            Observation::Validation(_) => "validation",
            Observation::Running(_) => "running",
        }
    }

    fn body(&self) -> Result<String, StoreError> {
        fn text<T: Serialize>(value: &T) -> Result<String, StoreError> {
            json(value)
        }
        match self {
            Observation::Custody(seen) => text(seen),
            Observation::Bmc(seen) => text(seen),
            Observation::BmcTrouble(seen) => text(seen),
            Observation::Updates(seen) => text(seen),
            Observation::Refused(seen) => text(seen),
            Observation::Agent(seen) => text(seen),
            Observation::Validation(seen) => text(seen),
            Observation::Running(seen) => text(seen),
        }
    }
}

/// Everything seen of a machine, and the numbers of the events among it.
pub(crate) async fn observed(session: &mut Session, machine: MachineId) -> Result<(Observed, Vec<i64>), StoreError> {
    let mut seen = Observed::default();
    for row in session.rows(OF, values![machine]).await? {
        let mut c = row.columns();
        let (kind, body, at) = (c.text()?, c.text()?, UnixMillis(c.int()?));
        let what = format!("{kind} of {machine}");
        match kind.as_str() {
            "custody" => seen.custody = Some(from_json(&what, &body)?),
            "bmc" => seen.bmc = Some(from_json(&what, &body)?),
            "bmc_trouble" => seen.bmc_trouble = from_json(&what, &body)?,
            "updates" => seen.updates = Some(from_json(&what, &body)?),
            "refused" => seen.refused = Some(from_json(&what, &body)?),
            // The time alone moves on while nothing changes.
            "agent" => seen.agent = Some(AgentSeen { at, ..from_json(&what, &body)? }),
            "validation" => seen.validation = Some(from_json(&what, &body)?),
            "running" => seen.running = from_json(&what, &body)?,
            _ => return Err(StoreError::Corrupt { what }),
        }
    }
    if let Some(row) = session.rows(LAST_ORDER, values![machine]).await?.first() {
        let order: Order = from_json("an order", &row.columns().text()?)?;
        let finding = order.finding.map(|finding| finding.text);
        seen.order = Some(OrderSeen { entry: order.entry, state: order.state, finding });
    }
    if let Some(row) = session.rows(LAST_ACCEPTANCE, values![machine]).await?.first() {
        let mut c = row.columns();
        let (certificate, entry, ord, size) = (c.parsed()?, c.count()?, c.count()?, c.count()?);
        seen.certified = Some(Certified { entry, certificate, sealed: ord < size });
    }
    let mut numbers = Vec::new();
    for row in session.rows(INCIDENTS, values![machine]).await? {
        let mut c = row.columns();
        numbers.push(c.int()?);
        seen.events.push(from_json("an event", &c.text()?)?);
    }
    Ok((seen, numbers))
}

fn one(rows: &[Row]) -> Result<Option<String>, StoreError> {
    rows.first().map(|row| row.columns().text()).transpose()
}

impl Store {
    /// Stores what was seen, of any number of machines, and makes them due. A machine that does not exist is an error, and
    /// then nothing is stored.
    pub async fn observe(&self, seen: &[(MachineId, UnixMillis, Observation)]) -> Result<(), StoreError> {
        let seen = seen.to_vec();
        let writing = self.gathered(move |session| {
            Box::pin(async move {
                for (machine, at, observation) in &seen {
                    put(session, *machine, *at, observation).await?;
                }
                Ok(())
            })
        });
        writing.await
    }

    /// Agents that are there and have nothing new to say. Makes nothing due: silence is what time finds.
    pub async fn agents_alive(&self, heard: &[(MachineId, UnixMillis)]) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        for (machine, at) in heard {
            session.run(ALIVE, values![*machine, *at]).await?;
        }
        session.commit().await
    }

    /// Stores events of machines, to be decided on by their next step.
    pub async fn incidents(&self, events: &[(MachineId, Event)]) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        for (machine, event) in events {
            incident(&mut session, *machine, event).await?;
        }
        session.commit().await
    }

    /// Everything seen of one machine.
    pub async fn observed(&self, machine: MachineId) -> Result<Observed, StoreError> {
        let mut session = self.database.read().await?;
        Ok(observed(&mut session, machine).await?.0)
    }

    /// What the agent last said, to compare a report with.
    pub async fn agent_seen(&self, machine: MachineId) -> Result<Option<AgentSeen>, StoreError> {
        let body = one(&self.database.rows(ONE, values![machine, "agent"]).await?)?;
        body.map(|body| from_json("an agent's report", &body)).transpose()
    }
}

pub(crate) async fn incident(session: &mut Session, machine: MachineId, event: &Event) -> Result<(), StoreError> {
    touch(session, machine).await?;
    let seq = session.number(NEXT_INCIDENT, values![]).await?;
    session.run(PUT_INCIDENT, values![int(seq, "the number of events")?, machine, json(event)?]).await.map(|_| ())
}

pub(crate) async fn put(
    session: &mut Session,
    machine: MachineId,
    at: UnixMillis,
    observation: &Observation,
) -> Result<(), StoreError> {
    touch(session, machine).await?;
    session.run(PUT, values![machine, observation.kind(), at, observation.body()?]).await.map(|_| ())
}

pub(crate) async fn touch(session: &mut Session, machine: MachineId) -> Result<(), StoreError> {
    match session.run(TOUCH, values![machine]).await? {
        0 => Err(StoreError::NotFound { what: "this machine" }),
        _ => Ok(()),
    }
}
