//! What a caller asks for, read from the three bodies of OpenAI's API into values that need no further checking but the
//! length of the prompt. What cannot be honoured (tools, JSON mode, log probabilities, several choices, penalties) is
//! refused by name.

use super::fields::Fields;
use super::refusal::Refusal;
use crate::model::template::Message;
use serde_json::Value;

type Result<T> = std::result::Result<T, Refusal>;

/// OpenAI takes four; a few more do no harm, and holding back text costs time per stop string.
const STOPS_MAX: usize = 16;
const STOP_BYTES_MAX: usize = 1024;
/// OpenAI's own limit for one request.
const INPUTS_MAX: usize = 2048;

/// The part that chat and text completions share.
#[derive(Debug, PartialEq)]
pub(crate) struct Sampling {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) seed: Option<u64>,
    pub(crate) stops: Vec<String>,
    pub(crate) tokens_max: Option<usize>,
    /// As many of these as fit behind the prompt: what a gateway sends for a caller who named no number.
    pub(crate) tokens_fitting: Option<usize>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) continuous_usage: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Input {
    Text(String),
    Tokens(Vec<u32>),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Embeddings {
    pub(crate) model: String,
    pub(crate) inputs: Vec<Input>,
    pub(crate) base64: bool,
    pub(crate) dimensions: Option<usize>,
}

pub(crate) fn chat(body: &[u8]) -> Result<(String, Vec<Message>, Sampling)> {
    let mut fields = Fields::parse(body)?;
    let model = fields.text("model")?;
    let messages = messages(fields.need("messages")?)?;
    let sampling = sampling(&mut fields)?;
    let empty = |v: &Value| v.as_array().is_some_and(Vec::is_empty);
    fields.only("tools", empty, "Tool calls are not read from this engine's answers.")?;
    fields.only("functions", empty, "Function calls are not read from this engine's answers.")?;
    fields.only("tool_choice", |v| v == "none" || v == "auto", "There are no tools to choose from.")?;
    fields.only("function_call", |v| v == "none" || v == "auto", "There are no functions to choose from.")?;
    fields.only("parallel_tool_calls", Value::is_boolean, "It should be true or false.")?;
    fields.only("response_format", |v| v["type"] == "text", "Answers cannot be held to a format.")?;
    fields.only("logprobs", |v| v == false, "Log probabilities are not reported.")?;
    fields.only("top_logprobs", |v| v == 0, "Log probabilities are not reported.")?;
    fields.only("modalities", |v| v == &serde_json::json!(["text"]), "Answers are text.")?;
    fields.finish()?;
    Ok((model, messages, sampling))
}

pub(crate) fn text(body: &[u8]) -> Result<(String, Input, Sampling)> {
    let mut fields = Fields::parse(body)?;
    let model = fields.text("model")?;
    let mut prompts = inputs("prompt", fields.need("prompt")?)?;
    let (Some(prompt), true) = (prompts.pop(), prompts.is_empty()) else {
        return Err(Refusal::unsupported("prompt", "Each request takes one prompt."));
    };
    let sampling = sampling(&mut fields)?;
    fields.only("logprobs", |_| false, "Log probabilities are not reported.")?;
    fields.only("best_of", |v| v == 1, "One answer is generated per request.")?;
    fields.only("echo", |v| v == false, "The prompt is not repeated in the answer.")?;
    fields.only("suffix", |v| v == "", "Text is not inserted between two others.")?;
    fields.finish()?;
    Ok((model, prompt, sampling))
}

pub(crate) fn embeddings(body: &[u8]) -> Result<Embeddings> {
    let mut fields = Fields::parse(body)?;
    let model = fields.text("model")?;
    let inputs = inputs("input", fields.need("input")?)?;
    if inputs.len() > INPUTS_MAX {
        return Err(Refusal::field("input", format!("`input` takes at most {INPUTS_MAX} texts.")));
    }
    let base64 = match fields.take("encoding_format") {
        None => false,
        Some(format) if format == "float" => false,
        Some(format) if format == "base64" => true,
        Some(_) => return Err(Refusal::field("encoding_format", "`encoding_format` should be float or base64.")),
    };
    let dimensions = fields.count("dimensions")?;
    fields.finish()?;
    Ok(Embeddings { model, inputs, base64, dimensions })
}

fn sampling(fields: &mut Fields) -> Result<Sampling> {
    fields.only("n", |v| v == 1, "One answer is generated per request.")?;
    fields.only("frequency_penalty", |v| v.as_f64() == Some(0.0), "There are no penalties.")?;
    fields.only("presence_penalty", |v| v.as_f64() == Some(0.0), "There are no penalties.")?;
    fields.only("logit_bias", |v| v.as_object().is_some_and(|m| m.is_empty()), "Tokens cannot be biased.")?;
    let temperature = fields.number("temperature", 0.0, 2.0)?;
    let top_p = fields.number("top_p", 0.0, 1.0)?;
    if top_p == Some(0.0) {
        return Err(Refusal::field("top_p", "`top_p` should be above 0."));
    }
    let seed = match fields.take("seed") {
        None => None,
        Some(seed) => match seed.as_u64().or_else(|| seed.as_i64().map(i64::cast_unsigned)) {
            Some(seed) => Some(seed),
            None => return Err(Refusal::field("seed", "`seed` should be a whole number.")),
        },
    };
    let stops = match fields.take("stop") {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(list)) => list
            .into_iter()
            .map(|stop| match stop {
                Value::String(stop) => Ok(stop),
                _ => Err(Refusal::field("stop", "`stop` should be a string or a list of strings.")),
            })
            .collect::<Result<_>>()?,
        Some(_) => return Err(Refusal::field("stop", "`stop` should be a string or a list of strings.")),
    };
    if stops.len() > STOPS_MAX || stops.iter().any(|s| s.is_empty() || s.len() > STOP_BYTES_MAX) {
        let message = format!("`stop` takes up to {STOPS_MAX} strings of 1 to {STOP_BYTES_MAX} bytes.");
        return Err(Refusal::field("stop", message));
    }
    let newer = fields.count("max_completion_tokens")?;
    let tokens_max = newer.or(fields.count("max_tokens")?);
    let tokens_fitting = fields.count("max_tokens_fitting")?;
    let stream = fields.flag("stream")?;
    let (include_usage, continuous_usage) = match fields.take("stream_options") {
        None => (false, false),
        Some(_) if !stream => {
            return Err(Refusal::field("stream_options", "`stream_options` needs `stream` to be true."));
        }
        Some(Value::Object(options)) => {
            let flag = |name: &str| match options.get(name) {
                None | Some(Value::Null) => Ok(false),
                Some(Value::Bool(flag)) => Ok(*flag),
                Some(_) => Err(Refusal::field(format!("stream_options.{name}"), "It should be true or false.")),
            };
            (flag("include_usage")?, flag("continuous_usage_stats")?)
        }
        Some(_) => return Err(Refusal::field("stream_options", "`stream_options` should be an object.")),
    };
    Ok(Sampling {
        temperature,
        top_p,
        seed,
        stops,
        tokens_max,
        tokens_fitting,
        stream,
        include_usage,
        continuous_usage,
    })
}

fn messages(value: Value) -> Result<Vec<Message>> {
    match value {
        Value::Array(list) if !list.is_empty() => list.iter().enumerate().map(|(at, m)| message(at, m)).collect(),
        _ => Err(Refusal::field("messages", "`messages` should be a list with at least one message.")),
    }
}

fn message(at: usize, value: &Value) -> Result<Message> {
    let param = |name: &str| format!("messages[{at}].{name}");
    let role = match value["role"].as_str() {
        // Templates know the older name for the same thing.
        Some("developer") => "system",
        Some(role @ ("system" | "user" | "assistant")) => role,
        Some("tool" | "function") => {
            return Err(Refusal::unsupported(&param("role"), "Results of tools cannot be given to this engine."));
        }
        _ => return Err(Refusal::field(param("role"), "The role should be system, developer, user or assistant.")),
    };
    if !value["tool_calls"].is_null() {
        return Err(Refusal::unsupported(&param("tool_calls"), "Tool calls cannot be given to this engine."));
    }
    let wrong = || Refusal::field(param("content"), "The content should be a string or a list of text parts.");
    let content = match &value["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let mut all = String::new();
            for part in parts {
                match (part["type"].as_str(), part["text"].as_str()) {
                    (Some("text"), Some(text)) => all.push_str(text),
                    (Some("image_url" | "input_audio" | "file"), _) => {
                        return Err(Refusal::unsupported(&param("content"), "This engine reads text only."));
                    }
                    _ => return Err(wrong()),
                }
            }
            all
        }
        _ => return Err(wrong()),
    };
    let name = value["name"].as_str().map(str::to_owned);
    Ok(Message { role: role.to_owned(), content, name })
}

/// One text, a list of texts, one list of tokens, or a list of those.
fn inputs(param: &str, value: Value) -> Result<Vec<Input>> {
    let wrong =
        || Refusal::field(param, format!("`{param}` should be a string, a list of strings or lists of tokens."));
    let token = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(wrong);
    let all = match value {
        Value::String(text) => vec![Input::Text(text)],
        Value::Array(list) if list.first().is_some_and(Value::is_number) => {
            vec![Input::Tokens(list.iter().map(token).collect::<Result<_>>()?)]
        }
        Value::Array(list) => (list.into_iter())
            .map(|one| match one {
                Value::String(text) => Ok(Input::Text(text)),
                Value::Array(tokens) => Ok(Input::Tokens(tokens.iter().map(token).collect::<Result<_>>()?)),
                _ => Err(wrong()),
            })
            .collect::<Result<_>>()?,
        _ => return Err(wrong()),
    };
    if all.is_empty() { Err(wrong()) } else { Ok(all) }
}
