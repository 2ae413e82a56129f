//! `GET /v1/receipts[/{id}]`: a key reads the receipts of its project: the signed JWT at once, the proof once a
//! checkpoint covers it. A receipt of another project answers exactly as one that does not exist.

use crate::body::Outgoing;
use crate::catalogue::json_response;
use crate::gateway::Gateway;
use crate::receive::Principal;
use crate::refusal::Refusal;
use http::Response;
use serde_json::{Value, json};
use std::time::Duration;
use store::{ReceiptFilter, StoredReceipt};
use types::{Code, ReceiptId};

/// Receipts of one page: at about 3 KB each, 300 KB.
const PAGE_MAX: u32 = 100;

/// A receipt that was just written is on its way into the store; the reader waits for it so long.
const SHIP_WAIT: Duration = Duration::from_secs(5);

pub async fn retrieve(gateway: &Gateway, principal: &Principal, id: &str) -> Result<Response<Outgoing>, Refusal> {
    let not_found = || Refusal::new(Code::NotFound, "there is no receipt of this id here");
    let id: ReceiptId = id.parse().map_err(|_| not_found())?;
    let mut found = find(gateway, principal, id).await?;
    if found.is_none() {
        // Also for a foreign one: the time of the answer would tell it from one that does not exist.
        let _ = tokio::time::timeout(SHIP_WAIT, gateway.wait_shipped()).await;
        found = find(gateway, principal, id).await?;
    }
    Ok(json_response(&describe(gateway, &found.ok_or_else(not_found)?, true)))
}

async fn find(gateway: &Gateway, principal: &Principal, id: ReceiptId) -> Result<Option<StoredReceipt>, Refusal> {
    let found = gateway.store.receipt(id).await.map_err(unavailable)?;
    Ok(found.filter(|receipt| receipt.project == principal.key().project.id))
}

fn unavailable(error: store::StoreError) -> Refusal {
    tracing::warn!(%error, "receipts could not be read");
    Refusal::new(Code::StoreUnavailable, "receipts cannot be read now: try again").retry_after(1)
}

fn describe(gateway: &Gateway, receipt: &StoredReceipt, with_proof: bool) -> Value {
    let proof = receipt.leaf_index.filter(|_| with_proof).and_then(|index| match gateway.tiles.proof(index) {
        Ok(proof) => proof,
        Err(error) => {
            tracing::warn!(%error, receipt = %receipt.id, "a proof could not be made");
            None
        }
    });
    let claims = ledger::receipt::claims_of(&receipt.signing_input).ok();
    json!({
        "id": receipt.id,
        "object": "receipt",
        "jwt": ledger::receipt::jwt(&receipt.signing_input, &gateway.receipt_key),
        "leaf_index": receipt.leaf_index,
        "proof": proof,
        "claims": claims,
    })
}

/// Pages through the project's receipts, oldest first.
pub async fn list(gateway: &Gateway, principal: &Principal, query: &str) -> Result<Response<Outgoing>, Refusal> {
    let (mut after, mut limit) = (None, 20);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "after" => {
                after = Some(value.parse().map_err(|_| {
                    Refusal::new(Code::InvalidRequest, "after must be the id of a receipt (rcp_…)").param("after")
                })?);
            }
            "limit" => {
                limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit)).ok_or_else(|| {
                    Refusal::new(Code::InvalidRequest, format!("limit must be 1 to {PAGE_MAX}")).param("limit")
                })?;
            }
            _ => {}
        }
    }
    let key = principal.key();
    let filter = ReceiptFilter { tenant: key.tenant, project: Some(key.project.id), after, limit: limit + 1 };
    let mut receipts = gateway.store.receipts(&filter).await.map_err(unavailable)?;
    let has_more = receipts.len() > limit as usize;
    receipts.truncate(limit as usize);
    let data: Vec<Value> = receipts.iter().map(|receipt| describe(gateway, receipt, false)).collect();
    Ok(json_response(&json!({"object": "list", "data": data, "has_more": has_more})))
}
