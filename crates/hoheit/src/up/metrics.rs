//! The text of `/metrics`: what the gateway counts, what it is, how far the sealer is, and what the machines are. `docs/metrics.md` explains
//! every name.

use controller::reconcile::Counts;
use controller::seal::Progress;
use gateway::{Gateway, Gauges};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// Reads everything anew at each call.
pub fn text(gateway: &Arc<Gateway>, progress: &Progress, fleet: &Counts) -> Arc<dyn Fn() -> String + Send + Sync> {
    let mut registry = Registry::default();
    gateway.metrics.register(&mut registry);
    registry.register_collector(Box::new(Gauges::of(gateway)));
    registry.register_collector(Box::new(progress.clone()));
    registry.register_collector(Box::new(fleet.clone()));
    registry.register("hoheit_build", "This program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    Arc::new(move || {
        let mut text = String::new();
        // Writing into a string fails only where a metric does, and ours do not.
        encode(&mut text, &registry).map(|()| text).unwrap_or_default()
    })
}
