//! How many tokens a request used, from what an engine says, cross-checked against what was seen.
//!
//! Engines are believed only as far as they are consistent: running counts grow, the last is the final one, none goes
//! beyond what the request allowed, and an answer that was seen was not made of zero tokens. Input and output are judged
//! apart: a prompt count that cannot be true says nothing about the answer. Where a count cannot be believed the receipt
//! says `estimated`, and what is billed is
//!
//! - for the prompt, the last count, at most what was reserved; without any count, as when somebody leaves an engine that
//!   counts only at the end, one token for five bytes of its JSON, so that leaving early is not free;
//! - for the answer, the larger of what all believable reports agree on and what was seen to be produced, at most what
//!   was reserved. Seen is one token for each event of a stream that carried something (an engine sends none for less; of
//!   the many tokens that speculative decoding packs into one, the rest is the operator's loss), and of a whole answer one
//!   for five bytes of its text: English and German take four to five, so that ordinary text is not billed beyond itself.

use serde::Deserialize;
use serde_json::Value;
use types::{Usage, UsageSource};

/// OpenAI's `usage` object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Report {
    #[serde(default)]
    pub prompt_tokens: u64,
    #[serde(default)]
    pub completion_tokens: u64,
    #[serde(default)]
    pub prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    pub completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct PromptDetails {
    #[serde(default)]
    pub cached_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct CompletionDetails {
    #[serde(default)]
    pub reasoning_tokens: Option<u64>,
}

impl From<Report> for Usage {
    fn from(report: Report) -> Usage {
        let cached = report.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
        let reasoning = report.completion_tokens_details.and_then(|details| details.reasoning_tokens).unwrap_or(0);
        Usage {
            input: report.prompt_tokens,
            cached: cached.min(report.prompt_tokens),
            output: report.completion_tokens,
            reasoning: reasoning.min(report.completion_tokens),
        }
    }
}

/// Bytes of text that are taken for a token where nobody has counted.
const BYTES_PER_TOKEN: u64 = 5;

/// One of the two counts.
#[derive(Debug, Clone, Default)]
struct Count {
    /// The bound that was reserved.
    max: u64,
    /// What the believable reports agree on: the last, or where they shrink the smaller.
    agreed: Option<u64>,
    /// The engine contradicted itself or the request.
    doubted: bool,
}

impl Count {
    fn report(&mut self, said: u64) {
        self.doubted |= said > self.max || self.agreed.is_some_and(|agreed| said < agreed);
        if said <= self.max {
            self.agreed = Some(said);
        }
    }
}

/// The running state of one request's count.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    input: Count,
    output: Count,
    /// The last report, if any.
    last: Option<Usage>,
    /// Of the prompt, where nobody may come to count it.
    input_estimate: u64,
    /// Events (or choices of a whole answer) that carried something of an answer.
    seen: u64,
    /// Of a whole answer, where its count is doubted.
    text_bytes: u64,
}

impl Meter {
    /// With the bounds that were reserved.
    pub fn new(input_max: u64, output_max: u64) -> Self {
        let count = |max| Count { max, ..Count::default() };
        Meter { input: count(input_max), output: count(output_max), ..Meter::default() }
    }

    /// Something of the answer passed by.
    pub fn saw_output(&mut self, pieces: u64) {
        self.seen = self.seen.saturating_add(pieces);
    }

    /// What the prompt is billed as if the engine never says.
    pub fn estimate_input(&mut self, prompt: &[u8]) {
        self.input_estimate = prompt_estimate(prompt);
    }

    /// The text of a whole answer.
    pub fn saw_text(&mut self, bytes: u64) {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
    }

    /// The engine reported.
    pub fn report(&mut self, report: Report) {
        let usage = Usage::from(report);
        self.input.report(usage.input);
        self.output.report(usage.output);
        self.last = Some(usage);
    }

    /// The last running count, for watermarks.
    pub fn running(&self) -> Option<Usage> {
        self.last.map(|last| self.usage(last, self.output.agreed.unwrap_or(0)))
    }

    /// Whether the count of the answer is missing or cannot be believed.
    pub fn doubts_output(&self) -> bool {
        self.output.doubted || (self.seen > 0 && self.output.agreed.unwrap_or(0) == 0)
    }

    /// The count to settle. `finished` says that the engine ended its answer itself.
    pub fn settle(&self, finished: bool) -> (Usage, UsageSource) {
        let agreed = self.output.agreed.unwrap_or(0);
        let seen = self.seen.max(self.text_bytes / BYTES_PER_TOKEN);
        let output = if self.doubts_output() { agreed.max(seen).min(self.output.max) } else { agreed };
        let unsaid = Usage { input: if self.seen > 0 { self.input_estimate } else { 0 }, ..Usage::default() };
        let usage = self.usage(self.last.unwrap_or(unsaid), output);
        let source = match self.last {
            None if self.seen == 0 => UsageSource::None,
            _ if self.doubts_output() || self.input.doubted => UsageSource::Estimated,
            _ if finished => UsageSource::Engine,
            _ => UsageSource::EngineRunning,
        };
        (usage, source)
    }

    /// With parts that are no larger than what they are parts of.
    fn usage(&self, last: Usage, output: u64) -> Usage {
        let input = last.input.min(self.input.max);
        Usage { input, cached: last.cached.min(input), output, reasoning: last.reasoning.min(output) }
    }
}

/// Tokens of a prompt, from its JSON: an escaped character counts as two bytes, which is what it has in UTF-8 in Europe. Nothing
/// where it holds more than text, whose bytes say nothing about tokens.
fn prompt_estimate(prompt: &[u8]) -> u64 {
    const NOT_TEXT: [&[u8]; 4] = [b"\"image_url\"", b"\"video_url\"", b"\"input_audio\"", b"\"file\""];
    const ESCAPED_BYTES: u64 = 6;
    if NOT_TEXT.iter().any(|part| memchr::memmem::find(prompt, part).is_some()) {
        return 0;
    }
    let escaped = memchr::memmem::find_iter(prompt, b"\\u").count() as u64;
    (prompt.len() as u64).saturating_sub(escaped * (ESCAPED_BYTES - 2)) / BYTES_PER_TOKEN
}

/// Bytes of text in a whole answer: what the model wrote, in the message or in a tool's call, and not the envelope.
pub fn text_bytes(answer: &[u8]) -> u64 {
    #[derive(Deserialize)]
    struct Whole {
        #[serde(default)]
        choices: Vec<Choice>,
    }
    #[derive(Deserialize)]
    struct Choice {
        #[serde(default)]
        message: Value,
        #[serde(default)]
        text: Value,
    }
    fn written(value: &Value) -> u64 {
        match value {
            Value::String(text) => text.len() as u64,
            Value::Array(items) => items.iter().map(written).sum(),
            Value::Object(members) => {
                let named = |name: &str| matches!(name, "role" | "id" | "type");
                members.iter().filter(|(name, _)| !named(name)).map(|(_, value)| written(value)).sum()
            }
            _ => 0,
        }
    }
    let choices = serde_json::from_slice(answer).map_or(Vec::new(), |Whole { choices }| choices);
    choices.iter().map(|choice| written(&choice.message) + written(&choice.text)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(input: u64, output: u64) -> Report {
        Report { prompt_tokens: input, completion_tokens: output, ..Report::default() }
    }

    #[test]
    fn f05_what_engines_claim() {
        let check = |seen: u64, reports: &[(u64, u64)], finished: bool, expect: (u64, u64, UsageSource)| {
            let mut meter = Meter::new(100, 50);
            meter.saw_output(seen);
            for &(input, output) in reports {
                meter.report(report(input, output));
            }
            let (usage, source) = meter.settle(finished);
            assert_eq!((usage.input, usage.output, source), expect, "{seen} {reports:?}");
        };
        check(3, &[(10, 1), (10, 2), (10, 3)], true, (10, 3, UsageSource::Engine));
        check(3, &[(10, 1), (10, 2), (10, 3)], false, (10, 3, UsageSource::EngineRunning));
        check(1, &[(10, 30)], true, (10, 30, UsageSource::Engine)); // many tokens in one event
        check(3, &[], true, (0, 3, UsageSource::Estimated)); // none
        check(0, &[], false, (0, 0, UsageSource::None));
        check(3, &[(0, 0)], true, (0, 3, UsageSource::Estimated)); // zero for an answer that was seen
        check(3, &[(10, 3), (10, 2)], true, (10, 3, UsageSource::Estimated)); // shrinks
        check(3, &[(10, 51)], true, (10, 3, UsageSource::Estimated)); // more than allowed
        check(3, &[(19_503, 3)], true, (100, 3, UsageSource::Estimated)); // longer than its bytes
        check(1, &[(19_503, 30)], true, (100, 30, UsageSource::Estimated)); // and the answer is believed all the same
        check(3, &[(10, 3), (9, 4)], true, (9, 4, UsageSource::Estimated)); // a prompt that shrinks
        check(2, &[(10, 8), (10, 16), (10, 900)], true, (10, 16, UsageSource::Estimated)); // believable until it was not
        check(2, &[(10, 8), (10, 16), (10, 15)], true, (10, 15, UsageSource::Estimated)); // 15 is what both agree on
        check(60, &[], true, (0, 50, UsageSource::Estimated)); // never beyond what was reserved
        check(0, &[(10, 0)], true, (10, 0, UsageSource::Engine)); // an empty answer, or an embedding
    }

    #[test]
    fn a_whole_answer_without_a_count_is_estimated_by_its_text() {
        let settle = |bytes: u64, reports: &[(u64, u64)]| {
            let mut meter = Meter::new(100, 1_000);
            meter.saw_output(1);
            reports.iter().for_each(|&(input, output)| meter.report(report(input, output)));
            assert!(meter.doubts_output(), "{reports:?}");
            meter.saw_text(bytes);
            let (usage, source) = meter.settle(true);
            assert_eq!(source, UsageSource::Estimated);
            (usage.input, usage.output)
        };
        assert_eq!(settle(2_000, &[]), (0, 400));
        assert_eq!(settle(2_000, &[(10, 0)]), (10, 400));
        assert_eq!(settle(2_000, &[(10, 40_000)]), (10, 400));
        assert_eq!(settle(2_000_000, &[(10, 40_000)]), (10, 1_000));
        assert_eq!(settle(3, &[(10, 40_000)]), (10, 1));
    }

    #[test]
    fn a_prompt_that_nobody_counted_is_estimated_by_its_text_and_never_beyond_its_bound() {
        let settle = |prompt: &str, seen: u64, reports: &[(u64, u64)]| {
            let mut meter = Meter::new(100, 50);
            meter.estimate_input(prompt.as_bytes());
            meter.saw_output(seen);
            reports.iter().for_each(|&(input, output)| meter.report(report(input, output)));
            let (usage, source) = meter.settle(false);
            (usage.input, source)
        };
        let text = r#"[{"role":"user","content":"Wer unterschreibt?"}]"#;
        assert_eq!(settle(text, 2, &[]), (text.len() as u64 / 5, UsageSource::Estimated));
        assert_eq!(settle(text, 2, &[(7, 2)]), (7, UsageSource::EngineRunning), "a count is a count");
        assert_eq!(settle(text, 0, &[]), (0, UsageSource::None), "nothing was answered");
        assert_eq!(settle(&"x".repeat(5_000), 2, &[]), (100, UsageSource::Estimated));
        assert_eq!(
            prompt_estimate("Grüße".repeat(100).as_bytes()),
            prompt_estimate(r"Gr\u00fc\u00dfe".repeat(100).as_bytes())
        );
        assert_eq!(prompt_estimate(br#"[{"content":[{"type":"image_url","image_url":{"url":"data:AAAA"}}]}]"#), 0);
    }

    #[test]
    fn text_is_what_the_model_wrote() {
        let check = |answer: &str, expect: u64| assert_eq!(text_bytes(answer.as_bytes()), expect, "{answer}");
        check(r#"{"id":"xxxx","choices":[{"message":{"role":"assistant","content":"12345"}}]}"#, 5);
        check(r#"{"choices":[{"text":"12"},{"text":"345"}]}"#, 5);
        check(
            r#"{"choices":[{"message":{"content":null,"reasoning_content":"123"},"logprobs":{"content":["x"]}}]}"#,
            3,
        );
        let call = r#"{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}"#;
        check(&format!(r#"{{"choices":[{{"message":{{"tool_calls":[{call}]}}}}]}}"#), 8);
        check(r#"{"data":[{"embedding":"AAAA"}]}"#, 0);
        check("garbage", 0);
    }
}
