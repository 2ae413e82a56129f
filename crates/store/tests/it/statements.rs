//! One SQL text for both databases: each is prepared on both.

use crate::Bed;

pub async fn both_databases_understand_every_statement(bed: &Bed) {
    let count = bed.open().await.prepare_every_statement().await;
    let count = count.unwrap_or_else(|(sql, error)| panic!("{error:?}\n{sql}"));
    assert!(count > 40, "only {count} statements are registered");
}
