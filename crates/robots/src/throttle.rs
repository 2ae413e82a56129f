//! Findings about strangers, each once a minute. A robot's own findings are its session's; a stranger has none, and whoever the
//! broker lets in may send a thousand messages a second: each finding is a row in the store.

use std::collections::BTreeMap;
use types::UnixMillis;

/// The same is not told again before this, as for a robot's own findings.
const AGAIN_MILLIS: i64 = 60_000;
/// Findings remembered. With more of them within a minute, what is new waits: 64 rows a minute are enough to look.
const KEPT_MAX: usize = 64;

/// What was told lately, by code and whom it is about.
#[derive(Debug, Default)]
pub(crate) struct Throttle(BTreeMap<(String, String), UnixMillis>);

impl Throttle {
    /// Whether this is to be told now.
    pub fn is_new(&mut self, code: &str, about: &str, now: UnixMillis) -> bool {
        self.0.retain(|_, at| (0..AGAIN_MILLIS).contains(&(now.0 - at.0)));
        let what = (code.to_owned(), about.to_owned());
        if self.0.contains_key(&what) || self.0.len() >= KEPT_MAX {
            return false;
        }
        self.0.insert(what, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_a_minute_and_many_are_not_told_at_all() {
        let mut told = Throttle::default();
        let count = |told: &mut Throttle, at: i64, names: usize| {
            let new = |n: &usize| told.is_new("unknown_robot", &format!("acme/r{n}"), UnixMillis(at));
            (0..names).filter(new).count()
        };
        assert_eq!(count(&mut told, 0, 1), 1);
        assert_eq!(count(&mut told, AGAIN_MILLIS - 1, 1), 0);
        assert_eq!(count(&mut told, AGAIN_MILLIS, 1), 1);
        assert_eq!(count(&mut told, AGAIN_MILLIS, 10_000), KEPT_MAX - 1);
        assert_eq!(count(&mut told, 2 * AGAIN_MILLIS, 10_000), KEPT_MAX);
        // A clock that was set back keeps nobody silent.
        assert_eq!(count(&mut told, 0, 1), 1);
    }
}
