//! Receipts, handed out: the signature is made here (EdDSA is deterministic), the proof once the receipt is sealed.

use super::{Answer, List};
use crate::access::{Allowed, ReceiptRead};
use crate::input::{self, Id, Query};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use store::{ReceiptFilter, StoredReceipt};
use types::{ProjectId, ReceiptId, TenantId};
use utoipa::ToSchema;

/// A receipt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptBody {
    #[schema(value_type = String, example = "rcp_01kb4w2r3n8v5x0c9d7f6g4h2j")]
    pub id: ReceiptId,
    /// JWS compact, EdDSA, `typ: receipt+jwt`; verify it with the keys at /.well-known/jwks.json.
    pub jwt: String,
    /// c2sp.org/tlog-proof@v1, once the receipt is in the log; null until then.
    pub proof: Option<String>,
    /// The payload of the JWT, for reading.
    #[schema(value_type = Object)]
    pub claims: serde_json::Value,
}

/// Which receipts to list, in the order of the log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptsFilter {
    tenant: Option<TenantId>,
    project: Option<ProjectId>,
    after: Option<ReceiptId>,
    limit: Option<u32>,
}

impl Controller {
    fn receipt_body(&self, row: StoredReceipt) -> Result<ReceiptBody, Problem> {
        let jwt = ledger::receipt::jwt(&row.signing_input, &self.parts().receipt_key);
        let claims = ledger::receipt::claims_of(&row.signing_input).map_err(Problem::internal)?;
        let proof = match row.leaf_index {
            Some(index) => self.parts().tiles.proof(index).map_err(Problem::internal)?,
            None => None,
        };
        let claims = serde_json::to_value(claims).map_err(Problem::internal)?;
        Ok(ReceiptBody { id: row.id, jwt, proof, claims })
    }

    /// Proofs read tiles and signatures cost 20 µs each, so both are made where blocking is allowed.
    async fn receipt_bodies(&self, rows: Vec<StoredReceipt>) -> Result<Vec<ReceiptBody>, Problem> {
        let controller = self.clone();
        tokio::task::spawn_blocking(move || rows.into_iter().map(|row| controller.receipt_body(row)).collect())
            .await
            .map_err(Problem::internal)?
    }
}

/// Lists a tenant's receipts, in the order of the log. For the next page send the last id as `after`.
#[utoipa::path(get, path = "/api/v1/receipts", tag = "receipts",
    params(("tenant" = Option<String>, Query, description = "whose; may be left out by a tenant's own token"),
        ("project" = Option<String>, Query, description = "only this project's"),
        ("after" = Option<String>, Query, description = "only receipts that arrived after this one"),
        ("limit" = Option<u32>, Query, description = "1 to 1000, otherwise 100")),
    responses((status = 200, body = List<ReceiptBody>), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    may: Allowed<ReceiptRead>,
    State(controller): State<Controller>,
    Query(filter): Query<ReceiptsFilter>,
) -> Answer<List<ReceiptBody>> {
    let Some(tenant) = may.caller.scope(filter.tenant)? else {
        return Err(Problem::invalid("tenant: say whose receipts to list, for example ?tenant=ten_…"));
    };
    controller.tenant(&may.caller, tenant).await?;
    if let Some(project) = filter.project {
        controller.project(&may.caller, project).await?;
    }
    let limit = input::limit(filter.limit)?;
    let filter = ReceiptFilter { tenant, project: filter.project, after: filter.after, limit };
    let rows = controller.store().receipts(&filter).await?;
    Ok(Json(List { data: controller.receipt_bodies(rows).await? }))
}

/// Shows a receipt.
#[utoipa::path(get, path = "/api/v1/receipts/{id}", tag = "receipts", params(("id" = String, Path, description = "rcp_…")),
    responses((status = 200, body = ReceiptBody), (status = 404, body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn get(
    may: Allowed<ReceiptRead>,
    State(controller): State<Controller>,
    Id(id): Id<ReceiptId>,
) -> Answer<ReceiptBody> {
    let row = controller.store().receipt(id).await?.ok_or_else(Problem::not_found)?;
    may.caller.require(Some(row.tenant))?;
    let mut bodies = controller.receipt_bodies(vec![row]).await?;
    bodies.pop().map(Json).ok_or_else(Problem::not_found)
}
