//! SAP AI Core's paths: the token endpoint, `/v2/lm`, `/v2/admin/resourceGroups`, `/v2/inference`. The words are `dialects::sap`'s;
//! here is what they are said over.
//!
//! A key's project is its group `default`; further resource groups are parts of that project, with configurations and deployments
//! of their own and nothing else: keys, budget, policy and receipts stay the project's. A fresh project has a running deployment
//! of orchestration and one of each model that its key may ask, in every group, without anything being stored (`deployed`).
//!
//! If we crash here: what a client made is stored or it is not, in one statement of the store; a request in flight is the gateway's.

mod call;
mod chat;
mod completion;
mod deployed;
mod deployments;
mod embeddings;
mod form;
mod groups;
mod lm;
mod refused;
mod retrieve;
mod token;

use crate::Partners;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{MethodRouter, any, get, post};
use call::{Call, serve};
use refused::{Refused, Shape};
use std::future::Future;

/// One route's answer to one call.
type Answer = Result<Response, Refused>;

macro_rules! on {
    ($method:ident, $shape:expr, $run:path) => {
        $method(move |State(partners): State<Partners>, request: Request| serve($shape, partners, request, $run))
    };
}

pub(crate) fn routes() -> Router<Partners> {
    let api = Shape::Api;
    let orchestration = Shape::Orchestration;
    Router::new()
        .route("/oauth/token", post(token::issue))
        .route("/v2/lm/meta", only(on!(get, api, lm::meta)))
        .route("/v2/lm/scenarios", only(on!(get, api, lm::scenarios)))
        .route("/v2/lm/scenarios/{scenario}", only(on!(get, api, lm::scenario)))
        .route("/v2/lm/scenarios/{scenario}/versions", only(on!(get, api, lm::versions)))
        .route("/v2/lm/scenarios/{scenario}/executables", only(on!(get, api, lm::executables)))
        .route("/v2/lm/scenarios/{scenario}/executables/{executable}", only(on!(get, api, lm::executable)))
        .route("/v2/lm/scenarios/{scenario}/models", only(on!(get, api, lm::models)))
        .route(
            "/v2/lm/configurations",
            only(on!(get, api, lm::configurations).merge(on!(post, api, lm::configuration_create))),
        )
        .route("/v2/lm/configurations/{configuration}", only(on!(get, api, lm::configuration)))
        .route("/v2/lm/deployments", only(on!(get, api, deployments::list).merge(on!(post, api, deployments::create))))
        .route("/v2/lm/deployments/{deployment}", only(deployment()))
        .route("/v2/admin/resourceGroups", only(on!(get, api, groups::list).merge(on!(post, api, groups::create))))
        .route("/v2/admin/resourceGroups/{group}", only(group()))
        .route("/v2/inference/deployments/{id}/chat/completions", only(on!(post, api, chat::chat)))
        .route("/v2/inference/deployments/{id}/embeddings", only(on!(post, api, chat::embeddings)))
        .route(
            "/v2/inference/deployments/{id}/v2/completion",
            only_orchestration(on!(post, orchestration, completion::run)),
        )
        .route(
            "/v2/inference/deployments/{id}/v2/embeddings",
            only_orchestration(on!(post, orchestration, embeddings::run)),
        )
        .route("/v2/lm/{*rest}", on!(any, api, unknown))
        .route("/v2/admin/{*rest}", on!(any, api, unknown))
        .route("/v2/inference/{*rest}", on!(any, api, unknown))
}

fn deployment() -> MethodRouter<Partners> {
    use axum::routing::{delete, patch};
    on!(get, Shape::Api, deployments::one).merge(on!(patch, Shape::Api, deployments::modify)).merge(on!(
        delete,
        Shape::Api,
        deployments::delete
    ))
}

fn group() -> MethodRouter<Partners> {
    use axum::routing::{delete, patch};
    on!(get, Shape::Api, groups::one).merge(on!(patch, Shape::Api, groups::label)).merge(on!(
        delete,
        Shape::Api,
        groups::delete
    ))
}

/// Other methods are told so in the shape of the path.
fn only(methods: MethodRouter<Partners>) -> MethodRouter<Partners> {
    methods.fallback(|State(partners): State<Partners>, request: Request| {
        serve(Shape::Api, partners, request, wrong_method)
    })
}

fn only_orchestration(methods: MethodRouter<Partners>) -> MethodRouter<Partners> {
    methods.fallback(|State(partners): State<Partners>, request: Request| {
        serve(Shape::Orchestration, partners, request, wrong_method)
    })
}

fn wrong_method(_: Call) -> impl Future<Output = Answer> + Send {
    std::future::ready(Err(Refused::new(405, "method_not_allowed", "this path has no such method")))
}

fn unknown(_: Call) -> impl Future<Output = Answer> + Send {
    std::future::ready(Err(Refused::new(404, "not_found", "there is no such path here")))
}
