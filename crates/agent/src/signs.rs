//! What only a comparison shows: links that fell or came back, GPUs that are hot for long, GPUs that are gone. Pure: one look
//! after the other goes in, events come out.
//!
//! A start tells the whole of it: each domain's links are up or down, so that a link that came back while no agent listened
//! keeps no finding open. What is hot or gone is told when it was so for as long as a look may err.

use fleet::observed::{EventKind, GpuSeen};
use std::collections::{BTreeMap, BTreeSet};

/// The failure domain of NVLinks: the machine's own switches.
pub const NVLINK: &str = "nvlink";
/// A burst of load may throttle a GPU for seconds; a minute is a fan, a pipe or a door.
pub const THROTTLED_MS_MAX: u64 = 60_000;
/// As long as it lasts it is told again so often: the third within a day drains the machine.
pub const THERMAL_AGAIN_MS: u64 = 3_600_000;
/// A reset takes a GPU away for seconds; one that did not answer for a minute is gone.
pub const GONE_MS_MAX: u64 = 60_000;
/// Ports that an event names; the others are counted.
const PORTS_NAMED_MAX: usize = 4;

/// One look at everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// By their UUIDs.
    pub gpus: BTreeMap<String, GpuSeen>,
    pub links: Vec<LinkSeen>,
}

/// One end of a link on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSeen {
    /// What fails with it: [`NVLINK`].
    pub domain: String,
    /// `gpu3:17`, as the driver counts.
    pub port: String,
    pub up: bool,
}

/// A GPU that was seen once.
#[derive(Debug)]
struct Known {
    index: u32,
    serial: String,
    missed_since: Option<u64>,
    /// That it is gone was told.
    told: bool,
    throttled_since: Option<u64>,
    /// When its heat was told last.
    hot_told: Option<u64>,
}

/// What was seen before.
#[derive(Debug, Default)]
pub struct Signs {
    gpus: BTreeMap<String, Known>,
    /// Domains, and whether they were told to be down.
    down: BTreeMap<String, bool>,
}

impl Signs {
    /// What this look shows that was not told; `at_ms` is the runtime's monotonic time.
    pub fn compare(&mut self, look: &Look, at_ms: u64) -> Vec<EventKind> {
        let mut events = self.links(look);
        self.heat(look, at_ms, &mut events);
        self.gone(look, at_ms, &mut events);
        events
    }

    /// A domain is down from its first link that falls to its last that comes back: one event each.
    fn links(&mut self, look: &Look) -> Vec<EventKind> {
        let mut ports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for link in &look.links {
            let down = ports.entry(&link.domain).or_default();
            if !link.up {
                down.insert(&link.port);
            }
        }
        let mut events = Vec::new();
        for (domain, down) in ports {
            let is_down = !down.is_empty();
            if self.down.insert(domain.to_owned(), is_down) == Some(is_down) {
                continue;
            }
            let domain = domain.to_owned();
            events.push(match is_down {
                true => EventKind::LinkDown { domain, port: named(&down) },
                false => EventKind::LinkUp { domain, port: "all".to_owned() },
            });
        }
        events
    }

    fn heat(&mut self, look: &Look, at_ms: u64, events: &mut Vec<EventKind>) {
        for (uuid, gpu) in &look.gpus {
            let known = self.gpus.entry(uuid.clone()).or_insert_with(|| Known::of(gpu));
            if !gpu.throttled {
                (known.throttled_since, known.hot_told) = (None, None);
                continue;
            }
            let since = *known.throttled_since.get_or_insert(at_ms);
            let again = known.hot_told.is_none_or(|told| at_ms.saturating_sub(told) >= THERMAL_AGAIN_MS);
            if at_ms.saturating_sub(since) > THROTTLED_MS_MAX && again {
                known.hot_told = Some(at_ms);
                events.push(EventKind::Thermal { gpu: gpu.index, temperature_c: gpu.temperature_c });
            }
        }
    }

    fn gone(&mut self, look: &Look, at_ms: u64, events: &mut Vec<EventKind>) {
        if look.gpus.is_empty() {
            // The driver is gone, not every board; the state says it.
            self.gpus.values_mut().for_each(|known| known.missed_since = None);
            return;
        }
        for (uuid, known) in &mut self.gpus {
            if let Some(gpu) = look.gpus.get(uuid) {
                (known.index, known.serial) = (gpu.index, gpu.serial.clone());
                (known.missed_since, known.told) = (None, false);
                continue;
            }
            let since = *known.missed_since.get_or_insert(at_ms);
            if at_ms.saturating_sub(since) > GONE_MS_MAX && !known.told {
                known.told = true;
                // The serial number is what the bill of materials knows it by.
                let counted = || format!("gpu{}", known.index.saturating_add(1));
                let part = Some(known.serial.clone()).filter(|it| !it.is_empty()).unwrap_or_else(counted);
                let text = format!("GPU {} ({uuid}) is not there any more; the driver listed it before", known.index);
                events.push(EventKind::Part { part, text });
            }
        }
    }
}

impl Known {
    fn of(gpu: &GpuSeen) -> Known {
        let (index, serial) = (gpu.index, gpu.serial.clone());
        Known { index, serial, missed_since: None, told: false, throttled_since: None, hot_told: None }
    }
}

fn named(ports: &BTreeSet<&str>) -> String {
    let named: Vec<&str> = ports.iter().copied().take(PORTS_NAMED_MAX).collect();
    match ports.len() - named.len() {
        0 => named.join(" "),
        more => format!("{} and {more} more", named.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(gpus: u32, change: impl Fn(&mut GpuSeen)) -> Look {
        let gpu = |index: u32| {
            let mut gpu = GpuSeen { index, serial: format!("S{index}"), temperature_c: 41, ..GpuSeen::default() };
            change(&mut gpu);
            (format!("GPU-{index}"), gpu)
        };
        Look { gpus: (0..gpus).map(gpu).collect(), links: Vec::new() }
    }

    fn links(domain: &str, up: &[bool]) -> Look {
        let link = |(at, up): (usize, &bool)| LinkSeen { domain: domain.to_owned(), port: format!("p{at}"), up: *up };
        Look { links: up.iter().enumerate().map(link).collect(), ..look(1, |_| {}) }
    }

    #[test]
    fn a_domain_falls_once_and_comes_back_once() {
        let down = |port: &str| EventKind::LinkDown { domain: "leaf-1".to_owned(), port: port.to_owned() };
        let up = || EventKind::LinkUp { domain: "leaf-1".to_owned(), port: "all".to_owned() };
        let mut signs = Signs::default();
        let mut check = |ups: &[bool], want: &[EventKind]| {
            assert_eq!(signs.compare(&links("leaf-1", ups), 0), want, "{ups:?}");
        };
        // At start what is so is told: what came back meanwhile closes what was open.
        check(&[true, true], &[up()]);
        check(&[true, true], &[]);
        check(&[true, false], &[down("p1")]);
        // Another of the same domain is not another fall, and one that comes back is not the end.
        check(&[false, false], &[]);
        check(&[false, true], &[]);
        check(&[true, true], &[up()]);
        check(&[false; 6], &[down("p0 p1 p2 p3 and 2 more")]);
        assert_eq!(Signs::default().compare(&links("leaf-1", &[false]), 0), [down("p0")]);
        // No links, nothing to say of them.
        assert_eq!(Signs::default().compare(&look(1, |_| {}), 0), []);
    }

    #[test]
    fn heat_is_told_after_a_minute_and_every_hour() {
        let hot = |gpu: &mut GpuSeen| (gpu.throttled, gpu.temperature_c) = (gpu.index == 1, 91);
        let told = [EventKind::Thermal { gpu: 1, temperature_c: 91 }];
        let mut signs = Signs::default();
        let mut check = |at: u64, is_hot: bool, want: &[EventKind]| {
            let look = if is_hot { look(2, hot) } else { look(2, |_| {}) };
            assert_eq!(signs.compare(&look, at), want, "at {at}");
        };
        check(0, true, &[]);
        check(THROTTLED_MS_MAX, true, &[]);
        check(THROTTLED_MS_MAX + 1, true, &told);
        check(THROTTLED_MS_MAX + THERMAL_AGAIN_MS, true, &[]);
        check(THROTTLED_MS_MAX + 1 + THERMAL_AGAIN_MS, true, &told);
        // It cooled: the next time is another.
        let later = 2 * THERMAL_AGAIN_MS;
        check(later, false, &[]);
        check(later + 1, true, &[]);
        check(later + 1 + THROTTLED_MS_MAX, true, &[]);
        check(later + 2 + THROTTLED_MS_MAX, true, &told);
    }

    #[test]
    fn a_gpu_that_is_gone_is_told_once_by_its_serial_number() {
        let mut signs = Signs::default();
        let mut check = |at: u64, gpus: u32, want: usize| {
            let events = signs.compare(&look(gpus, |_| {}), at);
            assert_eq!(events.len(), want, "at {at}: {events:?}");
            events.into_iter().next()
        };
        check(0, 3, 0);
        check(1, 2, 0);
        check(1 + GONE_MS_MAX, 2, 0);
        let Some(EventKind::Part { part, text }) = check(2 + GONE_MS_MAX, 2, 1) else { panic!("a part") };
        assert_eq!((part.as_str(), text.contains("GPU-2")), ("S2", true));
        check(9 * GONE_MS_MAX, 2, 0);
        // It came back and went again.
        check(10 * GONE_MS_MAX, 3, 0);
        check(11 * GONE_MS_MAX, 2, 0);
        check(12 * GONE_MS_MAX + 1, 2, 1);
        // All at once are the driver.
        check(20 * GONE_MS_MAX, 3, 0);
        check(21 * GONE_MS_MAX, 0, 0);
        check(30 * GONE_MS_MAX, 0, 0);
        check(31 * GONE_MS_MAX, 3, 0);
        // Without a serial number it is counted.
        let mut signs = Signs::default();
        signs.compare(&look(2, |gpu| gpu.serial.clear()), 0);
        signs.compare(&look(1, |_| {}), 1);
        let events = signs.compare(&look(1, |_| {}), 2 + GONE_MS_MAX);
        assert!(matches!(&events[..], [EventKind::Part { part, .. }] if part == "gpu2"), "{events:?}");
    }
}
