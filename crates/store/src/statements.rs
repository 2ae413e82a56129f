//! Every statement of the store is a constant of the module that runs it, declared with [`statements!`], and listed here,
//! so that a test can prepare all of them on both databases.

use crate::{Store, StoreError};
use sqlx::SqlSafeStr as _;

/// Declares statements as constants and collects them in the module's `STATEMENTS`.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $sql;)*
        pub(crate) const STATEMENTS: &[&str] = &[$($name),*];
    };
}
pub(crate) use statements;

const ALL: &[&[&str]] = &[
    crate::aicore::STATEMENTS,
    crate::aicore::configurations::STATEMENTS,
    crate::aicore::deployments::STATEMENTS,
    crate::aicore::groups::STATEMENTS,
    crate::asked::STATEMENTS,
    crate::audit::STATEMENTS,
    crate::broker::registrations::STATEMENTS,
    crate::broker::slots::STATEMENTS,
    crate::broker::writes::STATEMENTS,
    crate::change::STATEMENTS,
    crate::endpoints::STATEMENTS,
    crate::engines::STATEMENTS,
    crate::fleet::acceptances::STATEMENTS,
    crate::fleet::agents::STATEMENTS,
    crate::fleet::custody::STATEMENTS,
    crate::fleet::events::STATEMENTS,
    crate::fleet::machines::STATEMENTS,
    crate::fleet::observations::STATEMENTS,
    crate::fleet::orders::STATEMENTS,
    crate::fleet::robots::STATEMENTS,
    crate::fleet::sent::STATEMENTS,
    crate::fleet::site_models::STATEMENTS,
    crate::fleet::steps::STATEMENTS,
    crate::fleet::zones::STATEMENTS,
    crate::gather::STATEMENTS,
    crate::idempotency::STATEMENTS,
    crate::keys::STATEMENTS,
    crate::knowledge::attachments::STATEMENTS,
    crate::knowledge::collections::STATEMENTS,
    crate::knowledge::files::STATEMENTS,
    crate::knowledge::keys::STATEMENTS,
    crate::knowledge::passages::STATEMENTS,
    crate::leases::STATEMENTS,
    crate::log::STATEMENTS,
    crate::prices::STATEMENTS,
    crate::projects::STATEMENTS,
    crate::receipts::STATEMENTS,
    crate::rules::STATEMENTS,
    crate::ship::STATEMENTS,
    crate::snapshot::STATEMENTS,
    crate::tenants::STATEMENTS,
    crate::tokens::STATEMENTS,
    crate::partners::STATEMENTS,
    crate::upgrade::STATEMENTS,
];

impl Store {
    /// Prepares every statement on this database; answers how many. For tests: a statement that one of the databases
    /// does not understand is found without running it.
    #[doc(hidden)]
    pub async fn prepare_every_statement(&self) -> Result<usize, (String, StoreError)> {
        let mut count = 0;
        for sql in ALL.iter().flat_map(|module| module.iter().copied()) {
            self.database.prepare(sql.into_sql_str()).await.map_err(|error| (sql.to_owned(), error))?;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::ALL;
    use sqlx::{AssertSqlSafe, Row as _};

    /// Receipts are the one table that grows without end: whatever reads it goes through an index. SPENT scans a
    /// month, and the covering index is what makes that bearable.
    #[tokio::test]
    async fn no_statement_scans_the_receipts() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::Store::open(&format!("sqlite://{}/hoheit.db", dir.path().display())).await.unwrap();
        let crate::database::Database::Sqlite { write, .. } = &store.database else { unreachable!() };
        let mut seen = 0;
        for sql in ALL.iter().flat_map(|module| module.iter()).filter(|sql| sql.contains("FROM receipt_")) {
            let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(write).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
            assert!(
                !plan.iter().any(|step| step.starts_with("SCAN r") || step.starts_with("SCAN s")),
                "{sql}\n{plan:#?}"
            );
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{sql}\n{plan:#?}");
            if sql.contains("SUM(") {
                assert!(plan.iter().any(|step| step.contains("COVERING INDEX receipt_costs_spent")), "{plan:#?}");
            }
            seen += 1;
        }
        assert!(seen >= 7, "{seen}");
    }
}
