//! Opening: connect, check the library, refuse a newer schema, migrate.
//!
//! If we crash here: each migration is one transaction, so the next start finds either all of it or nothing. Two
//! processes that open at once wait for each other (PostgreSQL: sqlx's advisory lock; SQLite: the data folder's lock file
//! is the caller's, and migrations run in the single writer).

use crate::database::Database;
use crate::{Store, StoreError, knowledge};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row as _, SqlitePool};
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Before 3.51.3 a reset of the write-ahead log could corrupt the database.
const SQLITE_MIN: (u32, u32, u32) = (3, 51, 3);

/// How long a statement waits for another process that holds SQLite's lock. Ours hold it for one transaction, the
/// longest of which (a shipped batch) takes tens of milliseconds; a backup tool may take longer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a request waits for a free connection before it is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers of SQLite: lists and snapshots, a few milliseconds each. Four keep 100 of them a second below 10 % load.
const SQLITE_READERS_MAX: u32 = 4;

/// Page cache per connection: the upper levels of the receipts' indexes for tens of millions of rows.
const SQLITE_CACHE_KIB: u32 = 32 * 1024;

/// A run of receipts is hundreds of KiB: in pages of SQLite's default of 4 KiB it is written, and later folded, with a system
/// call for each. Of a database that is there already the size stays what it is.
const SQLITE_PAGE_BYTES: u32 = 16 * 1024;

/// Pages in the write-ahead log before it is folded in: 32 MiB, about twenty shipped batches of 1,000, where SQLite's own
/// 1,000 pages of 4 KiB would fold after each batch and write the same index pages again and again.
const SQLITE_WAL_PAGES: u32 = 32 * 1024 * 1024 / SQLITE_PAGE_BYTES;

/// Connections to PostgreSQL per process; its default limit of 100 serves eight processes and leaves room.
pub(crate) const POSTGRES_CONNECTIONS_MAX: u32 = 12;

/// More than there are statements, so that each is prepared once per connection.
const STATEMENTS_CACHED_MAX: usize = 256;

impl Store {
    /// Opens `sqlite:///path/hoheit.db` (made if missing, readable by its owner only) or `postgres://…`, and brings
    /// its schema up to this version.
    pub async fn open(url: &str) -> Result<Store, StoreError> {
        let database = if url.starts_with("sqlite:") {
            sqlite(url).await?
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            postgres(url).await?
        } else {
            return Err(StoreError::Url { why: "this one begins with neither".to_owned() });
        };
        match &database {
            Database::Sqlite { write, .. } => MIGRATIONS.run(write).await,
            Database::Postgres(pool) => MIGRATIONS.run(pool).await,
        }
        .map_err(migration_error)?;
        crate::upgrade::move_receipts(&database).await?;
        Ok(Store { database, gathering: Default::default(), project_writers: knowledge::writers() })
    }
}

fn migration_error(error: MigrateError) -> StoreError {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    match error {
        MigrateError::VersionMissing(found) if found > known => StoreError::NewerSchema { found, known },
        MigrateError::VersionMissing(found) => StoreError::Corrupt { what: format!("unknown migration {found}") },
        MigrateError::VersionMismatch(found) => {
            StoreError::Corrupt { what: format!("migration {found} is not the one that this version ships") }
        }
        MigrateError::Dirty(found) => StoreError::Corrupt { what: format!("migration {found} is half applied") },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => StoreError::Refused(sqlx::Error::Migrate(Box::new(other))),
    }
}

async fn sqlite(url: &str) -> Result<Database, StoreError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| StoreError::Url { why: error.to_string() })?;
    let path = options.get_filename().to_owned();
    if path.as_os_str().is_empty() || url.contains(":memory:") {
        return Err(StoreError::Url { why: "a path is needed, receipts must outlive the process".to_owned() });
    }
    create_private(&path)?;
    let options = options
        .page_size(SQLITE_PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // What is deleted is overwritten: rows of content, and keys that are destroyed.
        .pragma("secure_delete", "ON")
        .pragma("cache_size", format!("-{SQLITE_CACHE_KIB}"))
        .pragma("wal_autocheckpoint", SQLITE_WAL_PAGES.to_string())
        .statement_cache_capacity(STATEMENTS_CACHED_MAX);
    let pool = |size| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    let write = pool(1).connect_with(options.clone()).await?;
    assert_version(&write).await?;
    let read = pool(SQLITE_READERS_MAX).connect_with(options.pragma("query_only", "ON")).await?;
    Ok(Database::Sqlite { write, read })
}

/// The file holds engine credentials and commitment keys. SQLite gives its side files the mode of the main one.
fn create_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable(sqlx::Error::Io(error))),
    }
}

async fn assert_version(pool: &SqlitePool) -> Result<(), StoreError> {
    let found: String = sqlx::query("SELECT sqlite_version()").fetch_one(pool).await?.try_get(0)?;
    if version_is_good(&found) { Ok(()) } else { Err(StoreError::SqliteTooOld { found }) }
}

fn version_is_good(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next()) >= SQLITE_MIN
}

impl Store {
    /// The same without a database that answers now: it is connected to, and brought up to date, when it is first used. Until
    /// then every call says that it is not available. For PostgreSQL; a file is there or is made.
    pub fn open_later(url: &str) -> Result<Store, StoreError> {
        let pool = postgres_pool().after_connect(|connection, _| {
            Box::pin(async move {
                // Not `run`: its trait bound and a borrowed connection do not go together (its authors know).
                let migrated = MIGRATIONS.run_direct(None, connection, false).await;
                migrated.map_err(|error| sqlx::Error::Migrate(Box::new(error)))
            })
        });
        let database = Database::Postgres(pool.connect_lazy_with(postgres_options(url)?));
        Ok(Store { database, gathering: Default::default(), project_writers: knowledge::writers() })
    }
}

async fn postgres(url: &str) -> Result<Database, StoreError> {
    Ok(Database::Postgres(postgres_pool().connect_with(postgres_options(url)?).await?))
}

fn postgres_pool() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT)
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|error| StoreError::Url { why: error.to_string() })?;
    Ok(options
        .application_name("hoheit")
        // A gateway deletes its journal when we say "stored": no server default may make that a lie.
        .options([("synchronous_commit", "on")])
        .statement_cache_capacity(STATEMENTS_CACHED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_versions() {
        for (version, good) in
            [("3.51.2", false), ("3.51.3", true), ("3.52.0", true), ("4.0.0", true), ("3.40.1", false), ("?", false)]
        {
            assert_eq!(version_is_good(version), good, "{version}");
        }
    }

    /// What durability and integrity rest on, as SQLite itself states it.
    #[tokio::test]
    async fn pragmas() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/hoheit.db", dir.path().display())).await.unwrap();
        let Database::Sqlite { write, read } = &store.database else { unreachable!() };
        for (pool, query_only) in [(write, 0), (read, 1)] {
            let mut connection = pool.acquire().await.unwrap();
            let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
            assert_eq!(mode, "wal");
            for (pragma, expect) in [
                ("PRAGMA synchronous", 2),
                ("PRAGMA foreign_keys", 1),
                ("PRAGMA query_only", query_only),
                ("PRAGMA busy_timeout", 5_000),
                ("PRAGMA secure_delete", 1),
                ("PRAGMA page_size", i64::from(SQLITE_PAGE_BYTES)),
            ] {
                let value: i64 = sqlx::query_scalar(pragma).fetch_one(&mut *connection).await.unwrap();
                assert_eq!(value, expect, "{pragma}");
            }
        }
        assert_eq!(write.options().get_max_connections(), 1);
    }
}
