//! Agents' tokens and certificates, and where BMCs are. A token is redeemed once, in the transaction that names the
//! certificate it was redeemed for.

use crate::database::{Columns, values};
use crate::statements::statements;
use crate::{Store, StoreError};
use types::audit::AuditEntry;
use types::{MachineId, UnixMillis};

statements! {
    PUT_TOKEN = "INSERT INTO agent_tokens (hash, machine, expires_at, used_at) VALUES ($1, $2, $3, NULL)";
    REDEEM = "UPDATE agent_tokens SET used_at = $2 WHERE hash = $1 AND used_at IS NULL AND expires_at > $2";
    TOKEN = "SELECT machine, expires_at, used_at FROM agent_tokens WHERE hash = $1";
    PUT_CERTIFICATE = "INSERT INTO agent_certificates (serial, machine, not_after, revoked) VALUES ($1, $2, $3, FALSE)";
    CERTIFICATE = "SELECT machine, not_after, revoked FROM agent_certificates WHERE serial = $1";
    REVOKE = "UPDATE agent_certificates SET revoked = TRUE WHERE machine = $1";
    PUT_BMC = "INSERT INTO bmcs (machine, url, username, password, pin) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (machine) DO UPDATE SET url = excluded.url, username = excluded.username,
               password = excluded.password, pin = excluded.pin";
    BMCS = "SELECT b.machine, b.url, b.username, b.password, b.pin FROM bmcs AS b JOIN machines AS m ON m.id = b.machine
            WHERE m.lifecycle <> 'retired' ORDER BY b.machine";
    BMC = "SELECT machine, url, username, password, pin FROM bmcs WHERE machine = $1";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentToken {
    pub machine: MachineId,
    pub expires_at: UnixMillis,
    pub used_at: Option<UnixMillis>,
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

impl Store {
    pub async fn agent_token_create(
        &self,
        hash: &str,
        machine: MachineId,
        expires_at: UnixMillis,
        entry: &AuditEntry,
    ) -> Result<(), StoreError> {
        let mut change = self.change().await?;
        let put = change.run(PUT_TOKEN, values![hash, machine, expires_at]).await;
        put.map_err(|error| error.meaning("a token of this text", "this machine"))?;
        change.commit(entry).await
    }

    /// What is known of a token, whether or not it may still be redeemed.
    pub async fn agent_token(&self, hash: &str) -> Result<Option<AgentToken>, StoreError> {
        let rows = self.database.rows(TOKEN, values![hash]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut c = row.columns();
        Ok(Some(AgentToken { machine: c.parsed()?, expires_at: UnixMillis(c.int()?), used_at: c.time_opt()? }))
    }

    /// Redeems a token for a certificate; false if it was redeemed before, is too old or unknown.
    pub async fn agent_enrol(
        &self,
        hash: &str,
        now: UnixMillis,
        serial: &str,
        certificate: &AgentCertificate,
    ) -> Result<bool, StoreError> {
        let mut session = self.database.write().await?;
        if session.run(REDEEM, values![hash, now]).await? == 0 {
            return Ok(false);
        }
        session.run(PUT_CERTIFICATE, values![serial, certificate.machine, certificate.not_after]).await?;
        session.commit().await?;
        Ok(true)
    }

    /// A renewed certificate; the one before it holds until its time is over.
    pub async fn agent_renew(&self, serial: &str, certificate: &AgentCertificate) -> Result<(), StoreError> {
        let mut session = self.database.write().await?;
        session.run(PUT_CERTIFICATE, values![serial, certificate.machine, certificate.not_after]).await?;
        session.commit().await
    }

    pub async fn agent_certificate(&self, serial: &str) -> Result<Option<AgentCertificate>, StoreError> {
        let rows = self.database.rows(CERTIFICATE, values![serial]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut c = row.columns();
        Ok(Some(AgentCertificate { machine: c.parsed()?, not_after: UnixMillis(c.int()?), revoked: c.flag()? }))
    }

    /// No certificate of this machine's agent is believed from now on.
    pub async fn agent_revoke(&self, machine: MachineId) -> Result<u64, StoreError> {
        let mut session = self.database.write().await?;
        let revoked = session.run(REVOKE, values![machine]).await?;
        session.commit().await?;
        Ok(revoked)
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
