//! The gateway's one [`routing::Quarantine`]: what broke engines lately is not sent to more of them.
//!
//! On the ordinary path, with nothing in it, a request costs one relaxed load. If we crash here: it is forgotten.

use crate::receipt::Obligation;
use crate::refusal::Refusal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use types::Code;

#[derive(Default)]
pub struct Quarantine {
    inner: Mutex<routing::Quarantine>,
    /// Something is in it.
    used: AtomicBool,
}

impl Quarantine {
    fn inner(&self) -> MutexGuard<'_, routing::Quarantine> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The refusal of a request that is held back.
    pub fn held(&self, obligation: &Obligation) -> Option<Refusal> {
        if !self.used.load(Ordering::Relaxed) {
            return None;
        }
        let now = obligation.gateway().clock.monotonic_millis();
        let print = obligation.request_commitment.as_ref()?;
        let millis = self.inner().held_millis(obligation.key.tenant, print, now)?;
        let minutes = millis.div_ceil(60_000);
        Some(Refusal::new(
            Code::RequestQuarantined,
            format!(
                "this very request broke off at two engines: it is not sent to a third for {minutes} min. \
                 Change it (a shorter prompt, another response_format or tool), or ask the operator"
            ),
        ))
    }

    /// An engine broke that was well when it got this request.
    pub fn strike(&self, obligation: &Obligation) {
        let Some(print) = &obligation.request_commitment else { return };
        self.inner().strike(obligation.key.tenant, print, obligation.gateway().clock.monotonic_millis());
        self.used.store(true, Ordering::Relaxed);
    }

    /// An engine answered it.
    pub fn forget(&self, obligation: &Obligation) {
        if !self.used.load(Ordering::Relaxed) {
            return;
        }
        if let Some(print) = &obligation.request_commitment {
            let mut inner = self.inner();
            inner.forget(obligation.key.tenant, print);
            self.used.store(!inner.is_empty(), Ordering::Relaxed);
        }
    }
}
