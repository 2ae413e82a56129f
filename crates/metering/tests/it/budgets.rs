//! Budgets from outside: random interleavings of everything a gateway does with an account, and what a month's end
//! does to reservations that are open.

use metering::budget::{Account, Monthly, Reservation, Settled, Short};
use proptest::prelude::*;
use types::{MicroEur, Month};

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

#[test]
fn the_last_micro_euro_can_be_spent_and_no_more() {
    let mut account = Account::with_spent(Some(MicroEur(100)), MicroEur(40));
    assert_eq!(account.try_reserve(MicroEur(61)), Err(Short { left: MicroEur(60) }));
    assert_eq!(account.try_reserve(MicroEur(60)), Ok(()));
    assert_eq!(account.try_reserve(MicroEur(1)), Err(Short { left: MicroEur(0) }));
    assert_eq!(account.try_reserve(MicroEur(0)), Ok(()), "what costs nothing needs nothing");
    assert_eq!(account.settle(MicroEur(60), MicroEur(25)), Settled { booked: MicroEur(25), excess: MicroEur(0) });
    assert_eq!(account.left(), Some(MicroEur(35)));
}

#[test]
fn an_engine_that_reports_more_than_was_reserved_is_cut_off() {
    let mut account = Account::new(Some(MicroEur(100)));
    account.try_reserve(MicroEur(100)).unwrap();
    assert_eq!(account.settle(MicroEur(100), MicroEur(250)), Settled { booked: MicroEur(100), excess: MicroEur(150) });
    assert_eq!((account.settled(), account.left()), (MicroEur(100), Some(MicroEur(0))));
}

#[test]
fn settling_what_was_never_reserved_books_nothing() {
    let mut account = Account::new(Some(MicroEur(100)));
    assert_eq!(account.settle(MicroEur(70), MicroEur(70)), Settled { booked: MicroEur(0), excess: MicroEur(70) });
    assert_eq!(account.settled(), MicroEur(0));
}

#[test]
fn limits_that_change_and_limits_that_are_not() {
    let mut account = Account::new(None);
    account.try_reserve(MicroEur(i64::MAX)).unwrap();
    assert_eq!(account.left(), None);
    account.set_limit(Some(MicroEur(10)));
    assert_eq!(account.left(), Some(MicroEur(0)), "lowered below what is held: nothing new");
    account.release(MicroEur(i64::MAX));
    assert_eq!(account.left(), Some(MicroEur(10)));
    account.try_reserve(MicroEur(-5)).unwrap();
    assert_eq!(account.left(), Some(MicroEur(10)), "an amount below zero gives nobody room");
    assert_eq!(Account::with_spent(Some(MicroEur(10)), MicroEur(25)).left(), Some(MicroEur(0)));
}

#[test]
fn a_reservation_settles_in_its_own_month() {
    let mut budget = Monthly::new(month("2026-11"), Some(MicroEur(100)), MicroEur(20));
    let old = budget.try_reserve(month("2026-11"), MicroEur(80)).unwrap();
    let kept = budget.try_reserve(month("2026-11"), MicroEur(0)).unwrap();
    assert!(budget.try_reserve(month("2026-11"), MicroEur(1)).is_err());
    // December begins with nothing spent, whatever is still open in November.
    let new = budget.try_reserve(month("2026-12"), MicroEur(100)).unwrap();
    assert_eq!((old.month(), new.month()), (month("2026-11"), month("2026-12")));
    assert_eq!(budget.settle(old, MicroEur(70)).booked, MicroEur(70));
    assert_eq!(budget.present().settled(), MicroEur(0), "November's cost is not December's");
    assert_eq!(budget.settle(new, MicroEur(10)).booked, MicroEur(10));
    assert_eq!(budget.present().left(), Some(MicroEur(90)));
    budget.release(kept);
}

#[test]
fn a_clock_set_back_opens_no_old_budget() {
    let mut budget = Monthly::new(month("2026-12"), Some(MicroEur(10)), MicroEur(10));
    assert!(budget.try_reserve(month("2026-11"), MicroEur(1)).is_err());
    assert_eq!(budget.month(), month("2026-12"));
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(i64),
    /// Which open reservation, and the actual cost in percent of it: up to three times too much.
    Settle(prop::sample::Index, u8),
    Release(prop::sample::Index),
    NextMonth,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..400i64).prop_map(Step::Reserve),
        3 => (any::<prop::sample::Index>(), 0..=250u8).prop_map(|(at, percent)| Step::Settle(at, percent)),
        1 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => Just(Step::NextMonth),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// Whatever the order: in no month does what was booked exceed the limit, and the account's books agree with an
    /// independent count of what is settled and open.
    #[test]
    fn never_overshoots(limit in 0..1_000i64, spent in 0..1_000i64, steps in steps()) {
        let spent = spent.min(limit);
        let mut now = Month { year: 2026, month: 1 };
        let mut budget = Monthly::new(now, Some(MicroEur(limit)), MicroEur(spent));
        let mut open: Vec<Reservation> = Vec::new();
        let mut booked = std::collections::BTreeMap::from([(now, spent)]);
        for step in steps {
            match step {
                Step::Reserve(amount) => match budget.try_reserve(now, MicroEur(amount)) {
                    Ok(reservation) => open.push(reservation),
                    Err(short) => prop_assert!(short.left < MicroEur(amount)),
                },
                Step::Settle(at, percent) if !open.is_empty() => {
                    let reservation = open.swap_remove(at.index(open.len()));
                    let (held, of) = (reservation.amount().0, reservation.month());
                    let actual = held * i64::from(percent) / 100;
                    let settled = budget.settle(reservation, MicroEur(actual));
                    prop_assert_eq!(settled.booked.0, actual.min(held));
                    prop_assert_eq!(settled.booked.0 + settled.excess.0, actual);
                    *booked.entry(of).or_insert(0) += settled.booked.0;
                }
                Step::Release(at) if !open.is_empty() => budget.release(open.swap_remove(at.index(open.len()))),
                Step::NextMonth if now.month < 12 => now.month += 1,
                _ => {}
            }
            for (month, &sum) in &booked {
                let held: i64 = open.iter().filter(|r| r.month() == *month).map(|r| r.amount().0).sum();
                prop_assert!(sum + held <= limit, "{sum} + {held} > {limit} in {month}");
                if *month == budget.month() {
                    prop_assert_eq!(budget.present().settled().0, sum);
                    prop_assert_eq!(budget.present().reserved().0, held);
                }
            }
        }
    }
}
