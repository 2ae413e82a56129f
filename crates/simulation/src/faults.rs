//! What goes wrong in a run, when, and for how long: thrown from the run's dice, one chance a millisecond.

use crate::dice::Dice;
use crate::site::{self, ENGINES, Site};
use crate::trace::Trace;
use crate::vault::{self, Mood};
use std::time::Duration;
use turmoil::Sim;

/// Hosts of customers.
pub const CUSTOMERS: [&str; 3] = ["customers-0", "customers-1", "customers-2"];

/// What ends a fault.
#[derive(Debug, Clone, Copy)]
enum Cure {
    Repair(&'static str, &'static str),
    Release(&'static str, &'static str),
    Start(&'static str),
    Well,
    Room,
}

pub struct Faults {
    dice: Dice,
    cures: Vec<(Duration, Cure)>,
    gateway_down: bool,
    engines_down: [bool; ENGINES.len()],
    /// When the gateway went down, for the count of what may be lost with it.
    pub crashes: Vec<Duration>,
    /// From when until when the disk was full: meanwhile nothing becomes durable.
    pub fulls: Vec<(Duration, Duration)>,
    pub count: u64,
}

impl Faults {
    pub fn new(dice: Dice) -> Self {
        Faults {
            dice,
            cures: Vec::new(),
            gateway_down: false,
            engines_down: Default::default(),
            crashes: Vec::new(),
            fulls: Vec::new(),
            count: 0,
        }
    }

    /// One step of the run: cures what is over, and perhaps breaks something.
    pub fn step(&mut self, sim: &mut Sim<'_>, site: &Site, trace: &Trace) {
        self.cure(sim, site, sim.elapsed());
        self.bury(sim, site, trace);
        if !self.dice.in_a_thousand(25) {
            return;
        }
        self.count += 1;
        let until = sim.elapsed() + Duration::from_millis(self.dice.between(5, 300));
        let engine = self.dice.below(ENGINES.len() as u64) as usize;
        let customers = CUSTOMERS[self.dice.below(CUSTOMERS.len() as u64) as usize];
        let other = [customers, ENGINES[engine].0, vault::HOST][self.dice.below(3) as usize];
        let fault = self.dice.below(20);
        trace.note(format_args!("fault {fault} {other} until {}", until.as_millis()));
        match fault {
            0..=4 => {
                sim.partition(site::HOST, other);
                self.cures.push((until, Cure::Repair(site::HOST, other)));
            }
            5..=8 => {
                sim.hold(site::HOST, other);
                self.cures.push((until, Cure::Release(site::HOST, other)));
            }
            9..=10 => {
                sim.partition_oneway(other, site::HOST);
                self.cures.push((until, Cure::Repair(site::HOST, other)));
            }
            11..=12 if !self.engines_down[engine] => {
                self.engines_down[engine] = true;
                sim.crash(ENGINES[engine].0);
                self.cures.push((until, Cure::Start(ENGINES[engine].0)));
            }
            13..=14 => {
                site.vault.be(if self.dice.in_a_thousand(500) { Mood::Refuses } else { Mood::DoesNotSay });
                self.cures.push((until, Cure::Well));
            }
            15 => {
                site.disk.fill(true);
                self.fulls.push((sim.elapsed(), until));
                self.cures.push((until, Cure::Room));
            }
            16 => site.disk.fail_after(self.dice.below(30), self.dice.clone().in_a_thousand(500)),
            17..=18 if !self.gateway_down => {
                let power = self.dice.in_a_thousand(700);
                self.crash_gateway(sim, site, power, until);
            }
            _ => {}
        }
    }

    /// A process that has ended by itself is started again.
    fn bury(&mut self, sim: &mut Sim<'_>, site: &Site, trace: &Trace) {
        let ended = site.status().ended;
        if ended && !self.gateway_down {
            let until = sim.elapsed() + Duration::from_millis(self.dice.between(5, 100));
            let power = self.dice.in_a_thousand(300);
            trace.note(format_args!("gateway is buried"));
            self.crash_gateway(sim, site, power, until);
        }
    }

    fn crash_gateway(&mut self, sim: &mut Sim<'_>, site: &Site, power: bool, until: Duration) {
        self.gateway_down = true;
        self.crashes.push(sim.elapsed());
        site.status().ended = false;
        sim.crash(site::HOST);
        if power {
            site.disk.lose_power(&mut self.dice);
        }
        self.cures.push((until, Cure::Start(site::HOST)));
    }

    fn cure(&mut self, sim: &mut Sim<'_>, site: &Site, now: Duration) {
        let over: Vec<_> = self.cures.extract_if(.., |(until, _)| *until <= now).collect();
        for (_, cure) in over {
            match cure {
                Cure::Repair(a, b) => sim.repair(a, b),
                Cure::Release(a, b) => sim.release(a, b),
                Cure::Well => site.vault.be(Mood::Well),
                Cure::Room => site.disk.fill(false),
                Cure::Start(host) => {
                    match ENGINES.iter().position(|(name, _)| *name == host) {
                        Some(engine) => self.engines_down[engine] = false,
                        None => self.gateway_down = false,
                    }
                    sim.bounce(host);
                }
            }
        }
    }

    /// Everything is well again, and stays so; only a gateway that ends by itself is still started again.
    pub fn end(&mut self, sim: &mut Sim<'_>, site: &Site, trace: &Trace) {
        self.cure(sim, site, Duration::MAX);
        self.bury(sim, site, trace);
        site.disk.heal();
        for host in CUSTOMERS.into_iter().chain(ENGINES.map(|(name, _)| name)).chain([vault::HOST]) {
            sim.repair(site::HOST, host);
        }
    }
}
