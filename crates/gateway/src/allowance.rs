//! How long an answer may be, what is reserved for it, and how an engine is told.
//!
//! A client that names a number gets it, up to the model's cap. Most clients name none, and then the cap alone is no
//! good: engines refuse a prompt and a number that do not fit their context together, so that every longer prompt would
//! be turned away for a number that its client never sent. The bytes of a prompt bound its tokens from above, four times
//! too high for plain text. Where a useful length is certain to fit by that bound, the engine is told it; where it is
//! not, the engine is told none, fits the answer itself, and the reservation covers the whole context. Whatever is told,
//! what is reserved is at least what can be settled.

use crate::fields::{Fields, Operation};
use crate::limits::ANSWER_TOKENS_MIN;
use crate::settle::Bounds;
use crate::view::Verdict;
use types::snapshot::Endpoint;

/// What one choice of an answer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The client named a number; this is the smaller of it and the model's cap.
    Named { max: u64 },
    /// The client named none, and this many are certain to fit behind the prompt.
    Fits { max: u64 },
    /// The client named none, and how many fit only the engine knows.
    Open { cap: u64 },
}

/// Upper bounds that hold whatever the engine does: bytes bound the prompt, and each choice is bounded by what the engine
/// is told, or by its context.
pub fn bounds(fields: &Fields, verdict: &Verdict) -> (Bounds, Length) {
    let endpoints = || verdict.permitted.iter().map(|(entry, _)| &entry.endpoint);
    let (length, per_choice) = length(fields, endpoints, verdict.embedded_only);
    let context = endpoints().map(|endpoint| endpoint.context_length).max().unwrap_or(0);
    let input_tokens = fields.input_tokens_bound.unwrap_or(u64::MAX);
    let bounds = match fields.operation {
        // A list of inputs: each may fill the context.
        Operation::Embeddings => Bounds { input_tokens, output_tokens: 0 },
        _ => Bounds {
            input_tokens: input_tokens.min(context.saturating_mul(fields.choices.max(1))),
            output_tokens: per_choice.saturating_mul(fields.choices),
        },
    };
    (bounds, length)
}

/// The answer's length and what to reserve for each choice. `ours`: every replica gives way by itself.
fn length<'a, I: Iterator<Item = &'a Endpoint>>(
    fields: &Fields,
    endpoints: impl Fn() -> I,
    ours: bool,
) -> (Length, u64) {
    let cap = endpoints().map(|endpoint| endpoint.output_tokens_max).min().unwrap_or(0);
    if let Some(asked) = fields.output_tokens_asked {
        let max = asked.min(cap);
        return (Length::Named { max }, max);
    }
    let context_min = endpoints().map(|endpoint| endpoint.context_length).min().unwrap_or(0);
    let certain = context_min.saturating_sub(fields.input_tokens_bound.unwrap_or(u64::MAX));
    if ours {
        (Length::Open { cap }, cap)
    } else if certain >= cap.min(ANSWER_TOKENS_MIN) {
        let max = certain.min(cap);
        (Length::Fits { max }, max)
    } else {
        (Length::Open { cap }, endpoints().map(|endpoint| endpoint.context_length).max().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::facts::{EndpointFacts, Retention};
    use types::{EndpointId, UnixMillis};

    fn endpoint(context_length: u64, output_tokens_max: u64) -> Endpoint {
        let country = "DE".parse().unwrap();
        Endpoint {
            id: EndpointId(1),
            model: "m".to_owned(),
            facts: EndpointFacts {
                country,
                site: String::new(),
                operator: String::new(),
                provider: String::new(),
                jurisdiction: country,
                retention: Retention::None,
                attestation: String::new(),
            },
            weights: None,
            context_length,
            output_tokens_max,
            created_at: UnixMillis(0),
        }
    }

    #[test]
    fn lengths() {
        // A body of `bytes` in all: its tokens are at most these and 512 of the template.
        let check = |asked: &str, bytes: usize, context: u64, cap: u64, ours: bool, expect: (Length, u64)| {
            let mut body = format!(r#"{{"model":"m",{asked}"messages":[1],"pad":""}}"#);
            body.insert_str(body.len() - 2, &"x".repeat(bytes - body.len()));
            let fields = Fields::parse(Operation::ChatCompletions, body.as_bytes()).unwrap();
            let endpoint = endpoint(context, cap);
            assert_eq!(length(&fields, || std::iter::once(&endpoint), ours), expect, "{asked} {bytes} {context} {cap}");
        };
        let asked = r#""max_tokens":300,"#;
        check(asked, 100, 512, 256, true, (Length::Named { max: 256 }, 256));
        check(asked, 100, 8_192, 4_096, false, (Length::Named { max: 300 }, 300));
        // Ours fits its answer itself, whatever the prompt; the cap is reserved.
        check("", 100, 512, 256, true, (Length::Open { cap: 256 }, 256));
        check("", 100_000, 512, 256, true, (Length::Open { cap: 256 }, 256));
        // Others are told what certainly fits,
        check("", 1_000, 32_768, 4_096, false, (Length::Fits { max: 4_096 }, 4_096));
        check("", 30_000, 32_768, 4_096, false, (Length::Fits { max: 2_256 }, 2_256));
        check("", 31_232, 32_768, 4_096, false, (Length::Fits { max: 1_024 }, 1_024));
        // and nothing where that would end an ordinary answer in its middle: then the whole context is reserved.
        check("", 31_233, 32_768, 4_096, false, (Length::Open { cap: 4_096 }, 32_768));
        check("", 100, 512, 256, false, (Length::Open { cap: 256 }, 512));
        check("", 7_000, 8_192, 64, false, (Length::Fits { max: 64 }, 64));
    }
}
