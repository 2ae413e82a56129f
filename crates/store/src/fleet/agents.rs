//! Agents' tokens and certificates, and where BMCs are. A token is redeemed once, in the transaction that names the
//! certificate it was redeemed for.

use crate::database::{Columns, Session, int, values};
use crate::fleet::events::{self, FleetEvent};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::{MachineId, UnixMillis};

statements! {
    PUT_TOKEN = "INSERT INTO agent_tokens (hash, machine, serial, expires_at, key) VALUES ($1, $2, $3, $4, NULL)";
    SPEND = "UPDATE agent_tokens SET key = $2 WHERE hash = $1 AND (key IS NULL OR key = $2)";
    TOKEN = "SELECT machine, serial, expires_at, key FROM agent_tokens WHERE hash = $1";
    MARK = "SELECT instance, number FROM agent_marks WHERE machine = $1";
    PUT_MARK = "INSERT INTO agent_marks (machine, instance, number) VALUES ($1, $2, $3)
                ON CONFLICT (machine) DO UPDATE SET instance = excluded.instance, number = excluded.number";
    PUT_CERTIFICATE = "INSERT INTO agent_certificates (serial, machine, not_after, revoked) VALUES ($1, $2, $3, FALSE)";
    CERTIFICATE = "SELECT machine, not_after, revoked FROM agent_certificates WHERE serial = $1";
    REVOKE = "UPDATE agent_certificates SET revoked = TRUE WHERE machine = $1 AND revoked = FALSE";
    END_TOKENS = "UPDATE agent_tokens SET expires_at = $2 WHERE machine = $1 AND expires_at > $2";
    /// Those that were given out before this one: all live equally long.
    OLDER = "SELECT o.serial FROM agent_certificates AS o JOIN agent_certificates AS n ON n.machine = o.machine
             WHERE n.serial = $1 AND o.machine = $2 AND o.revoked = FALSE AND o.not_after < n.not_after";
    REVOKE_ONE = "UPDATE agent_certificates SET revoked = TRUE WHERE serial = $1 AND revoked = FALSE";
    PUT_BMC = "INSERT INTO bmcs (machine, url, username, password, pin) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (machine) DO UPDATE SET url = excluded.url, username = excluded.username,
               password = excluded.password, pin = excluded.pin";
    BMCS = "SELECT b.machine, b.url, b.username, b.password, b.pin FROM bmcs AS b JOIN machines AS m ON m.id = b.machine
            WHERE m.lifecycle <> 'retired' ORDER BY b.machine";
    BMC = "SELECT machine, url, username, password, pin FROM bmcs WHERE machine = $1";
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentToken {
    pub machine: MachineId,
    /// Only a machine that says this serial number may spend it.
    pub serial: Option<String>,
    pub expires_at: UnixMillis,
    /// The key that spent it.
    pub key: Option<String>,
}

/// What became of a token that somebody showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redeemed {
    For(MachineId),
    Unknown,
    Expired(MachineId),
    OtherSerial(MachineId, String),
    /// By another key.
    Spent(MachineId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentCertificate {
    pub machine: MachineId,
    pub not_after: UnixMillis,
    pub revoked: bool,
}

/// Where a machine's BMC is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bmc {
    pub machine: MachineId,
    pub url: String,
    pub username: String,
    pub password: String,
    /// SHA-256 of its TLS certificate, hex; none is: by the site's CA.
    pub pin: Option<String>,
}

fn bmc(mut c: Columns<'_>) -> Result<Bmc, StoreError> {
    Ok(Bmc { machine: c.parsed()?, url: c.text()?, username: c.text()?, password: c.text()?, pin: c.text_opt()? })
}

async fn redeem(
    session: &mut Session,
    hash: &str,
    key: &str,
    serial: &str,
    now: UnixMillis,
) -> Result<Redeemed, StoreError> {
    let rows = session.rows(TOKEN, values![hash]).await?;
    let Some(row) = rows.first() else { return Ok(Redeemed::Unknown) };
    let mut c = row.columns();
    let (machine, bound, expires_at): (MachineId, _, _) = (c.parsed()?, c.text_opt()?, UnixMillis(c.int()?));
    if now >= expires_at {
        return Ok(Redeemed::Expired(machine));
    }
    if let Some(bound) = bound.filter(|bound| bound != serial) {
        return Ok(Redeemed::OtherSerial(machine, bound));
    }
    match session.run(SPEND, values![hash, key]).await? {
        0 => Ok(Redeemed::Spent(machine)),
        _ => Ok(Redeemed::For(machine)),
    }
}

async fn take_events(
    session: &mut Session,
    machine: MachineId,
    events: &[(u64, u64, fleet::observed::Event)],
) -> Result<(), StoreError> {
    let rows = session.rows(MARK, values![machine]).await?;
    let mut mark = match rows.first() {
        None => (0, 0),
        Some(row) => {
            let mut c = row.columns();
            (c.int()?, c.int()?)
        }
    };
    // Runs are named by a random number: as the database's integer it is the same bits.
    for (instance, number, event) in events {
        let name = (instance.cast_signed(), int(*number, "the number of events")?);
        if name.0 == mark.0 && name.1 <= mark.1 {
            continue;
        }
        mark = name;
        super::observations::incident(session, machine, event).await?;
    }
    session.run(PUT_MARK, values![machine, mark.0, mark.1]).await.map(|_| ())
}

impl Store {
    pub async fn agent_token_create(
        &self,
        hash: &str,
        token: &AgentToken,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let (values, entry) = (values![hash, token.machine, &token.serial, token.expires_at], entry.clone());
        let writing = self.gathered(move |session| {
            Box::pin(async move {
                let put = session.run(PUT_TOKEN, values).await;
                put.map_err(|error| error.meaning("a token of this text", "this machine"))?;
                crate::change::write_entry(session, &entry).await
            })
        });
        writing.await
    }

    /// Spends a token: the first key that does is remembered, and answered the same as long as the token is good.
    pub async fn agent_redeem(
        &self,
        hash: &str,
        key: &str,
        serial: &str,
        now: UnixMillis,
    ) -> Result<Redeemed, StoreError> {
        let (hash, key, serial) = (hash.to_owned(), key.to_owned(), serial.to_owned());
        self.gathered(move |session| Box::pin(async move { redeem(session, &hash, &key, &serial, now).await })).await
    }

    /// Stores events of an agent that were not stored before, each known by its run and its number.
    pub async fn agent_events(
        &self,
        machine: MachineId,
        events: &[(u64, u64, fleet::observed::Event)],
    ) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.gathered(move |session| Box::pin(async move { take_events(session, machine, &events).await })).await
    }

    /// A certificate that the site's CA gave out; one before it holds until its time is over.
    pub async fn agent_certify(&self, serial: &str, certificate: &AgentCertificate) -> Result<(), StoreError> {
        let values = values![serial, certificate.machine, certificate.not_after];
        let writing = self
            .gathered(move |session| Box::pin(async move { session.run(PUT_CERTIFICATE, values).await.map(|_| ()) }));
        writing.await
    }

    pub async fn agent_certificate(&self, serial: &str) -> Result<Option<AgentCertificate>, StoreError> {
        let rows = self.database.rows(CERTIFICATE, values![serial]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut c = row.columns();
        Ok(Some(AgentCertificate { machine: c.parsed()?, not_after: UnixMillis(c.int()?), revoked: c.flag()? }))
    }

    /// A certificate of an agent that enrolled: those of its machine before it are believed no more. Answers how many those were.
    pub async fn agent_enrol(&self, serial: &str, certificate: &AgentCertificate) -> Result<u64, StoreError> {
        let mut session = self.database.write().await?;
        let withdrawn = session.run(REVOKE, values![certificate.machine]).await?;
        session.run(PUT_CERTIFICATE, values![serial, certificate.machine, certificate.not_after]).await?;
        session.commit().await?;
        Ok(withdrawn)
    }

    /// The machine's agent shows this certificate: those before it are believed no more. Writes only if there are any.
    pub async fn agent_supersede(&self, machine: MachineId, serial: &str) -> Result<u64, StoreError> {
        let older = self.database.rows(OLDER, values![serial, machine]).await?;
        if older.is_empty() {
            return Ok(0);
        }
        let mut session = self.database.write().await?;
        let mut withdrawn = 0;
        for row in &older {
            withdrawn += session.run(REVOKE_ONE, values![row.columns().text()?]).await?;
        }
        session.commit().await?;
        Ok(withdrawn)
    }

    /// No certificate of this machine's agent is believed from now on, and no token that was made for it. None of both there is no
    /// change, and no audit entry.
    pub async fn agent_revoke(
        &self,
        machine: MachineId,
        at: UnixMillis,
        event: &FleetEvent,
        entry: &AuditEntry,
    ) -> Result<u64, StoreError> {
        let mut change = self.change().await?;
        let revoked = change.run(REVOKE, values![machine]).await?;
        let ended = change.run(END_TOKENS, values![machine, at]).await?;
        if revoked + ended == 0 {
            return Ok(0);
        }
        events::insert_in_change(&mut change, event).await?;
        change.commit(entry).await?;
        Ok(revoked + ended)
    }

    pub async fn bmc_set(&self, to: &[Bmc], entry: &AuditEntry) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        for bmc in to {
            let values = values![bmc.machine, &bmc.url, &bmc.username, &bmc.password, &bmc.pin];
            change.run(PUT_BMC, values).await.map_err(|error| error.meaning("a BMC", "this machine"))?;
        }
        change.commit(entry).await
    }

    /// The BMCs of all machines that are not retired.
    pub async fn bmcs(&self) -> Result<Vec<Bmc>, StoreError> {
        let rows = self.database.rows(BMCS, values![]).await?;
        rows.iter().map(|row| bmc(row.columns())).collect()
    }

    pub async fn bmc(&self, machine: MachineId) -> Result<Option<Bmc>, StoreError> {
        let rows = self.database.rows(BMC, values![machine]).await?;
        rows.first().map(|row| bmc(row.columns())).transpose()
    }
}
