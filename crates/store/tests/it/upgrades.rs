//! Opening again: the same version keeps everything, an older one refuses to touch what a newer one wrote.

use crate::Bed;
use crate::site::*;
use sqlx::Connection as _;
use store::{Store, StoreError};
use types::{ProjectId, TenantId};

/// Runs SQL beside the store, as another version of Hoheit would have.
async fn meddle(bed: &Bed, sql: &'static str) {
    if bed.url.starts_with("sqlite") {
        let mut connection = sqlx::SqliteConnection::connect(&bed.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = sqlx::PgConnection::connect(&bed.url).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn refusal(bed: &Bed) -> StoreError {
    match Store::open(&bed.url).await {
        Ok(_) => panic!("the store must not open"),
        Err(error) => error,
    }
}

pub async fn opening_again_keeps_everything(bed: &Bed) {
    let store = bed.open().await;
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    store.ship(&[receipt(1, 1)]).await.unwrap();
    let (snapshot, unsealed) = (store.snapshot("s").await.unwrap(), store.unsealed(9).await.unwrap());
    store.close().await;
    let again = bed.open().await;
    assert_eq!((again.snapshot("s").await.unwrap(), again.unsealed(9).await.unwrap()), (snapshot, unsealed));
}

/// A store of the first version has a row for each receipt.
pub async fn receipts_of_the_first_version_move_into_runs(bed: &Bed) {
    bed.open().await.close().await;
    let (one, two, project) = (TenantId(1), TenantId(2), ProjectId(1));
    let row = |ord: u64, tenant: TenantId| {
        let it = receipt(1, ord + 1);
        let leaf: String = it.leaf.iter().map(|byte| format!("{byte:02x}")).collect();
        let leaf = if bed.url.starts_with("sqlite") { format!("x'{leaf}'") } else { format!("'\\x{leaf}'") };
        format!(
            "INSERT INTO receipts (ord, id, tenant, project, key, inc, journal_seq, chain_seq, received_at, month, cost,
             outcome, signing_input, leaf) VALUES ({ord}, '{}', '{tenant}', '{project}', '{}', '{}', {}, {}, {}, '{}',
             {}, '{}', '{}', {leaf});",
            it.id, it.key, it.inc, it.journal_seq, it.chain_seq, it.received_at.0, it.month, it.cost.0, it.outcome,
            it.signing_input,
        )
    };
    let mut sql: String = (0..1_100).map(|ord| row(ord, if ord == 3 { two } else { one })).collect();
    sql += "UPDATE counters SET value = 1100 WHERE name = 'leaves';
            UPDATE tree_head SET size = 5, checkpoint = 'five' WHERE id = 1;";
    meddle(bed, sql.leak()).await;
    for _ in 0..2 {
        let store = bed.open().await;
        let unsealed = store.unsealed(2_000).await.unwrap();
        let expect: Vec<_> = (5..1_100).map(|ord| (ord, receipt(1, ord + 1).leaf)).collect();
        assert_eq!(unsealed, expect);
        for ord in [0, 3, 4, 5, 1_099] {
            let found = store.receipt(receipt(1, ord + 1).id).await.unwrap().unwrap();
            assert_eq!((found.chain_seq, found.leaf_index), (ord + 1, (ord < 5).then_some(ord)));
            assert_eq!(found.tenant, if ord == 3 { two } else { one });
        }
        // What is shipped again is known, and what is new goes behind.
        assert_eq!(store.ship(&[receipt(1, 1_100)]).await.unwrap(), 0);
        let spent = store.spent(receipt(1, 1).month).await.unwrap();
        assert_eq!(spent.iter().map(|it| it.cost.0).collect::<Vec<_>>(), [7 * 1_099, 7]);
        store.close().await;
    }
}

pub async fn a_newer_schema_is_refused(bed: &Bed) {
    bed.open().await.close().await;
    meddle(
        bed,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT 9000, 'of a newer version', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
    )
    .await;
    let error = refusal(bed).await;
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap();
    let numbers = files.map(|file| file.unwrap().file_name().to_string_lossy()[..4].parse::<i64>().unwrap());
    let ours = numbers.max().unwrap();
    assert!(matches!(error, StoreError::NewerSchema { found: 9000, known } if known == ours), "{error:?}");
    assert!(error.to_string().contains("was written by a newer version"), "{error}");
}

pub async fn a_changed_migration_is_refused(bed: &Bed) {
    bed.open().await.close().await;
    meddle(
        bed,
        "UPDATE _sqlx_migrations SET checksum = (SELECT checksum FROM _sqlx_migrations WHERE version = 2)
         WHERE version = 1",
    )
    .await;
    let error = refusal(bed).await;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

/// What a person can get wrong in a URL or a folder.
#[tokio::test]
async fn urls_and_files_that_are_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let garbage = dir.path().join("garbage.db");
    std::fs::write(&garbage, "this is not a database, and it is longer than a header".repeat(40)).unwrap();
    let at = |path: &str| format!("sqlite://{}/{path}", dir.path().display());
    let check = async |url: String, expect: fn(&StoreError) -> bool| {
        let error = refusal(&Bed { url: url.clone() }).await;
        assert!(expect(&error), "{url}: {error:?}");
    };
    check(String::new(), |e| matches!(e, StoreError::Url { .. })).await;
    check("mysql://localhost/x".to_owned(), |e| matches!(e, StoreError::Url { .. })).await;
    check("sqlite::memory:".to_owned(), |e| matches!(e, StoreError::Url { .. })).await;
    check("postgres://[".to_owned(), |e| matches!(e, StoreError::Url { .. })).await;
    check(at("missing/hoheit.db"), |e| matches!(e, StoreError::Unavailable(_))).await;
    check(at("garbage.db"), |e| matches!(e, StoreError::Corrupt { .. })).await;
    check("postgres://x@127.0.0.1:1/x".to_owned(), |e| matches!(e, StoreError::Unavailable(_))).await;
    assert!(std::fs::read_to_string(garbage).unwrap().starts_with("this is not"), "nothing was written over it");
}

/// The file holds engine credentials.
#[tokio::test]
async fn the_file_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("sqlite://{}/hoheit.db", dir.path().display())).await.unwrap();
    store.tenant_create(&tenant(1), &entry("tenant.create")).await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
}
