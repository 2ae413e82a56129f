//! `X-Broker-API-Version`: 2.13 and later of 2.x. All fields that came after 2.13 are optional, so one form serves all.

use crate::Refusal;

/// The oldest minor version that we know.
const MINOR_MIN: u32 = 13;

/// Accepts a version, or says 412.
pub fn version(header: Option<&str>) -> Result<(), Refusal> {
    let known = |text: &str| {
        let (major, minor) = text.trim().split_once('.')?;
        let digits = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        (digits(major) && digits(minor) && major == "2" && minor.parse::<u32>().ok()? >= MINOR_MIN).then_some(())
    };
    header.and_then(known).ok_or_else(|| {
        Refusal::new(412, "Send X-Broker-API-Version: 2.14; this broker speaks 2.13 to 2.17 and what is compatible.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_2_13_and_below_3() {
        for (header, good) in [
            (Some("2.13"), true),
            (Some("2.14"), true),
            (Some("2.17"), true),
            (Some("2.18"), true),
            (Some("2.12"), false),
            (Some("3.0"), false),
            (Some("1.13"), false),
            (Some("2"), false),
            (Some("2.x"), false),
            (Some("2.+14"), false),
            (Some("2.14.1"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(
                version(header).map_err(|refusal| refusal.status),
                if good { Ok(()) } else { Err(412) },
                "{header:?}"
            );
        }
    }
}
