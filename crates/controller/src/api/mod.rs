//! The routes: one file per noun, each with its documents, its checks and its handlers.
//!
//! Every handler has the same four steps: `Allowed<Action>`, validate, write with the audit entry, publish and answer.
//! The OpenAPI description is made from the same definitions; `tests/it` diffs it against the coverage table.

mod audit;
mod brokers;
mod budgets;
mod endpoints;
mod engines;
mod explain;
mod keys;
mod machines;
mod operations;
mod orders;
mod owners;
mod partners;
mod prices;
mod projects;
mod public;
mod receipts;
mod rules;
mod site;
mod status;
mod tenants;
mod tokens;

use crate::input::BODY_BYTES_MAX;
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::DefaultBodyLimit;
use http::StatusCode;
use serde::Serialize;
use types::Code;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// A list, wrapped so that a field can be added later.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T: ToSchema> {
    pub data: Vec<T>,
}

impl<T: ToSchema> List<T> {
    fn of<S>(rows: impl IntoIterator<Item = S>, row: impl Fn(S) -> T) -> Json<Self> {
        Json(Self { data: rows.into_iter().map(row).collect() })
    }
}

type Created<T> = Result<(StatusCode, Json<T>), Problem>;
type Answer<T> = Result<Json<T>, Problem>;

fn created<T>(body: T) -> Created<T> {
    Ok((StatusCode::CREATED, Json(body)))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hoheit control API",
        description = "Tenants, projects, keys, engines, policy, prices, budgets, receipts and audit of one site; its machines, \
            orders and tasks. \
            Money is in whole micro-euro, times in milliseconds since 1970-01-01T00:00:00Z. \
            Errors are problem+json (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    security(("token" = [])),
    components(schemas(crate::ProblemBody)),
    modifiers(&Bearer)
)]
struct Description;

/// As axum writes it.
const LOG_PATH: &str = "/log/{*path}";

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The operator's admin token, or a control token `ht_<id>_<secret>`."))
            .build();
        openapi.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

fn described() -> OpenApiRouter<Controller> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(tenants::list, tenants::create))
        .routes(routes!(tenants::get, tenants::update))
        .routes(routes!(projects::list, projects::create))
        .routes(routes!(projects::get, projects::update))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::get, keys::update))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(engines::list, engines::create))
        .routes(routes!(engines::get, engines::update, engines::remove))
        .routes(routes!(endpoints::list))
        .routes(routes!(endpoints::get, endpoints::update))
        .routes(routes!(endpoints::models))
        .routes(routes!(rules::list, rules::create))
        .routes(routes!(rules::remove))
        .routes(routes!(explain::explain))
        .routes(routes!(prices::get, prices::put))
        .routes(routes!(budgets::list))
        .routes(routes!(receipts::list))
        .routes(routes!(receipts::get))
        .routes(routes!(audit::list))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(partners::list, partners::create))
        .routes(routes!(partners::publish))
        .routes(routes!(partners::report))
        .routes(routes!(site::get, site::apply))
        .routes(routes!(machines::list))
        .routes(routes!(machines::get, machines::update))
        .routes(routes!(machines::agent_token))
        .routes(routes!(machines::bmcs))
        .routes(routes!(machines::events))
        .routes(routes!(orders::list))
        .routes(routes!(orders::get, orders::update))
        .routes(routes!(orders::tasks))
        .routes(routes!(orders::work))
        .routes(routes!(brokers::list, brokers::create))
        .routes(routes!(brokers::get, brokers::update, brokers::remove))
        .routes(routes!(brokers::rotate))
        .routes(routes!(brokers::instances))
        .routes(routes!(operations::list))
        .routes(routes!(operations::decide))
        .routes(routes!(status::status))
        .routes(routes!(public::description))
        .routes(routes!(public::healthz))
        .routes(routes!(public::readyz))
        .routes(routes!(public::metrics))
        .routes(routes!(public::jwks))
        .routes(routes!(public::vkey))
        .routes(routes!(public::log))
}

/// The OpenAPI description, pretty-printed: the text of `openapi.json`.
pub fn openapi() -> String {
    let (_, mut description) = described().split_for_parts();
    complete(&mut description);
    let mut text = description.to_pretty_json().expect("a description made of strings serialises");
    text.push('\n');
    text
}

/// What holds for every operation and is said once: any of ours can be refused, by credential, role or input. And what
/// OpenAPI asks for and axum does not: words for every answer, and its own way to write a path of several segments.
fn complete(description: &mut utoipa::openapi::OpenApi) {
    let paths = &mut description.paths.paths;
    if let Some(log) = paths.remove(LOG_PATH) {
        paths.insert(LOG_PATH.replace('*', ""), log);
    }
    let problem = Content::builder().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
    let refused: RefOr<Response> = ResponseBuilder::new().content("application/problem+json", problem).build().into();
    for (path, item) in paths.iter_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            if path.starts_with("/api/v1/") {
                responses.entry("4XX".to_owned()).or_insert_with(|| refused.clone());
            }
            for (status, response) in responses {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description = words(status).to_owned();
                }
            }
        }
    }
}

fn words(status: &str) -> &'static str {
    match status {
        "200" => "What was asked for.",
        "201" => "Made.",
        "204" => "Done.",
        "404" => "There is none, or not for this caller.",
        "503" => "Not now, and why.",
        _ => "Refused, and why.",
    }
}

/// All routes, bound to their controller.
pub(crate) fn router(controller: Controller) -> axum::Router {
    let (router, _) = described().split_for_parts();
    router
        .nest("/osb", crate::osb::routes())
        .fallback(|| async { Problem::new(Code::NotFound, "There is no such path. See /api/openapi.json.") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "The path exists, this method does not. See /api/openapi.json.")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(controller)
}
