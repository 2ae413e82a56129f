//! Operators at their desks: what a held machine needs from a person. They decide what a person would, by what holds it;
//! what they do goes through the same doors as in production (`release`, `send_to_repair`, the order's `Resume`, the spec).

use super::act::{hours, minutes};
use super::world::{What, World};
use fleet::lifecycle::{release, send_to_repair};
use fleet::machine::Lifecycle;
use fleet::order;

const BY: &str = "person/desk";

impl World {
    pub fn plan_look(&mut self, at: usize) {
        let unit = &mut self.units[at];
        let key = (unit.machine.entry, unit.machine.attempt);
        if unit.iron.doing.looking == Some(key) {
            return;
        }
        unit.iron.doing.looking = Some(key);
        let after = self.dice.about(minutes(self.scenario.people.desk_minutes), 0.5);
        self.clock.after(after, What::Look { machine: at, entry: key.0, attempt: key.1 });
    }

    pub fn look(&mut self, at: usize, entry: u64, attempt: u32) {
        let now = self.clock.now;
        let unit = &mut self.units[at];
        if unit.iron.doing.looking == Some((entry, attempt)) {
            unit.iron.doing.looking = None;
        }
        if unit.machine.entry != entry {
            return;
        }
        // A drain that a person asked for, and the machine was looked at: it may prove itself.
        if unit.machine.lifecycle == Lifecycle::Repair && unit.spec.drain.take().is_some() {
            unit.spec.generation += 1;
            return self.step(at);
        }
        let Some(hold) = unit.machine.hold.clone() else { return };
        match hold.code.as_str() {
            "order_held" => {
                let event = order::Event::Resume { by: BY.to_owned(), reason: "looked at".to_owned() };
                self.tell(at, &event);
                self.dispatch_soon();
                // Held again, it is looked at again.
                if self.units[at].machine.hold.is_some() {
                    self.plan_look(at);
                }
            }
            "repeat_offender" => {
                let after = self.dice.about(hours(self.scenario.faults.offender_hours), 0.3);
                self.clock.after(after, What::Examined { machine: at, entry });
            }
            _ => {
                let part = unit.iron.faults.iter().find(|it| !it.part.is_empty()).map(|it| it.part.clone());
                let next = match part {
                    // What cannot be repaired from here (it serves, or is in repair already) is let go on.
                    Some(part) => send_to_repair(&unit.machine, &part, BY, "found by its tests", now)
                        .or_else(|_| release(&unit.machine, BY, "looked at", now)),
                    None => release(&unit.machine, BY, "nothing is found", now),
                };
                self.released(at, next);
            }
        }
    }

    /// A repeat offender was taken apart: some are understood, and are offenders no more.
    pub fn examined(&mut self, at: usize, entry: u64) {
        let now = self.clock.now;
        let cured = self.dice.chance(self.scenario.faults.lemons_cured);
        let unit = &mut self.units[at];
        if unit.machine.entry != entry {
            return;
        }
        if unit.iron.lemon && cured {
            unit.iron.lemon = false;
            unit.iron.weight = 1.0;
            self.tally.lemons_cured += 1;
        }
        let next = release(&unit.machine, BY, "examined", now);
        self.released(at, next);
    }
}
