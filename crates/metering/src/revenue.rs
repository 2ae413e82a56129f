//! What a provider's endpoints earned, and its share: a fold over receipts, like an invoice, and from nothing else.
//!
//! The fold is by model and by nothing that names a customer: a partner reads this. A share is rounded down once, on the sum of a
//! model, so that rounding costs a partner less than a micro-euro a model and never pays out more than came in.

use std::collections::BTreeMap;
use types::{MicroEur, Month, ReceiptClaims};

/// The whole, in the unit of shares.
pub const PERMILLE: u16 = 1_000;

/// What one model earned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Receipts that name it.
    pub requests: u64,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
    /// What customers paid.
    pub gross: MicroEur,
}

impl Line {
    /// The partner's share of it.
    pub fn share(&self, permille: u16) -> MicroEur {
        let whole = i128::from(self.gross.0.max(0)) * i128::from(permille.min(PERMILLE)) / i128::from(PERMILLE);
        MicroEur(i64::try_from(whole).unwrap_or(i64::MAX))
    }
}

/// A month of one provider.
#[derive(Debug, Clone)]
pub struct Revenue {
    provider: String,
    month: Month,
    lines: BTreeMap<String, Line>,
}

impl Revenue {
    pub fn of(provider: impl Into<String>, month: Month) -> Revenue {
        Revenue { provider: provider.into(), month, lines: BTreeMap::new() }
    }

    /// Adds a receipt if this provider served it in this month; true if it did. Each receipt once: the caller reads the log once.
    pub fn add(&mut self, claims: &ReceiptClaims) -> bool {
        let served = claims.served_by.as_ref().is_some_and(|by| by.provider == self.provider);
        if !served || claims.received_at.month() != self.month {
            return false;
        }
        let line = self.lines.entry(claims.model.to_string()).or_default();
        line.requests += 1;
        line.input_tokens = line.input_tokens.saturating_add(claims.usage.input);
        line.cached_tokens = line.cached_tokens.saturating_add(claims.usage.cached);
        line.output_tokens = line.output_tokens.saturating_add(claims.usage.output);
        line.gross = line.gross.saturating_add(claims.cost_micro_eur);
        true
    }

    /// By model, in the order of their names.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &Line)> {
        self.lines.iter().map(|(model, line)| (model.as_str(), line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_rounded_down_and_never_more_than_all() {
        let share = |gross, permille| Line { gross: MicroEur(gross), ..Line::default() }.share(permille).0;
        assert_eq!((share(1_000, 700), share(999, 700), share(1, 999)), (700, 699, 0));
        assert_eq!((share(5, 1_000), share(5, 0), share(5, u16::MAX)), (5, 0, 5));
        assert_eq!((share(i64::MAX, 1_000), share(-5, 700)), (i64::MAX, 0));
    }

    fn claims(provider: Option<&str>, month: &str, cost: i64) -> ReceiptClaims {
        let served = provider.map_or(String::new(), |provider| {
            format!(
                r#""served_by":{{"endpoint":"end_00000000000000000000000001","provider":"{provider}","jurisdiction":"US","operator":"o",
                "site":"s","country":"DE","machine":"eng_00000000000000000000000001","retention":"none","attestation":"none"}},"#
            )
        });
        // The middle of the month.
        let day = if month == "2026-10" { 1_792_000_000_000_i64 } else { 1_795_000_000_000 };
        let text = format!(
            r#"{{"iss":"s","jti":"rcp_00000000000000000000000007","iat":1,"sub":"ten_00000000000000000000000001",
            "project":"prj_00000000000000000000000001","key":"key_00000000000000000000000001","dialect":"openai",
            "operation":"chat.completions","model":"m",{served}"data_class":"internal",
            "policy":{{"digest":"d","permit":true,"rules":["r"]}},
            "usage":{{"input":3,"cached":1,"output":2,"reasoning":0}},"usage_source":"engine","price_book":"p",
            "cost_micro_eur":{cost},"outcome":"completed","received_at":{day},"ended_at":{day},"request_commitment":"",
            "opening":"","inc":"inc_00000000000000000000000001","seq":0,"prev":""}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn only_its_own_and_only_this_month() {
        let mut revenue = Revenue::of("Partner Inc.", "2026-11".parse().unwrap());
        assert!(revenue.add(&claims(Some("Partner Inc."), "2026-11", 10)));
        assert!(revenue.add(&claims(Some("Partner Inc."), "2026-11", 5)));
        assert!(!revenue.add(&claims(Some("Partner Inc."), "2026-10", 100)));
        assert!(!revenue.add(&claims(Some("Partner"), "2026-11", 100)));
        assert!(!revenue.add(&claims(None, "2026-11", 0)), "a refusal was served by nobody");
        let lines: Vec<_> = revenue.lines().collect();
        let expect = Line { requests: 2, input_tokens: 6, cached_tokens: 2, output_tokens: 4, gross: MicroEur(15) };
        assert_eq!(lines, [("m", &expect)]);
    }

    proptest! {
        #[test]
        fn partner_and_site_get_what_came_in(gross in 0..i64::MAX, permille in 0..=1_000u16) {
            let line = Line { gross: MicroEur(gross), ..Line::default() };
            let (share, rest) = (line.share(permille).0, line.share(PERMILLE - permille).0);
            prop_assert!(share >= 0 && share + rest <= gross && gross - share - rest <= 1);
        }
    }
}
