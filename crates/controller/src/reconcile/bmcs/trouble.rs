//! Why BMCs do not say or do what is asked, machine by machine: as it is stored, and what of it is news.

use fleet::observed::BmcTrouble;
use std::collections::{BTreeMap, BTreeSet};
use types::{MachineId, UnixMillis};

/// Nobody has said where it is.
pub(super) const NOT_SET: &str = "not_set";
/// It answers, and did not do what is wanted.
pub(super) const DEED: &str = "deed";

/// It does not let us in, whatever we want: refused our credentials, or we its certificate.
pub(super) fn bars(error: &redfish::Error) -> bool {
    matches!(error.kind(), "credentials" | "certificate")
}

/// It is the same for looks, deeds and watches.
pub(super) fn is_of_all(error: &redfish::Error) -> bool {
    (bars(error) || error.kind() == "unreachable") && !matches!(error, redfish::Error::Unsure(_))
}

#[derive(Debug, Default)]
pub(super) struct Troubles {
    all: BTreeMap<MachineId, BmcTrouble>,
    news: BTreeSet<MachineId>,
}

impl Troubles {
    /// As the last start left it.
    pub fn stored(&mut self, machine: MachineId, trouble: Option<BmcTrouble>) {
        if let Some(trouble) = trouble {
            self.all.entry(machine).or_insert(trouble);
        }
    }

    pub fn knows(&self, machine: MachineId) -> bool {
        self.all.contains_key(&machine)
    }

    /// There is trouble; `next_try` is when it is asked again by itself.
    pub fn set(&mut self, machine: MachineId, kind: &str, text: &str, next_try: Option<UnixMillis>, now: UnixMillis) {
        let before = self.all.get(&machine);
        let since = before.filter(|before| before.kind == kind).map_or(now, |before| before.since);
        let trouble = BmcTrouble { kind: kind.to_owned(), text: text.to_owned(), since, next_try };
        if before != Some(&trouble) {
            self.all.insert(machine, trouble);
            self.news.insert(machine);
        }
    }

    /// It answered, or, with `deed`, it did what was wanted. Who answers may still not do it.
    pub fn over(&mut self, machine: MachineId, deed: bool) {
        if self.all.get(&machine).is_some_and(|trouble| deed || trouble.kind != DEED) {
            self.all.remove(&machine);
            self.news.insert(machine);
        }
    }

    /// A deed that nobody wants any more is no trouble.
    pub fn wanted_by(&mut self, wants: impl Fn(MachineId) -> bool) {
        let over = |(machine, trouble): (&MachineId, &BmcTrouble)| {
            (trouble.kind == DEED && !wants(*machine)).then_some(*machine)
        };
        for machine in self.all.iter().filter_map(over).collect::<Vec<_>>() {
            self.over(machine, true);
        }
    }

    /// What is to be stored.
    pub fn news(&self) -> impl Iterator<Item = (MachineId, Option<BmcTrouble>)> + '_ {
        self.news.iter().map(|machine| (*machine, self.all.get(machine).cloned()))
    }

    /// It is stored.
    pub fn told(&mut self) {
        self.news.clear();
    }
}
