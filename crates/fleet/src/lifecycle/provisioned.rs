//! `provisioned`: it proves itself. The suite of its spec runs under (entry, attempt); a result of another stay or
//! attempt is none. It begins when its links are up; a link that stays down holds the machine, as it would drain
//! one in service. A suite that was cut off is begun again by itself, a test that failed is not: running a test until it
//! passes proves nothing. While it runs, an XID that we would act on fails it too.

use super::{Next, Situation, check};
use crate::action::Action;
use crate::diagnosis;
use crate::machine::Lifecycle;
use crate::observed::{SuiteRefused, TestOutcome, TestResult, Validation};
use crate::xid::XidAction;

pub(super) const TEST_FAILED: &str = "test_failed";

pub(super) fn step(situation: &Situation<'_>) -> Next {
    if let Some(finding) = check::identity(situation) {
        return Next::hold(finding);
    }
    let machine = situation.machine;
    if let Some(domain) = diagnosis::link_down(machine) {
        // It would fail for what is not its own, or pass what it does not need the link for.
        if let Some(symptom) = diagnosis::links(machine, situation.rules, situation.now) {
            return Next::hold(symptom.finding);
        }
        return Next::stay(format!("validation waits: its link to {} is down", check::shown(domain)), Vec::new());
    }
    let suite = &situation.spec.suite;
    let ours = |run: &&Validation| run.entry == machine.entry && run.attempt == machine.attempt && run.suite == *suite;
    let Some(run) = situation.observed.validation.as_ref().filter(ours) else {
        // Told once more, it would say the same: its agent must learn the suite, or the site file name another.
        if let Some(refused) = refused(situation) {
            let text = format!("its agent does not begin {}: {}", check::shown(suite), check::said(&refused.text));
            return Next::hold(situation.finding("suite_refused", suite, text));
        }
        let ask = vec![Action::Validate { suite: suite.clone() }];
        return Next::stay(format!("validation is to begin: {}", check::shown(suite)), ask);
    };
    let bad = machine.measures.iter().find(|it| it.at >= run.begun_at && it.action > XidAction::Ignore);
    if let Some(measure) = bad {
        let text = format!("{} on {} while its suite ran", measure.cause, check::shown(&measure.about));
        return Next::hold(situation.finding(TEST_FAILED, &measure.about, text));
    }
    if run.ended_at.is_none() {
        // Asked for until it ended: an agent begins a run once, and one that was started anew begins it anew.
        let ask = vec![Action::Validate { suite: suite.clone() }];
        return Next::stay(format!("validation runs: {} tests ended", run.tests.len()), ask);
    }
    verdict(situation, run)
}

/// The agent's refusal of this very run.
fn refused<'a>(situation: &Situation<'a>) -> Option<&'a SuiteRefused> {
    let (machine, suite) = (situation.machine, &situation.spec.suite);
    let ours = |it: &&SuiteRefused| it.entry == machine.entry && it.attempt == machine.attempt && it.suite == *suite;
    situation.observed.refused.as_ref().filter(ours)
}

fn verdict(situation: &Situation<'_>, run: &Validation) -> Next {
    let with = |outcome| run.tests.iter().filter(move |test| test.outcome == outcome);
    if let Some(test) = with(TestOutcome::Failed).next() {
        let text = check::list(with(TestOutcome::Failed).map(result).collect());
        return Next::hold(situation.finding(TEST_FAILED, &test.name, text));
    }
    if let Some(test) = with(TestOutcome::TimedOut).next() {
        if situation.machine.attempt + 1 < situation.rules.limits.validation_attempts {
            return Next::Again { reason: format!("{}: not ended in its time; once more", check::shown(&test.name)) };
        }
        let text = format!("{}: not ended in its time, again", check::shown(&test.name));
        return Next::hold(situation.finding(TEST_FAILED, &test.name, text));
    }
    let passed = with(TestOutcome::Passed).count();
    if passed == 0 {
        let text = format!("{} ended and no test of it ran", check::shown(&run.suite));
        return Next::hold(situation.finding(TEST_FAILED, "", text));
    }
    Next::go(Lifecycle::Validated, format!("{passed} tests passed of {}", check::shown(&run.suite)))
}

fn result(test: &TestResult) -> String {
    let (name, wanted, found) = (check::shown(&test.name), check::shown(&test.threshold), check::shown(&test.value));
    format!("{name}: wanted {wanted}, found {found}")
}
