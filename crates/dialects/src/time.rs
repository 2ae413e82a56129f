//! Times as clients of either dialect read them: to the second, in UTC.

use types::UnixMillis;

/// `2026-01-01T00:00:00Z`.
pub fn timestamp(at: UnixMillis) -> String {
    // Civil date from days, after H. Hinnant's public-domain algorithm, as in `UnixMillis::month`.
    let seconds = at.seconds();
    let days = seconds.div_euclid(86_400) + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let day = day_of_year - (153 * ((5 * day_of_year + 2) / 153) + 2) / 5 + 1;
    let second = seconds.rem_euclid(86_400);
    format!("{}-{day:02}T{:02}:{:02}:{:02}Z", at.month(), second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        let check = |seconds: i64, expect: &str| assert_eq!(timestamp(UnixMillis(seconds * 1_000)), expect);
        check(0, "1970-01-01T00:00:00Z");
        check(951_827_696, "2000-02-29T12:34:56Z");
        check(1_767_225_599, "2025-12-31T23:59:59Z");
        check(1_767_225_600, "2026-01-01T00:00:00Z");
    }
}
