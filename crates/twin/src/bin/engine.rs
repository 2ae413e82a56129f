//! The scripted engine as a process of its own, for tests that kill the gateway: it goes on living and has written down
//! what it counted.
//!
//! It prints one line, `listening on http://…`, when it serves, and ends on SIGTERM, SIGINT or when its standard input
//! ends (a parent that is gone). Each ended request is one line of JSON in the count file, written with one call, so a
//! reader sees whole lines; it is not fsynced, because this process is not the one that is killed.

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use twin::engine::{Behaviour, Request, Script, ScriptedEngine};

/// A scripted engine that speaks OpenAI's HTTP API.
#[derive(Parser)]
#[command(
    name = "twin-engine",
    after_help = "Example:\n  twin-engine --behaviour 'tokens=50 pace=5' --count-file counts.jsonl"
)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Tokens of an answer, where the behaviour does not say.
    #[arg(long)]
    tokens: Option<u64>,
    /// A model to list; may be given again.
    #[arg(long = "model", default_value = "scripted")]
    models: Vec<String>,
    /// What to do with each request, for example `tokens=20 usage=shrinking`; the model's name may add its own after `#`.
    #[arg(long, default_value = "")]
    behaviour: Behaviour,
    /// File to append each ended request's counts to.
    #[arg(long)]
    count_file: Option<PathBuf>,
    /// End when standard input ends.
    #[arg(long)]
    until_stdin_closes: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut behaviour = arguments.behaviour;
    behaviour.tokens = arguments.tokens.unwrap_or(behaviour.tokens);
    let on_end = match &arguments.count_file {
        None => None,
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Some(counter(file.with_context(|| format!("open count file {}", path.display()))?))
        }
    };
    let engine = ScriptedEngine::listen(&arguments.listen, Script::by_model(behaviour), arguments.models, on_end)
        .await
        .with_context(|| format!("listen on {}", arguments.listen))?;
    println!("listening on {}", engine.url());
    let mut terminate = signal(SignalKind::terminate())?;
    let (closed, parent_gone) = tokio::sync::oneshot::channel();
    if arguments.until_stdin_closes {
        std::thread::spawn(move || {
            let _ended = std::io::stdin().lock().read_to_end(&mut Vec::new());
            closed.send(())
        });
    } else {
        std::mem::forget(closed);
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = parent_gone => {}
    }
    engine.stop().await;
    Ok(())
}

fn counter(file: File) -> Box<dyn Fn(&Request) + Send + Sync> {
    let file = Mutex::new(file);
    Box::new(move |request| {
        let user = request.json().get("user").cloned().unwrap_or_default();
        let line = json!({
            "index": request.index,
            "user": user,
            "state": request.state.as_str(),
            "input": request.counted.input,
            "cached": request.counted.cached,
            "output": request.counted.output,
        });
        let written = file
            .lock()
            .map_err(|_| "poisoned".to_owned())
            .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()).map_err(|error| error.to_string()));
        if let Err(error) = written {
            // A count that is lost makes the test's comparison worthless: end loudly.
            eprintln!("cannot write the count file: {error}");
            std::process::exit(1);
        }
    })
}
