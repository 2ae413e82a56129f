//! Tokens and cost in the form that Sonar's clients read.
//!
//! Their cost is a number without a currency, which Perplexity means in US dollars. Ours is in **euro**, by the price book of the
//! site, to the micro-euro of the receipt: the answer's tokens as `input_tokens_cost` and `output_tokens_cost`, the embedding of the
//! question as `search_queries_cost`. There is no price for a request or for citations: both are 0. These are numbers to show; what
//! is booked are the integers of the receipts.

use serde_json::{Value, json};
use types::snapshot::Price;
use types::{MicroEur, Usage};

/// Usage as an engine reports it, in OpenAI's form.
pub fn from_openai(usage: &Value) -> Option<Usage> {
    let count = |value: &Value, name: &str| value.get(name).and_then(Value::as_u64);
    let detail = |of: &str, name: &str| usage.get(of).and_then(|details| count(details, name)).unwrap_or(0);
    let (input, output) = (count(usage, "prompt_tokens")?, count(usage, "completion_tokens").unwrap_or(0));
    Some(Usage {
        input,
        cached: detail("prompt_tokens_details", "cached_tokens").min(input),
        output,
        reasoning: detail("completion_tokens_details", "reasoning_tokens").min(output),
    })
}

/// What a search cost and how wide it was.
#[derive(Debug, Clone, Default)]
pub struct Searched {
    /// Questions that were put to a search: 0 or 1.
    pub queries: u32,
    /// `low`, `medium`, `high`; none where nothing was searched.
    pub context_size: Option<&'static str>,
    /// What the embedding of the question cost.
    pub cost: MicroEur,
    /// Tokens of the passages are not counted apart from the prompt: about four bytes each, to show.
    pub citation_tokens: u64,
}

/// The `usage` of an answer that is over.
pub fn whole(usage: Usage, price: Option<&Price>, searched: &Searched) -> Value {
    let rate = |usage: &Usage| price.map_or(MicroEur::ZERO, |price| metering::rate(price, usage));
    let answer = rate(&usage);
    let input = rate(&Usage { output: 0, ..usage });
    let mut shown = json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
        "citation_tokens": searched.citation_tokens,
        "num_search_queries": searched.queries,
        "reasoning_tokens": usage.reasoning,
        "cost": {
            "input_tokens_cost": euro(input),
            "output_tokens_cost": euro(answer.saturating_sub(input)),
            "request_cost": 0.0,
            "search_queries_cost": euro(searched.cost),
            "total_cost": euro(answer.saturating_add(searched.cost)),
        },
    });
    if let Some(size) = searched.context_size {
        shown["search_context_size"] = json!(size);
    }
    shown
}

/// The `usage` of an event before the last: nothing is known yet, and clients want the members.
pub fn unknown_yet() -> Value {
    json!({
        "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0,
        "cost": {"input_tokens_cost": 0.0, "output_tokens_cost": 0.0, "total_cost": 0.0},
    })
}

/// Six decimals are below what a double loses up to a billion euro.
fn euro(amount: MicroEur) -> f64 {
    amount.0 as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_what_the_receipts_say_in_euro() {
        let price = Price {
            model: "m".to_owned(),
            input: MicroEur(500_000),
            cached_input: MicroEur(100_000),
            output: MicroEur(1_500_000),
        };
        let reported = json!({"prompt_tokens": 1_001, "completion_tokens": 101, "total_tokens": 1_102,
            "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 7}});
        let usage = from_openai(&reported).unwrap();
        assert_eq!(usage, Usage { input: 1_001, cached: 1, output: 101, reasoning: 7 });
        let searched = Searched { queries: 1, context_size: Some("low"), cost: MicroEur(3), citation_tokens: 9 };
        let shown = whole(usage, Some(&price), &searched);
        assert_eq!(metering::rate(&price, &usage), MicroEur(652));
        let cost = &shown["cost"];
        assert_eq!(cost["input_tokens_cost"], 0.000501);
        assert_eq!(cost["output_tokens_cost"], 0.000151);
        assert_eq!(cost["total_cost"], 0.000655);
        assert_eq!(cost["search_queries_cost"], 0.000003);
        assert_eq!(shown["total_tokens"], 1_102);
        assert_eq!((shown["reasoning_tokens"].clone(), shown["search_context_size"].clone()), (json!(7), json!("low")));
        assert!(whole(usage, None, &Searched::default()).get("search_context_size").is_none());
        assert_eq!(from_openai(&json!({})), None);
    }
}
