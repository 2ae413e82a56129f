//! The paced engine and its client as a process, for `cargo xtask bench gateway --streams`. See [`twin::pace`].

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use twin::pace::client::{self, Ask, Seen};
use twin::pace::engine::{self, Beat};

/// Streams at a steady beat, from both ends.
#[derive(Parser)]
#[command(name = "twin-pace")]
struct Arguments {
    #[command(subcommand)]
    end: End,
}

#[derive(Subcommand)]
enum End {
    /// Answers every POST with a stream of tokens that carry the time at which they were sent.
    Engine {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        #[command(flatten)]
        beat: BeatOptions,
    },
    /// Holds streams and prints what they were delayed.
    Client {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long, default_value = "none")]
        key: String,
        /// The file with the body of each request.
        #[arg(long)]
        body: PathBuf,
        #[arg(long, default_value_t = 256)]
        streams: u32,
        #[arg(long, default_value_t = 2_000)]
        warm_up_ms: u64,
        #[arg(long, default_value_t = 6_000)]
        measured_ms: u64,
        #[command(flatten)]
        beat: BeatOptions,
    },
}

#[derive(Args, Clone, Copy)]
struct BeatOptions {
    #[arg(long, default_value_t = 64)]
    tokens: u32,
    #[arg(long, default_value_t = 10)]
    every_ms: u64,
}

impl BeatOptions {
    fn every(self) -> Duration {
        Duration::from_millis(self.every_ms)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Arguments::parse().end {
        End::Engine { listen, beat } => {
            let listener =
                tokio::net::TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
            println!("listening on http://{}", listener.local_addr()?);
            Ok(engine::serve(listener, Beat { tokens: beat.tokens, every: beat.every() }).await?)
        }
        End::Client { address, key, body, streams, warm_up_ms, measured_ms, beat } => {
            let body = std::fs::read_to_string(&body).with_context(|| format!("read {}", body.display()))?;
            let measured = Duration::from_millis(measured_ms);
            let warm_up = Duration::from_millis(warm_up_ms);
            let (tokens, every) = (beat.tokens, beat.every());
            let ask = Ask { address, key, body, streams, tokens, every, warm_up, measured };
            client::hold(ask, || println!("begin"), |seen| println!("{}", report(seen, measured))).await;
            Ok(())
        }
    }
}

fn report(mut seen: Seen, measured: Duration) -> String {
    let at = |values: &mut Vec<u64>, share: f64| {
        values.sort_unstable();
        let place = (values.len().saturating_sub(1) as f64 * share) as usize;
        values.get(place).map_or(0.0, |ns| *ns as f64 / 1e6)
    };
    serde_json::json!({
        "tokens": seen.delays.len(),
        "streams": seen.ended,
        "bad": seen.bad,
        "complaint": seen.complaint,
        "tokens_per_second": seen.delays.len() as f64 / measured.as_secs_f64(),
        "delay_p50_ms": at(&mut seen.delays, 0.5),
        "delay_p99_ms": at(&mut seen.delays, 0.99),
        "first_p50_ms": at(&mut seen.firsts, 0.5),
    })
    .to_string()
}
