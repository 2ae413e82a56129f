//! Several gateways at one budget, in any order of asking, spending, dying and coming back: the budget holds, and it can be
//! used to the last request that fits.

use metering::lease::{Ask, Claim, Grant, Sharing, grant};
use proptest::prelude::*;
use types::MicroEur;

const LIMIT: MicroEur = MicroEur(10_000);

/// A boot, as its gateway and as the store knows it.
#[derive(Debug, Clone, Copy, Default)]
struct Boot {
    /// What the gateway knows that it may spend, and what it spent.
    lease: MicroEur,
    spent: MicroEur,
    /// What the store knows.
    granted: Option<MicroEur>,
    shipped: MicroEur,
    dead: bool,
}

impl Boot {
    fn claim(&self) -> Claim {
        Claim { granted: self.granted, settled: self.shipped }
    }

    fn free(&self) -> MicroEur {
        self.lease.saturating_sub(self.spent)
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Asks with a request of so much waiting; the answer may be lost.
    Ask {
        need: i64,
        lost: bool,
    },
    Spend(i64),
    Ship,
    /// Lets go of what is free.
    LetGo,
    Die,
    /// Whoever has its journal ships the rest and closes its lease.
    Close,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        4 => (0..4_000i64, any::<bool>()).prop_map(|(need, lost)| Step::Ask { need, lost }),
        6 => (0..3_000i64).prop_map(Step::Spend),
        2 => Just(Step::Ship),
        1 => Just(Step::LetGo),
        1 => Just(Step::Die),
        1 => Just(Step::Close),
    ];
    (0..4usize, step)
}

fn ask(boots: &mut [Boot], who: usize, need: Option<MicroEur>, sharing: Sharing, lost: bool) -> Grant {
    let others: Vec<Claim> = boots.iter().enumerate().filter(|(it, _)| *it != who).map(|(_, it)| it.claim()).collect();
    let asked = Ask { held: boots[who].lease, need };
    let granted = grant(LIMIT, &others, boots[who].shipped, asked, sharing);
    boots[who].granted = Some(granted.granted);
    if !lost {
        boots[who].lease = granted.granted;
    }
    granted
}

fn apply(boots: &mut [Boot], who: usize, step: &Step, sharing: Sharing) {
    if boots[who].dead && !matches!(step, Step::Close) {
        return;
    }
    match *step {
        Step::Ask { need, lost } => drop(ask(boots, who, Some(MicroEur(need)), sharing, lost)),
        Step::Spend(amount) if MicroEur(amount) <= boots[who].free() => {
            boots[who].spent = boots[who].spent.saturating_add(MicroEur(amount));
        }
        Step::Spend(_) => {}
        Step::Ship => boots[who].shipped = boots[who].spent,
        Step::LetGo => {
            boots[who].lease = boots[who].spent;
            ask(boots, who, None, sharing, false);
        }
        Step::Die => boots[who].dead = true,
        Step::Close if boots[who].dead => {
            // A new boot in its place.
            let old = boots[who].spent;
            boots[who] = Boot { shipped: old, spent: old, lease: old, ..Boot::default() };
        }
        Step::Close => {}
    }
}

proptest! {
    #[test]
    fn f19_however_they_ask_die_and_come_back_the_budget_holds(
        steps in prop::collection::vec(step(), 1..200),
        whole: bool,
    ) {
        let sharing = if whole { Sharing::Whole } else { Sharing::Parts };
        let mut boots = [Boot::default(); 4];
        for (who, step) in &steps {
            apply(&mut boots, *who, step, sharing);
            let spent: i64 = boots.iter().map(|boot| boot.spent.0).sum();
            let bound: i64 = boots.iter().map(|boot| boot.claim().counts().0).sum();
            prop_assert!(spent <= LIMIT.0, "{spent} spent after {step:?}");
            prop_assert!(bound <= LIMIT.0, "{bound} is out after {step:?}");
        }
    }

    /// When all let go of what they do not use, whoever has a request that fits gets it.
    #[test]
    fn f19_the_budget_can_be_used_to_the_last_request_that_fits(
        steps in prop::collection::vec(step(), 1..100),
        who in 0..4usize,
    ) {
        let mut boots = [Boot::default(); 4];
        for (at, step) in steps.iter().filter(|(_, step)| !matches!(step, Step::Die)) {
            apply(&mut boots, *at, step, Sharing::Parts);
        }
        for other in 0..4 {
            boots[other].lease = boots[other].spent;
            ask(&mut boots, other, None, Sharing::Parts, false);
        }
        let left = LIMIT.0 - boots.iter().map(|boot| boot.spent.0).sum::<i64>();
        let got = ask(&mut boots, who, Some(MicroEur(left)), Sharing::Parts, false);
        prop_assert!(boots[who].free().0 >= left, "{left} are left, {got:?}");
    }
}
