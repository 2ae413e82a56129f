//! What breaks, how often and how it shows. Counts are Llama 3's 419 unplanned interruptions on 16,384 H100 in 54 days, as
//! data; into which signals and cures a cause splits is our assumption, one line each. Two dependencies are programs and
//! counted as such.

use super::clock::BEGIN;
use super::dice::Dice;
use super::iron::Fault;

/// Interruptions per GPU and day: 419 in 54 days on 16,384 GPUs.
pub const PER_GPU_DAY: f64 = 419.0 / (54.0 * 16_384.0);

/// How it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// An XID on one GPU, now and again.
    Xid(u16),
    /// An XID 79, and the GPU is gone.
    Gone,
    /// An XID 64, and the memory cannot be remapped.
    Remap,
    /// An XID 74, and links to the GPU stay down.
    Nvlink,
    /// Too hot, again and again.
    Heat,
    /// Host and agent stand still.
    Hang,
    /// The link of one port is down.
    Link,
    /// All links to one switch are.
    Switch,
    /// The BMC calls a part critical.
    Part,
    /// A part is critical and the host is down for it.
    PartAndHang,
    /// Nobody is told; results are wrong.
    Nothing,
    /// A library gave up; the machine has nothing.
    Program,
}

/// What ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// Nothing is left of it.
    Itself,
    Restart,
    /// A reset, or whatever switches the machine off and on.
    Reset,
    /// Somebody who looks, reseats and switches on; else the part.
    Inspection,
    /// Its part, exchanged.
    Exchange,
    /// The switch, exchanged or restarted.
    Switch,
}

/// One way in which a cause shows.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Weights within the cause.
    pub weight: f64,
    pub sign: Sign,
    pub cure: Cure,
    /// Kind of part it is about; a GPU's number is thrown.
    pub part: &'static str,
}

#[derive(Debug, Clone, Copy)]
pub struct Cause {
    pub name: &'static str,
    pub count: f64,
    pub ways: &'static [Way],
}

const fn way(weight: f64, sign: Sign, cure: Cure, part: &'static str) -> Way {
    Way { weight, sign, cure, part }
}

pub const CAUSES: &[Cause] = &[
    Cause {
        name: "faulty GPU",
        count: 148.0,
        ways: &[
            way(0.4, Sign::Gone, Cure::Exchange, "gpu"),
            way(0.2, Sign::Xid(109), Cure::Reset, "gpu"),
            way(0.2, Sign::Xid(62), Cure::Inspection, "gpu"),
            way(0.2, Sign::Nvlink, Cure::Inspection, "gpu"),
        ],
    },
    Cause {
        name: "HBM3",
        count: 72.0,
        ways: &[
            way(0.5, Sign::Xid(48), Cure::Inspection, "gpu"),
            way(0.25, Sign::Remap, Cure::Exchange, "gpu"),
            way(0.25, Sign::Xid(94), Cure::Reset, "gpu"),
        ],
    },
    Cause { name: "software", count: 56.0, ways: &[way(1.0, Sign::Xid(31), Cure::Restart, "gpu")] },
    Cause {
        name: "switch or cable",
        count: 35.0,
        // Which of the two, the scenario says.
        ways: &[way(1.0, Sign::Link, Cure::Inspection, "cable"), way(1.0, Sign::Switch, Cure::Switch, "switch")],
    },
    Cause { name: "host maintenance", count: 32.0, ways: &[way(1.0, Sign::Hang, Cure::Inspection, "board")] },
    Cause { name: "SRAM", count: 19.0, ways: &[way(1.0, Sign::Xid(48), Cure::Inspection, "gpu")] },
    Cause { name: "GSP", count: 17.0, ways: &[way(1.0, Sign::Xid(119), Cure::Reset, "gpu")] },
    Cause { name: "NIC", count: 7.0, ways: &[way(1.0, Sign::Link, Cure::Exchange, "nic")] },
    Cause { name: "NCCL watchdog", count: 7.0, ways: &[way(1.0, Sign::Program, Cure::Itself, "")] },
    Cause { name: "silent corruption", count: 6.0, ways: &[way(1.0, Sign::Nothing, Cure::Exchange, "gpu")] },
    Cause { name: "thermal", count: 6.0, ways: &[way(1.0, Sign::Heat, Cure::Inspection, "gpu")] },
    Cause { name: "SSD", count: 3.0, ways: &[way(1.0, Sign::Part, Cure::Exchange, "drive")] },
    Cause { name: "PSU", count: 3.0, ways: &[way(1.0, Sign::Part, Cure::Exchange, "psu")] },
    Cause {
        name: "chassis, board, CPU, memory",
        count: 8.0,
        ways: &[way(1.0, Sign::PartAndHang, Cure::Exchange, "board")],
    },
];

/// Which cause and which way of it, as indices.
pub fn throw(dice: &mut Dice, switches: f64) -> (usize, &'static Way) {
    let cause = dice.among(CAUSES.iter().map(|cause| cause.count));
    let ways = CAUSES[cause].ways;
    let weight = |way: &Way| match way.sign {
        Sign::Switch => switches,
        Sign::Link if ways.len() > 1 => 1.0 - switches,
        _ => way.weight,
    };
    (cause, &ways[dice.among(ways.iter().map(weight))])
}

/// A GPU that never worked; half of them the BMC already knows.
pub fn dead_on_arrival(dice: &mut Dice, gpus: u32) -> Option<Fault> {
    let (gpu, known) = (dice.below(gpus as usize) + 1, dice.chance(0.5));
    (gpus > 0).then(|| Fault {
        number: 0,
        cause: None,
        sign: if known { Sign::Gone } else { Sign::Nothing },
        cure: Cure::Exchange,
        part: format!("gpu{gpu}"),
        link: None,
        since: BEGIN,
        isolated: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_the_paper_s() {
        assert_eq!(CAUSES.iter().map(|cause| cause.count).sum::<f64>(), 419.0);
        // Scaled to 10,000 GPUs: 4.7 a day (failures.md, section 5).
        assert_eq!(format!("{:.1}", PER_GPU_DAY * 10_000.0), "4.7");
    }

    #[test]
    fn causes_come_in_their_shares() {
        let mut dice = Dice::of(3);
        let mut seen = [0usize; 14];
        let mut switches = 0;
        for _ in 0..41_900 {
            let (cause, way) = throw(&mut dice, 0.2);
            seen[cause] += 1;
            switches += usize::from(way.sign == Sign::Switch);
        }
        for (cause, seen) in CAUSES.iter().zip(seen) {
            let off = (seen as f64 - cause.count * 100.0).abs();
            assert!(off < 5.0 * (cause.count * 100.0).sqrt(), "{}: {seen}", cause.name);
        }
        assert!((550..850).contains(&switches), "{switches}");
    }
}
