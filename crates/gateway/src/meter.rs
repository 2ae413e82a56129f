//! How many tokens a request used, from what an engine says, cross-checked against what was seen.
//!
//! Engines are believed only as far as they are consistent: running counts grow, the last is the final one, none goes
//! beyond what the request allowed, and an answer that was seen was not made of zero tokens. Where a count cannot be
//! believed the receipt says `estimated` and bills only what was seen to be produced. Events are never taken for tokens
//! otherwise: speculative decoding packs many tokens into one event.

use serde::Deserialize;
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

/// The running state of one request's count.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    input_max: u64,
    output_max: u64,
    /// The last report, if any.
    last: Option<Usage>,
    /// The engine contradicted itself or the request.
    implausible: bool,
    /// Events (or choices of a whole answer) that carried something of an answer.
    seen: u64,
}

impl Meter {
    /// With the bounds that were reserved.
    pub fn new(input_max: u64, output_max: u64) -> Self {
        Meter { input_max, output_max, ..Meter::default() }
    }

    /// Something of the answer passed by.
    pub fn saw_output(&mut self, pieces: u64) {
        self.seen = self.seen.saturating_add(pieces);
    }

    /// The engine reported.
    pub fn report(&mut self, report: Report) {
        let usage = Usage::from(report);
        if let Some(last) = self.last {
            self.implausible |= usage.output < last.output || usage.input < last.input;
        }
        self.implausible |= usage.output > self.output_max || usage.input > self.input_max;
        self.last = Some(usage);
    }

    /// The last running count, for watermarks.
    pub fn running(&self) -> Option<Usage> {
        self.last.filter(|_| !self.implausible)
    }

    /// The count to settle. `finished` says that the engine ended its answer itself.
    pub fn settle(&self, finished: bool) -> (Usage, UsageSource) {
        match self.last {
            None if self.seen == 0 => (Usage::default(), UsageSource::None),
            None => (self.estimate(Usage::default()), UsageSource::Estimated),
            Some(last) if self.implausible || (self.seen > 0 && last.output == 0) => {
                (self.estimate(last), UsageSource::Estimated)
            }
            Some(last) if finished => (last, UsageSource::Engine),
            Some(last) => (last, UsageSource::EngineRunning),
        }
    }

    fn estimate(&self, claimed: Usage) -> Usage {
        let input = claimed.input.min(self.input_max);
        Usage { input, cached: claimed.cached.min(input), output: self.seen.min(self.output_max), reasoning: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(input: u64, output: u64) -> Report {
        Report { prompt_tokens: input, completion_tokens: output, ..Report::default() }
    }

    #[test]
    fn what_engines_claim() {
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
        check(0, &[(10, 0)], true, (10, 0, UsageSource::Engine)); // an empty answer, or an embedding
    }
}
