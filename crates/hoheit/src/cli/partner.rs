//! `hoheit partner`: providers that publish endpoints here under their own name and price, and what these earned.

use super::Failure;
use super::client::Connection;
use super::show::{self, Column, field};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use types::{Country, MicroEur, Month, TenantId};

#[derive(Debug, Args)]
pub struct Partner {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    pub command: PartnerCommand,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  hoheit partner create ten_… --provider \"Partner Inc.\" --jurisdiction US --share-percent 70
  hoheit partner publish ten_… https://models.partner.example --model partner-large --country DE --place fra1 \\
      --input-eur 0.50 --output-eur 1.50
  hoheit engine uncordon eng_…                     the operator puts it in service
  hoheit partner report ten_… --month 2026-11")]
pub enum PartnerCommand {
    /// Make a tenant a partner: under which name and law it publishes, and its share.
    #[command(
        after_help = "Examples:\n  hoheit partner create ten_… --provider \"Partner Inc.\" --jurisdiction US --share-percent 70"
    )]
    Create {
        tenant: TenantId,
        /// As rules and receipts will name it; for life.
        #[arg(long, value_name = "NAME")]
        provider: String,
        /// Whose law can compel it (ISO 3166-1 alpha-2).
        #[arg(long, value_name = "US")]
        jurisdiction: Country,
        /// Who runs its machines; the provider if left out.
        #[arg(long, value_name = "NAME")]
        operator: Option<String>,
        /// Its share of what its endpoints earn: 70, or 72.5.
        #[arg(long, value_name = "PERCENT", value_parser = permille)]
        share_percent: u16,
    },
    /// List partners.
    #[command(after_help = "Examples:\n  hoheit partner list --json")]
    List,
    /// Offer an endpoint with its price per million tokens. The operator uncordons it; again, it sets the price.
    #[command(
        after_help = "Examples:\n  hoheit partner publish ten_… https://models.partner.example --model partner-large \\\n      --country DE --place fra1 --input-eur 0.50 --output-eur 1.50"
    )]
    Publish {
        tenant: TenantId,
        url: String,
        #[arg(long, value_name = "NAME")]
        model: String,
        /// Where it stands (ISO 3166-1 alpha-2).
        #[arg(long, value_name = "DE")]
        country: Country,
        /// The site it stands in, as the partner calls it.
        #[arg(long, value_name = "NAME")]
        place: String,
        #[arg(long, value_name = "AMOUNT")]
        input_eur: MicroEur,
        /// For prompt tokens that the engine had cached; the input price if left out.
        #[arg(long, value_name = "AMOUNT")]
        cached_input_eur: Option<MicroEur>,
        #[arg(long, value_name = "AMOUNT")]
        output_eur: MicroEur,
        /// A file with what is sent to it as a bearer token.
        #[arg(long, value_name = "FILE")]
        credential_file: Option<std::path::PathBuf>,
    },
    /// What a partner's endpoints earned in a month, and its share: a fold over receipts that names no customer.
    #[command(
        after_help = "Examples:\n  hoheit partner report ten_…\n  hoheit partner report ten_… --month 2026-11 --json"
    )]
    Report {
        tenant: TenantId,
        /// YYYY-MM in UTC; this month if left out.
        #[arg(long, value_name = "YYYY-MM")]
        month: Option<Month>,
    },
}

/// Thousandths, written as percent with at most one digit behind the point.
fn permille(text: &str) -> Result<u16, String> {
    let wrong = || "a share is 0 to 100 percent with at most one digit behind the point: 70, or 72.5".to_owned();
    let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(tenth) || tenth.len() != 1 || whole.len() > 3 {
        return Err(wrong());
    }
    let number = |part: &str| part.parse::<u16>().map_err(|_| wrong());
    Some(number(whole)? * 10 + number(tenth)?).filter(|share| *share <= 1_000).ok_or_else(wrong)
}

fn percent(value: &Value) -> String {
    let permille = value.as_u64().unwrap_or_default();
    format!("{}.{} %", permille / 10, permille % 10)
}

const PARTNERS: &[Column] = &[
    field!("tenant"),
    field!("provider"),
    field!("jurisdiction"),
    field!("operator"),
    field!("share", "share_permille", percent),
];

const LINES: &[Column] = &[
    field!("model"),
    field!("requests"),
    field!("input tokens", "input_tokens"),
    field!("cached", "cached_tokens"),
    field!("output tokens", "output_tokens"),
    field!("gross", "gross_micro_eur", show::euro),
    field!("share", "share_micro_eur", show::euro),
];

impl Partner {
    pub async fn run(self) -> Result<(), Failure> {
        let client = self.connection.control()?;
        let as_json = self.connection.json;
        match self.command {
            PartnerCommand::Create { tenant, provider, jurisdiction, operator, share_percent } => {
                let body = json!({
                    "tenant": tenant, "provider": provider, "jurisdiction": jurisdiction, "operator": operator,
                    "share_permille": share_percent,
                });
                let made = client.post("/api/v1/partners", &body).await?;
                let text = format!("{} publishes as {}", show::text(&made["tenant"]), show::text(&made["provider"]));
                show::done(as_json, &made, &text)
            }
            PartnerCommand::List => {
                let partners = client.get("/api/v1/partners").await?;
                show::list(as_json, &partners, PARTNERS, "No partners.")
            }
            PartnerCommand::Publish {
                tenant,
                url,
                model,
                country,
                place,
                input_eur,
                cached_input_eur,
                output_eur,
                credential_file,
            } => {
                let credential = match credential_file {
                    None => None,
                    Some(path) => {
                        let text = std::fs::read_to_string(&path)
                            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
                        Some(text.trim().to_owned())
                    }
                };
                let offer = json!({
                    "url": url, "model": model, "country": country, "site": place, "credential": credential,
                    "input_micro_eur": input_eur, "cached_input_micro_eur": cached_input_eur, "output_micro_eur": output_eur,
                });
                let engine = client.post(&format!("/api/v1/partners/{tenant}/endpoints"), &offer).await?;
                let id = show::text(&engine["id"]);
                let text = match engine["cordoned"].as_bool() {
                    Some(true) => {
                        format!("{id} is published and cordoned: the operator runs hoheit engine uncordon {id}")
                    }
                    _ => format!("{id} is published"),
                };
                show::done(as_json, &engine, &text)
            }
            PartnerCommand::Report { tenant, month } => {
                let query = month.map(|month| format!("?month={month}")).unwrap_or_default();
                let report = client.get(&format!("/api/v1/partners/{tenant}/report{query}")).await?;
                if as_json {
                    return show::json(&report);
                }
                show::list(
                    false,
                    &json!({ "data": report["lines"] }),
                    LINES,
                    "No receipt of this month names this provider.",
                )?;
                show::line(&format!(
                    "{}, {}: {} gross, {} share ({})",
                    show::text(&report["provider"]),
                    show::text(&report["month"]),
                    show::euro(&report["gross_micro_eur"]),
                    show::euro(&report["share_micro_eur"]),
                    percent(&report["share_permille"]),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_thousandths() {
        for (text, expect) in [("70", Some(700)), ("72.5", Some(725)), ("0", Some(0)), ("100", Some(1_000))] {
            assert_eq!(permille(text).ok(), expect, "{text}");
        }
        for text in ["100.1", "-1", "", "7.55", ".5", "7.", "1e2", "999"] {
            assert!(permille(text).is_err(), "{text}");
        }
        assert_eq!(percent(&json!(725)), "72.5 %");
    }
}
