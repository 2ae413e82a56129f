//! From a token to an identity, a crash at each point of it, and the next certificate.

use crate::place::{DAY, Place, claim};
use agent::ca::{AGENT_LIFE_MS, Authority};
use agent::clock::{Clock, SystemClock};
use agent::enrol::{EnrolError, Identity, enrol, renew};
use agent::site::code;
use agent::token::Token;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use types::MachineId;

fn is_private(path: &std::path::Path) -> bool {
    fs::metadata(path).unwrap().permissions().mode() & 0o777 == 0o600
}

#[tokio::test]
async fn a_machine_enrols_reports_and_renews() {
    let place = Place::open().await;
    let folder = tempfile::tempdir().unwrap();
    let token = place.token(5, Some("S5"));
    let clock: Arc<dyn Clock> = place.clock.clone();
    let identity = enrol(folder.path(), &place.address, &token, &claim("S5"), clock.clone()).await.unwrap();
    assert_eq!(identity.holder.machine, MachineId(5));
    assert_eq!(identity.holder.serial, "S5");
    assert!(is_private(&folder.path().join("identity.pem")));
    assert!(!folder.path().join("pending.pem").exists());

    let identity = Identity::open(folder.path()).unwrap().unwrap();
    let mut agent = place.agent(6, "S6").await;
    agent.link.replace(identity.tls(clock.clone()).unwrap());
    agent.report = crate::place::first_report(MachineId(5), "S5");
    let answer = agent.send().await.unwrap();
    assert!(!answer.full && !answer.renew, "{answer:?}");

    // Two thirds of its life: the site says so, whatever the agent's clock says.
    place.clock.pass(AGENT_LIFE_MS * 2 / 3 - 1);
    assert!(!agent.send().await.unwrap().renew);
    place.clock.pass(1);
    assert!(agent.send().await.unwrap().renew);
    let next = renew(Some(folder.path()), &mut agent.link, clock.clone()).await.unwrap();
    assert_ne!(next.holder.number, identity.holder.number);
    assert!(!agent.send().await.unwrap().renew);
    let kept = Identity::open(folder.path()).unwrap().unwrap();
    assert_eq!(kept.holder, next.holder);
    assert!(is_private(&folder.path().join("identity.pem")));
    // Another month; the first certificate is over, on kept connections and on new ones, and the second is not.
    place.clock.pass(AGENT_LIFE_MS / 2);
    assert!(agent.send().await.is_ok());
    agent.link.replace(identity.tls(clock).unwrap());
    assert!(agent.send().await.is_err());
    place.close().await;
}

/// Whatever the agent had on its disk when it died, the next start comes to an identity with the same token.
#[tokio::test]
async fn a_crash_in_enrolment_leaves_nothing_or_a_usable_identity() {
    let place = Place::open().await;
    let token = place.token(5, None);
    let clock: Arc<dyn Clock> = place.clock.clone();
    let folder = tempfile::tempdir().unwrap();
    let ask = async || enrol(folder.path(), &place.address, &token, &claim("S5"), clock.clone()).await;

    // The site could not store it: the key waits, and is the one that spends the token.
    place.site.desk().look().away = true;
    assert!(matches!(ask().await, Err(EnrolError::Link(error)) if error.again()));
    assert!(Identity::open(folder.path()).unwrap().is_none());
    let pending = fs::read(folder.path().join("pending.pem")).unwrap();
    assert!(is_private(&folder.path().join("pending.pem")));
    place.site.desk().look().away = false;

    // The answer arrived and was not written: the token is spent, by this key.
    ask().await.unwrap();
    fs::remove_file(folder.path().join("identity.pem")).unwrap();
    fs::write(folder.path().join("pending.pem"), &pending).unwrap();
    fs::write(folder.path().join("identity.new"), "half of a fi").unwrap();
    ask().await.unwrap();

    // Written, and the pending key not yet removed.
    fs::write(folder.path().join("pending.pem"), &pending).unwrap();
    assert!(Identity::open(folder.path()).unwrap().is_some());
    assert!(!folder.path().join("pending.pem").exists());
    assert!(place.codes(None).is_empty());
    let keys: Vec<_> = place.site.desk().look().issued.iter().map(|it| it.key.clone()).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    place.close().await;
}

#[tokio::test]
async fn a_damaged_identity_is_said_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("identity.pem"), "-----BEGIN NONSENSE-----").unwrap();
    assert!(matches!(Identity::open(folder.path()), Err(EnrolError::Damaged(_))));
}

#[tokio::test]
async fn tokens_are_spent_once_expire_and_are_bound() {
    let place = Place::open().await;
    let token = place.token(5, None);
    place.enrol(&token, "S5").await.unwrap();
    let refused = |result: Result<Identity, EnrolError>| match result {
        Err(EnrolError::Link(error)) => error.code().unwrap_or("none").to_owned(),
        other => format!("{other:?}"),
    };
    // Replayed, by whoever read it somewhere: another key.
    assert_eq!(refused(place.enrol(&token, "S5").await), code::TOKEN_SPENT);
    assert_eq!(place.codes(Some(5)), [code::TOKEN_SPENT]);

    let bound = place.token(6, Some("S6"));
    assert_eq!(refused(place.enrol(&bound, "S7").await), code::TOKEN_OTHER_SERIAL);
    assert_eq!(place.codes(Some(6)), [code::TOKEN_OTHER_SERIAL]);
    place.enrol(&bound, "S6").await.unwrap();

    let late = place.token(7, None);
    place.clock.pass(3_600_000);
    assert_eq!(refused(place.enrol(&late, "S7").await), code::TOKEN_EXPIRED);
    assert_eq!(place.codes(Some(7)), [code::TOKEN_EXPIRED]);

    let unknown = place.site.make_token();
    assert_eq!(refused(place.enrol(&unknown, "S8").await), code::TOKEN_UNKNOWN);
    assert_eq!(place.codes(None), [code::TOKEN_UNKNOWN]);
    // One whose pin is another authority's never leaves the machine.
    let foreign = Token::new([1; 32], [2; 32]);
    assert!(matches!(place.enrol(&foreign, "S9").await, Err(EnrolError::Link(error)) if error.code().is_none()));
    place.close().await;
}

#[tokio::test]
async fn the_authority_is_made_once_and_rotates() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let first = Authority::open(folder.path(), "Munich", clock.clone()).unwrap();
    assert!(is_private(&folder.path().join("ca.pem")));
    assert_eq!(Authority::open(folder.path(), "Munich", clock.clone()).unwrap().pin(), first.pin());
    // The next one signs; the one before is still believed and named.
    fs::write(folder.path().join("trusted.pem"), first.trusted_pem()).unwrap();
    fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let second = Authority::open(folder.path(), "Munich", clock.clone()).unwrap();
    assert_ne!(second.pin(), first.pin());
    assert_eq!(second.trusted().count(), 2);
    fs::write(folder.path().join("ca.pem"), "nonsense").unwrap();
    assert!(Authority::open(folder.path(), "Munich", clock).is_err());
}

#[tokio::test]
async fn a_clock_that_is_a_day_off_enrols_and_is_found() {
    for off in [-DAY, DAY] {
        let place = Place::open().await;
        let token = place.token(5, None);
        let theirs = crate::place::Dial::at(place.clock.now().0 + off);
        let identity =
            agent::enrol::enrol_in_memory(&place.address, &token, &claim("S5"), theirs.clone()).await.unwrap();
        let mut agent = place.agent(6, "S6").await;
        agent.link.replace(identity.tls(theirs.clone()).unwrap());
        agent.report = crate::place::first_report(MachineId(5), "S5");
        agent.report.sent_at = theirs.now();
        agent.send().await.unwrap();
        assert_eq!(place.codes(Some(5)), [code::CLOCK_OFF]);
        {
            let desk = place.site.desk().look();
            let seen = &desk.states[&MachineId(5)].agent;
            assert_eq!(seen.clock_skew_ms, off);
            assert_eq!(seen.at, place.clock.now(), "times are the site's");
        }
        place.close().await;
    }
}

/// Enrolling anew withdraws what the machine had before, through the whole protocol.
#[tokio::test]
async fn who_enrols_anew_is_the_only_one_heard() {
    let place = Place::open().await;
    let mut copied = place.agent(5, "S5").await;
    copied.send().await.unwrap();
    let mut other = place.agent(6, "S6").await;
    let mut anew = place.agent(5, "S5").await;
    let refused = copied.send().await.unwrap_err();
    assert_eq!(refused.code(), Some(code::REVOKED));
    let clock: Arc<dyn Clock> = place.clock.clone();
    assert!(renew(None, &mut copied.link, clock).await.is_err());
    anew.send().await.unwrap();
    other.send().await.unwrap();
    place.close().await;
}
