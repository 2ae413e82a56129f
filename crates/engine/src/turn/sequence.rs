//! One request on the inference thread: a chunk of its prompt or one token per turn, until it ends. Every token that the
//! model computed is counted, the one that ends the answer too; what the caller sees of it is decided by `text` and
//! `stop`.

use super::stop::{Scan, Stops};
use super::text::Text;
use crate::model::decoder::Session;
use crate::model::embedder::Embedder;
use crate::model::without_panic;
use crate::model::words::Words;
use candle_transformers::generation::LogitsProcessor;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::Sender;

/// What the caller asked the model to do.
pub(crate) enum Work {
    Generate(Generate),
    /// Tokenised texts, one vector each.
    Embed(Vec<Vec<u32>>),
}

impl Work {
    /// One event per token or text, and one for a failure. A short text per token of the context is some 100 KiB for
    /// 16,384 tokens, and is taken only as it is needed.
    pub(crate) fn events_max(&self) -> usize {
        1 + match self {
            Work::Generate(generate) => generate.tokens_max,
            Work::Embed(texts) => texts.len(),
        }
    }
}

pub(crate) struct Generate {
    pub(crate) prompt: Vec<u32>,
    pub(crate) tokens_max: usize,
    pub(crate) temperature: f64,
    pub(crate) top_p: f64,
    pub(crate) seed: u64,
    pub(crate) stops: Vec<String>,
}

/// A request on its way to the inference thread. Its place in the bounded queue goes with it and is free again when it
/// is dropped, however it ends.
pub(crate) struct Job {
    pub(crate) number: u64,
    pub(crate) work: Work,
    /// Has room for everything that the work can say ([`Work::events_max`]), because the thread must never wait for a
    /// slow reader.
    pub(crate) events: Sender<Event>,
    pub(crate) place: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
}

/// What the caller hears.
#[derive(Debug, PartialEq)]
pub(crate) enum Event {
    /// One more token; its text may be empty. `finish` is set on the last.
    Token {
        text: String,
        completion_tokens: usize,
        finish: Option<Finish>,
    },
    Vector(Vec<f32>),
    /// The model could not go on. The text is for people.
    Failed(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Continues,
    Finished,
    Failed,
    /// The caller left.
    Gone,
}

/// A generation with its session.
pub(crate) struct Sequence {
    pub(crate) session: Session,
    prompt: Vec<u32>,
    tokens_max: usize,
    sampler: LogitsProcessor,
    text: Text,
    stops: Stops,
    /// Tokens that the session has read.
    position: usize,
    last: u32,
    pub(crate) completion_tokens: usize,
}

impl Sequence {
    pub(crate) fn new(generate: Generate, session: Session) -> Self {
        let Generate { prompt, tokens_max, temperature, top_p, seed, stops } = generate;
        let top_p = (top_p < 1.0).then_some(top_p);
        Self {
            session,
            prompt,
            tokens_max,
            sampler: LogitsProcessor::new(seed, Some(temperature), top_p),
            text: Text::default(),
            stops: Stops::new(stops),
            position: 0,
            last: 0,
            completion_tokens: 0,
        }
    }

    /// The prompt tokens that the next turn reads; none when it generates.
    pub(crate) fn prefill(&self, chunk: usize) -> usize {
        self.prompt.len().saturating_sub(self.position).min(chunk)
    }

    /// One turn: a chunk of the prompt, or one token. The event is the caller's to send, after the books are right.
    pub(crate) fn turn(&mut self, words: &Words, chunk: usize) -> (Progress, Option<Event>) {
        match self.advance(words, chunk) {
            Ok(event @ Some(Event::Token { finish: Some(_), .. })) => (Progress::Finished, event),
            Ok(event) => (Progress::Continues, event),
            Err(text) => (Progress::Failed, Some(Event::Failed(text))),
        }
    }

    fn advance(&mut self, words: &Words, chunk: usize) -> Result<Option<Event>, String> {
        let prefill = self.prefill(chunk);
        let scores = if prefill > 0 {
            let (from, to) = (self.position, self.position + prefill);
            let scores = without_panic(|| self.session.forward(&self.prompt[from..to], from))?;
            self.position = to;
            if to < self.prompt.len() {
                return Ok(None);
            }
            scores
        } else {
            let scores = without_panic(|| self.session.forward(&[self.last], self.position))?;
            self.position += 1;
            scores
        };
        let token = self.sample(scores)?;
        self.completion_tokens += 1;
        self.last = token;
        let (text, finish) = self.say(words, token).map_err(|e| format!("a token has no text: {e}"))?;
        Ok(Some(Event::Token { text, completion_tokens: self.completion_tokens, finish }))
    }

    fn sample(&mut self, scores: Vec<f32>) -> Result<u32, String> {
        if scores.iter().any(|s| s.is_nan() || *s == f32::INFINITY) {
            return Err("the model computed something that is not a number; its weights are damaged".into());
        }
        let count = scores.len();
        without_panic(|| {
            let scores = candle_core::Tensor::from_vec(scores, count, &candle_core::Device::Cpu)?;
            self.sampler.sample(&scores)
        })
    }

    /// What the caller reads of this token, and whether it is the last.
    fn say(&mut self, words: &Words, token: u32) -> tokenizers::Result<(String, Option<Finish>)> {
        let ended = words.end_tokens.contains(&token);
        let piece = if ended { String::new() } else { self.text.push(&words.tokenizer, token)? };
        let Scan { mut release, stopped } = self.stops.push(&piece);
        if stopped {
            return Ok((release, Some(Finish::Stop)));
        }
        if !ended && self.completion_tokens < self.tokens_max {
            return Ok((release, None));
        }
        let tail = self.text.finish(&words.tokenizer)?;
        let Scan { release: more, stopped } = self.stops.push(&tail);
        release.push_str(&more);
        if !stopped {
            release.push_str(&self.stops.finish());
        }
        Ok((release, Some(if ended || stopped { Finish::Stop } else { Finish::Length })))
    }
}

/// Texts to embed, one per turn.
pub(crate) struct Batch {
    inputs: std::vec::IntoIter<Vec<u32>>,
}

impl Batch {
    pub(crate) fn new(inputs: Vec<Vec<u32>>) -> Self {
        Self { inputs: inputs.into_iter() }
    }

    /// Tokens that the next turn reads.
    pub(crate) fn tokens(&self) -> usize {
        self.inputs.as_slice().first().map_or(0, Vec::len)
    }

    pub(crate) fn turn(&mut self, embedder: &Embedder) -> (Progress, Option<Event>) {
        let Some(input) = self.inputs.next() else { return (Progress::Finished, None) };
        match without_panic(|| embedder.embed(&input)) {
            Ok(vector) if self.inputs.len() == 0 => (Progress::Finished, Some(Event::Vector(vector))),
            Ok(vector) => (Progress::Continues, Some(Event::Vector(vector))),
            Err(text) => (Progress::Failed, Some(Event::Failed(text))),
        }
    }
}
