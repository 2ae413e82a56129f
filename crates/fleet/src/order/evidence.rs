//! What must be shown before a task counts as done.

use super::{Evidence, Order, Task, Verb};

/// Rail screws are tightened to 5 N·m, one fifth either way: below they come loose, above the thread does.
pub const TORQUE_MILLINEWTON_METRES_MIN: u32 = 4_000;
pub const TORQUE_MILLINEWTON_METRES_MAX: u32 = 6_000;

/// What evidence says about a task.
pub(super) enum Verdict {
    Shown,
    /// Not enough: whoever reports it must bring it.
    Missing(&'static str),
    /// Enough, and wrong: the task failed and may be tried again.
    Wrong(String),
    /// Another machine, or another cable: nobody goes on before a person has looked.
    Other(String),
}

/// What was scanned last: of two scans the newer one is what is in the machine, and what was shown before is kept and is nobody's
/// custody. Whoever asks what a scan says asks here, so that what is looked up is what is stored.
pub fn scanned(evidence: &[Evidence]) -> Option<&Evidence> {
    evidence.iter().rev().find(|it| it.kind == "scan" && !it.value.trim().is_empty())
}

pub(super) fn judge(order: &Order, task: &Task, evidence: &[Evidence]) -> Verdict {
    let of = |kind: &str| evidence.iter().find(|it| it.kind == kind && !it.value.trim().is_empty());
    // Whatever else was to be shown: a scan of another machine during work on this one.
    if let Some(serial) = order.serial.as_deref().filter(|_| task.verb != Verb::Swap)
        && let Some(other) = evidence.iter().find(|it| it.kind == "scan" && it.value != serial)
    {
        return Verdict::Other(format!("chassis: wanted {serial}, scanned {} (by {})", other.value, other.by));
    }
    match task.verb {
        Verb::Scan => {
            if of("scan").is_some() {
                Verdict::Shown
            } else {
                Verdict::Missing("scan: the serial number")
            }
        }
        Verb::Photograph => match evidence.iter().find(|it| it.kind == "photo") {
            Some(photo) if photo.sha256.as_deref().is_some_and(is_digest) => Verdict::Shown,
            _ => Verdict::Missing("photo: with the SHA-256 of its file"),
        },
        Verb::Torque => match of("torque").map(|it| (it, millinewton_metres(&it.value))) {
            None | Some((_, None)) => Verdict::Missing("torque: a number of N·m"),
            Some((_, Some(TORQUE_MILLINEWTON_METRES_MIN..=TORQUE_MILLINEWTON_METRES_MAX))) => Verdict::Shown,
            Some((it, Some(_))) => Verdict::Wrong(format!("torque: wanted 4 to 6 N·m, found {}", it.value)),
        },
        Verb::Cable => match of("label") {
            // The subject begins with the cable's id.
            Some(label) if task.subject.split(' ').next() != Some(label.value.as_str()) => {
                Verdict::Other(format!("cable: wanted {}, label says {}", task.subject, label.value))
            }
            _ => Verdict::Shown,
        },
        Verb::Swap => match of("scan") {
            None => Verdict::Missing("scan: the new part's serial number"),
            Some(_) => Verdict::Shown,
        },
        Verb::Receive | Verb::Move | Verb::Lift | Verb::Insert | Verb::Extract | Verb::PowerOn => Verdict::Shown,
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// `5`, `5.2`, `5.25 Nm` or `5 N·m`, in thousandths.
fn millinewton_metres(text: &str) -> Option<u32> {
    let number = text.trim().trim_end_matches(|c: char| !c.is_ascii_digit());
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 3 {
        return None;
    }
    let part = format!("{part:0<3}").parse::<u32>().ok()?;
    whole.parse::<u32>().ok()?.checked_mul(1_000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torque_is_read_in_thousandths() {
        let check = |text, want| assert_eq!(millinewton_metres(text), want, "{text}");
        check("5", Some(5_000));
        check("5.2", Some(5_200));
        check("5.25 Nm", Some(5_250));
        check(" 5.255 N·m", Some(5_255));
        check("5.2555", None);
        check("-5", None);
        check("5,2", None);
        check("", None);
        check("Nm", None);
        check("99999999", None);
    }
}
