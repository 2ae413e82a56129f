//! What the gateway counts: few names, every one of them in `docs/metrics.md`, and a test that compares the two.
//!
//! Labels are closed sets; no tenant, no model, no content, for the page is open to whoever reaches the port. A request
//! touches plain atomics that were resolved at the start: no lock, no look-up, no allocation. What is a state and not an
//! event (budgets, breakers, lags) is not counted at all but read when somebody asks ([`crate::gauges`]).

use crate::times::Times;
use policy::rule::{NO_PERMIT, RESIDENCY, RULE_ERROR};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use types::{Code, Outcome, ReceiptClaims, Snapshot, Usage};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrefixLabel {
    prefix: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

/// Stands for every rule of a tenant's own: their names are the tenant's, and there may be any number of them.
const RULES_OF_TENANTS: &str = "(tenant)";

/// Statuses of engines that turn this gateway away.
const MISFITS: [&str; 5] = ["3xx", "401", "403", "404", "other"];

/// A family whose every label is there from the start, in the order of `labels`.
fn resolve<L, const N: usize>(labels: [L; N]) -> (Family<L, Counter>, [Counter; N])
where
    L: Clone + std::hash::Hash + Eq,
{
    let family = Family::<L, Counter>::default();
    let counters = labels.map(|label| family.get_or_create_owned(&label));
    (family, counters)
}

#[derive(Debug, Clone)]
pub struct Metrics {
    receipts: (Family<OutcomeLabel, Counter>, [Counter; Outcome::ALL.len()]),
    errors: (Family<CodeLabel, Counter>, [Counter; Code::ALL.len()]),
    /// The shipped rules, the operator's by name, and one for all of the tenants'.
    refusals: Family<RuleLabel, Counter>,
    tokens: (Family<KindLabel, Counter>, [Counter; 3]),
    routed_tokens: (Family<PrefixLabel, Counter>, [Counter; 2]),
    pub engine_attempts: Counter,
    attempts_wasted: Counter,
    tokens_wasted: (Family<KindLabel, Counter>, [Counter; 2]),
    engine_misfits: (Family<StatusLabel, Counter>, [Counter; MISFITS.len()]),
    pub usage_implausible: Counter,
    pub shipped: Counter,
    pub(crate) wall_jumps: Counter,
    pub(crate) spans_dropped: Counter,
    request: Times,
    /// Requests that found no slot free, from then to a slot or to their end without one.
    pub(crate) queue: Times,
    pub(crate) first_token: Times,
    pub(crate) token: Times,
}

impl Default for Metrics {
    fn default() -> Self {
        let refusals = Family::<RuleLabel, Counter>::default();
        let shipped = policy::base::BASE.iter().map(|rule| rule.name);
        for rule in shipped.chain([RESIDENCY, NO_PERMIT, RULE_ERROR, RULES_OF_TENANTS]) {
            drop(refusals.get_or_create(&RuleLabel { rule: rule.to_owned() }));
        }
        Metrics {
            receipts: resolve(Outcome::ALL.map(|outcome| OutcomeLabel { outcome: outcome.as_str() })),
            errors: resolve(std::array::from_fn(|place| CodeLabel { code: Code::ALL[place].as_str() })),
            refusals,
            tokens: resolve(["input", "cached_input", "output"].map(|kind| KindLabel { kind })),
            routed_tokens: resolve(["held", "new"].map(|prefix| PrefixLabel { prefix })),
            engine_attempts: Counter::default(),
            attempts_wasted: Counter::default(),
            tokens_wasted: resolve(["input", "output"].map(|kind| KindLabel { kind })),
            engine_misfits: resolve(MISFITS.map(|status| StatusLabel { status })),
            usage_implausible: Counter::default(),
            shipped: Counter::default(),
            wall_jumps: Counter::default(),
            spans_dropped: Counter::default(),
            request: Times::default(),
            queue: Times::default(),
            first_token: Times::default(),
            token: Times::default(),
        }
    }
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("hoheit_receipts", "Receipts fixed, by outcome", self.receipts.0.clone());
        registry.register("hoheit_errors", "Errors answered, by code", self.errors.0.clone());
        registry.register("hoheit_refusals", "Refusals by policy, by each rule that decided", self.refusals.clone());
        registry.register("hoheit_tokens", "Tokens settled; cached_input is a part of input", self.tokens.0.clone());
        registry.register(
            "hoheit_routed_tokens",
            "Prompt tokens sent to engines (four bytes each), by whether the replica is thought to hold them",
            self.routed_tokens.0.clone(),
        );
        registry.register("hoheit_engine_attempts", "Requests sent to engines", self.engine_attempts.clone());
        registry.register(
            "hoheit_attempts_wasted",
            "Requests sent to engines that gave no answer",
            self.attempts_wasted.clone(),
        );
        registry.register(
            "hoheit_tokens_wasted",
            "Tokens that engines say they spent on attempts without an answer: the operator's cost",
            self.tokens_wasted.0.clone(),
        );
        registry.register(
            "hoheit_engine_misfits",
            "Answers of engines that turn this gateway away (credential, model name, path), by status",
            self.engine_misfits.0.clone(),
        );
        registry.register("hoheit_wall_clock_jumps", "Times that the wall clock was set", self.wall_jumps.clone());
        registry.register(
            "hoheit_usage_implausible",
            "Answers whose token count could not be believed",
            self.usage_implausible.clone(),
        );
        registry.register("hoheit_receipts_shipped", "Receipts shipped to the store", self.shipped.clone());
        registry.register(
            "hoheit_spans_dropped",
            "Spans that no collector got: the queue was full, or it was away",
            self.spans_dropped.clone(),
        );
        registry.register("hoheit_request_seconds", "From receiving a request to its receipt", self.request.clone());
        registry.register(
            "hoheit_queue_seconds",
            "Requests that found every replica full: until they were let go, left or were turned away",
            self.queue.clone(),
        );
        registry.register(
            "hoheit_first_token_seconds",
            "Streams: from receiving a request to the first event that carries output",
            self.first_token.clone(),
        );
        registry.register("hoheit_token_seconds", "Streams: between two events of an answer", self.token.clone());
    }

    /// A receipt was fixed.
    pub fn receipt(&self, claims: &ReceiptClaims) {
        self.receipts.1[claims.outcome as usize].inc();
        let usage = &claims.usage;
        let [input, cached_input, output] = &self.tokens.1;
        input.inc_by(usage.input);
        cached_input.inc_by(usage.cached);
        output.inc_by(usage.output);
        // An unresolved one ended with a process that is gone.
        if claims.outcome != Outcome::Unresolved {
            self.request.observe_millis(claims.ended_at.0.saturating_sub(claims.received_at.0));
        }
    }

    /// A prompt was sent to a replica that is thought to hold so much of it.
    pub fn routed(&self, held: u64, all: u64) {
        let [counted_held, counted_new] = &self.routed_tokens.1;
        counted_held.inc_by(held);
        counted_new.inc_by(all.saturating_sub(held));
    }

    /// An attempt gave no answer. `spent` is what its engine said of it, if anything.
    pub(crate) fn attempt_wasted(&self, spent: Option<Usage>) {
        self.attempts_wasted.inc();
        if let Some(spent) = spent {
            let [input, output] = &self.tokens_wasted.1;
            input.inc_by(spent.input);
            output.inc_by(spent.output);
        }
    }

    /// An error was answered.
    pub fn refusal(&self, code: Code) {
        self.errors.1[code as usize].inc();
    }

    /// Policy refused, and these rules decided.
    pub fn refused_by(&self, rules: &[String]) {
        for rule in rules {
            let named = self.refusals.get(&RuleLabel { rule: rule.clone() });
            match named {
                Some(counter) => drop(counter.inc()),
                None => drop(self.refusals.get_or_create(&RuleLabel { rule: RULES_OF_TENANTS.to_owned() }).inc()),
            }
        }
    }

    /// The operator's rules are counted by name: 100 at most, and as many again as the operator renames.
    pub fn name_rules(&self, snapshot: &Snapshot) {
        for rule in snapshot.rules.iter().filter(|rule| rule.tenant.is_none()) {
            drop(self.refusals.get_or_create(&RuleLabel { rule: rule.name.clone() }));
        }
    }

    /// Spans that no collector got.
    pub fn dropped_spans(&self, count: u64) {
        self.spans_dropped.inc_by(count);
    }

    pub fn engine_misfit(&self, status: u16) {
        let place = match status {
            300..=399 => 0,
            401 => 1,
            403 => 2,
            404 => 3,
            _ => 4,
        };
        self.engine_misfits.1[place].inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrays are indexed by the enums: their order is the tables'.
    #[test]
    fn enums_are_in_the_order_of_their_tables() {
        Code::ALL.iter().enumerate().for_each(|(place, code)| assert_eq!(*code as usize, place, "{code}"));
        Outcome::ALL.iter().enumerate().for_each(|(place, outcome)| assert_eq!(*outcome as usize, place));
    }

    #[test]
    fn names_that_tenants_choose_make_no_labels() {
        let metrics = Metrics::default();
        metrics.refused_by(&["residency".to_owned(), "mine".to_owned(), "mine too".to_owned()]);
        let count = |rule: &str| metrics.refusals.get(&RuleLabel { rule: rule.to_owned() }).map(|count| count.get());
        assert_eq!((count(RESIDENCY), count(RULES_OF_TENANTS), count(NO_PERMIT)), (Some(1), Some(2), Some(0)));
        assert_eq!(count("mine"), None);
    }
}
