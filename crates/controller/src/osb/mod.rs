//! The Open Service Broker under `/osb/v2`: platforms order instances and bindings, and get projects and keys.
//!
//! A shell: what a call means is decided in `broker`, from what is stored; here it is authenticated, read, written together
//! with its audit entry, published, and answered. Its description is the specification's own file, so it is not in ours.
//!
//! Instances are stored with the tenant and project that they need, in one transaction. If we crash before it, nothing is
//! there and the platform's repeat makes it; if we crash after it and before the answer, the repeat finds it, publishes what
//! was not published, and answers. A deletion takes two: after the first no key works and the instance is `ending`, between
//! them what the project stored is destroyed, the second leaves a tombstone; a repeat goes on where the first one stopped.

mod bindings;
mod door;
mod instances;
mod reply;
mod steps;

pub(crate) use door::registration;
pub(crate) use steps::{By, OrderDecision, decide_order, instance_of};

use crate::Controller;
use axum::middleware;
use axum::routing::get;
use broker::Refusal;
use http::HeaderName;
use reply::Failure;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use types::ProjectId;

/// Destroys what a project stored. Called after its keys are revoked, until it succeeds once; then never for this instance.
pub trait OnDeprovision: Send + Sync {
    fn on_deprovision(&self, project: ProjectId) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>>;
}

/// For a process in which projects store nothing.
pub struct KeepsNothing;

impl OnDeprovision for KeepsNothing {
    fn on_deprovision(&self, _: ProjectId) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What the broker needs of the process around it.
#[derive(Clone)]
pub struct BrokerParts {
    /// Where clients reach this site, without a slash at the end; known once the port is open.
    pub public_url: Arc<dyn Fn() -> String + Send + Sync>,
    /// The header in which a trusted proxy shows the subject of a verified client certificate. None: certificates count for
    /// nothing, whatever a header says.
    pub certificate_header: Option<HeaderName>,
    pub on_deprovision: Arc<dyn OnDeprovision>,
}

/// Everything below `/osb`.
pub(crate) fn routes() -> axum::Router<Controller> {
    axum::Router::new()
        .route("/v2/catalog", get(instances::catalog))
        .route(
            "/v2/service_instances/{instance}",
            get(instances::fetch).put(instances::provision).patch(instances::update).delete(instances::deprovision),
        )
        .route("/v2/service_instances/{instance}/last_operation", get(instances::last_operation))
        .route(
            "/v2/service_instances/{instance}/service_bindings/{binding}",
            get(bindings::fetch).put(bindings::bind).delete(bindings::unbind),
        )
        .route(
            "/v2/service_instances/{instance}/service_bindings/{binding}/last_operation",
            get(bindings::last_operation),
        )
        .fallback(|| async { Failure::from(Refusal::new(404, "There is no such path below /osb/v2.")) })
        .method_not_allowed_fallback(|| async {
            Failure::from(Refusal::new(405, "The path exists, this method does not."))
        })
        .layer(middleware::from_fn(reply::echo))
}
