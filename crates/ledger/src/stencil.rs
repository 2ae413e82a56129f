//! The claims of many receipts that differ in little: what is the same for all requests of one key to one replica is
//! written once, and each receipt only fills in the rest.
//!
//! The text is byte for byte what serde writes of [`ReceiptClaims`], which stays the only definition of the form; the
//! fixed parts are cut out of serde's own text, and every receipt is compared with it in builds with debug assertions.
//!
//! Why: a gateway writes thousands of receipts a second, and two thirds of each are the names of where it was served and
//! of the rules that decided.

use crate::receipt::ReceiptError;
use serde::Serialize;
use types::ReceiptClaims;

/// The parts that do not change, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stencil {
    /// `{"iss":"…"`
    head: String,
    /// `,"sub":…` to the end of `policy`.
    middle: String,
    /// `,"price_book":"…"`
    price_book: String,
}

impl Stencil {
    /// For receipts that agree with this one from `sub` to `policy`, in `iss` and in `price_book`.
    pub fn of(claims: &ReceiptClaims) -> Result<Stencil, ReceiptError> {
        let text = serde_json::to_string(claims).map_err(|e| ReceiptError::Claims(e.to_string()))?;
        // A quote within a text is escaped, so none of these stands in a value; of the parts before, none has such members.
        let between = |from: &str, to: &str| {
            let start = text.find(from)?;
            let end = start + text[start..].find(to)?;
            Some(text[start..end].to_owned())
        };
        let parts = || {
            Some(Stencil {
                head: between("{\"iss\":", ",\"jti\":")?,
                middle: between(",\"sub\":", ",\"usage\":")?,
                price_book: between(",\"price_book\":", ",\"cost_micro_eur\":")?,
            })
        };
        parts().ok_or_else(|| ReceiptError::Claims("a claim is missing".to_owned()))
    }

    /// The claims as JSON, behind what `into` holds.
    pub fn write(&self, claims: &ReceiptClaims, into: &mut Vec<u8>) {
        let text = |into: &mut Vec<u8>, name: &str, value: &str| {
            into.extend_from_slice(name.as_bytes());
            into.push(b'"');
            into.extend_from_slice(value.as_bytes());
            into.push(b'"');
        };
        let start = into.len();
        into.extend_from_slice(self.head.as_bytes());
        json(into, ",\"jti\":", &claims.jti);
        json(into, ",\"iat\":", &claims.iat);
        into.extend_from_slice(self.middle.as_bytes());
        json(into, ",\"usage\":{\"input\":", &claims.usage.input);
        json(into, ",\"cached\":", &claims.usage.cached);
        json(into, ",\"output\":", &claims.usage.output);
        json(into, ",\"reasoning\":", &claims.usage.reasoning);
        json(into, "},\"usage_source\":", &claims.usage_source);
        into.extend_from_slice(self.price_book.as_bytes());
        json(into, ",\"cost_micro_eur\":", &claims.cost_micro_eur);
        text(into, ",\"outcome\":", claims.outcome.as_str());
        if let Some(code) = &claims.code {
            json(into, ",\"code\":", code);
        }
        json(into, ",\"received_at\":", &claims.received_at);
        json(into, ",\"ended_at\":", &claims.ended_at);
        // base64url: nothing in it is escaped.
        text(into, ",\"request_commitment\":", &claims.request_commitment);
        if let Some(commitment) = &claims.answer_commitment {
            text(into, ",\"answer_commitment\":", commitment);
        }
        if !claims.passages.is_empty() {
            json(into, ",\"passages\":", &claims.passages);
        }
        if let Some(egress) = &claims.egress {
            json(into, ",\"egress\":", egress);
        }
        text(into, ",\"opening\":", &claims.opening);
        json(into, ",\"inc\":", &claims.inc);
        json(into, ",\"seq\":", &claims.seq);
        text(into, ",\"prev\":", &claims.prev);
        if let Some(intent_inc) = &claims.intent_inc {
            json(into, ",\"intent_inc\":", intent_inc);
        }
        into.push(b'}');
        debug_assert_eq!(
            String::from_utf8_lossy(&into[start..]),
            serde_json::to_string(claims).unwrap_or_default(),
            "a stencil of other claims, or a claim that it does not know"
        );
    }
}

fn json(into: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    into.extend_from_slice(name.as_bytes());
    serde_json::to_writer(into, value).expect("a number, an id or a word: nothing in it can fail to serialise");
}
