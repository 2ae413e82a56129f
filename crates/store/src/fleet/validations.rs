//! Validation runs: the newest of each machine, and only the one that its present stay asks for. What ended stands: neither an
//! agent that was started anew nor one that says another thing later changes what a certificate will speak of.

use super::machines;
use super::observations::{self, Observation};
use crate::{Store, StoreError};
use fleet::machine::{Lifecycle, Passed};
use fleet::observed::Validation;
use types::{MachineId, UnixMillis};

impl Store {
    /// Stores how far a run is and makes its machine due; false, and nothing stored, if the machine does not wait for this run.
    pub async fn validation(&self, machine: MachineId, at: UnixMillis, run: &Validation) -> Result<bool, StoreError> {
        let mut session = self.database.write().await?;
        // First, since it locks the row: no step comes between what is read here and what is written.
        observations::touch(&mut session, machine).await?;
        let row = machines::one(&mut session, machine).await?;
        let row = row.ok_or(StoreError::NotFound { what: "this machine" })?;
        let wanted = Passed { suite: row.spec.suite, entry: row.machine.entry, attempt: row.machine.attempt };
        if row.machine.lifecycle != Lifecycle::Provisioned || !run.is(&wanted) {
            return Ok(false);
        }
        let (before, _) = observations::observed(&mut session, machine).await?;
        if before.validation.is_some_and(|before| before.is(&wanted) && before.ended_at.is_some()) {
            return Ok(false);
        }
        observations::put(&mut session, machine, at, &Observation::Validation(run.clone())).await?;
        session.commit().await?;
        Ok(true)
    }
}
