//! What breaks, at so many an hour: causes, signs and cures are those of the factory in virtual time
//! ([`crate::factory`]), here shown by real agents and BMCs. What a person exchanges or looks at, what is reset or
//! restarted, is mended as far as that cures it.

use super::World;
use super::iron::Iron;
use crate::factory::causes::{self, Cure, Sign, Way};
use crate::factory::dice::Dice;
use fleet::observed::EventKind;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const HOUR_MILLIS: f64 = 3_600_000.0;
/// No whole switches here: each fault is one machine's.
const SWITCHES: f64 = 0.0;

/// Something that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `gpu3`, `psu1`, `cable`, `board`.
    pub part: String,
    pub sign: Sign,
    pub cure: Cure,
    /// For links: failure domain and port.
    link: Option<(String, String)>,
}

impl Fault {
    /// Host and agent stand still.
    pub fn hangs(&self) -> bool {
        matches!(self.sign, Sign::Hang | Sign::PartAndHang)
    }

    pub fn shows_in_suite(&self) -> bool {
        !matches!(self.cure, Cure::Itself | Cure::Restart) && !self.part.is_empty()
    }

    fn gpu(&self) -> Option<u32> {
        self.part.strip_prefix("gpu")?.parse::<u32>().ok()?.checked_sub(1)
    }

    /// What its agent says of it.
    fn event(&self) -> Option<EventKind> {
        let gpu = self.gpu().unwrap_or(0);
        let xid = |code| Some(EventKind::Xid { code, gpu, driver: "580.95.05".to_owned() });
        match self.sign {
            Sign::Xid(code) => xid(code),
            Sign::Gone => xid(79),
            Sign::Remap => xid(64),
            Sign::Nvlink => xid(74),
            Sign::Program => xid(43),
            Sign::Heat => Some(EventKind::Thermal { gpu, temperature_c: 96 }),
            Sign::Link | Sign::Switch => self.link.clone().map(|(domain, port)| EventKind::LinkDown { domain, port }),
            Sign::Hang | Sign::Part | Sign::PartAndHang | Sign::Nothing => None,
        }
    }
}

/// What the dice say is broken of this machine; none if it has no such thing.
fn of(dice: &mut Dice, way: &Way, iron: &Iron) -> Option<Fault> {
    let number = dice.below(iron.gpus.max(1) as usize) + 1;
    let part = match way.part {
        "gpu" => format!("gpu{number}"),
        "nic" | "psu" | "drive" => format!("{}{}", way.part, dice.below(2) + 1),
        other => other.to_owned(),
    };
    let leaves: Vec<&String> = iron.domains.iter().filter(|domain| domain.starts_with("leaf")).collect();
    let link = match way.sign {
        Sign::Link | Sign::Switch if leaves.is_empty() => return None,
        Sign::Link | Sign::Switch => Some((leaves[dice.below(leaves.len())].clone(), "hca1".to_owned())),
        _ => None,
    };
    Some(Fault { part, sign: way.sign, cure: way.cure, link })
}

/// Breaks machines that are capacity, so many an hour, until the twin stops.
pub async fn run(world: Arc<World>, per_hour: f64, seed: u64) {
    let mut dice = Dice::of(seed);
    let mut stopping = world.stopping();
    loop {
        let wait = Duration::from_millis(dice.wait(HOUR_MILLIS / per_hour).max(1).unsigned_abs());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let (_, way) = causes::throw(&mut dice, SWITCHES);
        let machines = match world.api.all(&world.token, "/api/v1/machines").await {
            Ok(machines) => machines,
            Err(error) => {
                world.complain(&error);
                continue;
            }
        };
        let open: BTreeSet<&str> = machines
            .iter()
            .filter(|machine| machine["scheduling"] == "open")
            .filter_map(|machine| machine["slot"].as_str())
            .collect();
        let well: Vec<&Iron> =
            world.irons.iter().filter(|iron| open.contains(iron.slot.as_str()) && iron.broken().is_empty()).collect();
        if well.is_empty() {
            continue;
        }
        let iron = well[dice.below(well.len())];
        if let Some(fault) = of(&mut dice, way, iron) {
            world.tally.faults.fetch_add(1, Ordering::Relaxed);
            begin(iron, fault);
        }
    }
}

/// It breaks, and shows as far as it does.
pub fn begin(iron: &Iron, fault: Fault) {
    if matches!(fault.sign, Sign::Part | Sign::PartAndHang) {
        iron.judge(&fault.part, "Critical");
    }
    let event = fault.event();
    if fault.cure != Cure::Itself {
        iron.broken().push(fault);
    }
    if let Some(event) = event {
        iron.happens(event);
    }
}

/// Ends what is cured; links that were down are up again.
fn end(iron: &Iron, cured: impl Fn(&Fault) -> bool) {
    let ended: Vec<Fault> = iron.broken().extract_if(.., |fault| cured(fault)).collect();
    for (domain, port) in ended.into_iter().filter_map(|fault| fault.link) {
        iron.happens(EventKind::LinkUp { domain, port });
    }
}

/// A part was exchanged.
pub fn exchanged(iron: &Iron, part: &str) {
    // Whoever has the machine open reseats the rest.
    end(iron, |fault| fault.part == part || fault.cure == Cure::Inspection);
}

/// Somebody looked, reseated and switched on.
pub fn inspected(iron: &Iron) {
    for fault in iron.broken().iter().filter(|fault| fault.cure == Cure::Exchange) {
        // What has to be exchanged and nobody knew of is known now.
        iron.judge(&fault.part, "Critical");
    }
    end(iron, |fault| fault.cure == Cure::Inspection || !fault.part.ends_with(|c: char| c.is_ascii_digit()));
}

/// A program was restarted.
pub fn restarted(iron: &Iron, gpu: u32) {
    end(iron, |fault| fault.gpu() == Some(gpu) && fault.cure == Cure::Restart);
}

/// A GPU was reset.
pub fn reset(iron: &Iron, gpu: u32) {
    end(iron, |fault| fault.gpu() == Some(gpu) && matches!(fault.cure, Cure::Restart | Cure::Reset));
}

#[cfg(test)]
mod tests {
    use super::super::iron::Trees;
    use super::*;

    fn iron() -> Iron {
        let site = fleet::site::read(crate::factory::site_named("small").unwrap(), None).site.unwrap();
        Iron::new(&site.machines()[0], 0, &mut Trees::default())
    }

    fn fault(part: &str, sign: Sign, cure: Cure) -> Fault {
        Fault { part: part.to_owned(), sign, cure, link: None }
    }

    fn health(iron: &Iron) -> String {
        let gpu = iron.bmc.get("/redfish/v1/Systems/System/Processors/GPU_SXM_3").unwrap();
        gpu["Status"]["Health"].as_str().unwrap().to_owned()
    }

    /// Each is ended by its own cure and by none that is weaker.
    #[test]
    fn what_is_broken_is_mended_by_its_cure() {
        type Deed = fn(&Iron);
        let deeds: [(&str, Deed); 5] = [
            ("restarted", |iron| restarted(iron, 2)),
            ("reset", |iron| reset(iron, 2)),
            ("inspected", |iron| inspected(iron)),
            ("exchanged", |iron| exchanged(iron, "gpu3")),
            ("another exchanged", |iron| exchanged(iron, "gpu4")),
        ];
        let check = |cure: Cure, mends: &[&str]| {
            for (name, deed) in deeds {
                let iron = iron();
                begin(&iron, fault("gpu3", Sign::Xid(79), cure));
                let gpu4 = fault("gpu2", Sign::Xid(79), Cure::Exchange);
                begin(&iron, gpu4.clone());
                deed(&iron);
                let left = iron.broken().clone();
                assert!(left.contains(&gpu4), "{name}: another GPU's is its own");
                assert_eq!(left.len() == 1, mends.contains(&name), "{cure:?} {name}: {left:?}");
            }
        };
        check(Cure::Restart, &["restarted", "reset", "exchanged"]);
        check(Cure::Reset, &["reset", "exchanged"]);
        check(Cure::Inspection, &["inspected", "exchanged", "another exchanged"]);
        check(Cure::Exchange, &["exchanged"]);
        // What passes by itself is told, and is not there any more.
        let iron = iron();
        begin(&iron, fault("gpu3", Sign::Xid(31), Cure::Itself));
        assert!(iron.broken().is_empty());
        let xid = EventKind::Xid { code: 31, gpu: 2, driver: "580.95.05".to_owned() };
        assert_eq!(iron.take_events(), [xid]);
    }

    /// What its BMC, its agent and its suite show of it.
    #[test]
    fn a_fault_shows_as_its_sign_says() {
        let iron = iron();
        begin(&iron, fault("gpu3", Sign::Part, Cure::Exchange));
        assert_eq!((health(&iron).as_str(), iron.take_events().len()), ("Critical", 0));
        // One that nobody knew of is found by whoever looks.
        let iron = self::iron();
        begin(&iron, fault("gpu3", Sign::Xid(48), Cure::Exchange));
        assert_eq!((health(&iron).as_str(), iron.take_events().len()), ("OK", 1));
        inspected(&iron);
        assert_eq!(health(&iron), "Critical");
        assert!(iron.broken()[0].shows_in_suite());
        for (sign, hangs) in [(Sign::Hang, true), (Sign::PartAndHang, true), (Sign::Part, false), (Sign::Gone, false)] {
            assert_eq!(fault("gpu3", sign, Cure::Exchange).hangs(), hangs);
        }
        assert!(!fault("gpu3", Sign::Program, Cure::Restart).shows_in_suite());
        // A link that is mended is up again, and its agent says so.
        let iron = self::iron();
        let link = Some(("leaf-1".to_owned(), "hca1".to_owned()));
        begin(&iron, Fault { link, ..fault("cable", Sign::Link, Cure::Inspection) });
        let (domain, port) = ("leaf-1".to_owned(), "hca1".to_owned());
        assert_eq!(iron.take_events(), [EventKind::LinkDown { domain: domain.clone(), port: port.clone() }]);
        inspected(&iron);
        assert_eq!(iron.take_events(), [EventKind::LinkUp { domain, port }]);
    }

    /// Links break at machines that have some, and the dice choose among parts that are there.
    #[test]
    fn the_dice_break_what_is_there() {
        let iron = iron();
        let mut dice = Dice::of(7);
        for _ in 0..500 {
            let (_, way) = causes::throw(&mut dice, SWITCHES);
            let Some(fault) = of(&mut dice, way, &iron) else { panic!("a DGX has everything that breaks") };
            if let Some(number) = fault.gpu() {
                assert!(number < iron.gpus, "{fault:?}");
            }
            assert_eq!(fault.link.is_some(), matches!(fault.sign, Sign::Link | Sign::Switch), "{fault:?}");
            assert!(fault.link.is_none_or(|(domain, _)| iron.domains.contains(&domain)));
        }
    }
}
