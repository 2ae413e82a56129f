//! Brings receipts from the journal into the store, in order, and lets the journal forget what is safe elsewhere.
//!
//! Shipping is idempotent on (incarnation, journal sequence), so a crash anywhere repeats and changes nothing. A
//! different receipt for the same place is a fork: shipping stops, readiness goes, a person must look. A segment is
//! released only when its receipts are in the store, a checkpoint covers them, and no open intent stands in it.

use crate::gateway::Gateway;
use crate::record::{FixedReceipt, Shipping, UnknownRecord, decode_for_shipping};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use store::{ShipError, ShippedReceipt};
use tokio::time::MissedTickBehavior;
use types::{IncarnationId, ReceiptId};

/// Records read at once; at 2 KB each, eight megabytes.
const BATCH_MAX: usize = 4_096;

/// How long receipts gather before they are shipped. A transaction of one receipt costs as much as one of a hundred, and
/// under load there are thousands of commits a second: ten transactions a second are enough, and a receipt's proof waits
/// for the sealer's 250 ms anyway. Who waits for shipping ([`Gateway::wait_shipped`]) does not wait for this.
const GATHER: Duration = Duration::from_millis(100);

/// Behind the newest durable record by no more than this, the shipper gathers; further behind, it goes on at once. Under
/// load the journal never stands still, so that "not behind at all" would gather almost never.
const GATHER_BEHIND_MAX: u64 = BATCH_MAX as u64 / 4;

/// How long to wait before a store that failed is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How often the journal is told what it may forget.
const RELEASE_INTERVAL: Duration = Duration::from_secs(1);

/// A receipt as the store's row.
pub fn row(receipt: FixedReceipt, journal_seq: u64) -> ShippedReceipt {
    ShippedReceipt {
        id: receipt.id,
        tenant: receipt.tenant,
        project: receipt.project,
        key: receipt.key,
        inc: receipt.inc,
        journal_seq,
        chain_seq: receipt.chain_seq,
        received_at: receipt.received_at,
        month: receipt.received_at.month(),
        cost: receipt.cost,
        outcome: receipt.outcome.as_str().to_owned(),
        leaf: receipt.leaf.0,
        signing_input: receipt.signing_input,
    }
}

/// Runs until the journal is closed and everything durable is shipped, or until a fork.
pub async fn run(gateway: Arc<Gateway>) {
    let mut reader = gateway.journal.reader();
    let mut places = Places::default();
    let mut releases = Releases::default();
    let mut release = tokio::time::interval(RELEASE_INTERVAL);
    release.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // A read that is given up has taken nothing: the next one begins at the same place.
        let batch = tokio::select! {
            // In this order, so that the simulation knows it, and that a busy journal cannot starve the clock.
            biased;
            _ = release.tick() => {
                releases.turn(&gateway, &places).await;
                continue;
            }
            batch = reader.next_batch(BATCH_MAX) => batch,
        };
        let records = match batch {
            Ok(records) if records.is_empty() => return,
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "the journal cannot be read back: shipping stops");
                gateway.alarm_fork();
                return;
            }
        };
        let rows = match places.read_all(&records) {
            Ok(rows) => rows,
            Err((seq, error)) => {
                // Skipped, it would be a gap in a chain once its segment is released.
                tracing::error!(%error, seq, "a journal record has no meaning: shipping stops, no request is admitted");
                gateway.alarm_fork();
                return;
            }
        };
        let ours = rows.iter().filter(|row| row.inc == gateway.incarnation).count() as u64;
        if !ship(&gateway, &rows).await {
            return;
        }
        gateway.metrics.shipped.inc_by(rows.len() as u64);
        gateway.shipped.send_modify(|count| *count += ours);
        if caught_up(&gateway, &records) {
            tokio::select! {
                biased;
                () = tokio::time::sleep(GATHER) => {}
                () = gateway.ship_now.notified() => {}
            }
        }
    }
}

/// Whether the last of these is (almost) the newest durable record. After a start it is not: what older lives left comes a
/// segment at a time, and none of it is made to wait.
fn caught_up(gateway: &Gateway, records: &[journal::Record]) -> bool {
    let ours = gateway.incarnation.0.to_be_bytes();
    records
        .last()
        .is_some_and(|last| last.incarnation == ours && last.seq + GATHER_BEHIND_MAX >= gateway.journal.durable_seq())
}

/// Ships until the store has taken it. False: a fork.
async fn ship(gateway: &Gateway, rows: &[ShippedReceipt]) -> bool {
    loop {
        match gateway.store.ship(rows).await {
            Ok(_) => return true,
            Err(ShipError::Store(error)) => {
                tracing::warn!(%error, "receipts could not be shipped; they stay in the journal and are tried again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(fork @ ShipError::Fork { .. }) => {
                tracing::error!(%fork, "FORK: shipping stops and no request is admitted until a person has looked");
                gateway.alarm_fork();
                return false;
            }
        }
    }
}

/// What the journal may forget next. One place is asked about until it is sealed: the newest one, asked about anew each
/// time, would under load never be. It is asked by the clock, not after a batch, so that a site that admits nothing because
/// its disk is nearly full gets its space back.
#[derive(Default)]
struct Releases {
    released: Option<Place>,
    waiting: Option<Place>,
}

impl Releases {
    async fn turn(&mut self, gateway: &Gateway, places: &Places) {
        if !gateway.joined() {
            // The journal still says whose leases are to be closed.
            return;
        }
        self.waiting = self.waiting.or_else(|| places.safe().filter(|place| Some(*place) != self.released));
        let Some((incarnation, seq)) = self.waiting else { return };
        match gateway.store.sealed_through(IncarnationId(u128::from_be_bytes(incarnation)), seq).await {
            Ok(true) => {
                gateway.journal.release(incarnation, seq);
                self.released = self.waiting.take();
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "whether receipts are sealed cannot be told now"),
        }
    }
}

type Place = ([u8; 16], u64);

/// Which records have been read, and which intents among them are open.
#[derive(Default)]
struct Places {
    /// Records read so far, and the last of them.
    count: u64,
    last: Option<Place>,
    /// For each open intent, the record before it.
    open: BTreeMap<u64, Option<Place>>,
    by_id: HashMap<ReceiptId, u64>,
}

impl Places {
    /// The receipts of a batch as rows. A record of an unknown form is an error with its place in the journal.
    fn read_all(&mut self, records: &[journal::Record]) -> Result<Vec<ShippedReceipt>, (u64, UnknownRecord)> {
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            match decode_for_shipping(&record.payload).map_err(|error| (record.seq, error))? {
                Shipping::Opens(id) => self.open(id),
                Shipping::Nothing => {}
                Shipping::Receipt(receipt) => {
                    self.close(receipt.id);
                    rows.push(row(receipt, record.seq));
                }
            }
            self.read((record.incarnation, record.seq));
        }
        Ok(rows)
    }

    fn open(&mut self, id: ReceiptId) {
        // A second attempt writes a second intent: the first one's place counts.
        if !self.by_id.contains_key(&id) {
            self.by_id.insert(id, self.count);
            self.open.insert(self.count, self.last);
        }
    }

    fn close(&mut self, id: ReceiptId) {
        if let Some(count) = self.by_id.remove(&id) {
            self.open.remove(&count);
        }
    }

    fn read(&mut self, place: Place) {
        self.count += 1;
        self.last = Some(place);
    }

    /// The newest record up to which nothing is needed any more.
    fn safe(&self) -> Option<Place> {
        match self.open.first_key_value() {
            Some((_, before)) => *before,
            None => self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_meaning_is_never_passed_over() {
        let record =
            |seq, payload: &[u8]| journal::Record { incarnation: [0; 16], seq, payload: payload.to_vec().into() };
        let watermark = crate::record::encode_watermark(&crate::record::Watermark {
            receipt: ReceiptId(1),
            usage: types::Usage::default(),
        });
        let mut places = Places::default();
        assert_eq!(places.read_all(&[record(1, &watermark)]), Ok(Vec::new()));
        assert_eq!(places.read_all(&[record(2, b"X"), record(3, &watermark)]), Err((2, UnknownRecord)));
        // Not even its segment goes.
        assert_eq!(places.safe(), Some(([0; 16], 1)));
    }

    #[test]
    fn nothing_from_an_open_intent_on_is_released() {
        let mut places = Places::default();
        let place = |seq| ([0; 16], seq);
        assert_eq!(places.safe(), None);
        for seq in 1..=5 {
            match seq {
                2 => places.open(ReceiptId(2)),
                3 => places.open(ReceiptId(3)),
                5 => places.close(ReceiptId(2)),
                _ => {}
            }
            places.read(place(seq));
            let expect = match seq {
                1 => 1,
                5 => 2,
                _ => 1,
            };
            assert_eq!(places.safe(), Some(place(expect)), "after {seq}");
        }
        places.close(ReceiptId(3));
        places.read(place(6));
        assert_eq!(places.safe(), Some(place(6)));
    }
}
