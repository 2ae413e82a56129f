//! Counters of the gateway. Labels are closed sets; no tenant, no model, no content.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use types::{Code, Outcome};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabel {
    status: &'static str,
}

#[derive(Debug, Clone, Default)]
pub struct Metrics {
    receipts: Family<OutcomeLabel, Counter>,
    refusals: Family<CodeLabel, Counter>,
    tokens_input: Counter,
    tokens_output: Counter,
    pub requests_open: Gauge,
    pub engine_attempts: Counter,
    engine_misfits: Family<StatusLabel, Counter>,
    pub usage_implausible: Counter,
    pub shipped: Counter,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("hoheit_receipts", "Receipts fixed, by outcome", self.receipts.clone());
        registry.register("hoheit_errors", "Errors answered, by code", self.refusals.clone());
        registry.register("hoheit_tokens_input", "Prompt tokens settled", self.tokens_input.clone());
        registry.register("hoheit_tokens_output", "Answer tokens settled", self.tokens_output.clone());
        registry.register("hoheit_requests_open", "Requests with an open receipt", self.requests_open.clone());
        registry.register("hoheit_engine_attempts", "Requests sent to engines", self.engine_attempts.clone());
        registry.register(
            "hoheit_engine_misfits",
            "Answers of engines that turn this gateway away (credential, model name, path), by status",
            self.engine_misfits.clone(),
        );
        registry.register(
            "hoheit_usage_implausible",
            "Answers whose token count could not be believed",
            self.usage_implausible.clone(),
        );
        registry.register("hoheit_receipts_shipped", "Receipts shipped to the store", self.shipped.clone());
    }

    pub fn receipt(&self, outcome: Outcome, usage: types::Usage) {
        self.receipts.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
        self.tokens_input.inc_by(usage.input);
        self.tokens_output.inc_by(usage.output);
    }

    pub fn refusal(&self, code: Code) {
        self.refusals.get_or_create(&CodeLabel { code: code.as_str() }).inc();
    }

    pub fn engine_misfit(&self, status: u16) {
        let status = match status {
            300..=399 => "3xx",
            401 => "401",
            403 => "403",
            404 => "404",
            _ => "other",
        };
        self.engine_misfits.get_or_create(&StatusLabel { status }).inc();
    }
}
