//! The store's integration tests. Every check of [`suite!`] takes a fresh store and runs on SQLite, one test each, and
//! on PostgreSQL, all in one test (starting a server costs a second); without PostgreSQL that test says so and passes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod aicore;
mod asked;
mod audited;
mod broker;
mod fleet;
mod idempotency;
mod knowledge;
mod leases;
mod postgres;
mod receipts;
mod sealing;
mod site;
mod site_reads;
mod statements;
mod together;
mod upgrades;

use fleet::kept;
use store::Store;

/// A database that a check can open as often as it likes.
pub struct Bed {
    pub url: String,
}

impl Bed {
    pub async fn open(&self) -> Store {
        Store::open(&self.url).await.expect("the store opens")
    }
}

macro_rules! suite {
    ($($module:ident::$check:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $check() {
                let dir = tempfile::tempdir().unwrap();
                let bed = super::Bed { url: format!("sqlite://{}/hoheit.db", dir.path().display()) };
                super::$module::$check(&bed).await;
            })*
        }

        #[tokio::test]
        async fn everything_holds_on_postgres() {
            let server = match postgres::Server::start().await {
                Ok(server) => server,
                Err(why) => return println!("skipped: {why}"),
            };
            $({
                println!("{}", stringify!($check));
                let bed = Bed { url: server.fresh_database(stringify!($check)).await };
                // Boxed: all of them side by side are more than a test's stack.
                Box::pin($module::$check(&bed)).await;
            })*
        }
    };
}

suite! {
    statements::both_databases_understand_every_statement,
    site_reads::everything_reads_back,
    site_reads::lists_are_filtered,
    site_reads::conflicts_and_missing_things_are_told_apart,
    site_reads::equal_facts_are_one_endpoint,
    site_reads::revoking_is_one_way,
    site_reads::rotation_is_one_change,
    site_reads::a_rule_keeps_its_owner,
    site_reads::price_books_follow_one_another,
    site_reads::numbers_beyond_the_database_are_refused,
    audited::each_change_writes_one_entry,
    audited::a_refused_change_writes_nothing,
    audited::the_audit_log_is_paged,
    together::changes_at_once_all_land,
    together::one_of_many_price_books_wins,
    together::a_snapshot_is_one_moment,
    together::gateways_ship_at_once_without_gaps,
    receipts::shipping_twice_changes_nothing,
    receipts::f18_another_receipt_for_a_place_is_a_fork,
    receipts::a_batch_that_contradicts_itself_is_a_fork,
    receipts::large_batches_keep_their_order,
    receipts::receipts_are_paged_by_tenant,
    receipts::spending_is_summed_by_key,
    receipts::a_month_is_read_from_its_runs_alone,
    receipts::an_incarnation_begins_once,
    sealing::seals_are_fenced,
    sealing::a_seal_covers_exactly_what_is_stored,
    sealing::sealed_through_waits_for_the_checkpoint,
    sealing::a_crash_between_the_steps_leaves_one_log,
    idempotency::f12_one_of_many_gets_the_key,
    idempotency::f12_a_key_is_forgotten_after_its_time_and_taken_over_once,
    leases::f19_what_is_leased_lost_shipped_and_closed_counts_once,
    leases::f19_gateways_that_ask_at_once_get_no_more_than_there_is,
    leases::f17_a_newer_boot_of_one_name_fences_the_older_one,
    fleet::a_machine_is_due_until_stepped_and_from_its_time_on,
    fleet::what_is_seen_meanwhile_is_not_lost,
    fleet::an_older_controller_and_an_older_reading_are_fenced,
    fleet::a_stay_has_one_order_and_one_certificate,
    fleet::certificates_lie_between_receipts_in_one_log,
    fleet::a_site_file_is_applied_whole_or_not_at_all,
    fleet::an_agents_token_is_redeemed_once,
    fleet::a_machine_is_due_when_its_order_s_state_is_another,
    fleet::an_exchanged_part_is_in_the_bill,
    fleet::two_tasks_never_run_in_one_zone,
    fleet::the_newest_session_of_each_robot_is_kept,
    fleet::what_was_sent_to_a_bmc_is_known_and_never_by_a_fenced_controller,
    fleet::an_agents_events_are_taken_once,
    fleet::an_agent_that_is_there_makes_nothing_due,
    fleet::foreign_words_with_control_characters_are_shown_and_stop_nothing,
    kept::a_zone_is_not_free_before_its_robot_has_stopped,
    kept::old_events_are_forgotten_machine_by_machine,
    kept::a_serial_number_is_in_custody_once,
    aicore::groups_hold_what_is_made_in_them,
    aicore::a_limit_holds_at_its_edge,
    aicore::only_what_is_stopped_is_deleted,
    knowledge::a_foreign_project_finds_and_changes_nothing,
    knowledge::a_file_is_read_once_and_its_state_and_passages_are_one,
    knowledge::each_change_of_passages_moves_the_version,
    knowledge::a_collection_whose_time_is_over_is_as_good_as_deleted,
    knowledge::a_data_key_is_made_once_and_destroyed_for_good,
    knowledge::limits_hold_when_many_come_at_once,
    knowledge::a_delete_beside_a_file_that_completes_is_a_delete,
    knowledge::a_file_that_was_read_gets_other_passages,
    knowledge::a_closed_project_takes_nothing_and_gives_up_what_it_has,
    asked::a_question_is_taken_once_under_its_name,
    asked::many_at_once_are_taken_to_the_edge_and_not_beyond,
    asked::what_ended_does_not_end_again,
    asked::what_nobody_speaks_for_is_failed,
    asked::a_foreign_project_sees_nothing_and_time_forgets,
    broker::registrations_read_back_and_end,
    broker::two_registrations_do_not_clash,
    broker::a_closed_project_gets_no_key,
    broker::tombstones_go_when_their_time_is_over,
    broker::old_orders_hide_no_new_one,
    broker::an_instance_comes_with_its_tenant_and_goes_with_its_bindings,
    broker::a_tombstone_and_what_it_buries_exclude_each_other,
    upgrades::opening_again_keeps_everything,
    upgrades::receipts_of_the_first_version_move_into_runs,
    upgrades::a_newer_schema_is_refused,
    upgrades::a_changed_migration_is_refused,
}
