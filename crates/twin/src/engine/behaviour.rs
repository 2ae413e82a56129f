//! What an engine can be told to do with a request, and the script that says so.
//!
//! A behaviour is plain data with a text form (`tokens=20 pace=step usage=shrinking`), so that a command line or the
//! model's name can carry one to an engine in another process.

use bytes::Bytes;
use http::HeaderMap;
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What happens before the first byte of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Before {
    /// Answer.
    Answer,
    /// Reset the connection (RST), no byte sent.
    Refuse,
    /// Close the connection in good manners, no byte sent.
    Close,
    /// Send nothing until [`super::ScriptedEngine::release`], then answer.
    Hang,
    /// Answer with this status and body instead.
    Status { status: u16, retry_after: Option<String>, content_type: String, body: String },
    /// Write these bytes in place of an HTTP answer, then close.
    Garbage(Bytes),
}

impl Before {
    /// An error in OpenAI's envelope, as engines send it.
    pub fn error(status: u16) -> Before {
        let body = format!(
            r#"{{"error":{{"message":"the script says {status}","type":"scripted","param":null,"code":"scripted_{status}"}}}}"#
        );
        Before::Status { status, retry_after: None, content_type: "application/json".into(), body }
    }

    /// 429 with a `Retry-After`.
    pub fn busy(retry_after: &str) -> Before {
        match Before::error(429) {
            Before::Status { status, content_type, body, .. } => {
                Before::Status { status, retry_after: Some(retry_after.into()), content_type, body }
            }
            other => other,
        }
    }

    /// A proxy's error page with status 200: what a misconfigured load balancer answers.
    pub fn html() -> Before {
        Before::Status {
            status: 200,
            retry_after: None,
            content_type: "text/html".into(),
            body: "<html><body><h1>It works!</h1></body></html>".into(),
        }
    }
}

/// When the events of an answer go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the connection takes them.
    Free,
    /// One for each [`super::ScriptedEngine::step`].
    Step,
    /// One in each interval; for demonstrations and soak tests, not for assertions.
    Every(Duration),
}

/// How the answer ends. `event` counts content events from 0; an answer that is not streamed has one event, 0, and is
/// cut in its middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Complete,
    /// The connection breaks after the head, before any byte of the body.
    DieAfterHead,
    /// The connection breaks after half of this event's bytes.
    DieInside(u64),
    /// The connection breaks after this many whole events.
    DieAfter(u64),
    /// Nothing more after this many whole events until released; then it completes.
    StallAfter(u64),
    /// The same, counting every event: the role, the finish reason and the usage as well.
    StallBehind(u64),
    /// The body ends in good order inside this event's line, with no `[DONE]`.
    HalfLine(u64),
    /// The body ends in good order after the last event, with no `[DONE]`.
    NoDone,
    /// After this many events an event with an `error` in place of choices, then the body ends.
    ErrorAfter(u64),
    /// After this many events one whose data is not JSON; then it goes on.
    GarbageAfter(u64),
}

/// What the engine says about usage, whatever it counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageStory {
    Correct,
    /// Never reported, even where asked for.
    Absent,
    Zero,
    /// Running counts fall from event to event; the final one is right.
    Shrinking,
    /// A hundred times what was produced.
    TooLarge,
    /// The final count is one less than the last running count.
    FinalDiffers,
}

/// How the bytes of a stream are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Framing {
    /// `\r\n` in place of `\n`.
    pub crlf: bool,
    /// Cut into pieces of this many bytes, each flushed on its own.
    pub split: Option<usize>,
    /// Pads the first content event to at least this many bytes.
    pub giant: Option<usize>,
    /// A comment line before each event.
    pub comments: bool,
}

/// What the engine does with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    pub before: Before,
    /// Tokens of the answer, before `max_tokens` cuts them.
    pub tokens: u64,
    /// Answer with `tokens` even where the request allows fewer.
    pub ignore_max_tokens: bool,
    pub tokens_per_event: u64,
    /// Reported prompt tokens; otherwise the words of the prompt.
    pub prompt_tokens: Option<u64>,
    /// How many of them were cached.
    pub cached_tokens: u64,
    /// Text of the answer, repeated to fill its events; otherwise `tok0 tok1 …`.
    pub text: Option<String>,
    pub pace: Pace,
    pub end: End,
    pub usage: UsageStory,
    pub framing: Framing,
    /// Goes on working when its client has left, until [`super::ScriptedEngine::release`]: closing the connection does not
    /// cancel what engines of some kinds do.
    pub runs_on: bool,
    /// Returns the request's body as a text under `twin_echo`, so that a test sees what arrived, byte for byte.
    pub echo: bool,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            before: Before::Answer,
            tokens: 5,
            ignore_max_tokens: false,
            tokens_per_event: 1,
            prompt_tokens: None,
            cached_tokens: 0,
            text: None,
            pace: Pace::Free,
            end: End::Complete,
            usage: UsageStory::Correct,
            framing: Framing::default(),
            runs_on: false,
            echo: false,
        }
    }
}

impl Behaviour {
    /// A good answer of this many tokens.
    pub fn tokens(tokens: u64) -> Behaviour {
        Behaviour { tokens, ..Behaviour::default() }
    }

    /// No good answer at all.
    pub fn before(before: Before) -> Behaviour {
        Behaviour { before, ..Behaviour::default() }
    }
}

/// A text that names no behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BehaviourError(String);

impl fmt::Display for BehaviourError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no behaviour; for example: tokens=20 pace=step usage=shrinking end=die-inside:3", self.0)
    }
}

impl std::error::Error for BehaviourError {}

impl FromStr for Behaviour {
    type Err = BehaviourError;

    /// Words between spaces or commas: `tokens=N per-event=N prompt=N cached=N overrun runs-on echo crlf comments split=N giant=N
    /// pace=free|step|MILLISECONDS usage=correct|absent|zero|shrinking|too-large|final-differs status=N busy=SECONDS html
    /// refuse close hang end=die-after-head|die-inside:N|die-after:N|stall-after:N|stall-behind:N|half-line:N|no-done|error-after:N|garbage-after:N`.
    fn from_str(text: &str) -> Result<Behaviour, BehaviourError> {
        let mut behaviour = Behaviour::default();
        for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            behaviour.apply(name, value).ok_or_else(|| BehaviourError(word.to_owned()))?;
        }
        Ok(behaviour)
    }
}

impl Behaviour {
    fn apply(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "tokens" => self.tokens = value.parse().ok()?,
            "per-event" => self.tokens_per_event = value.parse().ok()?,
            "prompt" => self.prompt_tokens = Some(value.parse().ok()?),
            "cached" => self.cached_tokens = value.parse().ok()?,
            "text" => self.text = Some(value.to_owned()),
            "overrun" => self.ignore_max_tokens = true,
            "runs-on" => self.runs_on = true,
            "echo" => self.echo = true,
            "crlf" => self.framing.crlf = true,
            "comments" => self.framing.comments = true,
            "split" => self.framing.split = Some(value.parse().ok()?),
            "giant" => self.framing.giant = Some(value.parse().ok()?),
            "pace" => self.pace = pace(value)?,
            "usage" => self.usage = usage_story(value)?,
            "end" => self.end = end(value)?,
            "status" => self.before = Before::error(value.parse().ok()?),
            "busy" => self.before = Before::busy(value),
            "html" => self.before = Before::html(),
            "refuse" => self.before = Before::Refuse,
            "close" => self.before = Before::Close,
            "hang" => self.before = Before::Hang,
            _ => return None,
        }
        Some(())
    }
}

fn pace(value: &str) -> Option<Pace> {
    Some(match value {
        "free" => Pace::Free,
        "step" => Pace::Step,
        millis => Pace::Every(Duration::from_millis(millis.parse().ok()?)),
    })
}

fn usage_story(value: &str) -> Option<UsageStory> {
    Some(match value {
        "correct" => UsageStory::Correct,
        "absent" => UsageStory::Absent,
        "zero" => UsageStory::Zero,
        "shrinking" => UsageStory::Shrinking,
        "too-large" => UsageStory::TooLarge,
        "final-differs" => UsageStory::FinalDiffers,
        _ => return None,
    })
}

fn end(value: &str) -> Option<End> {
    let (name, event) = value.split_once(':').unwrap_or((value, "0"));
    let event: u64 = event.parse().ok()?;
    Some(match name {
        "complete" => End::Complete,
        "die-after-head" => End::DieAfterHead,
        "die-inside" => End::DieInside(event),
        "die-after" => End::DieAfter(event),
        "stall-after" => End::StallAfter(event),
        "stall-behind" => End::StallBehind(event),
        "half-line" => End::HalfLine(event),
        "no-done" => End::NoDone,
        "error-after" => End::ErrorAfter(event),
        "garbage-after" => End::GarbageAfter(event),
        _ => return None,
    })
}

/// What a script sees of a request before it decides.
#[derive(Debug)]
pub struct Ask<'a> {
    /// 0 for the first request that this engine ever got.
    pub index: usize,
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    pub model: &'a str,
    pub body: &'a [u8],
}

type Choose = dyn Fn(&Ask<'_>) -> Behaviour + Send + Sync;

/// Decides the behaviour for each request.
#[derive(Clone)]
pub struct Script(Arc<Choose>);

impl Script {
    /// The same for every request.
    pub fn always(behaviour: Behaviour) -> Script {
        Script::choose(move |_| behaviour.clone())
    }

    /// These in turn, then `rest` for ever.
    pub fn queue(turns: impl IntoIterator<Item = Behaviour>, rest: Behaviour) -> Script {
        let turns = Mutex::new(turns.into_iter().collect::<VecDeque<_>>());
        Script::choose(move |_| {
            turns.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_else(|| rest.clone())
        })
    }

    /// As the function says.
    pub fn choose(choose: impl Fn(&Ask<'_>) -> Behaviour + Send + Sync + 'static) -> Script {
        Script(Arc::new(choose))
    }

    /// What stands after `#` in the model's name, added to `rest`: `scripted#status=429` always answers 429. An unknown
    /// word answers 400.
    pub fn by_model(rest: Behaviour) -> Script {
        Script::choose(move |ask| match ask.model.split_once('#') {
            None => rest.clone(),
            Some((_, text)) => text.parse().unwrap_or_else(|_| Behaviour::before(Before::error(400))),
        })
    }

    pub(crate) fn decide(&self, ask: &Ask<'_>) -> Behaviour {
        (self.0)(ask)
    }
}

impl From<Behaviour> for Script {
    fn from(behaviour: Behaviour) -> Script {
        Script::always(behaviour)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviours_have_a_text_form() {
        let check = |text: &str, expect: Behaviour| assert_eq!(text.parse(), Ok(expect), "{text}");
        let plain = Behaviour::default;
        check("", plain());
        check("tokens=20, pace=step", Behaviour { tokens: 20, pace: Pace::Step, ..plain() });
        check(
            "usage=shrinking end=die-inside:3",
            Behaviour { usage: UsageStory::Shrinking, end: End::DieInside(3), ..plain() },
        );
        check("busy=7", Behaviour::before(Before::busy("7")));
        for bad in ["tokens", "tokens=x", "nonsense", "end=die", "usage=lies"] {
            assert!(bad.parse::<Behaviour>().is_err(), "{bad}");
        }
    }
}
