//! The four timeouts, and those of clients, as they are set in the product, in virtual time: the whole gateway runs in one
//! thread without sockets, and its clock jumps to the next alarm. What is asserted of time is exact, and no test waits.

use crate::world::*;
use gateway::dial::{Dial, Dialling, Line};
use gateway::listen::{Lane, foreign};
use gateway::shelf::{Asked, Shelf};
use gateway::{Clock, Gateway, Limits, Parts, SystemClock};
use http::Response;
use http_body_util::Empty;
use journal::Crank;
use ledger::key::SigningKey;
use metering::lease::{Grant, Sharing};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::tiles::TileFiles;
use store::{
    BudgetOf, Carried, IdempotencyRow, KeyHolder, LeaseAsk, LeaseError, ReceiptFilter, ShipError, ShippedReceipt,
    StoredReceipt,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};
use types::{IncarnationId, Month, Outcome, ReceiptClaims, ReceiptId, UnixMillis, UsageSource};

/// A store that keeps what is shipped, and nothing else.
#[derive(Default)]
struct Memory(Mutex<Vec<ShippedReceipt>>);

impl Shelf for Memory {
    fn incarnation_begin<'a>(&'a self, _: &'a str, _: IncarnationId, _: UnixMillis) -> Asked<'a, u64> {
        Box::pin(async { Ok(1) })
    }

    fn ship<'a>(&'a self, rows: &'a [ShippedReceipt]) -> Asked<'a, u64, ShipError> {
        self.0.lock().unwrap().extend_from_slice(rows);
        Box::pin(async { Ok(rows.len() as u64) })
    }

    fn lease<'a>(&'a self, _: IncarnationId, _: &'a [LeaseAsk], _: Sharing) -> Asked<'a, Vec<Grant>, LeaseError> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn lease_wanted(&self, _: IncarnationId) -> Asked<'_, Vec<(BudgetOf, Month)>, LeaseError> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn lease_close<'a>(&'a self, _: IncarnationId, _: &'a [IncarnationId], _: &'a [Carried]) -> Asked<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn idempotency_claim<'a>(&'a self, _: &'a IdempotencyRow, _: UnixMillis) -> Asked<'a, KeyHolder> {
        unreachable!("no request here names a key")
    }

    fn idempotency_take<'a>(&'a self, _: &'a IdempotencyRow, _: ReceiptId) -> Asked<'a, bool> {
        unreachable!("no request here names a key")
    }

    fn idempotency_sweep(&self, _: UnixMillis) -> Asked<'_, u64> {
        Box::pin(async { Ok(0) })
    }

    fn sealed_through(&self, _: IncarnationId, _: u64) -> Asked<'_, bool> {
        Box::pin(async { Ok(false) })
    }

    fn receipt(&self, _: ReceiptId) -> Asked<'_, Option<StoredReceipt>> {
        Box::pin(async { Ok(None) })
    }

    fn receipts<'a>(&'a self, _: &'a ReceiptFilter) -> Asked<'a, Vec<StoredReceipt>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// How the only engine behaves.
#[derive(Clone, Copy)]
enum Engine {
    /// No connection ever comes about.
    Unreachable,
    /// Takes the request and says nothing.
    Mute,
    /// Says a token at once and one each so many seconds, as many as these.
    Speaks { every_seconds: u64, tokens: usize },
    /// Says one token, and from then on that it is still there.
    Pings { every_seconds: u64 },
}

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"t\"}}],\
                     \"usage\":{\"prompt_tokens\":3,\"completion_tokens\":COUNT}}\n\n";

async fn engine(mut line: DuplexStream, how: Engine) {
    let mut request = [0; 4_096];
    let _read = line.read(&mut request).await;
    if let Engine::Speaks { every_seconds, tokens } = how {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        line.write_all(head.as_bytes()).await.unwrap();
        for count in 1..=tokens {
            let event = TOKEN.replace("COUNT", &count.to_string());
            if line.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await.is_err() {
                return;
            }
            sleep(Duration::from_secs(every_seconds)).await;
        }
    }
    if let Engine::Pings { every_seconds } = how {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        line.write_all(format!("{head}{}", TOKEN.replace("COUNT", "1")).as_bytes()).await.unwrap();
        while line.write_all(b": ping\n\n").await.is_ok() {
            sleep(Duration::from_secs(every_seconds)).await;
        }
        return;
    }
    // Until the gateway hangs up.
    let _closed = line.read(&mut request).await;
}

/// Commits take 100 ms of virtual time: an hour has 36,000 of them.
const COMMIT: Duration = Duration::from_millis(100);

/// What a client reads at once, and how long it then rests.
#[derive(Clone, Copy)]
struct Reads(usize, Duration);

impl Reads {
    const AT_ONCE: Reads = Reads(64 << 10, Duration::ZERO);

    async fn all(self, mut from: impl AsyncReadExt + Unpin) -> String {
        let (mut answer, mut buffer) = (Vec::new(), vec![0; self.0]);
        loop {
            match from.read(&mut buffer).await.unwrap() {
                0 => return String::from_utf8(answer).unwrap(),
                read => answer.extend_from_slice(&buffer[..read]),
            }
            if !self.1.is_zero() {
                sleep(self.1).await;
            }
        }
    }
}

/// Sends what `client` writes and returns what came back, after how long, and the receipt.
async fn ask<C: Future<Output = ()>>(
    how: Engine,
    reads: Reads,
    client: impl FnOnce(tokio::io::WriteHalf<DuplexStream>) -> C,
) -> (String, Duration, Option<ReceiptClaims>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("journal")).unwrap();
    let (crank, shelf) = (Crank::default(), Arc::new(Memory::default()));
    let turner = tokio::spawn({
        let crank = crank.clone();
        async move {
            loop {
                sleep(COMMIT).await;
                crank.turn();
            }
        }
    });
    let setup = Setup::new().engine("http://engine:8000", "DE");
    let gateway = Gateway::open(Parts {
        name: "test".to_owned(),
        journal_dir: folder.path().join("journal"),
        journal: journal::Options {
            segment_bytes: 1 << 20,
            low_water_bytes: 0,
            crank: Some(crank),
            ..journal::Options::default()
        },
        store: shelf.clone(),
        tiles: TileFiles::open(folder.path().join("log")).unwrap(),
        receipt_key: Arc::new(SigningKey::from_seed(&[3; 32]).unwrap()),
        pepper: PEPPER,
        clock: Arc::new(SystemClock::start()),
        limits: Limits::default(),
        routing: setup.routing,
        snapshot: signed(setup.snapshot, SystemClock::start().now()),
        snapshot_key: snapshot_key().public(),
        snapshot_file: None,
        sharing: setup.sharing,
    })
    .await
    .unwrap();
    let shipper = tokio::spawn(gateway::ship(gateway.clone()));
    let dial = move |_: http::Uri| -> Dialling {
        Box::pin(async move {
            if matches!(how, Engine::Unreachable) {
                std::future::pending::<()>().await;
            }
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            tokio::spawn(engine(theirs, how));
            Ok(Box::new(ours) as Box<dyn Line>)
        })
    };
    let fallback: gateway::listen::Fallback = Arc::new(|_| Box::pin(async { Response::new(foreign(Empty::new())) }));
    let dial = Dial::given(&Limits::default(), Arc::new(dial));
    let lane = Lane::new(gateway.clone(), dial, tokio::runtime::Handle::current(), fallback);
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(async move { lane.serve(theirs, stopped).await });
    let (reading, writing) = tokio::io::split(ours);
    let begun = Instant::now();
    let (_, answer) = tokio::join!(client(writing), reads.all(reading));
    let took = begun.elapsed();
    serving.await.unwrap();
    gateway.wait_shipped().await;
    [shipper, turner].iter().for_each(tokio::task::JoinHandle::abort);
    let rows = shelf.0.lock().unwrap();
    assert!(rows.len() <= 1 && gateway.open_requests() == 0);
    (answer, took, rows.first().map(|row| ledger::receipt::claims_of(&row.signing_input).unwrap()))
}

fn head(length: usize) -> String {
    let auth = bearer(KEY);
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: {auth}\r\n\
         content-length: {length}\r\n\r\n"
    )
}

async fn chat_with(how: Engine, stream: bool) -> (String, Duration, ReceiptClaims) {
    chat_read(how, Reads::AT_ONCE, stream).await
}

async fn chat_read(how: Engine, reads: Reads, stream: bool) -> (String, Duration, ReceiptClaims) {
    let body = chat(json!({"stream": stream})).to_string();
    let request = format!("{}{body}", head(body.len()));
    let (answer, took, receipt) = ask(how, reads, async move |mut socket| {
        socket.write_all(request.as_bytes()).await.unwrap();
    })
    .await;
    (answer, took, receipt.unwrap())
}

/// At the second of the timeout, and at most some commits later.
fn check_time(took: Duration, timeout: Duration) {
    assert!(took >= timeout && took <= timeout + 10 * COMMIT, "{took:?} for {timeout:?}");
}

#[tokio::test(start_paused = true)]
async fn f06_a_connection_that_does_not_come_about_is_given_up_after_two_seconds() {
    for stream in [false, true] {
        let (answer, took, receipt) = chat_with(Engine::Unreachable, stream).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("replica_unavailable"), "{answer}");
        check_time(took, Duration::from_secs(2));
        assert_eq!((receipt.outcome, receipt.usage_source), (Outcome::Failed, UsageSource::None));
    }
}

#[tokio::test(start_paused = true)]
async fn f06_a_first_token_has_five_minutes() {
    let (answer, took, receipt) = chat_with(Engine::Mute, true).await;
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("engine_timeout"), "{answer}");
    check_time(took, Duration::from_secs(300));
    assert_eq!((receipt.outcome, receipt.cost_micro_eur.0), (Outcome::Failed, 0));
}

#[tokio::test(start_paused = true)]
async fn f06_between_two_tokens_there_is_one_minute() {
    let (answer, took, receipt) = chat_with(Engine::Speaks { every_seconds: 59, tokens: 4 }, true).await;
    assert!(answer.contains("engine_timeout") && !answer.contains("[DONE]"), "{answer}");
    check_time(took, Duration::from_secs(3 * 59 + 60));
    assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Partial, 4));
    assert_eq!(receipt.usage_source, UsageSource::EngineRunning);
}

#[tokio::test(start_paused = true)]
async fn f06_an_answer_has_one_hour_in_all() {
    let (answer, took, receipt) = chat_with(Engine::Speaks { every_seconds: 58, tokens: 1_000 }, true).await;
    assert!(answer.contains("engine_timeout") && !answer.contains("[DONE]"), "{answer}");
    check_time(took, Duration::from_secs(3_600));
    // One at the beginning, and one each 58 s before the hour's end.
    assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Partial, 63));
    let (answer, took, receipt) = chat_with(Engine::Mute, false).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    check_time(took, Duration::from_secs(3_600));
    assert_eq!(receipt.outcome, Outcome::Failed);
}

/// A comment keeps a connection open; it is no sign of an engine that works.
#[tokio::test(start_paused = true)]
async fn f06_comments_between_tokens_are_silence() {
    let (answer, took, receipt) = chat_with(Engine::Pings { every_seconds: 15 }, true).await;
    assert!(answer.contains("engine_timeout") && !answer.contains("[DONE]"), "{answer}");
    check_time(took, Duration::from_secs(60));
    assert_eq!((receipt.outcome, receipt.usage.output), (Outcome::Partial, 1));
}

/// An engine that floods a client that reads 1.6 KB a second: there is always something to read, and still there is an end. What
/// the buffers held, half a megabyte at most, is read behind it.
#[tokio::test(start_paused = true)]
async fn f06_a_slow_reader_has_one_hour_too() {
    let reads = Reads(16 << 10, Duration::from_secs(10));
    let (answer, took, receipt) = chat_read(Engine::Speaks { every_seconds: 0, tokens: usize::MAX }, reads, true).await;
    assert!(answer.contains("engine_timeout"), "{}", answer.len());
    assert!(took >= Duration::from_secs(3_600) && took < Duration::from_secs(4_000), "{took:?}");
    assert_eq!(receipt.outcome, Outcome::Partial);
}

/// A byte a second is cut at the end of the grace, 2 KB a second are served; a header has its own clock.
#[tokio::test(start_paused = true)]
async fn f09_who_dribbles_is_cut_and_who_is_slow_is_served() {
    let speaks = Engine::Speaks { every_seconds: 0, tokens: 1 };
    let (answer, took, receipt) = ask(speaks, Reads::AT_ONCE, async |mut socket| {
        let _ = socket.write_all(head(1_000).as_bytes()).await;
        while socket.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(took <= Duration::from_secs(12), "{took:?}");
    assert_eq!(receipt.unwrap().code, Some(types::Code::RequestTimeout));

    let body = chat(json!({"stream": true, "user": "x".repeat(60_000)})).to_string();
    let (answer, took, receipt) = ask(speaks, Reads::AT_ONCE, async move |mut socket| {
        socket.write_all(head(body.len()).as_bytes()).await.unwrap();
        for part in body.as_bytes().chunks(2_048) {
            sleep(Duration::from_secs(1)).await;
            socket.write_all(part).await.unwrap();
        }
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(took >= Duration::from_secs(29), "{took:?}");
    assert_eq!(receipt.unwrap().usage.output, 1);

    let (answer, took, receipt) = ask(speaks, Reads::AT_ONCE, async |mut socket| {
        let _ = socket.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nx: ").await;
        while socket.write_all(b"x").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    assert!(took <= Duration::from_secs(17) && receipt.is_none(), "{took:?} {answer}");
}
