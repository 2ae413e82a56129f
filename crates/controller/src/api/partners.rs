//! Providers as partners: a tenant that publishes endpoints under its own name and price, and reads what they earned.
//!
//! What the partner says is an offer: provider, jurisdiction and operator are what the operator wrote down when the partner was
//! made, and stand in every receipt; an engine that a partner publishes is cordoned until the operator has looked at it, because its
//! address is a place where this site will send its customers' prompts. What it earned is a fold over receipts
//! (`metering::revenue`) and names no customer.

use super::engines::{self, EngineBody, EngineNew};
use super::{Answer, Created, List, created};
use crate::access::{Allowed, Caller, PartnerCreate, PartnerPublish, PartnerRead};
use crate::input::{self, Body, Id, Query};
use crate::{Controller, Problem};
use axum::Json;
use axum::extract::State;
use ledger::receipt::claims_of;
use metering::revenue::{PERMILLE, Revenue};
use policy::control::Role;
use serde::{Deserialize, Serialize};
use store::Partner;
use types::snapshot::{Engine, EngineKind, Price, PriceBook};
use types::{Country, EngineId, MicroEur, Month, Retention, TenantId, UnixMillis};
use utoipa::ToSchema;

/// A tenant that publishes endpoints.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Partner)]
pub struct PartnerBody {
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// The fact `provider` of its endpoints.
    pub provider: String,
    #[schema(value_type = String, example = "US")]
    pub jurisdiction: Country,
    pub operator: String,
    /// Its share of what its endpoints earn, in thousandths.
    pub share_permille: u16,
    #[schema(value_type = i64)]
    pub created_at: UnixMillis,
}

impl From<Partner> for PartnerBody {
    fn from(of: Partner) -> Self {
        let Partner { tenant, provider, jurisdiction, operator, share_permille, created_at } = of;
        PartnerBody { tenant, provider, jurisdiction, operator, share_permille, created_at }
    }
}

/// A partner to be.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartnerNew {
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// As rules and receipts will name it; for life.
    pub provider: String,
    /// Whose law can compel it: ISO 3166-1 alpha-2.
    #[schema(value_type = String, example = "US")]
    pub jurisdiction: Country,
    /// Who runs its machines; left out is the provider.
    pub operator: Option<String>,
    /// 0 to 1000.
    pub share_permille: u16,
}

/// An endpoint that a partner offers: where it is, and what it costs per million tokens.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// https and a host, optionally `/v1` at the end.
    pub url: String,
    /// The name that tenants ask for; one that nobody else offers.
    pub model: String,
    /// Where the engine stands: ISO 3166-1 alpha-2.
    #[schema(value_type = String, example = "DE")]
    pub country: Country,
    /// The site it stands in, as the partner calls it.
    pub site: String,
    /// What it keeps of requests: none, limited or unlimited; left out is none.
    #[schema(value_type = Option<String>)]
    pub retention: Option<Retention>,
    pub context_length: Option<u64>,
    pub output_tokens_max: Option<u64>,
    /// As for engines; left out is openai.
    #[schema(value_type = Option<String>)]
    pub kind: Option<EngineKind>,
    pub model_alias: Option<String>,
    /// Sent to it as `Authorization: Bearer`. Never shown again.
    #[serde(skip_serializing)]
    pub credential: Option<String>,
    #[schema(value_type = i64)]
    pub input_micro_eur: MicroEur,
    /// Left out is the price of input.
    #[schema(value_type = Option<i64>)]
    pub cached_input_micro_eur: Option<MicroEur>,
    #[schema(value_type = i64)]
    pub output_micro_eur: MicroEur,
}

/// Which month.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportFilter {
    month: Option<Month>,
}

/// What one model earned in the month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PartnerLine)]
pub struct LineBody {
    pub model: String,
    pub requests: u64,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
    #[schema(value_type = i64)]
    pub gross_micro_eur: MicroEur,
    #[schema(value_type = i64)]
    pub share_micro_eur: MicroEur,
}

/// A partner's month. Sums over receipts; nothing in it names a customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PartnerReport)]
pub struct ReportBody {
    pub provider: String,
    /// In UTC, as 2026-11.
    pub month: String,
    pub share_permille: u16,
    pub lines: Vec<LineBody>,
    #[schema(value_type = i64)]
    pub gross_micro_eur: MicroEur,
    #[schema(value_type = i64)]
    pub share_micro_eur: MicroEur,
}

impl Controller {
    /// A partner that the caller may see; a foreign one answers as one that does not exist.
    async fn partner(&self, caller: &Caller, tenant: TenantId) -> Result<Partner, Problem> {
        caller.require(Some(tenant))?;
        self.store().partner(tenant).await?.ok_or_else(Problem::not_found)
    }
}

/// Makes a tenant a partner.
#[utoipa::path(post, path = "/api/v1/partners", tag = "partners", request_body = PartnerNew,
    responses((status = 201, body = PartnerBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    may: Allowed<PartnerCreate>,
    State(controller): State<Controller>,
    Body(new): Body<PartnerNew>,
) -> Created<PartnerBody> {
    let operator = new.operator.clone().unwrap_or_else(|| new.provider.clone());
    input::name("provider", &new.provider)?;
    input::name("operator", &operator)?;
    if new.share_permille > PERMILLE {
        return Err(Problem::invalid(format!(
            "share_permille: 0 to {PERMILLE}, thousandths of what its endpoints earn."
        )));
    }
    let mut turn = controller.turn().await;
    controller.tenant(&may.caller, new.tenant).await?;
    let used = controller.store().endpoints().await?;
    if used.iter().any(|endpoint| endpoint.facts.provider == new.provider) {
        return Err(Problem::conflict(
            "Endpoints of this provider exist already, so what they earned would become the partner's.",
        ));
    }
    let entry = may.entry(&controller, new.tenant, Some(new.tenant), &new);
    let partner = Partner {
        tenant: new.tenant,
        provider: new.provider,
        jurisdiction: new.jurisdiction,
        operator,
        share_permille: new.share_permille,
        created_at: controller.now(),
    };
    controller.store().partner_create(&partner, &entry).await?;
    turn.publish().await?;
    created(partner.into())
}

/// Lists partners: all, or the caller itself.
#[utoipa::path(get, path = "/api/v1/partners", tag = "partners", responses((status = 200, body = List<PartnerBody>)))]
pub async fn list(may: Allowed<PartnerRead>, State(controller): State<Controller>) -> Answer<List<PartnerBody>> {
    let partners = controller.store().partners().await?;
    Ok(List::of(partners.into_iter().filter(|partner| may.caller.sees(Some(partner.tenant))), Into::into))
}

/// Publishes an endpoint of a partner, with its price; published again, only the price changes.
#[utoipa::path(post, path = "/api/v1/partners/{id}/endpoints", tag = "partners",
    params(("id" = String, Path, description = "ten_…")), request_body = Offer,
    responses((status = 201, body = EngineBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn publish(
    may: Allowed<PartnerPublish>,
    State(controller): State<Controller>,
    Id(tenant): Id<TenantId>,
    Body(offer): Body<Offer>,
) -> Created<EngineBody> {
    let by_itself = may.caller.role != Role::Operator;
    let partner = controller.partner(&may.caller, tenant).await?;
    if by_itself && !offer.url.starts_with("https://") {
        return Err(Problem::invalid(
            "url: a partner's endpoint is reached by https; its prompts are other companies'.",
        ));
    }
    let price = Price {
        model: offer.model.clone(),
        input: offer.input_micro_eur,
        cached_input: offer.cached_input_micro_eur.unwrap_or(offer.input_micro_eur),
        output: offer.output_micro_eur,
    };
    let mut turn = controller.turn().await;
    let endpoints = controller.store().endpoints().await?;
    let anothers = |model: &str| {
        endpoints.iter().any(|endpoint| endpoint.model == model && endpoint.facts.provider != partner.provider)
    };
    if offer.model == "*" || anothers(&offer.model) {
        return Err(Problem::conflict("Another provider offers a model of this name: choose one of your own."));
    }
    let book = controller.store().price_book().await?;
    let known = endpoints.iter().any(|endpoint| endpoint.model == offer.model);
    if !known && book.prices.iter().any(|known| known.model == offer.model) {
        return Err(Problem::conflict("The price book names a model of this name already: choose another one."));
    }
    let mut prices: Vec<Price> = book.prices.into_iter().filter(|known| known.model != offer.model).collect();
    prices.push(price);
    let book = PriceBook { version: book.version + 1, prices };
    metering::validate(&book).map_err(|error| Problem::invalid(format!("price: {error}.")))?;
    let url = input::engine_url(&offer.url)?;
    let own = |engine: &Engine| {
        endpoints.iter().any(|endpoint| endpoint.id == engine.endpoint && endpoint.model == offer.model)
    };
    let standing = controller.store().engines().await?.into_iter().find(|engine| engine.url == url && own(engine));
    let id = standing.as_ref().map_or_else(|| controller.id(EngineId::from_parts), |engine| engine.id);
    let entry = may.entry(&controller, id, Some(tenant), &offer);
    let new = EngineNew {
        url: offer.url,
        model: offer.model,
        country: offer.country,
        site: Some(offer.site),
        operator: partner.operator,
        provider: partner.provider,
        jurisdiction: partner.jurisdiction,
        retention: offer.retention,
        attestation: None,
        weights: None,
        context_length: offer.context_length,
        output_tokens_max: offer.output_tokens_max,
        kind: offer.kind,
        model_alias: offer.model_alias,
        slots: None,
        credential: offer.credential,
    };
    let store = controller.store();
    let engine = match standing {
        Some(engine) => {
            store.engine_offer(None, &book, &entry).await?;
            engine
        }
        None => {
            let (endpoint, mut engine) = engines::checked(&controller, id, new)?;
            engine.cordoned = by_itself;
            engine.endpoint =
                store.engine_offer(Some((&endpoint, &engine)), &book, &entry).await?.unwrap_or(endpoint.id);
            engine
        }
    };
    turn.publish().await?;
    created(engine.into())
}

/// What a partner's endpoints earned in a month, and its share.
#[utoipa::path(get, path = "/api/v1/partners/{id}/report", tag = "partners",
    params(("id" = String, Path, description = "ten_…"), ("month" = Option<String>, Query, description = "YYYY-MM in UTC; left out is this month")),
    responses((status = 200, body = ReportBody), (status = "4XX", body = crate::ProblemBody, content_type = "application/problem+json")))]
pub async fn report(
    may: Allowed<PartnerRead>,
    State(controller): State<Controller>,
    Id(tenant): Id<TenantId>,
    Query(filter): Query<ReportFilter>,
) -> Answer<ReportBody> {
    let partner = controller.partner(&may.caller, tenant).await?;
    let month = filter.month.unwrap_or_else(|| controller.now().month());
    let mut revenue = Revenue::of(&partner.provider, month);
    let mut after = None;
    loop {
        let (page, next) = controller.store().receipts_of_month(month, after).await?;
        for receipt in page {
            let claims = claims_of(&receipt.signing_input)
                .map_err(|error| Problem::internal(format!("receipt {}: {error}", receipt.id)))?;
            revenue.add(&claims);
        }
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let share_permille = partner.share_permille;
    let mut body = ReportBody {
        provider: partner.provider,
        month: month.to_string(),
        share_permille,
        lines: Vec::new(),
        gross_micro_eur: MicroEur::ZERO,
        share_micro_eur: MicroEur::ZERO,
    };
    for (model, line) in revenue.lines() {
        let share = line.share(share_permille);
        body.gross_micro_eur = body.gross_micro_eur.saturating_add(line.gross);
        body.share_micro_eur = body.share_micro_eur.saturating_add(share);
        body.lines.push(LineBody {
            model: model.to_owned(),
            requests: line.requests,
            input_tokens: line.input_tokens,
            cached_tokens: line.cached_tokens,
            output_tokens: line.output_tokens,
            gross_micro_eur: line.gross,
            share_micro_eur: share,
        });
    }
    Ok(Json(body))
}
