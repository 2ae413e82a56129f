//! The price book: versioned as a whole, never changed, only followed by the next one.

use super::Answer;
use crate::access::{Allowed, PriceRead, PriceUpdate};
use crate::input::Body;
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use types::MicroEur;
use types::snapshot::{Price, PriceBook};
use utoipa::ToSchema;

/// What a model costs, in micro-euro per million tokens.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Price)]
pub struct PriceBody {
    /// `*` is the price of models that have none of their own.
    pub model: String,
    /// Micro-euro per million prompt tokens.
    #[schema(value_type = i64, minimum = 0)]
    pub input_micro_eur: MicroEur,
    /// Micro-euro per million prompt tokens that the engine had cached.
    #[schema(value_type = i64, minimum = 0)]
    pub cached_input_micro_eur: MicroEur,
    /// Micro-euro per million tokens of the answer.
    #[schema(value_type = i64, minimum = 0)]
    pub output_micro_eur: MicroEur,
}

/// All prices of one version.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PriceBook)]
pub struct PriceBookBody {
    /// Grows by one with each book; 0 is no book yet, and everything is free.
    pub version: u64,
    /// `sha256:<hex>`, as receipts carry it.
    pub digest: String,
    pub prices: Vec<PriceBody>,
}

/// The next book, whole.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceBookNew {
    /// The version that it follows; another one since then is a conflict.
    pub follows: u64,
    pub prices: Vec<PriceBody>,
}

impl From<PriceBook> for PriceBookBody {
    fn from(book: PriceBook) -> Self {
        let digest = metering::digest(&book);
        let prices = book.prices.into_iter().map(|price| PriceBody {
            model: price.model,
            input_micro_eur: price.input,
            cached_input_micro_eur: price.cached_input,
            output_micro_eur: price.output,
        });
        Self { version: book.version, digest, prices: prices.collect() }
    }
}

/// Shows the price book that rates requests now.
#[utoipa::path(get, path = "/api/v1/prices", tag = "prices", responses((status = 200, body = PriceBookBody)))]
pub async fn get(_may: Allowed<PriceRead>, State(controller): State<Controller>) -> Answer<PriceBookBody> {
    Ok(Json(controller.store().price_book().await?.into()))
}

/// Puts the next price book in force.
#[utoipa::path(put, path = "/api/v1/prices", tag = "prices", request_body = PriceBookNew,
    responses((status = 200, body = PriceBookBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn put(
    may: Allowed<PriceUpdate>,
    State(controller): State<Controller>,
    Body(new): Body<PriceBookNew>,
) -> Answer<PriceBookBody> {
    let mut turn = controller.turn().await;
    let version = controller.store().price_book().await?.version;
    if new.follows != version {
        return Err(Problem::conflict(format!(
            "The price book in force has version {version}. Read it, make your change on it, and send follows: {version}."
        )));
    }
    let entry = may.entry(&controller, format!("prices/{}", version + 1), None, &new);
    let prices = new.prices.into_iter().map(|price| Price {
        model: price.model,
        input: price.input_micro_eur,
        cached_input: price.cached_input_micro_eur,
        output: price.output_micro_eur,
    });
    let book = PriceBook { version: version + 1, prices: prices.collect() };
    metering::validate(&book).map_err(|error| Problem::invalid(format!("prices: {error}.")))?;
    controller.store().price_book_put(&book, &entry).await?;
    turn.publish().await?;
    Ok(Json(book.into()))
}
