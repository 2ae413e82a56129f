//! Two databases behind one face: an enum of pools, one list of values in, rows read column by column out. The only
//! file of Hoheit that knows which database it speaks to.
//!
//! Not sqlx's `Any`: its placeholders differ per database, and ours are `$1` everywhere. Not an abstraction of SQL
//! either: statements are text, the same for both.
//!
//! SQLite has one writer: a pool of one connection, whose transactions begin with BEGIN IMMEDIATE, so that two of ours
//! wait in line here instead of failing there. Reads go through a pool of their own that cannot write.
//!
//! If we crash in a transaction, nothing of it exists: both databases roll back what was not committed, and both sync
//! before a commit returns (SQLite: WAL with synchronous=FULL; PostgreSQL: synchronous_commit=on).

use crate::StoreError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Column as _, Executor as _, Row as _, SqlStr};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use std::str::FromStr;
use types::{MicroEur, UnixMillis};

#[derive(Clone)]
pub(crate) enum Database {
    Sqlite { write: SqlitePool, read: SqlitePool },
    Postgres(PgPool),
}

/// A transaction. Dropped without a commit, it is rolled back.
pub(crate) enum Session {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A parameter of a statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Bool(bool),
    Bytes(Vec<u8>),
}

pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// The values of one statement, in the order of `$1`, `$2`, ….
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::database::Value::from($value)),*] };
}
pub(crate) use values;

macro_rules! value_from {
    ($($kind:ty => $variant:ident($value:ident) $make:expr;)*) => {
        $(impl From<$kind> for Value { fn from($value: $kind) -> Self { Value::$variant($make) } })*
    };
}
value_from! {
    &str => Text(v) Some(v.to_owned());
    String => Text(v) Some(v);
    &String => Text(v) Some(v.clone());
    Option<String> => Text(v) v;
    &Option<String> => Text(v) v.clone();
    i64 => Int(v) Some(v);
    u32 => Int(v) Some(i64::from(v));
    Option<i64> => Int(v) v;
    Option<u32> => Int(v) v.map(i64::from);
    UnixMillis => Int(v) Some(v.0);
    Option<UnixMillis> => Int(v) v.map(|v| v.0);
    MicroEur => Int(v) Some(v.0);
    Option<MicroEur> => Int(v) v.map(|v| v.0);
    bool => Bool(v) v;
    Vec<u8> => Bytes(v) v;
}

macro_rules! value_from_id {
    ($($id:ident)*) => {$(
        impl From<types::$id> for Value { fn from(id: types::$id) -> Self { Value::Text(Some(id.to_string())) } }
        impl From<Option<types::$id>> for Value {
            fn from(id: Option<types::$id>) -> Self { Value::Text(id.map(|id| id.to_string())) }
        }
    )*};
}
value_from_id! { TenantId ProjectId KeyId TokenId EngineId EndpointId RuleId ReceiptId IncarnationId AuditId
MachineId OrderId TaskId AcceptanceId CollectionId FileId ConfigurationId DeploymentId BrokerId OperationId AsyncId }

/// A count as the database's signed 64 bits.
pub(crate) fn int(count: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(count).map_err(|_| StoreError::TooLarge { what })
}

/// Binds the values for one of the databases; sqlx's argument types share no usable trait.
macro_rules! bound {
    ($arguments:ty, $values:expr) => {{
        let mut arguments = <$arguments>::default();
        for value in $values {
            use sqlx::Arguments as _;
            match value {
                Value::Text(v) => arguments.add(v),
                Value::Int(v) => arguments.add(v),
                Value::Bool(v) => arguments.add(v),
                Value::Bytes(v) => arguments.add(v),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        arguments
    }};
}

impl Database {
    /// A transaction that may write.
    pub(crate) async fn write(&self) -> Result<Session, StoreError> {
        Ok(match self {
            Database::Sqlite { write, .. } => Session::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Database::Postgres(pool) => Session::Postgres(pool.begin().await?),
        })
    }

    /// A transaction whose every statement sees the same moment.
    pub(crate) async fn read(&self) -> Result<Session, StoreError> {
        const REPEATABLE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(match self {
            Database::Sqlite { read, .. } => Session::Sqlite(read.begin().await?),
            Database::Postgres(pool) => Session::Postgres(pool.begin_with(REPEATABLE).await?),
        })
    }

    /// One reading statement by itself.
    pub(crate) async fn rows(&self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Database::Sqlite { read, .. } => {
                let query = sqlx::query_with(sql, bound!(SqliteArguments, values));
                query.fetch_all(read).await?.into_iter().map(Row::Sqlite).collect()
            }
            Database::Postgres(pool) => {
                let query = sqlx::query_with(sql, bound!(PgArguments, values));
                query.fetch_all(pool).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Prepares a statement and forgets it; the error is the database's own.
    pub(crate) async fn prepare(&self, sql: SqlStr) -> Result<(), StoreError> {
        match self {
            Database::Sqlite { write, .. } => drop(write.acquire().await?.prepare(sql).await?),
            Database::Postgres(pool) => drop(pool.acquire().await?.prepare(sql).await?),
        }
        Ok(())
    }

    /// Folds SQLite's write-ahead log in and cuts it off, so that what was deleted is in no file any more. While somebody reads
    /// from it, it is cut by a later call. PostgreSQL does its own tidying.
    pub(crate) async fn fold(&self) -> Result<(), StoreError> {
        if let Database::Sqlite { write, .. } = self {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(write).await?;
        }
        Ok(())
    }

    pub(crate) async fn close(&self) {
        match self {
            Database::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Database::Postgres(pool) => pool.close().await,
        }
    }
}

impl Session {
    /// Runs a writing statement; answers how many rows it touched.
    pub(crate) async fn run(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        Ok(match self {
            Session::Sqlite(tx) => {
                sqlx::query_with(sql, bound!(SqliteArguments, values)).execute(&mut **tx).await?.rows_affected()
            }
            Session::Postgres(tx) => {
                sqlx::query_with(sql, bound!(PgArguments, values)).execute(&mut **tx).await?.rows_affected()
            }
        })
    }

    pub(crate) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Session::Sqlite(tx) => {
                let query = sqlx::query_with(sql, bound!(SqliteArguments, values));
                query.fetch_all(&mut **tx).await?.into_iter().map(Row::Sqlite).collect()
            }
            Session::Postgres(tx) => {
                let query = sqlx::query_with(sql, bound!(PgArguments, values));
                query.fetch_all(&mut **tx).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// A statement that answers exactly one number.
    pub(crate) async fn number(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
        let rows = self.rows(sql, values).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt { what: "a counter is missing".to_owned() })?;
        row.columns().count()
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Session::Sqlite(tx) => tx.commit().await?,
            Session::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

impl Row {
    /// Reads the columns from left to right.
    pub(crate) fn columns(&self) -> Columns<'_> {
        self.columns_from(0)
    }

    /// The same from a later one on.
    pub(crate) fn columns_from(&self, next: usize) -> Columns<'_> {
        Columns { row: self, next }
    }
}

/// Reads a row from left to right, so that a struct literal in the statement's column order is the whole mapping.
pub(crate) struct Columns<'r> {
    row: &'r Row,
    next: usize,
}

macro_rules! column {
    ($($name:ident -> $kind:ty;)*) => {
        $(pub(crate) fn $name(&mut self) -> Result<$kind, StoreError> {
            let place = self.next;
            self.next += 1;
            Ok(match self.row {
                Row::Sqlite(row) => row.try_get(place)?,
                Row::Postgres(row) => row.try_get(place)?,
            })
        })*
    };
}

impl Columns<'_> {
    column! {
        text -> String;
        text_opt -> Option<String>;
        int -> i64;
        int_opt -> Option<i64>;
        flag -> bool;
        bytes -> Vec<u8>;
    }

    fn corrupt(&self, why: &str) -> StoreError {
        let place = self.next - 1;
        let name = match self.row {
            Row::Sqlite(row) => row.column(place).name(),
            Row::Postgres(row) => row.column(place).name(),
        };
        StoreError::Corrupt { what: format!("column {name}: {why}") }
    }

    /// An id, a country, a class: anything with one spelling.
    pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<T, StoreError> {
        let text = self.text()?;
        text.parse().map_err(|error: T::Err| self.corrupt(&error.to_string()))
    }

    pub(crate) fn parsed_opt<T: FromStr<Err: std::fmt::Display>>(&mut self) -> Result<Option<T>, StoreError> {
        let text = self.text_opt()?;
        text.map(|text| text.parse()).transpose().map_err(|error: T::Err| self.corrupt(&error.to_string()))
    }

    pub(crate) fn count(&mut self) -> Result<u64, StoreError> {
        let value = self.int()?;
        u64::try_from(value).map_err(|_| self.corrupt("a count below zero"))
    }

    pub(crate) fn count_opt<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, StoreError> {
        let value = self.int_opt()?;
        value.map(T::try_from).transpose().map_err(|_| self.corrupt("a count out of range"))
    }

    pub(crate) fn money_opt(&mut self) -> Result<Option<MicroEur>, StoreError> {
        Ok(self.int_opt()?.map(MicroEur))
    }

    pub(crate) fn time_opt(&mut self) -> Result<Option<UnixMillis>, StoreError> {
        Ok(self.int_opt()?.map(UnixMillis))
    }

    pub(crate) fn hash(&mut self) -> Result<[u8; 32], StoreError> {
        let bytes = self.bytes()?;
        bytes.try_into().map_err(|_| self.corrupt("not 32 bytes"))
    }
}
