//! What a replay says at its end.

use serde::Serialize;

/// Times of many requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

impl Times {
    /// Nearest rank, as the reference's tables have it.
    pub fn of(mut millis: Vec<f64>) -> Times {
        if millis.is_empty() {
            return Times::default();
        }
        millis.sort_by(f64::total_cmp);
        let rank = |percent: usize| millis[(millis.len() * percent).div_ceil(100).max(1) - 1];
        Times { mean: mean(&millis), p50: rank(50), p90: rank(90), p99: rank(99) }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation over mean: 0 is perfect balance.
pub fn variation(values: &[f64]) -> f64 {
    let mean = mean(values);
    if mean == 0.0 {
        return 0.0;
    }
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt() / mean
}

/// A replay's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub policy: &'static str,
    pub replicas: usize,
    pub gateways: usize,
    pub speedup: f64,
    pub requests: usize,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Tokens of prompts that were found in an engine's memory / all of them.
    pub hit: f64,
    /// What one memory of all replicas would have found.
    pub bound: f64,
    /// What the gateways thought was there / all tokens.
    pub expected: f64,
    pub ttft_millis: Times,
    pub completion_millis: Times,
    /// Between two tokens of an answer, the mean of each request's.
    pub inter_token_millis: Times,
    /// Variation of the milliseconds that replicas worked.
    pub load_variation: f64,
    /// Part of the time that replicas worked, on average.
    pub utilisation: f64,
    /// Replicas looked at in a choice, on average.
    pub looks: f64,
    pub simulated_seconds: f64,
}
