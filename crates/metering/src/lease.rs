//! Leases: several gateways spend one budget without asking for every request, and never overshoot it.
//!
//! A gateway holds, for one budget and month, a *lease*: all that it may spend in this boot, what it has spent already
//! included. The store grants, and the bound is a sum: over every boot the larger of what it was granted and what its
//! receipts add up to, which is never more than the limit. A boot without an open lease counts with its receipts alone.
//!
//! A lease that is lost with its gateway is still open, and so counts as spent to its last cent, until somebody who has that
//! gateway's journal has shipped every receipt of it and closes the lease: then only its receipts count, and the rest is
//! given back. Nothing expires by a clock here: a clock would have to be right about a gateway that nobody can reach.
//!
//! What it is not: no clock, no storage, no lock. The store holds a lock while it asks [`grant`].

use types::MicroEur;

/// How many steps it takes to lease all that is left, gateway by gateway: each gets at most its part of the half.
pub const STEPS: i64 = 2;

/// How a site shares a budget between its gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One gateway, and there will be no other: it gets all at once.
    Whole,
    /// Each gets at most what is left / (gateways x [`STEPS`]): the less is left, the smaller the steps.
    Parts,
}

/// One boot's claim on a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Claim {
    /// Its open lease; none if it has no lease any more, or never had.
    pub granted: Option<MicroEur>,
    /// What its receipts at the store add up to.
    pub settled: MicroEur,
}

impl Claim {
    /// What must be taken as spent.
    pub fn counts(&self) -> MicroEur {
        self.granted.unwrap_or_default().max(self.settled)
    }
}

/// What a boot asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// What it holds now, spent or reserved or free; it has let go of anything above that before it asked.
    pub held: MicroEur,
    /// What it needs on top, at least: a request that waits, or nothing in particular. None: it only lets go.
    pub need: Option<MicroEur>,
}

/// What it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// All that it may spend, `held` included. Never less than it held.
    pub granted: MicroEur,
    /// What is left in the budget for anybody.
    pub left: MicroEur,
}

/// Decides one ask. `others` are the claims of all other boots, `settled` the asking one's receipts at the store.
pub fn grant(limit: MicroEur, others: &[Claim], settled: MicroEur, ask: Ask, sharing: Sharing) -> Grant {
    let others_count = others.iter().fold(MicroEur::ZERO, |sum, claim| sum.saturating_add(claim.counts()));
    let own = ask.held.max(settled).max(MicroEur::ZERO);
    let free = limit.saturating_sub(others_count).saturating_sub(own).max(MicroEur::ZERO);
    let more = match ask.need {
        // Less than what waits helps nobody: it stays for whom it is enough for.
        Some(need) if need <= free => need.max(part(free, others, sharing)),
        _ => MicroEur::ZERO,
    };
    Grant { granted: own.saturating_add(more), left: free.saturating_sub(more) }
}

/// What a gateway may hold free of so much that is free.
pub fn part(free: MicroEur, others: &[Claim], sharing: Sharing) -> MicroEur {
    let gateways = 1 + others.iter().filter(|claim| claim.granted.is_some()).count() as i64;
    match sharing {
        Sharing::Whole => free,
        Sharing::Parts => MicroEur(free.0 / (gateways * STEPS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(granted: i64, settled: i64) -> Claim {
        Claim { granted: Some(MicroEur(granted)), settled: MicroEur(settled) }
    }

    fn closed(settled: i64) -> Claim {
        Claim { granted: None, settled: MicroEur(settled) }
    }

    #[test]
    fn grants() {
        let check = |others: &[Claim], held: i64, need: i64, sharing, expect: (i64, i64)| {
            let ask = Ask { held: MicroEur(held), need: Some(MicroEur(need)) };
            let Grant { granted, left } = grant(MicroEur(1_000), others, MicroEur::ZERO, ask, sharing);
            assert_eq!((granted.0, left.0), expect, "{others:?} {held} {need} {sharing:?}");
        };
        use Sharing::{Parts, Whole};
        check(&[], 0, 10, Whole, (1_000, 0));
        check(&[closed(300)], 0, 10, Whole, (700, 0));
        check(&[], 0, 10, Parts, (500, 500));
        check(&[open(500, 20)], 0, 10, Parts, (125, 375));
        // A lost lease counts whole, a closed one with its receipts.
        check(&[open(900, 20)], 0, 100, Parts, (100, 0));
        check(&[open(900, 20)], 0, 101, Parts, (0, 100));
        check(&[closed(20)], 0, 101, Parts, (490, 490));
        // More receipts than were granted, and a limit that was lowered: nothing more, and nothing is taken away.
        check(&[open(100, 1_500)], 50, 1, Parts, (50, 0));
        check(&[], 2_000, 1, Parts, (2_000, 0));
    }
}
