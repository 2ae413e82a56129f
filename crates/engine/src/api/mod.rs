//! OpenAI's HTTP API over one model. A request is read, checked, given a place in the bounded queue, tokenised off the
//! async threads, measured against the context, and handed to the inference thread; what comes back is rendered. The
//! place is taken before any expensive step, so that a flood of requests costs reading and no tokenising.

mod ask;
mod fields;
mod refusal;
mod reply;
mod stream;

use crate::engine::{ModelInfo, ModelKind};
use crate::model::words::{Words, WordsError};
use crate::turn::meter::Meter;
use crate::turn::sequence::{Event, Generate, Job, Work};
use ask::{Input, Sampling};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use refusal::Refusal;
use reply::{Dialect, Reply};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stream::Sse;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What `/v1/completions` generates where the request names no number: OpenAI's default.
const TEXT_TOKENS_DEFAULT: usize = 16;

pub(crate) struct Api {
    pub(crate) info: ModelInfo,
    pub(crate) words: Arc<Words>,
    pub(crate) inbox: std::sync::mpsc::Sender<Job>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) bearer: Option<String>,
    pub(crate) body_bytes_max: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) started: u64,
    pub(crate) requests: AtomicU64,
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn json_response(status: StatusCode, value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn whole(response: Response<Bytes>) -> Response<Body> {
    response.map(|bytes| Full::new(bytes).boxed_unsync())
}

impl Api {
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        self.route(request).await.unwrap_or_else(|refusal| whole(refusal.response()))
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let path = request.uri().path().to_owned();
        if path != "/health" && !self.admits(request.headers()) {
            return Err(Refusal::stranger());
        }
        let allowed = match path.as_str() {
            "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings" => Method::POST,
            "/v1/models" | "/v1/engine/status" | "/health" | "/metrics" => Method::GET,
            _ if path.starts_with("/v1/models/") => Method::GET,
            _ => return Err(Refusal::path_unknown(&path)),
        };
        if request.method() != allowed {
            return Err(Refusal::method(allowed.as_str()));
        }
        match path.as_str() {
            "/v1/chat/completions" => self.chat(&self.body(request).await?).await,
            "/v1/completions" => self.text(&self.body(request).await?).await,
            "/v1/embeddings" => self.embeddings(&self.body(request).await?).await,
            "/v1/models" => {
                let list = json!({"object": "list", "data": [self.model_json()]});
                Ok(whole(json_response(StatusCode::OK, &list)))
            }
            "/v1/engine/status" => Ok(whole(json_response(StatusCode::OK, &self.status()))),
            "/metrics" => Ok(whole(self.metrics())),
            "/health" if self.meter.ended.load(Relaxed) => Err(Refusal::ended()),
            "/health" => Ok(whole(json_response(StatusCode::OK, &json!({"status": "ok"})))),
            _ => {
                self.served(path.strip_prefix("/v1/models/").unwrap_or_default())?;
                Ok(whole(json_response(StatusCode::OK, &self.model_json())))
            }
        }
    }

    /// Whether the caller shows the credential, where one is asked for. Hashes are compared, so that the time says nothing.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(bearer) = &self.bearer else { return true };
        let shown = headers.get(header::AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
        let hash = |text: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
        hash(shown).as_ref() == hash(format!("Bearer {bearer}").as_bytes()).as_ref()
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Bytes, Refusal> {
        let limit = self.body_bytes_max;
        let read = Limited::new(request.into_body(), limit).collect();
        match tokio::time::timeout(self.body_timeout, read).await {
            Err(_) => Err(Refusal::too_slow()),
            Ok(Err(e)) if e.is::<LengthLimitError>() => Err(Refusal::too_large(limit)),
            Ok(Err(e)) => Err(Refusal::body(format!("The body could not be read: {e}."))),
            Ok(Ok(body)) => Ok(body.to_bytes()),
        }
    }

    async fn chat(&self, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let (model, messages, sampling) = ask::chat(body)?;
        self.generates(&model)?;
        let place = self.place()?;
        let prompt = self.words(move |words| words.chat(&messages)).await?.map_err(|e| unsaid("messages", &e))?;
        self.generate(Dialect::Chat, prompt, sampling, place).await
    }

    async fn text(&self, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let (model, prompt, sampling) = ask::text(body)?;
        self.generates(&model)?;
        let place = self.place()?;
        let prompt = self.words(move |words| tokens(words, prompt)).await?.map_err(|e| unsaid("prompt", &e))?;
        self.generate(Dialect::Text, prompt, sampling, place).await
    }

    async fn generate(
        &self,
        dialect: Dialect,
        prompt: Vec<u32>,
        sampling: Sampling,
        place: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Refusal> {
        let (param, prefix) = match dialect {
            Dialect::Chat => ("messages", "chatcmpl"),
            Dialect::Text => ("prompt", "cmpl"),
        };
        let room = self.room(param, prompt.len())?;
        let tokens_max = match (sampling.tokens_max, dialect) {
            (Some(asked), _) if asked > room => {
                let message = format!(
                    "This model's context is {} tokens: {} of the prompt and {asked} asked for do not fit.",
                    self.info.context_length,
                    prompt.len()
                );
                return Err(Refusal::context(param, message));
            }
            (Some(asked), _) => asked,
            (None, _) if sampling.tokens_fitting.is_some() => room,
            (None, Dialect::Chat) => room,
            (None, Dialect::Text) => room.min(TEXT_TOKENS_DEFAULT),
        }
        .min(sampling.tokens_fitting.unwrap_or(usize::MAX));
        let reply = Reply {
            dialect,
            id: format!("{prefix}-{:032x}", u128::from_be_bytes(random()?)),
            created: unix_seconds(),
            model: self.info.name.clone(),
            fingerprint: format!(
                "fp_{}",
                self.info.weights_digest.trim_start_matches("sha256:").get(..16).unwrap_or("")
            ),
            prompt_tokens: prompt.len(),
        };
        let generate = Generate {
            prompt,
            tokens_max,
            temperature: sampling.temperature.unwrap_or(self.words.temperature),
            top_p: sampling.top_p.unwrap_or(self.words.top_p),
            seed: sampling.seed.map_or_else(|| random().map(u64::from_be_bytes), Ok)?,
            stops: sampling.stops.clone(),
        };
        let mut events = self.hand_over(Work::Generate(generate), place)?;
        if sampling.stream {
            let mut response = Response::new(Sse::new(reply, &sampling, events).boxed_unsync());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return Ok(response);
        }
        let mut all = String::new();
        loop {
            match events.recv().await {
                Some(Event::Token { text, completion_tokens, finish }) => {
                    all.push_str(&text);
                    if let Some(finish) = finish {
                        let answer = reply.whole(&all, finish, completion_tokens);
                        return Ok(whole(json_response(StatusCode::OK, &answer)));
                    }
                }
                Some(Event::Failed(message)) => return Err(Refusal::failed(&message)),
                Some(Event::Vector(_)) => {}
                None => return Err(Refusal::ended()),
            }
        }
    }

    async fn embeddings(&self, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let ask = ask::embeddings(body)?;
        self.served(&ask.model)?;
        let ModelKind::Embedding { dimensions } = self.info.kind else {
            let message = format!("`{}` generates text and makes no embeddings.", self.info.name);
            return Err(Refusal::field("model", message));
        };
        if ask.dimensions.is_some_and(|asked| asked != dimensions) {
            return Err(Refusal::unsupported(
                "dimensions",
                &format!("This model's vectors have {dimensions} numbers."),
            ));
        }
        let place = self.place()?;
        let inputs = ask.inputs;
        let inputs = self
            .words(move |words| inputs.into_iter().map(|input| tokens(words, input)).collect::<Result<Vec<_>, _>>())
            .await?
            .map_err(|e| unsaid("input", &e))?;
        for input in &inputs {
            if input.is_empty() || input.len() > self.info.context_length {
                self.room("input", input.len())?;
            }
        }
        let (count, prompt_tokens) = (inputs.len(), inputs.iter().map(Vec::len).sum());
        let mut events = self.hand_over(Work::Embed(inputs), place)?;
        let mut vectors = Vec::with_capacity(count);
        while vectors.len() < count {
            match events.recv().await {
                Some(Event::Vector(vector)) => vectors.push(vector),
                Some(Event::Failed(message)) => return Err(Refusal::failed(&message)),
                Some(Event::Token { .. }) => {}
                None => return Err(Refusal::ended()),
            }
        }
        let answer = reply::vectors(&vectors, ask.base64, &self.info.name, prompt_tokens);
        Ok(whole(json_response(StatusCode::OK, &answer)))
    }

    fn served(&self, model: &str) -> Result<(), Refusal> {
        if model == self.info.name { Ok(()) } else { Err(Refusal::model_unknown(model, &self.info.name)) }
    }

    fn generates(&self, model: &str) -> Result<(), Refusal> {
        self.served(model)?;
        match self.info.kind {
            ModelKind::Decoder => Ok(()),
            ModelKind::Embedding { .. } => {
                let message = format!("`{model}` makes embeddings and generates no text; use /v1/embeddings.");
                Err(Refusal::field("model", message))
            }
        }
    }

    /// A place in the bounded queue, or the refusal that says to come back.
    fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.places.clone().try_acquire_owned().map_err(|_| {
            Meter::add(&self.meter.refused_busy, 1);
            Refusal::busy()
        })
    }

    /// The tokens that fit behind a prompt.
    fn room(&self, param: &str, prompt: usize) -> Result<usize, Refusal> {
        if prompt == 0 {
            return Err(Refusal::field(param, format!("`{param}` holds no token; say something.")));
        }
        match self.info.context_length.checked_sub(prompt) {
            Some(room) if room > 0 => Ok(room),
            _ => {
                let context = self.info.context_length;
                let message = format!("This model's context is {context} tokens; `{param}` alone has {prompt}.");
                Err(Refusal::context(param, message))
            }
        }
    }

    /// Templates and tokenisers take milliseconds on a long prompt: not on the threads that serve everyone.
    async fn words<T: Send + 'static>(&self, run: impl FnOnce(&Words) -> T + Send + 'static) -> Result<T, Refusal> {
        let words = self.words.clone();
        let done = tokio::task::spawn_blocking(move || run(&words)).await;
        done.map_err(|_| Refusal::failed("the prompt could not be tokenised"))
    }

    fn hand_over(&self, work: Work, place: OwnedSemaphorePermit) -> Result<Receiver<Event>, Refusal> {
        let (events, receiver) = channel(work.events_max());
        let number = self.requests.fetch_add(1, Relaxed) + 1;
        self.inbox.send(Job { number, work, events, place }).map_err(|_| Refusal::ended())?;
        Meter::add(&self.meter.accepted, 1);
        Ok(receiver)
    }

    fn model_json(&self) -> Value {
        json!({"id": self.info.name, "object": "model", "created": self.started, "owned_by": "hoheit",
               "max_model_len": self.info.context_length, "architecture": self.info.architecture,
               "weights_digest": self.info.weights_digest})
    }

    fn status(&self) -> Value {
        let numbers = self.meter.rows().map(|(name, _, _, value)| (name.to_owned(), json!(value)));
        Value::Object(numbers.into_iter().collect())
    }

    /// Prometheus' text format.
    fn metrics(&self) -> Response<Bytes> {
        let text: String = (self.meter.rows().iter())
            .map(|(name, help, kind, value)| {
                let name = format!("hoheit_engine_{name}");
                format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
            })
            .collect();
        let mut response = Response::new(Bytes::from(text));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn tokens(words: &Words, input: Input) -> Result<Vec<u32>, WordsError> {
    match input {
        Input::Text(text) => words.encode(&text, true),
        Input::Tokens(tokens) => words.known(tokens),
    }
}

fn unsaid(param: &str, error: &WordsError) -> Refusal {
    Refusal::field(param, format!("{error}."))
}

fn random<const N: usize>() -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Refusal::failed("the system gives no random numbers"))?;
    Ok(bytes)
}
