//! `hoheit twin`: studies on a simulated site, which need no site and no network; and the factory on loopback around a real
//! one. The deciding code is the product's own.

mod overload;
mod serve;
mod study;

use super::Failure;
use super::show;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use twin::replay::summary::Times;
use twin::replay::{self, REPLICAS_MAX, Request, Strategy, Summary, generate};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hoheit twin replay trace.jsonl --replicas 8\n  hoheit twin overload\n  hoheit twin run munich-rollout\n  hoheit twin serve --site munich"
)]
pub struct Twin {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Replay a trace of requests on simulated engines, in virtual time.
    Replay(Replay),
    /// Who gets what of a full engine: first come first served, fair between tenants, interactive before batch.
    Overload(overload::Overload),
    /// A factory in virtual time: installation, faults, repairs; how long, how many spares, how much of it serves.
    Run(study::Run),
    /// The factory on loopback around a real site: BMCs, agents, robots and people, over the real protocols.
    Serve(Box<serve::Serve>),
}

/// How a replica is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// In turn.
    RoundRobin,
    /// Where the least work waits.
    LeastLoaded,
    /// Where the prompt's prefix is, unless too much work waits there.
    Prefix,
}

impl From<Policy> for Strategy {
    fn from(policy: Policy) -> Strategy {
        match policy {
            Policy::RoundRobin => Strategy::RoundRobin,
            Policy::LeastLoaded => Strategy::LeastLoaded,
            Policy::Prefix => Strategy::Prefix,
        }
    }
}

/// Traffic made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Conversations of several turns behind a few system prompts.
    Chats,
    /// Questions about long documents, few of them popular.
    Documents,
    /// Prompts that share nothing.
    Distinct,
    /// One long prefix that all prompts begin with.
    Hot,
}

impl From<Kind> for generate::Kind {
    fn from(kind: Kind) -> generate::Kind {
        match kind {
            Kind::Chats => generate::Kind::Chats,
            Kind::Documents => generate::Kind::Documents,
            Kind::Distinct => generate::Kind::Distinct,
            Kind::Hot => generate::Kind::Hot,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hoheit twin replay mooncake.jsonl --replicas 8 --policy prefix
  hoheit twin replay mooncake.jsonl --replicas 16 --speedup 8 --policy round-robin --json
  hoheit twin replay AzureLLMInferenceTrace_conv.csv --replicas 8 --speedup 4 --policy least-loaded
  hoheit twin replay mooncake.jsonl --copies 30 --replicas 240 --gateways 8
  hoheit twin replay --generate chats --requests 16000 --rate 160 --replicas 64

A trace is JSONL (timestamp in ms, input_length, output_length, hash_ids of 512-token blocks) or Azure's CSV
(TIMESTAMP,ContextTokens,GeneratedTokens; every prompt counts as new). The same input gives the same output.")]
struct Replay {
    /// The trace's file.
    #[arg(value_name = "TRACE", required_unless_present = "generate", conflicts_with = "generate")]
    trace: Option<PathBuf>,
    /// Traffic made up instead of a trace.
    #[arg(long, value_name = "KIND", value_enum)]
    generate: Option<Kind>,
    /// How much of it.
    #[arg(long, value_name = "N", default_value_t = 4_000, requires = "generate")]
    requests: usize,
    /// Requests a second.
    #[arg(long, value_name = "R", default_value_t = 8.0, requires = "generate")]
    rate: f64,
    /// Of the made-up traffic.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "generate")]
    seed: u64,
    /// Engines.
    #[arg(long, value_name = "N", default_value_t = 8)]
    replicas: usize,
    /// How much faster requests come than the trace says.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    speedup: f64,
    /// How a replica is chosen.
    #[arg(long, value_enum, default_value = "prefix")]
    policy: Policy,
    /// Gateways that share nothing; each request comes to any of them.
    #[arg(long, value_name = "N", default_value_t = 1)]
    gateways: usize,
    /// The trace so many times side by side, as independent customers' traffic.
    #[arg(long, value_name = "N", default_value_t = 1)]
    copies: u64,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

impl Twin {
    pub fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Replay(replay) => replay.run(),
            Verb::Overload(study) => study.run(),
            Verb::Run(study) => study.run(),
            Verb::Serve(serve) => serve.run(),
        }
    }
}

/// Gateways and copies that make sense; more is a slip of the finger.
const GATEWAYS_MAX: usize = 1_000;
const COPIES_MAX: u64 = 10_000;

impl Replay {
    fn run(self) -> Result<(), Failure> {
        let within = |name: &str, value: f64, min: f64, max: f64| match (min..=max).contains(&value) {
            true => Ok(()),
            false => Err(Failure::usage(format!("--{name} must be from {min} to {max}"))),
        };
        within("replicas", self.replicas as f64, 1.0, REPLICAS_MAX as f64)?;
        within("gateways", self.gateways as f64, 1.0, GATEWAYS_MAX as f64)?;
        within("copies", self.copies as f64, 1.0, COPIES_MAX as f64)?;
        within("speedup", self.speedup, 0.001, 1e6)?;
        within("rate", self.rate, 0.001, 1e6)?;
        let requests = match (&self.trace, self.generate) {
            (Some(path), _) => read(path)?,
            (None, kind) => {
                let kind = kind.unwrap_or(Kind::Chats);
                generate::requests(kind.into(), self.requests.max(1), self.rate, self.seed)
            }
        };
        let requests = match self.copies {
            1 => requests,
            copies => generate::side_by_side(&requests, copies),
        };
        let options = replay::Options {
            replicas: self.replicas,
            gateways: self.gateways,
            speedup: self.speedup,
            strategy: self.policy.into(),
            ..replay::Options::default()
        };
        // Hidden where nobody looks: not a terminal.
        let bar = ProgressBar::new(requests.len() as u64);
        if let Ok(style) = ProgressStyle::with_template("replaying {bar:30} {pos}/{len} requests, {eta} left") {
            bar.set_style(style);
        }
        let summary = replay::run(&requests, &options, |finished| bar.set_position(finished as u64));
        bar.finish_and_clear();
        if self.json {
            let value = serde_json::to_value(&summary).map_err(|error| Failure::failed(error.to_string()))?;
            return show::json(&value);
        }
        show::line(&text(&summary))
    }
}

fn read(path: &Path) -> Result<Vec<Request>, Failure> {
    let shown = path.display();
    let failed = |error: String| Failure::failed(format!("{shown}: {error}"));
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let bar = ProgressBar::new_spinner();
    let requests = replay::trace::read(BufReader::new(file), |lines| bar.set_message(format!("{lines} lines read")));
    bar.finish_and_clear();
    requests.map_err(|error| {
        failed(error.to_string()).hint("see the two formats in `hoheit twin replay --help`; nothing was replayed")
    })
}

fn text(it: &Summary) -> String {
    let times = |name: &str, times: &Times| {
        format!(
            "{name:14} mean {:.1}   p50 {:.1}   p90 {:.1}   p99 {:.1} ms",
            times.mean, times.p50, times.p90, times.p99
        )
    };
    [
        format!(
            "{:14} {} replicas, {} gateway{}, speed-up {}",
            it.policy,
            it.replicas,
            it.gateways,
            if it.gateways == 1 { "" } else { "s" },
            it.speedup
        ),
        format!(
            "{:14} {} requests, {} tokens in, {} out, {:.0} s simulated",
            "traffic", it.requests, it.input_tokens, it.output_tokens, it.simulated_seconds
        ),
        format!(
            "{:14} {:.3}   bound {:.3} (one memory of all replicas)   expected by routing {:.3}",
            "hit ratio", it.hit, it.bound, it.expected
        ),
        times("first token", &it.ttft_millis),
        times("completion", &it.completion_millis),
        times("between tokens", &it.inter_token_millis),
        format!(
            "{:14} variation {:.3} over replicas, {:.0} % of the time at work, {:.1} replicas looked at per choice",
            "load",
            it.load_variation,
            it.utilisation * 100.0,
            it.looks
        ),
    ]
    .join("\n")
}
