//! What a new site starts with: a price for every model, an ordinary price book that the operator replaces. The base
//! rules need no seed, they are part of every policy bundle.

use anyhow::Result;
use gateway::Clock;
use store::Store;
use types::audit::AuditEntry;
use types::snapshot::{Price, PriceBook};
use types::{AuditId, MicroEur};

/// Time, randomness and audit entries for what `hoheit up` itself writes.
pub struct Seeds<'a> {
    pub clock: &'a dyn Clock,
}

impl Seeds<'_> {
    pub fn random(&self) -> [u8; 10] {
        let mut bytes = [0; 10];
        self.clock.random(&mut bytes);
        bytes
    }

    /// The process itself is the actor.
    pub fn entry(&self, action: &str, object: String) -> AuditEntry {
        let at = self.clock.now();
        AuditEntry {
            id: AuditId::from_parts(at, self.random()),
            at,
            actor: "hoheit up".to_owned(),
            action: action.to_owned(),
            object,
            tenant: None,
            detail: "{}".to_owned(),
        }
    }
}

/// Seeds an empty store.
pub async fn seed(store: &Store, seeds: &Seeds<'_>) -> Result<()> {
    let book = store.price_book().await?;
    if book.prices.is_empty() {
        let first = PriceBook { version: book.version + 1, prices: vec![default_price()] };
        store.price_book_put(&first, &seeds.entry("price.put", format!("price book {}", first.version))).await?;
    }
    Ok(())
}

/// In the middle of what open models cost in Europe; an operator sets their own with `hoheit price set`.
fn default_price() -> Price {
    Price {
        model: metering::price::ANY_MODEL.to_owned(),
        input: MicroEur(500_000),
        cached_input: MicroEur(100_000),
        output: MicroEur(2_000_000),
    }
}
