//! Every statement of the store is a constant of the module that runs it, declared with [`statements!`], and listed here,
//! so that a test can prepare all of them on both databases.

use crate::{Store, StoreError};
use sqlx::SqlSafeStr as _;

/// Declares statements as constants and collects them in the module's `STATEMENTS`.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* const $name: &str = $sql;)*
        pub(crate) const STATEMENTS: &[&str] = &[$($name),*];
    };
}
pub(crate) use statements;

const ALL: &[&[&str]] = &[
    crate::audit::STATEMENTS,
    crate::change::STATEMENTS,
    crate::endpoints::STATEMENTS,
    crate::engines::STATEMENTS,
    crate::keys::STATEMENTS,
    crate::log::STATEMENTS,
    crate::prices::STATEMENTS,
    crate::projects::STATEMENTS,
    crate::receipts::STATEMENTS,
    crate::rules::STATEMENTS,
    crate::ship::STATEMENTS,
    crate::snapshot::STATEMENTS,
    crate::tenants::STATEMENTS,
    crate::tokens::STATEMENTS,
];

impl Store {
    /// Prepares every statement on this database; answers how many. For tests: a statement that one of the databases
    /// does not understand is found without running it.
    #[doc(hidden)]
    pub async fn prepare_every_statement(&self) -> Result<usize, (String, StoreError)> {
        let generated = crate::ship::insert_statements();
        let all = ALL.iter().flat_map(|module| module.iter().copied()).chain(generated);
        let mut count = 0;
        for sql in all {
            self.database.prepare(sql.into_sql_str()).await.map_err(|error| (sql.to_owned(), error))?;
            count += 1;
        }
        Ok(count)
    }
}
