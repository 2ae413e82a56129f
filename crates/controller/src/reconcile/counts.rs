//! The fleet in figures, for whoever watches: it decides nothing here. As of the reconciler's last turn.

use fleet::machine::{Health, Lifecycle, Machine, Scheduling};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Clones show the same fleet.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    lifecycles: BTreeMap<&'static str, i64>,
    healths: BTreeMap<&'static str, i64>,
    schedulings: BTreeMap<&'static str, i64>,
    held: i64,
    waiting_drains: i64,
    orders_open: i64,
    steps: u64,
}

impl Counts {
    /// Counts the fleet anew.
    pub(super) fn machines<'a>(&self, fleet: impl Iterator<Item = &'a Machine>, steps: u32) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (orders_open, before) = (inner.orders_open, inner.steps);
        *inner = Inner { orders_open, steps: before + u64::from(steps), ..Inner::default() };
        for machine in fleet {
            *inner.lifecycles.entry(machine.lifecycle.as_str()).or_default() += 1;
            *inner.healths.entry(machine.health.as_str()).or_default() += 1;
            *inner.schedulings.entry(machine.scheduling.as_str()).or_default() += 1;
            inner.held += i64::from(machine.hold.is_some());
            let waits = machine.lifecycle == Lifecycle::Accepted && machine.repair.is_some();
            inner.waiting_drains += i64::from(waits);
        }
    }

    pub(super) fn orders(&self, open: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).orders_open = open as i64;
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut family =
            |name: &str, help: &str, label: &str, words: &[&'static str], of: &BTreeMap<&'static str, i64>| {
                let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                for word in words {
                    let gauge = ConstGauge::new(of.get(word).copied().unwrap_or(0));
                    gauge.encode(metric.encode_family(&[(label, *word)])?)?;
                }
                Ok(())
            };
        let words: Vec<_> = Lifecycle::ALL.iter().map(|one| one.as_str()).collect();
        family("hoheit_machines", "Machines by state", "lifecycle", &words, &inner.lifecycles)?;
        let words: Vec<_> = Health::ALL.iter().map(|one| one.as_str()).collect();
        family("hoheit_machines_health", "Machines by health", "health", &words, &inner.healths)?;
        let words: Vec<_> = Scheduling::ALL.iter().map(|one| one.as_str()).collect();
        family("hoheit_machines_scheduling", "Machines by scheduling", "scheduling", &words, &inner.schedulings)?;
        let mut gauge = |name: &str, help: &str, value: i64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("hoheit_machines_held", "Machines that wait for a person", inner.held)?;
        gauge("hoheit_drains_waiting", "Machines that wait for the permit to drain", inner.waiting_drains)?;
        gauge("hoheit_orders_open", "Open orders", inner.orders_open)?;
        let help = "Steps of machines that were stored";
        let steps = ConstCounter::new(inner.steps);
        steps.encode(encoder.encode_descriptor("hoheit_machine_steps", help, None, MetricType::Counter)?)
    }
}
