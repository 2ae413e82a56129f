//! The routes: one file per noun, each with its documents, its checks and its handlers.
//!
//! Every handler has the same four steps: `Allowed<Action>`, validate, write with the audit entry, publish and answer.
//! The OpenAPI description is made from the same definitions; `tests/it` diffs it against the coverage table.

mod audit;
mod budgets;
mod endpoints;
mod engines;
mod explain;
mod keys;
mod owners;
mod prices;
mod projects;
mod public;
mod receipts;
mod rules;
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
        description = "Tenants, projects, keys, engines, policy, prices, budgets, receipts and audit of one site. \
            Money is in whole micro-euro, times in milliseconds since 1970-01-01T00:00:00Z. \
            Errors are problem+json (RFC 9457) with a stable `code`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    security(("token" = [])),
    components(schemas(crate::ProblemBody)),
    modifiers(&Bearer)
)]
struct Description;

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
    let (_, description) = described().split_for_parts();
    let mut text = description.to_pretty_json().expect("a description made of strings serialises");
    text.push('\n');
    text
}

/// All routes, bound to their controller.
pub(crate) fn router(controller: Controller) -> axum::Router {
    let (router, _) = described().split_for_parts();
    router
        .fallback(|| async { Problem::new(Code::NotFound, "There is no such path. See /api/openapi.json.") })
        .method_not_allowed_fallback(|| async {
            Problem::new(Code::MethodNotAllowed, "The path exists, this method does not. See /api/openapi.json.")
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(controller)
}
