//! The price book: validation, its digest, and the two sums over it.
//!
//! What it is not: it does not choose the book. The gateway rates with the book of the snapshot that admitted the
//! request and writes its digest into the receipt; `hoheit-verify` repeats the sum with the same functions.
//!
//! Why one rounding: tokens times prices are added exactly and rounded up once, at the end. Rounding each part would
//! cost the customer up to three micro-euro a request, and rounding down would give tokens away one by one.

use aws_lc_rs::digest::{SHA256, digest as sha2};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use types::snapshot::{Price, PriceBook};
use types::{MicroEur, Usage};

/// Prices are per this many tokens.
pub const TOKENS_PER_PRICE: u128 = 1_000_000;

/// The name that stands for every model without a price of its own.
pub const ANY_MODEL: &str = "*";

/// One euro a token. The dearest model on the market costs less than 1,000 EUR per million tokens; a thousand times
/// that is a price entered in the wrong unit. It also keeps every price below 2^53, so JSON readers agree on it.
pub const PRICE_MAX: MicroEur = MicroEur(1_000_000 * MicroEur::EURO.0);

/// A site offers hundreds of models; 10,000 prices of 200 bytes are 2 MB of snapshot.
pub const PRICES_MAX: usize = 10_000;

/// Receipts cut a model's name at 128 bytes; a longer one could not be told apart there.
pub const MODEL_BYTES_MAX: usize = 128;

/// Why a price book is refused. Each text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error("the {field} price of \"{model}\" is {price}, below zero; a price is zero or more")]
    Negative { model: String, field: &'static str, price: MicroEur },
    #[error(
        "the {field} price of \"{model}\" is {price} per million tokens, above the limit of {PRICE_MAX}; \
         prices are per million tokens, not per token"
    )]
    TooHigh { model: String, field: &'static str, price: MicroEur },
    #[error("\"{model}\" has two prices; remove one")]
    Doubled { model: String },
    #[error("price number {place} (counted from 1) names no model; use \"*\" for all models without a price")]
    Unnamed { place: usize },
    #[error(
        "a model's name has at most {MODEL_BYTES_MAX} bytes and no control characters; price number {place} differs"
    )]
    Name { place: usize },
    #[error("{count} prices are more than the limit of {PRICES_MAX}; let \"*\" cover the models with equal prices")]
    TooMany { count: usize },
}

/// Checks a whole book. A book that passes cannot make [`rate`] negative or unequal to what a reader recomputes.
pub fn validate(book: &PriceBook) -> Result<(), PriceError> {
    if book.prices.len() > PRICES_MAX {
        return Err(PriceError::TooMany { count: book.prices.len() });
    }
    let mut seen = BTreeSet::new();
    for (index, price) in book.prices.iter().enumerate() {
        let (place, model) = (index + 1, &price.model);
        if model.trim().is_empty() {
            return Err(PriceError::Unnamed { place });
        }
        if model.len() > MODEL_BYTES_MAX || model.chars().any(char::is_control) {
            return Err(PriceError::Name { place });
        }
        if !seen.insert(model.as_str()) {
            return Err(PriceError::Doubled { model: model.clone() });
        }
        for (field, amount) in [("input", price.input), ("cached input", price.cached_input), ("output", price.output)]
        {
            if amount < MicroEur::ZERO {
                return Err(PriceError::Negative { model: model.clone(), field, price: amount });
            }
            if amount > PRICE_MAX {
                return Err(PriceError::TooHigh { model: model.clone(), field, price: amount });
            }
        }
    }
    Ok(())
}

/// The book as canonical JSON (RFC 8785: keys sorted, no spaces), prices sorted by model: equal prices under an equal
/// version give equal bytes, however they were entered. Anyone can hash this text and compare.
pub fn canonical(book: &PriceBook) -> String {
    // Fields in alphabetical order; serde writes them in the order declared.
    #[derive(Serialize)]
    struct Line<'a> {
        cached_input: MicroEur,
        input: MicroEur,
        model: &'a str,
        output: MicroEur,
    }
    #[derive(Serialize)]
    struct Book<'a> {
        prices: Vec<Line<'a>>,
        version: u64,
    }
    let mut prices: Vec<_> = book
        .prices
        .iter()
        .map(|p| Line { cached_input: p.cached_input, input: p.input, model: &p.model, output: p.output })
        .collect();
    prices.sort_by_key(|line| line.model);
    serde_json::to_string(&Book { prices, version: book.version }).expect("strings and integers always serialise")
}

/// `sha256:<hex>` over [`canonical`]. The version is part of it: the same prices in another book are another book.
pub fn digest(book: &PriceBook) -> String {
    let hash = sha2(&SHA256, canonical(book).as_bytes());
    hash.as_ref().iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// The model's own price, else the price of `*`, else none: a model without a price is not served.
pub fn price_for<'a>(book: &'a PriceBook, model: &str) -> Option<&'a Price> {
    let find = |name: &str| book.prices.iter().find(|price| price.model == name);
    find(model).or_else(|| find(ANY_MODEL))
}

/// What this usage costs. The cached part of the input costs the cached price; reasoning is a part of the output and
/// costs nothing extra. An engine that reports more cached tokens than input is believed only up to the input.
pub fn rate(price: &Price, usage: &Usage) -> MicroEur {
    let cached = usage.cached.min(usage.input);
    total([(usage.input - cached, price.input), (cached, price.cached_input), (usage.output, price.output)])
}

/// The most that any usage within these bounds can cost, whatever part of the input turns out to be cached.
pub fn bound(price: &Price, input_tokens_max: u64, output_tokens_max: u64) -> MicroEur {
    total([(input_tokens_max, price.input.max(price.cached_input)), (output_tokens_max, price.output)])
}

/// Sum of tokens times prices, divided by a million, rounded up; at the end of the type's range it stays there.
/// 3 x 2^64 tokens x 2^63 micro-euro is below 2^129, so each product fits u128 and the sum saturates.
fn total<const N: usize>(parts: [(u64, MicroEur); N]) -> MicroEur {
    let sum = parts.into_iter().fold(0u128, |sum, (tokens, price)| {
        // A price below zero never passes `validate`; should one come here, it earns nobody money.
        sum.saturating_add(u128::from(tokens) * price.0.max(0) as u128)
    });
    MicroEur(i64::try_from(sum.div_ceil(TOKENS_PER_PRICE)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn price(model: &str, input: i64, cached_input: i64, output: i64) -> Price {
        Price {
            model: model.into(),
            input: MicroEur(input),
            cached_input: MicroEur(cached_input),
            output: MicroEur(output),
        }
    }

    fn book(prices: Vec<Price>) -> PriceBook {
        PriceBook { version: 1, prices }
    }

    #[test]
    fn books_that_are_refused_say_why() {
        let check = |prices: Vec<Price>, expect: &str| {
            let text = validate(&book(prices)).map_or_else(|error| error.to_string(), |()| "fine".into());
            assert!(text.contains(expect), "{text}");
        };
        check(vec![], "fine");
        check(vec![price("nano", 0, 0, 0), price("*", 1, 1, PRICE_MAX.0)], "fine");
        check(vec![price("nano", -1, 0, 0)], "the input price of \"nano\" is -0.000001 EUR, below zero");
        check(vec![price("nano", 0, -1, 0)], "the cached input price");
        check(vec![price("nano", 0, 0, -1)], "the output price");
        check(vec![price("nano", 0, 0, PRICE_MAX.0 + 1)], "per million tokens, not per token");
        check(vec![price("nano", 1, 1, 1), price("*", 1, 1, 1), price("nano", 2, 2, 2)], "\"nano\" has two prices");
        check(vec![price("*", 1, 1, 1), price("*", 1, 1, 1)], "\"*\" has two prices");
        check(vec![price("a", 1, 1, 1), price(" ", 1, 1, 1)], "price number 2");
        check(vec![price(&"a".repeat(MODEL_BYTES_MAX + 1), 1, 1, 1)], "at most 128 bytes");
        check(vec![price("a\nb", 1, 1, 1)], "no control characters");
        check((0..=PRICES_MAX).map(|i| price(&i.to_string(), 1, 1, 1)).collect(), "10001 prices are more");
    }

    #[test]
    fn digest_is_of_the_prices_not_of_their_order() {
        let one = book(vec![price("b", 4, 5, 6), price("a", 1, 2, 3)]);
        let two = book(vec![price("a", 1, 2, 3), price("b", 4, 5, 6)]);
        assert_eq!(
            canonical(&one),
            r#"{"prices":[{"cached_input":2,"input":1,"model":"a","output":3},{"cached_input":5,"input":4,"model":"b","output":6}],"version":1}"#
        );
        assert_eq!(digest(&one), digest(&two));
        // Made with `printf %s '<canonical>' | sha256sum`: the digest is what anyone can recompute.
        assert_eq!(digest(&one), "sha256:6cd0e15b2ab5663bd805df3afcd7da50d14b790453e6fb17a13f1980cd5e2105");
        for changed in [
            PriceBook { version: 2, ..one.clone() },
            book(vec![price("a", 1, 2, 3)]),
            book(vec![price("a", 1, 2, 3), price("b", 4, 5, 7)]),
        ] {
            assert_ne!(digest(&one), digest(&changed));
        }
    }

    #[test]
    fn own_price_before_the_default() {
        let prices = book(vec![price("*", 9, 9, 9), price("nano", 1, 1, 1)]);
        let check = |book: &PriceBook, model: &str, expect: Option<i64>| {
            assert_eq!(price_for(book, model).map(|p| p.input.0), expect, "{model}");
        };
        check(&prices, "nano", Some(1));
        check(&prices, "other", Some(9));
        check(&book(vec![price("nano", 1, 1, 1)]), "other", None);
    }

    #[test]
    fn rates() {
        let check = |price: &Price, (input, cached, output): (u64, u64, u64), expect: i64| {
            let usage = Usage { input, cached, output, reasoning: 0 };
            assert_eq!(rate(price, &usage), MicroEur(expect), "{usage:?}");
        };
        let usual = price("m", 200_000, 50_000, 600_000); // 0.20, 0.05 and 0.60 EUR per million
        check(&usual, (0, 0, 0), 0);
        check(&usual, (1_000_000, 0, 0), 200_000);
        check(&usual, (1_000_000, 1_000_000, 0), 50_000);
        check(&usual, (1_000_000, 400_000, 1_000_000), 120_000 + 20_000 + 600_000);
        check(&usual, (1, 0, 0), 1); // 0.2 micro-euro, rounded up
        check(&usual, (1, 0, 1), 1); // 0.8: rounded once, not twice
        check(&usual, (1, 0, 2), 2); // 1.4
        check(&usual, (10, 11, 0), 1); // more cached than input: believed up to the input (0.5)
        check(&price("m", 0, 0, 0), (u64::MAX, 0, u64::MAX), 0);
        check(&price("m", i64::MAX, i64::MAX, i64::MAX), (u64::MAX, u64::MAX, u64::MAX), i64::MAX);
        check(&price("m", -5, -5, -5), (1_000_000, 0, 1_000_000), 0);
    }

    fn any_price() -> impl Strategy<Value = Price> {
        let amount = prop_oneof![0..=10i64, 0..=PRICE_MAX.0, Just(i64::MAX)];
        (amount.clone(), amount.clone(), amount).prop_map(|(i, c, o)| price("m", i, c, o))
    }

    fn tokens() -> impl Strategy<Value = u64> {
        prop_oneof![0..=10u64, 0..=2_000_000u64, any::<u64>()]
    }

    proptest! {
        #[test]
        fn bound_covers_every_usage_within_it(
            price in any_price(), input_max in tokens(), output_max in tokens(), parts: [u64; 4],
        ) {
            let within = |part: u64, max: u64| ((u128::from(part) * (u128::from(max) + 1)) >> 64) as u64;
            let input = within(parts[0], input_max);
            let output = within(parts[2], output_max);
            let most = bound(&price, input_max, output_max);
            for cached in [0, within(parts[1], input), input] {
                let usage = Usage { input, cached, output, reasoning: within(parts[3], output) };
                prop_assert!(rate(&price, &usage) <= most, "{usage:?}");
            }
        }

        #[test]
        fn more_never_costs_less(price in any_price(), input in tokens(), output in tokens(), more in tokens()) {
            let (input_more, output_more) = (input.saturating_add(more), output.saturating_add(more));
            prop_assert!(bound(&price, input, output) <= bound(&price, input_more, output));
            prop_assert!(bound(&price, input, output) <= bound(&price, input, output_more));
            let of = |input, output| rate(&price, &Usage { input, cached: 0, output, reasoning: 0 });
            prop_assert!(of(input, output) <= of(input_more, output) && of(input, output) <= of(input, output_more));
        }
    }
}
