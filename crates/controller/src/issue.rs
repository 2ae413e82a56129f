//! Signing snapshots for the gateways, each good for a time: a gateway that hears nothing more of the store serves from its
//! last snapshot until that time is over, and then nothing.

use ledger::key::SigningKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use types::snapshot::Issued;
use types::{Snapshot, UnixMillis};

/// For how long a site goes on without its database: long enough for a failover and for somebody who is called at night;
/// and the longest that a revoked key or a new rule can stay unknown to a gateway that is cut off.
pub const TTL: Duration = Duration::from_secs(3_600);

/// What is published is renewed after this part of its time: when the store goes away, five sixths are left at least.
const RENEWALS: u32 = 6;

/// Signs snapshots. Clones share the time of the last one.
#[derive(Clone)]
pub struct Issuer {
    key: Arc<SigningKey>,
    ttl: Duration,
    last: Arc<AtomicI64>,
}

impl Issuer {
    pub fn new(key: Arc<SigningKey>, ttl: Duration) -> Self {
        Issuer { key, ttl, last: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The public key that gateways hold.
    pub fn public(&self) -> [u8; 32] {
        self.key.public()
    }

    /// When what was published needs more time.
    pub(crate) fn renewal(&self) -> Duration {
        self.ttl / RENEWALS
    }

    /// A snapshot as a gateway takes it. A later one is never issued at an earlier time: a wall clock that is set back
    /// would otherwise keep its gateways from taking renewals.
    pub fn issue(&self, snapshot: Snapshot, now: UnixMillis) -> Vec<u8> {
        let before = self.last.fetch_max(now.0, Ordering::AcqRel);
        let issued_at = UnixMillis(now.0.max(before));
        let expires_at = UnixMillis(issued_at.0.saturating_add(self.ttl.as_millis() as i64));
        ledger::snapshot::sign(&Issued { issued_at, expires_at, snapshot }, &self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f15_a_clock_that_is_set_back_issues_no_older_snapshot() {
        let issuer = Issuer::new(Arc::new(SigningKey::from_seed(&[5; 32]).unwrap()), TTL);
        let issued = |now| {
            let signed = issuer.issue(Snapshot::default(), UnixMillis(now));
            let issued = ledger::snapshot::open(&signed, &issuer.public()).unwrap();
            (issued.issued_at.0, issued.expires_at.0)
        };
        assert_eq!(issued(10_000), (10_000, 3_610_000));
        assert_eq!(issued(4_000), (10_000, 3_610_000));
        assert_eq!(issued(11_000), (11_000, 3_611_000));
    }
}
