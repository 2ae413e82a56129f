//! Times as messages write them: ISO 8601, UTC, milliseconds (`2026-11-27T06:46:52.000Z`). Read with any offset.

use types::UnixMillis;

const DAY_MS: i64 = 86_400_000;

pub fn write(at: UnixMillis) -> String {
    let days = at.0.div_euclid(DAY_MS);
    let ms = at.0.rem_euclid(DAY_MS);
    let (year, month, day) = date(days);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", ms % 1_000)
}

/// None if it is no such time.
pub fn read(text: &str) -> Option<UnixMillis> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, |sum, b| sum * 10 + i64::from(b - b'0')))
    };
    let mark = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|b| wanted.contains(b)).then_some(());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hours, minutes, seconds) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    for (at, wanted) in [(4, &b"-"[..]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")] {
        mark(at, wanted)?;
    }
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    let mut at = 19;
    let mut ms = 0;
    if mark(at, b".,").is_some() {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let kept = number(at + 1, at + 1 + digits.min(3))?;
        ms = kept * 10_i64.pow(3 - digits.min(3) as u32);
        at += 1 + digits;
    }
    let offset = match bytes.get(at..)? {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let from = at + 1;
            let minutes = match rest.len() {
                5 => mark(from + 2, b":").and(number(from, from + 2)?.checked_mul(60))? + number(from + 3, from + 5)?,
                4 => number(from, from + 2)? * 60 + number(from + 2, from + 4)?,
                _ => return None,
            };
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let time = ((hours * 60 + minutes - offset) * 60 + seconds) * 1_000 + ms;
    Some(UnixMillis(days(year, month, day) * DAY_MS + time))
}

/// Civil date from days since 1970, after H. Hinnant's public-domain algorithm.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Its inverse.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        let check = |text: &str, ms: Option<i64>| assert_eq!(read(text), ms.map(UnixMillis), "{text}");
        check("1970-01-01T00:00:00.000Z", Some(0));
        check("1991-03-11T11:40:03.123Z", Some(668_691_603_123));
        check("1991-03-11T11:40:03.12Z", Some(668_691_603_120));
        check("1991-03-11T11:40:03.123456Z", Some(668_691_603_123));
        check("1991-03-11T11:40:03Z", Some(668_691_603_000));
        check("1991-03-11T12:40:03+01:00", Some(668_691_603_000));
        check("1991-03-11T12:40:03+0100", Some(668_691_603_000));
        check("1991-03-11T11:40:03", None);
        check("1991-13-11T11:40:03Z", None);
        check("1991-03-11T11:40:03.Z", None);
        check("", None);
        check("später", None);
        for ms in [0, 668_691_603_123, 951_782_400_000, 4_102_444_800_000, 1_764_225_212_000] {
            assert_eq!(read(&write(UnixMillis(ms))), Some(UnixMillis(ms)));
        }
    }
}
