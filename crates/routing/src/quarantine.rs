//! Requests that break engines: who breaks two is not sent to a third.
//!
//! An engine that dies of one request (an operator that its GPU has not, a grammar that its parser loops on) takes the
//! requests of everybody else with it, and a client that tries again takes the next one. A request is known by its
//! fingerprint, the keyed hash of its body that its receipt has anyway, and each lost connection or 5xx of an engine that
//! was well before is a strike. With the second it is held back for a while; a success forgets it.
//!
//! Why only engines that were well: an engine that fails everybody says nothing about any one request. Why two: one may be
//! chance, and with 8 replicas a third is an eighth of a site. Others that were on both engines when they broke are held
//! back with it; that is the price, and it ends by itself.
//!
//! What it is not: no content and no clock; a body that differs in one byte is another request. Fingerprints are a
//! tenant's own, so that nobody's requests can hold back another's. If we crash here: all is forgotten, and a poisonous
//! request costs two engines once more.

use std::collections::BTreeMap;
use types::TenantId;

/// What a request is known by.
pub type Fingerprint = [u8; 32];

/// Strikes that hold a request back.
pub const STRIKES_MAX: u8 = 2;

/// How long a strike counts, and how long a request is held back: an engine that broke is back after loading its weights,
/// 140 GB at 1 GB/s are 140 s, four times that.
pub const STRIKE_MILLIS: u64 = 600_000;

/// After that it is still known for as long again: one more strike holds it back at once.
pub const KNOWN_MILLIS: u64 = 2 * STRIKE_MILLIS;

/// Fingerprints in all: at about 100 bytes each 400 KB.
pub const PRINTS_MAX: usize = 4_096;

/// Of one tenant: 64 different requests that break engines within ten minutes are one client's bug.
pub const PRINTS_PER_TENANT_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    strikes: u8,
    last_millis: u64,
}

impl Record {
    fn held_millis(&self, now_millis: u64) -> Option<u64> {
        let until = self.last_millis.saturating_add(STRIKE_MILLIS);
        until.checked_sub(now_millis).filter(|left| *left > 0 && self.strikes >= STRIKES_MAX)
    }

    fn known(&self, now_millis: u64) -> bool {
        let long = if self.strikes >= STRIKES_MAX { KNOWN_MILLIS } else { STRIKE_MILLIS };
        now_millis < self.last_millis.saturating_add(long)
    }
}

/// What broke engines lately.
#[derive(Debug, Clone, Default)]
pub struct Quarantine {
    records: BTreeMap<(TenantId, Fingerprint), Record>,
}

impl Quarantine {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// For how long this request is still held back; none if it may be sent.
    pub fn held_millis(&self, tenant: TenantId, print: &Fingerprint, now_millis: u64) -> Option<u64> {
        self.records.get(&(tenant, *print))?.held_millis(now_millis)
    }

    /// An engine that was well broke while it worked on this request.
    pub fn strike(&mut self, tenant: TenantId, print: &Fingerprint, now_millis: u64) {
        self.records.retain(|_, record| record.known(now_millis));
        if !self.records.contains_key(&(tenant, *print)) {
            self.make_room(tenant);
        }
        let record = self.records.entry((tenant, *print)).or_insert(Record { strikes: 0, last_millis: now_millis });
        *record = Record { strikes: record.strikes.saturating_add(1), last_millis: now_millis };
    }

    /// An engine answered it.
    pub fn forget(&mut self, tenant: TenantId, print: &Fingerprint) {
        self.records.remove(&(tenant, *print));
    }

    /// The oldest goes: of the tenant's own, or where all are many, of all.
    fn make_room(&mut self, tenant: TenantId) {
        let own = (tenant, [0; 32])..=(tenant, [0xff; 32]);
        let oldest = if self.records.range(own.clone()).count() >= PRINTS_PER_TENANT_MAX {
            self.records.range(own).min_by_key(|(_, record)| record.last_millis).map(|(place, _)| *place)
        } else if self.records.len() >= PRINTS_MAX {
            self.records.iter().min_by_key(|(_, record)| record.last_millis).map(|(place, _)| *place)
        } else {
            None
        };
        if let Some(oldest) = oldest {
            self.records.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TenantId = TenantId(1);
    const OTHER: TenantId = TenantId(2);

    fn print(number: u32) -> Fingerprint {
        let mut print = [0; 32];
        print[..4].copy_from_slice(&number.to_be_bytes());
        print
    }

    #[test]
    fn f08_two_strikes_hold_a_request_back_for_a_while_and_only_its_tenants() {
        let mut quarantine = Quarantine::default();
        quarantine.strike(ONE, &print(7), 1_000);
        assert_eq!(quarantine.held_millis(ONE, &print(7), 1_000), None, "one may be chance");
        quarantine.strike(ONE, &print(7), 2_000);
        assert_eq!(quarantine.held_millis(ONE, &print(7), 2_000), Some(STRIKE_MILLIS));
        assert_eq!(quarantine.held_millis(ONE, &print(8), 2_000), None);
        assert_eq!(quarantine.held_millis(OTHER, &print(7), 2_000), None);
        // It ends; then one more strike is enough.
        let after = 2_000 + STRIKE_MILLIS;
        assert_eq!(quarantine.held_millis(ONE, &print(7), after), None);
        quarantine.strike(ONE, &print(7), after);
        assert_eq!(quarantine.held_millis(ONE, &print(7), after), Some(STRIKE_MILLIS));
        // Until it is forgotten: by time, or by a success.
        quarantine.strike(ONE, &print(7), after + KNOWN_MILLIS);
        assert_eq!(quarantine.held_millis(ONE, &print(7), after + KNOWN_MILLIS), None);
        quarantine.forget(ONE, &print(7));
        assert!(quarantine.is_empty());
    }

    #[test]
    fn strikes_far_apart_are_chance() {
        let mut quarantine = Quarantine::default();
        for round in 0..10 {
            quarantine.strike(ONE, &print(7), round * STRIKE_MILLIS);
            assert_eq!(quarantine.held_millis(ONE, &print(7), round * STRIKE_MILLIS), None);
        }
    }

    #[test]
    fn memory_is_bounded_and_one_tenant_pushes_out_only_its_own() {
        let mut quarantine = Quarantine::default();
        (0..2).for_each(|_| quarantine.strike(OTHER, &print(0), 0));
        for number in 0..200 {
            quarantine.strike(ONE, &print(number), 1 + u64::from(number));
        }
        assert_eq!(quarantine.records.len(), 1 + PRINTS_PER_TENANT_MAX);
        assert!(quarantine.held_millis(OTHER, &print(0), 300).is_some());
        for tenant in 3..200u128 {
            (0..40).for_each(|number| quarantine.strike(TenantId(tenant), &print(number), 300 + tenant as u64));
        }
        assert_eq!(quarantine.records.len(), PRINTS_MAX);
        quarantine.strike(ONE, &print(1), 10 * KNOWN_MILLIS);
        assert_eq!(quarantine.records.len(), 1, "what is over takes no room");
    }
}
