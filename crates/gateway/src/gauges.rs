//! What is a state and not an event, read when somebody asks for `/metrics`: it costs no request anything.
//!
//! Money is shown without names: the page is open, so it says how many tenants, projects and keys have how much of
//! their budget left, and `hoheit budget show` says which.

use crate::gateway::{Gateway, Readiness};
use crate::scope::Scope;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use routing::breaker::Position;
use routing::fair::Class;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::Month;

/// Reads a gateway.
pub struct Gauges(Arc<Gateway>);

impl Gauges {
    pub fn of(gateway: &Arc<Gateway>) -> Gauges {
        Gauges(gateway.clone())
    }
}

impl std::fmt::Debug for Gauges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gauges")
    }
}

const OWNERS: [&str; 3] = ["tenant", "project", "key"];

/// How much of a budget is left: at most nothing, a tenth, a half, all of it.
const LEFT: [&str; 4] = ["none", "tenth", "half", "more"];

/// Budgets by owner and by what is left of them.
type Budgets = [[i64; LEFT.len()]; OWNERS.len()];

fn place_of_left(scope: &Scope, month: Month) -> Option<usize> {
    let (limit, left) = scope.budget(month)?;
    Some(match (limit.0, left.0) {
        (_, ..=0) => 0,
        (limit, left) if left <= limit / 10 => 1,
        (limit, left) if left <= limit / 2 => 2,
        _ => 3,
    })
}

fn budgets(gateway: &Gateway) -> Budgets {
    let view = gateway.view.load();
    let month = gateway.clock.now().month();
    let mut budgets = Budgets::default();
    let mut seen = HashSet::new();
    for key in view.keys() {
        for (owner, scope) in [&key.scope_tenant, &key.scope_project, &key.scope_key].into_iter().enumerate() {
            if seen.insert(scope.id)
                && let Some(left) = place_of_left(scope, month)
            {
                budgets[owner][left] += 1;
            }
        }
    }
    budgets
}

/// Replicas by the position of their breakers (closed, open, half open), and the requests that they hold.
fn replicas(gateway: &Gateway) -> ([i64; 3], i64) {
    let view = gateway.view.load();
    let (mut positions, mut requests) = ([0; 3], 0);
    let entries = view.models().flat_map(|model| &model.endpoints);
    for replica in entries.flat_map(|entry| &entry.replicas) {
        positions[match replica.breaker().position() {
            Position::Closed => 0,
            Position::Open => 1,
            Position::HalfOpen => 2,
        }] += 1;
        requests += i64::from(replica.in_flight());
    }
    (positions, requests)
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, i64)>,
) -> std::fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> std::fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let gateway = &*self.0;
        let encoder = &mut encoder;
        let readiness = gateway.readiness();
        let states = [
            ("ready", Readiness::Ready),
            ("draining", Readiness::Draining),
            ("low_space", Readiness::LowSpace),
            ("forked", Readiness::Forked),
            ("expired", Readiness::Expired),
            ("stale", Readiness::Stale),
        ];
        let states = states.map(|(name, state)| ([("state", name)], i64::from(state == readiness)));
        gauges(encoder, "hoheit_readiness", "1 for the state that this process is in, 0 for the others", states)?;
        let open = gateway.open_requests() as u64;
        gauge(encoder, "hoheit_requests_open", "Requests with an open receipt", open)?;
        let (positions, requests) = replicas(gateway);
        let text = "Requests that engines hold, in their queues or at work";
        gauge(encoder, "hoheit_requests_at_engines", text, u64::try_from(requests).unwrap_or_default())?;
        let waiting = gateway.queues().waiting();
        let waiting = Class::ALL
            .map(|class| ([("class", class.as_str())], i64::try_from(waiting[class as usize]).unwrap_or(i64::MAX)));
        gauges(encoder, "hoheit_queue_waiting", "Requests that wait for a slot of a full replica, by class", waiting)?;
        let breakers = [("closed", 0), ("open", 1), ("half_open", 2)];
        let breakers = breakers.map(|(name, place)| ([("breaker", name)], positions[place]));
        gauges(encoder, "hoheit_replicas", "Replicas that are not cordoned, by the state of their breaker", breakers)?;
        let budgets = budgets(gateway);
        let budgets = OWNERS.iter().enumerate().flat_map(|(owner, name)| {
            let left = LEFT.iter().enumerate();
            left.map(move |(left, text)| ([("owner", *name), ("left", *text)], budgets[owner][left]))
        });
        let text = "Budgets of this month, by how much is left: nothing, up to a tenth, up to a half, more";
        gauges(encoder, "hoheit_budgets", text, budgets)?;
        let text = "Records that were appended to the journal and are not durable yet";
        gauge(encoder, "hoheit_journal_records_waiting", text, gateway.journal.waiting())?;
        let fixed = gateway.fixed.load(Ordering::Acquire);
        let waiting = fixed.saturating_sub(*gateway.shipped.borrow());
        gauge(encoder, "hoheit_receipts_unshipped", "Receipts that are not in the store yet", waiting)?;
        let left = gateway.standing.left(gateway.clock.monotonic_millis()) / 1_000;
        gauge(encoder, "hoheit_snapshot_expires_seconds", "For which the snapshot in force may still be served", left)?;
        gauge(encoder, "hoheit_snapshot_version", "Of the snapshot in force", gateway.snapshot_version())
    }
}
