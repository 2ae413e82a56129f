//! Connections of which nobody knows yet whose they are, or that came without a certificate: counted apart from machines, so that
//! whoever reaches the port can shut no machine out. Pure; `listen` counts with it.
//!
//! One address has few of them, and when all are taken the newcomer takes the place of the oldest of the address that has the
//! most. A crowd of addresses that fills all of them costs machines a second try, and nothing that is connected.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// What becomes of a connection that was just accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Enters,
    /// And this one is closed for it.
    Replaces(u64),
    /// Its address has enough of them.
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// By address, oldest first.
    present: BTreeMap<IpAddr, Vec<u64>>,
    count: usize,
}

impl Strangers {
    /// Lets a connection in, within both limits. Of loopback only the sum is limited: whoever is on this machine needs no port.
    pub fn enter(&mut self, id: u64, address: IpAddr, max: usize, address_max: usize) -> Entry {
        let address = address.to_canonical();
        let own = self.present.get(&address).map_or(0, Vec::len);
        if own >= address_max && !address.is_loopback() {
            return Entry::Refused;
        }
        let mut entry = Entry::Enters;
        if self.count >= max {
            let crowded = self.present.iter().max_by_key(|(_, ids)| ids.len());
            let Some((from, oldest)) = crowded.and_then(|(from, ids)| Some((*from, *ids.first()?))) else {
                return Entry::Refused;
            };
            self.leave(oldest, from);
            entry = Entry::Replaces(oldest);
        }
        self.present.entry(address).or_default().push(id);
        self.count += 1;
        entry
    }

    /// It ended, or is a machine's. Again changes nothing.
    pub fn leave(&mut self, id: u64, address: IpAddr) {
        let address = address.to_canonical();
        let Some(ids) = self.present.get_mut(&address) else { return };
        let before = ids.len();
        ids.retain(|one| *one != id);
        self.count -= before - ids.len();
        if ids.is_empty() {
            self.present.remove(&address);
        }
    }

    /// Whether it was not let go meanwhile.
    pub fn has(&self, id: u64, address: IpAddr) -> bool {
        self.present.get(&address.to_canonical()).is_some_and(|ids| ids.contains(&id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 8, 0, n])
    }

    #[test]
    fn an_address_has_few_and_the_crowded_one_makes_room() {
        let mut strangers = Strangers::default();
        let mut enter = |id, n| strangers.enter(id, address(n), 5, 3);
        assert_eq!([enter(1, 1), enter(2, 1), enter(3, 1)], [Entry::Enters; 3]);
        assert_eq!(enter(4, 1), Entry::Refused);
        assert_eq!([enter(5, 2), enter(6, 3)], [Entry::Enters; 2]);
        // Full: the oldest of the address with the most goes.
        assert_eq!(enter(7, 4), Entry::Replaces(1));
        assert_eq!(enter(8, 5), Entry::Replaces(2));
        assert!(!strangers.has(1, address(1)) && strangers.has(3, address(1)) && strangers.has(7, address(4)));
        strangers.leave(7, address(4));
        strangers.leave(7, address(4));
        assert_eq!(strangers.enter(9, address(4), 5, 3), Entry::Enters);
        assert_eq!(strangers.count, 5);
    }

    #[test]
    fn loopback_is_limited_in_sum_only_and_an_address_has_one_form() {
        let mut strangers = Strangers::default();
        let home = IpAddr::from([127, 0, 0, 1]);
        assert_eq!([1, 2, 3].map(|id| strangers.enter(id, home, 3, 1)), [Entry::Enters; 3]);
        assert_eq!(strangers.enter(4, home, 3, 1), Entry::Replaces(1));
        // The same host over an IPv6 socket.
        let mapped: IpAddr = "::ffff:10.8.0.1".parse().unwrap();
        let mut strangers = Strangers::default();
        assert_eq!(strangers.enter(1, mapped, 9, 1), Entry::Enters);
        assert_eq!(strangers.enter(2, address(1), 9, 1), Entry::Refused);
    }
}
