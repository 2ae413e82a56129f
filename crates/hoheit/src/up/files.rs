//! Open files: as many as the kernel lets this process have, and how many connections of clients that is.
//!
//! A gateway that runs out of them can reach no engine and sync no folder, and whoever opens sockets and says nothing needs no
//! key for it. So clients get a part, and further ones wait in the kernel's backlog until somebody leaves.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The database (5 and their logs), the journal's segments, tiles, sockets to listen on, and room.
const OWN: u64 = 256;

/// Below this many connections an operator is told: many systems still begin with 1,024 files.
const FEW: u64 = 4_096;

/// Raises the soft limit to the hard one, which needs no right. How many clients may be connected at once.
pub fn connections() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // That it cannot be raised is no error: what counts is what is in force.
    let _raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let connections = within(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
    if connections < FEW {
        tracing::warn!(
            connections,
            "few clients can be connected at once: raise the limit on open files (ulimit -Hn, LimitNOFILE of systemd)"
        );
    }
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Each client may need one more file, towards its engine.
fn within(files: u64) -> u64 {
    files.saturating_sub(OWN).max(2) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_two_files_and_some_are_ours() {
        assert_eq!([within(1_024), within(OWN + 2), within(OWN), within(0)], [384, 1, 1, 1]);
        // As a login shell leaves it on many systems.
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(maximum.unwrap_or(1_024).min(1_024) / 2), maximum })
            .unwrap();
        assert!(connections() >= 1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((limit.current, limit.maximum), (maximum, maximum));
    }
}
