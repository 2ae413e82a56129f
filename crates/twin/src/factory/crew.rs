//! Robots and people: who is free, how long they are at it, what goes wrong. Which robot takes which task, and what is left
//! to people, `fleet::order` decides.

use super::act::{hours, minutes};
use super::clock::{HOUR, MINUTE, SECOND, within};
use super::orders::index;
use super::scenario::{self, Scenario};
use super::spares;
use super::world::{What, World};
use fleet::observed::Custody;
use fleet::order::{
    self, Assignee, BATTERY_PERCENT_MIN, Event, Evidence, OrderKind, RUNNING_MILLIS_MAX, RobotFit, Task, TaskState,
    Verb, assign, for_people,
};
use std::collections::BTreeSet;
use types::TaskId;

/// Things that become free within a moment are given away together.
const DISPATCH_MILLIS: i64 = 5 * SECOND;
/// A robot that says nothing for so long is taken to be lost.
const LOST_MILLIS: i64 = 5 * MINUTE;
/// Somebody stands in the way.
const ZONE_MILLIS: i64 = 2 * MINUTE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worker {
    Robot(usize),
    Person(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Done,
    Failed,
    /// A robot that went silent.
    Lost,
}

pub struct Person {
    id: String,
    shift: (u32, u32),
    busy: bool,
}

pub struct Crew {
    pub fits: Vec<RobotFit>,
    /// Work that is left in each battery, millis.
    charge: Vec<i64>,
    battery: i64,
    pub people: Vec<Person>,
    days: u32,
    confirming: BTreeSet<TaskId>,
    pub robots_worked: i64,
    pub people_worked: i64,
}

impl Crew {
    pub fn of(scenario: &Scenario) -> Crew {
        let robots = &scenario.robots;
        let fit = |number: usize| RobotFit {
            id: format!("twin/r{:03}", number + 1),
            payload_g: robots.payload_kg * 1_000,
            verbs: robots.verbs.iter().copied().collect(),
            zones: Vec::new(),
            battery_percent: 100,
            busy: false,
        };
        let shifts: Vec<(u32, u32)> = scenario.people.shifts.iter().filter_map(|it| scenario::shift(it)).collect();
        let person = |number: usize| Person {
            id: format!("person/{:03}", number + 1),
            shift: shifts[number % shifts.len()],
            busy: false,
        };
        let battery = hours(robots.battery_hours);
        Crew {
            fits: (0..robots.count).map(fit).collect(),
            charge: vec![battery; robots.count],
            battery,
            people: (0..scenario.people.count).map(person).collect(),
            days: scenario.people.days_per_week,
            confirming: BTreeSet::new(),
            robots_worked: 0,
            people_worked: 0,
        }
    }

    fn who(&self, worker: Worker) -> Assignee {
        match worker {
            Worker::Robot(at) => Assignee::Robot(self.fits[at].id.clone()),
            Worker::Person(at) => Assignee::Person(self.people[at].id.clone()),
        }
    }

    pub fn robot_back(&mut self, at: usize) {
        self.charge[at] = self.battery;
        self.fits[at].battery_percent = 100;
        self.fits[at].busy = false;
    }

    /// Hours that people are there in a week, per person: the ground of their utilisation.
    pub fn shift_share(&self) -> f64 {
        let hours: u32 = self
            .people
            .iter()
            .map(|it| if it.shift.0 < it.shift.1 { it.shift.1 - it.shift.0 } else { 24 - it.shift.0 + it.shift.1 })
            .sum();
        f64::from(hours) / (24.0 * self.people.len().max(1) as f64) * f64::from(self.days) / 7.0
    }
}

impl World {
    pub fn dispatch_soon(&mut self) {
        if !self.dispatch_planned {
            self.dispatch_planned = true;
            self.clock.after(DISPATCH_MILLIS, What::Dispatch);
        }
    }

    fn free_people(&self) -> Vec<usize> {
        let crew = &self.crew;
        let free =
            crew.people.iter().enumerate().filter(|(_, it)| !it.busy && within(self.clock.now, it.shift, crew.days));
        free.map(|(at, _)| at).rev().collect()
    }

    pub fn dispatch(&mut self) {
        self.dispatch_planned = false;
        let mut free = self.free_people();
        self.hold_points(&mut free);
        let given = assign(self.orders.ready(), &self.crew.fits);
        for assignment in given {
            let robot = self.crew.fits.iter().position(|it| it.id == assignment.robot);
            let order = self.orders.ready().iter().find(|it| it.id == assignment.order).map(index);
            if let (Some(robot), Some(machine)) = (robot, order) {
                self.give(machine, assignment.task, Worker::Robot(robot));
            }
        }
        self.people_take(&mut free);
    }

    /// Two people to each hold point, oldest order first.
    fn hold_points(&mut self, free: &mut Vec<usize>) {
        let mut held: Vec<_> = self
            .orders
            .ready()
            .iter()
            .filter_map(|order| {
                let task = order.tasks.iter().find(|task| task.state == TaskState::Held)?;
                (!self.crew.confirming.contains(&task.id)).then_some((order.made_at, order.id, index(order), task.id))
            })
            .collect();
        held.sort();
        for (_, _, machine, task) in held {
            let (Some(one), Some(other)) = (free.pop(), free.pop()) else { return };
            self.crew.confirming.insert(task);
            let millis = minutes(self.scenario.people.walk_minutes + self.scenario.people.confirm_minutes);
            for person in [one, other] {
                self.crew.people[person].busy = true;
                self.crew.people_worked += millis;
            }
            self.clock.after(millis, What::Confirmed { machine, task, people: [one, other] });
        }
    }

    pub fn confirmed(&mut self, machine: usize, task: TaskId, people: [usize; 2]) {
        self.crew.confirming.remove(&task);
        for person in people {
            self.crew.people[person].busy = false;
            let by = self.crew.people[person].id.clone();
            self.tell(machine, &Event::Confirm { task, by });
        }
        self.dispatch_soon();
    }

    fn people_take(&mut self, free: &mut Vec<usize>) {
        if free.is_empty() {
            return;
        }
        let at_work = |task: &&Task| matches!(task.state, TaskState::Assigned | TaskState::Running);
        let tasks = self.orders.ready().iter().flat_map(|order| order.tasks.iter()).filter(at_work);
        let mut zones: BTreeSet<String> = tasks.clone().map(|task| task.zone.clone()).collect();
        // In somebody's hands, and not yet taken from the shelf.
        let swaps = tasks.filter(|task| task.verb == Verb::Swap);
        let mut in_hands: Vec<String> = swaps.map(|task| spares::kind(&task.subject).to_owned()).collect();
        zones.remove("");
        let wanted = for_people(self.orders.ready(), &self.crew.fits);
        for (order, task) in wanted {
            let Some(order) = self.orders.ready().iter().find(|it| it.id == order) else { continue };
            let machine = index(order);
            let Some(found) = order.task(task) else { continue };
            let (zone, part) = (found.zone.clone(), (found.verb == Verb::Swap).then(|| found.subject.clone()));
            if zones.contains(&zone) {
                continue;
            }
            let spoken_for = |part: &str| in_hands.iter().filter(|it| *it == spares::kind(part)).count();
            if let Some(part) = part.as_ref().filter(|part| self.shelf.count(part) <= spoken_for(part)) {
                self.shelf.lacks(part);
                self.order_part(part);
                if let Some(order) = self.orders.take(machine) {
                    self.orders.put(order, false);
                }
                continue;
            }
            let Some(person) = free.pop() else { return };
            if !zone.is_empty() {
                zones.insert(zone);
            }
            in_hands.extend(part.map(|part| spares::kind(&part).to_owned()));
            self.give(machine, task, Worker::Person(person));
        }
    }

    /// A part came: the oldest order that waits for one goes on.
    pub fn spare_arrives(&mut self, kind: &str) {
        self.shelf.put(kind);
        let lacks = |task: &Task| {
            task.state == TaskState::Ready && task.verb == Verb::Swap && spares::kind(&task.subject) == kind
        };
        let waits = self.orders.aside().iter().filter(|it| it.tasks.iter().any(lacks));
        let oldest = waits.min_by_key(|it| (it.made_at, it.id)).map(index);
        if let Some(order) = oldest.and_then(|machine| self.orders.take(machine)) {
            self.orders.put(order, true);
        }
        self.dispatch_soon();
    }

    fn give(&mut self, machine: usize, task: TaskId, worker: Worker) {
        let to = self.crew.who(worker);
        if self.try_tell(machine, &Event::Assign { task, to }).is_err() {
            return;
        }
        let way = match worker {
            Worker::Robot(at) => {
                self.crew.fits[at].busy = true;
                self.scenario.robots.drive_minutes
            }
            Worker::Person(at) => {
                self.crew.people[at].busy = true;
                self.scenario.people.walk_minutes
            }
        };
        let after = self.dice.about(minutes(way), self.scenario.work.spread);
        self.worked(worker, after);
        self.clock.after(after, What::Begin { machine, task, worker });
    }

    fn worked(&mut self, worker: Worker, millis: i64) {
        match worker {
            Worker::Robot(at) => {
                self.crew.robots_worked += millis;
                self.crew.charge[at] -= millis;
            }
            Worker::Person(_) => self.crew.people_worked += millis,
        }
    }

    pub fn begin_task(&mut self, machine: usize, task: TaskId, worker: Worker) {
        let by = self.crew.who(worker);
        match self.try_tell(machine, &Event::Start { task, by }) {
            Ok(()) => {}
            Err(order::Refusal::ZoneBusy(_)) => {
                return self.clock.after(ZONE_MILLIS, What::Begin { machine, task, worker });
            }
            Err(refusal) => {
                self.tally.refusal(&refusal);
                return self.free(worker);
            }
        }
        let Some(verb) = self.orders.get(machine).and_then(|it| it.task(task)).map(|it| it.verb) else {
            return self.free(worker);
        };
        let spread = self.scenario.work.spread;
        let mean = minutes(self.scenario.work.minutes.get(&verb).copied().unwrap_or(0.0));
        let millis = self.dice.about(mean, spread);
        let fails = self.scenario.work.fails_per_thousand.get(&verb).copied().unwrap_or(0.0);
        let dies =
            matches!(worker, Worker::Robot(_)) && self.dice.chance(self.scenario.robots.dies_per_thousand / 1_000.0);
        let how = match (dies, self.dice.chance(fails / 1_000.0)) {
            (true, _) => End::Lost,
            (false, true) => End::Failed,
            (false, false) => End::Done,
        };
        let millis = if dies { millis / 2 + LOST_MILLIS } else { millis };
        self.worked(worker, millis);
        self.clock.after(millis, What::End { machine, task, worker, how });
        self.clock.after(RUNNING_MILLIS_MAX + SECOND, What::Late(machine));
    }

    pub fn end_task(&mut self, machine: usize, task: TaskId, worker: Worker, how: End) {
        let by = self.crew.who(worker);
        match how {
            End::Done => self.done(machine, task, by),
            End::Failed => {
                self.tally.tasks_failed += 1;
                let why = "did not work".to_owned();
                self.tell(machine, &Event::Fail { task, by, why, retriable: true });
            }
            End::Lost => {
                self.tally.robots_lost += 1;
                self.tell(machine, &Event::GiveBack { task, why: "the robot is silent".to_owned() });
            }
        }
        match (how, worker) {
            (End::Lost, Worker::Robot(at)) => {
                let after = self.dice.about(hours(self.scenario.robots.mend_hours), 0.5);
                self.clock.after(after, What::RobotBack(at));
            }
            _ => self.free(worker),
        }
        self.dispatch_soon();
    }

    fn done(&mut self, machine: usize, id: TaskId, by: Assignee) {
        let now = self.clock.now;
        let Some((order, task)) = self.orders.get(machine).and_then(|it| Some((it, it.task(id)?))) else { return };
        let (Assignee::Robot(name) | Assignee::Person(name)) = &by;
        let (kind, verb, subject) = (order.kind, task.verb, task.subject.clone());
        let iron = &self.units[machine].iron;
        let mut new_serial = String::new();
        let (what, value, sha256) = match verb {
            Verb::Scan => ("scan", iron.serial.clone(), None),
            Verb::Photograph => ("photo", "photo.jpg".to_owned(), Some(self.dice.digest())),
            Verb::Torque => ("torque", format!("{}.{} N·m", 4 + self.dice.below(2), self.dice.below(10)), None),
            Verb::Cable => ("label", subject.split(' ').next().unwrap_or_default().to_owned(), None),
            Verb::Swap => {
                new_serial = format!("{}-{}", iron.serial, self.tally.tasks);
                ("scan", new_serial.clone(), None)
            }
            _ => ("", String::new(), None),
        };
        let evidence = Evidence { kind: what.to_owned(), value: value.clone(), sha256, by: name.clone(), at: now };
        let evidence = if what.is_empty() { Vec::new() } else { vec![evidence] };
        let photo = None;
        if kind == OrderKind::Receive && verb == Verb::Scan {
            self.units[machine].observed.custody = Some(Custody { serial: value, by: name.clone(), at: now, photo });
        }
        if verb == Verb::Swap {
            self.swap(machine, &subject, &new_serial);
        }
        self.tally.tasks += 1;
        self.tell(machine, &Event::Done { task: id, by, evidence });
    }

    fn swap(&mut self, machine: usize, part: &str, serial: &str) {
        if self.shelf.take(part) {
            self.order_part(part);
        }
        self.exchanged(machine, part, serial);
    }

    fn order_part(&mut self, part: &str) {
        let days = self.scenario.spares.order_days;
        let after = self.dice.about((days * 24.0 * HOUR as f64) as i64, 0.3);
        self.clock.after(after, What::Spare(spares::kind(part).to_owned()));
    }

    fn free(&mut self, worker: Worker) {
        match worker {
            Worker::Person(at) => self.crew.people[at].busy = false,
            Worker::Robot(at) => {
                let crew = &mut self.crew;
                let percent = (crew.charge[at].max(0) * 100 / crew.battery.max(1)) as u8;
                crew.fits[at].battery_percent = percent.min(100);
                if percent < BATTERY_PERCENT_MIN {
                    // It stays busy until it has charged.
                    self.clock.after(hours(self.scenario.robots.charge_hours), What::RobotBack(at));
                } else {
                    crew.fits[at].busy = false;
                }
            }
        }
        self.dispatch_soon();
    }

    /// What does not end in its time holds its order.
    pub fn late(&mut self, machine: usize) {
        let Some(order) = self.orders.get(machine) else { return };
        let next = order::step(order, &order::Limits::default(), self.clock.now);
        if next != *order {
            self.became(machine, next);
        }
    }
}
