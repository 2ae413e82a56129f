//! What goes into the next report: pure, so that the real agent and the simulated ones say the same.
//!
//! Temperature and power move all the time and decide nothing by themselves, so they alone do not make a state new until they
//! moved by a step. Everything else does at once.

use crate::clock::Clock;
use crate::wire::{
    Answer, COMMANDS_MAX, Command, Done, EVENTS_KEPT_MAX, EVENTS_MAX, Report, Sighting, State, TEXT_MAX,
};
use fleet::observed::{EventKind, GpuSeen};
use std::collections::{BTreeSet, VecDeque};
use types::MachineId;

/// A GPU's temperature is told when it moved by so much: a tenth of what is between idle and throttling.
pub const TEMPERATURE_STEP_C: u32 = 5;
/// Its power likewise: a tenth of a B200's kilowatt.
pub const POWER_STEP_MW: u64 = 100_000;
/// Commands remembered, so that one is done once however often it is told.
const COMMANDS_KEPT_MAX: usize = 256;

/// One agent's side of the conversation, between two reports.
#[derive(Debug)]
pub struct Reporter {
    machine: MachineId,
    serial: String,
    instance: u64,
    number: u64,
    /// As last told, with its digest.
    told: State,
    digest: String,
    /// The site has not confirmed that it knows `told`.
    full: bool,
    events: VecDeque<(u64, u64, EventKind)>,
    next_event: u64,
    done: VecDeque<Done>,
    begun: VecDeque<String>,
    known: BTreeSet<String>,
    /// The last command that was refused, and how: what is told again is not answered again.
    refused: Option<Done>,
}

impl Reporter {
    pub fn new(machine: MachineId, serial: &str, clock: &dyn Clock) -> Reporter {
        let mut random = [0; 8];
        clock.random(&mut random);
        let told = State::default();
        Reporter {
            machine,
            serial: serial.to_owned(),
            // 53 bits survive every JSON reader; 0 is nobody.
            instance: (u64::from_be_bytes(random) >> 11) | 1,
            number: 0,
            digest: told.digest(),
            told,
            full: true,
            events: VecDeque::new(),
            next_event: 1,
            done: VecDeque::new(),
            begun: VecDeque::new(),
            known: BTreeSet::new(),
            refused: None,
        }
    }

    /// Notes an event; `at_ms` is the runtime's monotonic time.
    pub fn event(&mut self, what: EventKind, at_ms: u64) {
        if self.events.len() == EVENTS_KEPT_MAX {
            self.events.pop_front();
        }
        self.events.push_back((self.next_event, at_ms, what));
        self.next_event += 1;
    }

    /// Notes what became of a command.
    pub fn done(&mut self, id: &str, ok: bool, text: &str) {
        let text = last(text, TEXT_MAX);
        self.done.push_back(Done { id: id.to_owned(), ok, text, later: false });
    }

    /// This command was not begun and is to be begun when it is told again; `later`: only because something else is under way.
    /// Who tells it again and again gets the same answer once.
    pub fn refuse(&mut self, id: &str, text: &str, later: bool) {
        self.known.remove(id);
        self.begun.retain(|begun| begun != id);
        let refused = Done { id: id.to_owned(), ok: false, text: last(text, TEXT_MAX), later };
        if self.refused.as_ref() != Some(&refused) {
            self.done.push_back(refused.clone());
            self.refused = Some(refused);
        }
    }

    /// Whether something waits that should not wait for the next interval.
    pub fn is_urgent(&self) -> bool {
        !self.events.is_empty() || !self.done.is_empty()
    }

    /// The next report.
    pub fn next(&mut self, state: State, clock: &dyn Clock, at_ms: u64) -> Report {
        if is_news(&self.told, &state) {
            self.digest = state.digest();
            self.told = state;
            self.full = true;
        }
        self.number += 1;
        let events = self.events.iter().take(EVENTS_MAX).map(|(number, seen, what)| Sighting {
            number: *number,
            age_ms: at_ms.saturating_sub(*seen),
            what: what.clone(),
        });
        Report {
            machine: self.machine,
            serial: self.serial.clone(),
            instance: self.instance,
            number: self.number,
            sent_at: clock.now(),
            digest: self.digest.clone(),
            state: self.full.then(|| self.told.clone()),
            events: events.collect(),
            done: self.done.iter().take(COMMANDS_MAX).cloned().collect(),
        }
    }

    /// The site answered this report: forgets what it has taken, and says which commands are new.
    pub fn answered(&mut self, report: &Report, answer: &Answer) -> Vec<Command> {
        self.full = answer.full;
        // A site that does not know us may have been started anew, and have lost what it was told of.
        if answer.full {
            self.refused = None;
        }
        while self.events.front().is_some_and(|(number, _, _)| *number <= answer.events_taken) {
            self.events.pop_front();
        }
        self.done.drain(..report.done.len().min(self.done.len()));
        let mut new = Vec::new();
        for command in answer.commands.iter().take(COMMANDS_MAX) {
            if !self.known.insert(command.id.clone()) {
                continue;
            }
            self.begun.push_back(command.id.clone());
            if self.begun.len() > COMMANDS_KEPT_MAX
                && let Some(oldest) = self.begun.pop_front()
            {
                self.known.remove(&oldest);
            }
            new.push(command.clone());
        }
        new
    }
}

/// Whether a state says more than the one told before.
pub fn is_news(told: &State, now: &State) -> bool {
    let still = |gpu: &GpuSeen| GpuSeen { temperature_c: 0, power_mw: 0, ..gpu.clone() };
    if told.driver != now.driver
        || told.no_nvml != now.no_nvml
        || told.engines != now.engines
        || told.running != now.running
        || told.stopped != now.stopped
        || told.gpus.len() != now.gpus.len()
    {
        return true;
    }
    told.gpus.iter().any(|(uuid, before)| {
        let Some(after) = now.gpus.get(uuid) else { return true };
        still(before) != still(after)
            || before.temperature_c.abs_diff(after.temperature_c) >= TEMPERATURE_STEP_C
            || before.power_mw.abs_diff(after.power_mw) >= POWER_STEP_MW
    })
}

/// The end of a text, at most so many bytes, in whole characters.
pub(crate) fn last(text: &str, bytes: usize) -> String {
    let mut from = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text[from..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use types::UnixMillis;

    fn state(temperature_c: u32, ecc_corrected: u64) -> State {
        let gpu = GpuSeen { temperature_c, ecc_corrected, ..GpuSeen::default() };
        State { gpus: [("GPU-1".to_owned(), gpu)].into(), ..State::default() }
    }

    fn answer(full: bool, events_taken: u64, commands: Vec<Command>) -> Answer {
        Answer { now: UnixMillis(0), next_ms: 1, full, renew: false, events_taken, commands }
    }

    #[test]
    fn state_goes_over_when_it_changed_and_when_asked() {
        let mut reporter = Reporter::new(MachineId(1), "S", &SystemClock);
        let mut send = |state: State, full: bool| {
            let report = reporter.next(state, &SystemClock, 0);
            reporter.answered(&report, &answer(full, 0, Vec::new()));
            report.state.is_some()
        };
        assert!(send(state(40, 0), false));
        assert!(!send(state(44, 0), false), "four degrees");
        assert!(!send(state(36, 0), true), "the other way; the site asks");
        assert!(send(state(40, 0), false));
        assert!(send(state(45, 0), false), "five degrees");
        assert!(send(state(45, 1), false), "a corrected error");
        assert!(!send(state(45, 1), false));
        assert!(send(State::default(), false), "a GPU is gone");
    }

    #[test]
    fn events_wait_until_they_are_taken() {
        let mut reporter = Reporter::new(MachineId(1), "S", &SystemClock);
        for at in 0..EVENTS_KEPT_MAX as u64 + 2 {
            reporter.event(EventKind::Thermal { gpu: 0, temperature_c: 90 }, at);
        }
        let report = reporter.next(State::default(), &SystemClock, 1_000);
        assert_eq!(report.events.len(), EVENTS_MAX);
        // The two oldest are gone.
        assert_eq!((report.events[0].number, report.events[0].age_ms), (3, 998));
        reporter.answered(&report, &answer(false, 10, Vec::new()));
        assert_eq!(reporter.next(State::default(), &SystemClock, 1_000).events[0].number, 11);
        reporter.answered(&report, &answer(false, u64::MAX, Vec::new()));
        assert!(!reporter.is_urgent());
    }

    /// The site tells every command again until it sees what came of it; a refusal that made a report urgent was told each second.
    #[test]
    fn a_command_that_is_refused_is_answered_once_and_begun_when_it_is_told_later() {
        let mut reporter = Reporter::new(MachineId(1), "S", &SystemClock);
        let suite = |id: &str| {
            let what = crate::wire::CommandKind::RunSuite { suite: "s".into(), text: None, entry: 1, attempt: 0 };
            Command { id: id.to_owned(), what }
        };
        let asked = |reporter: &mut Reporter, id: &str, text: &str, later: bool, full: bool| {
            let report = reporter.next(State::default(), &SystemClock, 0);
            let told: Vec<_> = report.done.iter().map(|done| (done.text.clone(), done.later)).collect();
            // Never known: it could be begun each time.
            assert_eq!(reporter.answered(&report, &answer(full, 0, vec![suite(id)])).len(), 1);
            reporter.refuse(id, text, later);
            told
        };
        let tell = |reporter: &mut Reporter, id: &str, text: &str, later: bool| asked(reporter, id, text, later, false);
        assert_eq!(tell(&mut reporter, "a", "another runs", true), []);
        assert_eq!(tell(&mut reporter, "a", "another runs", true), [("another runs".to_owned(), true)]);
        assert_eq!(tell(&mut reporter, "a", "another runs", true), []);
        assert!(!reporter.is_urgent());
        // Another answer, and another command, are news.
        assert_eq!(tell(&mut reporter, "a", "no such suite", false), []);
        assert_eq!(tell(&mut reporter, "b", "no such suite", false), [("no such suite".to_owned(), false)]);
        assert!(reporter.is_urgent());
        assert_eq!(tell(&mut reporter, "b", "no such suite", false), [("no such suite".to_owned(), false)]);
        assert!(!reporter.is_urgent());
        // A site that was started anew may have heard it before it knew what it had wanted.
        assert_eq!(asked(&mut reporter, "b", "no such suite", false, true), []);
        assert_eq!(tell(&mut reporter, "b", "no such suite", false), [("no such suite".to_owned(), false)]);
    }

    #[test]
    fn a_command_is_begun_once_and_its_result_told_until_heard() {
        let mut reporter = Reporter::new(MachineId(1), "S", &SystemClock);
        let what = crate::wire::CommandKind::ResumeWork;
        let command = Command { id: "a".into(), what };
        let report = reporter.next(State::default(), &SystemClock, 0);
        assert_eq!(reporter.answered(&report, &answer(false, 0, vec![command.clone()])).len(), 1);
        assert!(reporter.answered(&report, &answer(false, 0, vec![command])).is_empty());
        reporter.done("a", true, "äb");
        let lost = reporter.next(State::default(), &SystemClock, 0);
        assert_eq!(lost.done.len(), 1);
        let heard = reporter.next(State::default(), &SystemClock, 0);
        assert_eq!(heard.done.len(), 1);
        reporter.answered(&heard, &answer(false, 0, Vec::new()));
        assert!(reporter.next(State::default(), &SystemClock, 0).done.is_empty());
        assert_eq!(last("äb", 2), "b");
    }
}
