//! Each message: who sent it, whether it is theirs to say, what the desk makes of it.

use super::listen::refused;
use super::{Desk, FullState, NumberedEvent, Redeem, Refusal, Run, Seen, Site, code};
use crate::ca::{Authority, Holder, Request};
use crate::token::Token;
use crate::wire::{
    Answer, COMMANDS_MAX, Certified, ENGINES_MAX, ENROL, EVENTS_MAX, Enrol, GPUS_MAX, NAME_MAX, RENEW, REPORT, Refused,
    Renew, Report, TESTS_MAX, TEXT_MAX, Taken, ValidationReport,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleet::machine::Finding;
use fleet::observed::{AgentSeen, EventKind, Validation};
use http::StatusCode;
use serde::de::DeserializeOwned;
use types::{MachineId, UnixMillis};

/// Who is at the other end.
pub(super) enum Peer {
    /// No certificate; may enrol.
    Nobody,
    Machine(Holder),
}

impl Peer {
    pub fn machine(&self) -> Option<MachineId> {
        match self {
            Peer::Nobody => None,
            Peer::Machine(holder) => Some(holder.machine),
        }
    }
}

type No = (StatusCode, Refused);

fn no(status: StatusCode, code: &str, text: &str) -> No {
    (status, refused(code, text, false))
}

impl<D: Desk> Site<D> {
    /// Before a body is read: the sender may speak here, and not too often.
    pub(super) async fn admit(&self, peer: &Peer, path: &str) -> Result<(), No> {
        let Peer::Machine(holder) = peer else {
            return if path == ENROL {
                Ok(())
            } else {
                Err(no(StatusCode::UNAUTHORIZED, code::NO_CERTIFICATE, "enrol first, with a token"))
            };
        };
        let now = self.clock.now();
        // A kept or resumed connection outlives its certificate; TLS looked only when it was opened.
        if now > holder.not_after {
            let text = "the certificate is over; enrol again with a new token";
            return Err(no(StatusCode::FORBIDDEN, code::CERTIFICATE_OVER, text));
        }
        let admitted = self.sessions(|it| it.admit(holder.machine, &self.limits, now));
        if !admitted {
            let text = format!("more than {} messages at once", self.limits.burst);
            self.note(Some(holder.machine), code::TOO_MANY, &text).await;
            return Err((StatusCode::TOO_MANY_REQUESTS, refused(code::TOO_MANY, &text, true)));
        }
        Ok(())
    }

    /// One message whose sender was admitted.
    pub(super) async fn answer(&self, peer: &Peer, path: &str, body: &[u8]) -> Result<Vec<u8>, No> {
        let json = |value: Result<Vec<u8>, serde_json::Error>| {
            value.map_err(|error| no(StatusCode::INTERNAL_SERVER_ERROR, code::UNAVAILABLE, &error.to_string()))
        };
        match (path, peer) {
            (ENROL, _) => json(serde_json::to_vec(&self.enrol(self.read(peer, body).await?).await?)),
            (_, Peer::Nobody) => Err(no(StatusCode::UNAUTHORIZED, code::NO_CERTIFICATE, "enrol first, with a token")),
            (RENEW, Peer::Machine(holder)) => {
                json(serde_json::to_vec(&self.renew(holder, self.read(peer, body).await?).await?))
            }
            (REPORT, Peer::Machine(holder)) => {
                json(serde_json::to_vec(&self.report(holder, self.read(peer, body).await?).await?))
            }
            (_, Peer::Machine(holder)) => {
                json(serde_json::to_vec(&self.validation(holder, self.read(peer, body).await?).await?))
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, peer: &Peer, body: &[u8]) -> Result<T, No> {
        match serde_json::from_slice(body) {
            Ok(message) => Ok(message),
            Err(error) => Err(self.malformed(peer.machine(), &error.to_string()).await),
        }
    }

    async fn malformed(&self, machine: Option<MachineId>, text: &str) -> No {
        self.note(machine, code::MALFORMED, text).await;
        no(StatusCode::BAD_REQUEST, code::MALFORMED, text)
    }

    async fn enrol(&self, asked: Enrol) -> Result<Certified, No> {
        let Ok(token) = Token::parse(&asked.token) else {
            return Err(self.refuse(None, Refusal::TokenUnknown).await);
        };
        let request = self.request(None, &asked.csr).await?;
        if asked.serial.is_empty() || asked.serial.len() > NAME_MAX || asked.hostname.len() > NAME_MAX {
            return Err(self.malformed(None, "a machine that enrols names its serial, of at most 128 bytes").await);
        }
        let redeem = Redeem {
            token: token.hash(),
            key: request.key.clone(),
            serial: asked.serial.clone(),
            hostname: asked.hostname,
            now: self.clock.now(),
        };
        let Ok(_turn) = self.enrolments.try_acquire() else {
            return Err((StatusCode::SERVICE_UNAVAILABLE, refused(code::UNAVAILABLE, "many machines enrol now", true)));
        };
        let machine = match self.desk.redeem(&redeem).await {
            Ok(machine) => machine,
            Err(refusal) => return Err(self.refuse(None, refusal).await),
        };
        self.certify(request, machine, &asked.serial, true).await
    }

    async fn renew(&self, holder: &Holder, asked: Renew) -> Result<Certified, No> {
        let request = self.request(Some(holder.machine), &asked.csr).await?;
        if let Err(refusal) = self.desk.standing(holder.machine, &holder.number).await {
            return Err(self.refuse(Some(holder.machine), refusal).await);
        }
        self.certify(request, holder.machine, &holder.serial, false).await
    }

    async fn request(&self, machine: Option<MachineId>, csr: &str) -> Result<Request, No> {
        let read = STANDARD.decode(csr).ok().and_then(|der| Authority::read_request(&der).ok());
        match read {
            Some(request) => Ok(request),
            None => Err(self.malformed(machine, "csr is no PKCS #10 in base64 with a right signature").await),
        }
    }

    async fn certify(&self, request: Request, machine: MachineId, serial: &str, enrols: bool) -> Result<Certified, No> {
        let issued = self.authority.issue(request, machine, serial).map_err(|error| {
            tracing::error!(%error, %machine, "a certificate was not signed");
            no(StatusCode::INTERNAL_SERVER_ERROR, code::UNAVAILABLE, "the site could not sign")
        })?;
        let noted = if enrols { self.desk.enrolled(&issued).await } else { self.desk.issued(&issued).await };
        if let Err(refusal) = noted {
            return Err(self.refuse(Some(machine), refusal).await);
        }
        Ok(Certified {
            machine,
            certificate: issued.certificate,
            authorities: self.authority.trusted_pem(),
            now: self.clock.now(),
        })
    }

    async fn report(&self, holder: &Holder, report: Report) -> Result<Answer, No> {
        let machine = holder.machine;
        self.is_own(holder, report.machine, &report.serial).await?;
        if let Some(text) = too_much(&report) {
            self.note(Some(machine), code::TOO_LARGE, &text).await;
            return Err(no(StatusCode::BAD_REQUEST, code::TOO_LARGE, &text));
        }
        let now = self.clock.now();
        let skew_ms = report.sent_at.0.saturating_sub(now.0);
        if skew_ms.saturating_abs() > self.limits.skew_ms_max {
            let text = format!("its clock is {} s {} ours", skew_ms.unsigned_abs() / 1_000, ahead(skew_ms));
            self.note(Some(machine), code::CLOCK_OFF, &text).await;
        }
        let before = self.sessions(|it| it.of(machine).clone());
        let again = before.instance == report.instance;
        if !again && before.before == Some(report.instance) {
            let text = "two agents use this machine's identity: a disk was copied, or an agent runs twice";
            self.note(Some(machine), code::TWO_INSTANCES, text).await;
        }
        if again && report.number < before.number {
            return Err(no(StatusCode::CONFLICT, code::OLD_REPORT, "a newer report of this agent was taken before"));
        }
        let known = again && before.digest == report.digest;
        let events_before = if again { before.events_taken } else { 0 };
        let state = report.state.map(|state| self.full_state(&report.serial, state, now, skew_ms));
        let digest = match &state {
            _ if known => Some(report.digest),
            Some(_) => Some(report.digest),
            None => None,
        };
        if let Some(engine) = state.iter().flat_map(|it| &it.engines).find(|it| it.state == "given_up") {
            let text =
                format!("engine {} was restarted {} times and given up: {}", engine.name, engine.restarts, engine.note);
            self.note(Some(machine), code::ENGINE_GIVEN_UP, &text).await;
        }
        let events = news(report.instance, report.events, events_before, now);
        let events_taken = events.iter().map(|it| it.number).fold(events_before, u64::max);
        let seen = Seen {
            machine,
            certificate: holder.number.clone(),
            at: now,
            skew_ms,
            state: state.filter(|_| !known),
            events,
            done: report.done,
        };
        let mut commands = match self.desk.report(&seen).await {
            Ok(commands) => commands,
            Err(refusal) => return Err(self.refuse(Some(machine), refusal).await),
        };
        commands.truncate(COMMANDS_MAX);
        // Only what the desk has taken is remembered as taken.
        self.sessions(|it| {
            let session = it.of(machine);
            if !again {
                session.before = Some(session.instance).filter(|it| *it != 0);
            }
            session.instance = report.instance;
            session.number = report.number;
            session.events_taken = events_taken;
            session.digest = digest.clone().unwrap_or_default();
        });
        Ok(Answer {
            now,
            next_ms: u64::try_from(self.limits.report_every.as_millis()).unwrap_or(u64::MAX),
            full: digest.is_none(),
            renew: holder.is_due(now),
            events_taken,
            commands,
        })
    }

    fn full_state(&self, serial: &str, state: crate::wire::State, at: UnixMillis, clock_skew_ms: i64) -> FullState {
        FullState {
            agent: AgentSeen { at, serial: serial.to_owned(), driver: state.driver, gpus: state.gpus, clock_skew_ms },
            running: state.running,
            stopped: state.stopped,
            engines: state.engines,
            no_nvml: state.no_nvml,
        }
    }

    async fn validation(&self, holder: &Holder, report: ValidationReport) -> Result<Taken, No> {
        self.is_own(holder, report.machine, &report.serial).await?;
        let fits = report.tests.len() <= TESTS_MAX
            && report.suite.len() <= NAME_MAX
            && report
                .tests
                .iter()
                .all(|it| it.name.len() <= NAME_MAX && it.threshold.len() <= NAME_MAX && it.value.len() <= TEXT_MAX);
        if !fits {
            let text = format!("a validation has at most {TESTS_MAX} tests with texts of {TEXT_MAX} bytes");
            self.note(Some(holder.machine), code::TOO_LARGE, &text).await;
            return Err(no(StatusCode::BAD_REQUEST, code::TOO_LARGE, &text));
        }
        let now = self.clock.now();
        let validation = Validation {
            suite: report.suite,
            entry: report.entry,
            attempt: report.attempt,
            begun_at: before(now, report.age_ms),
            ended_at: report.ended.then_some(now),
            tests: report.tests,
        };
        let run = Run { machine: holder.machine, certificate: holder.number.clone(), validation };
        match self.desk.validation(&run).await {
            Ok(()) => Ok(Taken { now }),
            Err(refusal) => Err(self.refuse(Some(holder.machine), refusal).await),
        }
    }

    /// A message is about the machine in its certificate, or about nothing.
    async fn is_own(&self, holder: &Holder, machine: MachineId, serial: &str) -> Result<(), No> {
        if machine != holder.machine {
            let text = format!("came with the certificate of {} and speaks for {machine}", holder.machine);
            self.note(Some(holder.machine), code::OTHER_MACHINE, &text).await;
            return Err(no(StatusCode::FORBIDDEN, code::OTHER_MACHINE, &text));
        }
        if serial != holder.serial {
            let serial: String = serial.chars().take(NAME_MAX).collect();
            let text =
                format!("enrolled as serial {} and now reads {serial}: a board or a disk was moved", holder.serial);
            self.note(Some(holder.machine), code::OTHER_SERIAL, &text).await;
            return Err(no(StatusCode::FORBIDDEN, code::OTHER_SERIAL, &text));
        }
        Ok(())
    }

    async fn refuse(&self, machine: Option<MachineId>, refusal: Refusal) -> No {
        let text = refusal.to_string();
        let (status, code, machine) = match refusal {
            Refusal::TokenUnknown => (StatusCode::FORBIDDEN, code::TOKEN_UNKNOWN, machine),
            Refusal::TokenExpired { machine } => (StatusCode::FORBIDDEN, code::TOKEN_EXPIRED, machine),
            Refusal::TokenSpent { machine } => (StatusCode::FORBIDDEN, code::TOKEN_SPENT, machine),
            Refusal::OtherSerial { machine, .. } => (StatusCode::FORBIDDEN, code::TOKEN_OTHER_SERIAL, machine),
            Refusal::Revoked => (StatusCode::FORBIDDEN, code::REVOKED, machine),
            Refusal::Unavailable(cause) => {
                tracing::warn!(cause, "an agent was not heard");
                return (StatusCode::SERVICE_UNAVAILABLE, refused(code::UNAVAILABLE, &text, true));
            }
        };
        self.note(machine, code, &text).await;
        no(status, code, &text)
    }

    /// Passes a finding on, unless it was just said.
    pub(super) async fn note(&self, machine: Option<MachineId>, code: &'static str, text: &str) {
        let at = self.clock.now();
        if self.sessions(|it| it.say(machine, code, at)) {
            self.desk.finding(machine, Finding::new(code, "", text, at)).await;
        }
    }

    fn sessions<T>(&self, use_them: impl FnOnce(&mut super::session::Sessions) -> T) -> T {
        // A panic elsewhere leaves counters that are still counters.
        let mut sessions = self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        use_them(&mut sessions)
    }
}

fn ahead(skew_ms: i64) -> &'static str {
    if skew_ms > 0 { "ahead of" } else { "behind" }
}

fn before(now: UnixMillis, age_ms: u64) -> UnixMillis {
    UnixMillis(now.0.saturating_sub(i64::try_from(age_ms).unwrap_or(i64::MAX)).max(0))
}

/// The events that were not taken before, with our time.
fn news(instance: u64, events: Vec<crate::wire::Sighting>, taken: u64, now: UnixMillis) -> Vec<NumberedEvent> {
    let mut events: Vec<_> = events
        .into_iter()
        .filter(|it| it.number > taken)
        .map(|it| NumberedEvent { instance, number: it.number, at: before(now, it.age_ms), what: it.what })
        .collect();
    events.sort_by_key(|it| it.number);
    events.dedup_by_key(|it| it.number);
    events
}

/// What is more than an honest agent sends.
fn too_much(report: &Report) -> Option<String> {
    let long = |text: &str| text.len() > NAME_MAX;
    let state = report.state.as_ref();
    let gpus = state.map_or(0, |it| it.gpus.len());
    let engines = state.map_or(0, |it| it.engines.len());
    let events = report.events.len();
    if gpus > GPUS_MAX || engines > ENGINES_MAX || events > EVENTS_MAX || report.done.len() > COMMANDS_MAX {
        return Some(format!("{gpus} GPUs, {engines} engines, {events} events in one report"));
    }
    let names = state.is_some_and(|state| {
        long(&state.driver)
            || state.gpus.iter().any(|(uuid, gpu)| long(uuid) || long(&gpu.name) || long(&gpu.serial))
            || state.engines.iter().any(|it| long(&it.name) || long(&it.url) || it.note.len() > TEXT_MAX)
    });
    // Names of parts, ports and domains go into findings, and from there to people.
    let odd = |text: &str| text.chars().any(char::is_control);
    let name = |text: &str| long(text) || odd(text);
    let texts = report.done.iter().any(|it| long(&it.id) || it.text.len() > TEXT_MAX);
    let events = report.events.iter().any(|it| match &it.what {
        EventKind::Xid { driver, .. } => name(driver),
        EventKind::LinkDown { domain, port } | EventKind::LinkUp { domain, port } => name(domain) || name(port),
        EventKind::Part { part, text } => name(part) || text.len() > TEXT_MAX,
        EventKind::Thermal { .. } | EventKind::Restarted { .. } | EventKind::Reset { .. } => false,
    });
    (names || texts || events || long(&report.digest))
        .then(|| "a name or a text longer than agents write, or with control characters".to_owned())
}
