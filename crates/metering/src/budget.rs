//! Budgets: money is held before a request is dispatched and settled once, after it.
//!
//! [`Account`] is one limit in one month. [`Monthly`] is the account of a key, project or tenant over time: a
//! reservation is settled in the month in which it was made, so a request that runs over midnight on the 31st is
//! paid from the budget that admitted it.
//!
//! The invariant: settled + reserved never grows beyond the limit. Therefore [`Account::settle`] never books more than
//! was reserved. Should an engine report more than the bound (it must not; see `price::bound`), the rest is returned as
//! [`Settled::excess`]: the operator's loss and alarm, never the tenant's overspending.
//!
//! What it is not: no lock, no lease. With several gateways at one budget the limit is what this one leases of it
//! ([`crate::lease`]).
//!
//! If we crash here: reservations vanish with the process; what was spent is what its receipts say. Until they are all at the
//! store, its lease counts as spent. What recovery makes of intents that were left open comes in through
//! [`Account::with_spent`].

use std::collections::BTreeMap;
use types::{MicroEur, Month};

/// What is left does not cover what the request could cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the budget has {left} left; this request could cost more")]
pub struct Short {
    /// What a smaller request could still reserve.
    pub left: MicroEur,
}

/// What settling did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "excess is money that nobody pays: log it"]
pub struct Settled {
    /// What was booked: the actual cost, at most what was reserved.
    pub booked: MicroEur,
    /// The part of the actual cost above the reservation; zero unless a bound was wrong.
    pub excess: MicroEur,
}

/// One limit in one month. Amounts below zero count as zero everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    limit: Option<MicroEur>,
    settled: MicroEur,
    reserved: MicroEur,
}

impl Account {
    /// None is no limit.
    pub fn new(limit: Option<MicroEur>) -> Account {
        Account::with_spent(limit, MicroEur::ZERO)
    }

    /// Starts with money already spent this month. It may exceed the limit, if the limit was lowered since; then
    /// nothing can be reserved.
    pub fn with_spent(limit: Option<MicroEur>, spent: MicroEur) -> Account {
        Account { limit, settled: spent.max(MicroEur::ZERO), reserved: MicroEur::ZERO }
    }

    pub fn limit(&self) -> Option<MicroEur> {
        self.limit
    }

    /// Spent for good.
    pub fn settled(&self) -> MicroEur {
        self.settled
    }

    /// Held for requests that run now.
    pub fn reserved(&self) -> MicroEur {
        self.reserved
    }

    /// Spent or held: what a lease must cover.
    pub fn used(&self) -> MicroEur {
        self.settled.saturating_add(self.reserved)
    }

    /// What can still be reserved; none is without limit.
    pub fn left(&self) -> Option<MicroEur> {
        self.limit.map(|limit| limit.saturating_sub(self.settled.saturating_add(self.reserved)).max(MicroEur::ZERO))
    }

    /// A changed limit holds at once for new reservations; what is reserved already stays so.
    pub fn set_limit(&mut self, limit: Option<MicroEur>) {
        self.limit = limit;
    }

    /// Holds an amount, or says how much is left. The last micro-euro can be reserved.
    pub fn try_reserve(&mut self, amount: MicroEur) -> Result<(), Short> {
        let amount = amount.max(MicroEur::ZERO);
        match self.left() {
            Some(left) if amount > left => Err(Short { left }),
            _ => {
                self.reserved = self.reserved.saturating_add(amount);
                Ok(())
            }
        }
    }

    /// Books what was used of a reservation and gives back the rest.
    pub fn settle(&mut self, reserved: MicroEur, actual: MicroEur) -> Settled {
        // Whatever the caller says was reserved, no more than is held can turn into spending.
        let held = reserved.max(MicroEur::ZERO).min(self.reserved);
        let actual = actual.max(MicroEur::ZERO);
        let booked = actual.min(held);
        self.reserved = self.reserved.saturating_sub(held);
        self.settled = self.settled.saturating_add(booked);
        Settled { booked, excess: actual.saturating_sub(booked) }
    }

    /// Gives a whole reservation back.
    pub fn release(&mut self, reserved: MicroEur) {
        let held = reserved.max(MicroEur::ZERO).min(self.reserved);
        self.reserved = self.reserved.saturating_sub(held);
    }
}

/// Money held in a month. Made only by [`Monthly::try_reserve`], consumed by settling or releasing: exactly once,
/// because it cannot be copied.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is reserved must be settled or released"]
pub struct Reservation {
    month: Month,
    amount: MicroEur,
}

impl Reservation {
    pub fn month(&self) -> Month {
        self.month
    }

    pub fn amount(&self) -> MicroEur {
        self.amount
    }
}

/// An account over time: the present month, and the months before it that still have reservations open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monthly {
    month: Month,
    present: Account,
    /// At most as many as requests run that began in an earlier month; empty but for minutes a month.
    closing: BTreeMap<Month, Account>,
}

impl Monthly {
    pub fn new(month: Month, limit: Option<MicroEur>, spent: MicroEur) -> Monthly {
        Monthly { month, present: Account::with_spent(limit, spent), closing: BTreeMap::new() }
    }

    pub fn month(&self) -> Month {
        self.month
    }

    /// The present month's account, for status and headers.
    pub fn present(&self) -> &Account {
        &self.present
    }

    pub fn set_limit(&mut self, limit: Option<MicroEur>) {
        self.present.set_limit(limit);
    }

    /// Begins a later month with a limit of its own: a lease of the month before is none of the next. An earlier month changes
    /// nothing.
    pub fn begin(&mut self, month: Month, limit: Option<MicroEur>) {
        if month > self.month {
            self.advance(month);
            self.present.set_limit(limit);
        }
    }

    /// Holds an amount in the given month. A month before the present one (a clock that was set back) counts as the
    /// present one: an old budget is never opened again.
    pub fn try_reserve(&mut self, month: Month, amount: MicroEur) -> Result<Reservation, Short> {
        self.advance(month);
        let amount = amount.max(MicroEur::ZERO);
        self.present.try_reserve(amount)?;
        Ok(Reservation { month: self.month, amount })
    }

    /// Settles in the month in which the reservation was made.
    pub fn settle(&mut self, reservation: Reservation, actual: MicroEur) -> Settled {
        let settled = match self.account(reservation.month) {
            Some(account) => account.settle(reservation.amount, actual),
            // Only a reservation of another account ends here: book nothing, report all.
            None => Settled { booked: MicroEur::ZERO, excess: actual.max(MicroEur::ZERO) },
        };
        self.forget_closed();
        settled
    }

    pub fn release(&mut self, reservation: Reservation) {
        if let Some(account) = self.account(reservation.month) {
            account.release(reservation.amount);
        }
        self.forget_closed();
    }

    /// Begins a new month with nothing spent; the old one stays only while something is reserved in it.
    fn advance(&mut self, month: Month) {
        if month > self.month {
            let new = Account::new(self.present.limit);
            self.closing.insert(self.month, std::mem::replace(&mut self.present, new));
            self.month = month;
            self.forget_closed();
        }
    }

    fn account(&mut self, month: Month) -> Option<&mut Account> {
        if month == self.month { Some(&mut self.present) } else { self.closing.get_mut(&month) }
    }

    fn forget_closed(&mut self) {
        self.closing.retain(|_, account| account.reserved > MicroEur::ZERO);
    }
}
