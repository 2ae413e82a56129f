//! Perplexity's own SDKs, unchanged and exactly pinned, against a site whose customer asks of its own documents; and OpenAI's against
//! the same address. The documents are uploaded by OpenAI's SDK and read by the real child process.

use crate::sdk::{here, root};
use crate::site::Site;
use std::process::Command;
use twin::engine::{Behaviour, Script, ScriptedEngine};

/// What the cases in `tests/sdk/sonar.*` expect of the model, in pieces that cut the citation.
fn script() -> Script {
    Script::choose(|ask| match ask.model {
        "breaks" => "tokens=20 end=die-after:2".parse().unwrap(),
        _ => Behaviour { text: Some("Es sind 30 Tage [1].".to_owned()), ..Behaviour::tokens(1) },
    })
}

async fn check(mut command: Command, cases: usize) {
    let engine = ScriptedEngine::start(script()).await.unwrap();
    let site = Site::start(&["--alias", "sonar=grounded", "--alias", "sonar-pro=grounded"]);
    for model in ["grounded", "breaks"] {
        site.engine(&engine.url(), model);
    }
    let customer = site.customer("Muster");
    command.env("HOHEIT_URL", &site.url).env("HOHEIT_KEY", &customer.key).current_dir(root());
    for name in
        ["PERPLEXITY_API_KEY", "PERPLEXITY_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"]
    {
        command.env_remove(name);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    let failed: Vec<_> = said.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert!(output.status.success() && failed.is_empty(), "{failed:#?}\n{said}{complained}");
    assert_eq!(said.lines().count(), cases, "cases are missing:\n{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn perplexity_from_pypi() {
    if here(&root().join(".xtask/venv/lib")) && perplexity_is_installed() {
        let mut command = Command::new(root().join(".xtask/venv/bin/python"));
        command.arg("tests/sdk/sonar.py");
        check(command, 15).await;
    }
}

/// An environment that an older checkout made has OpenAI's SDK alone.
fn perplexity_is_installed() -> bool {
    let mut python = Command::new(root().join(".xtask/venv/bin/python"));
    let found = python.args(["-c", "import perplexity"]).output().is_ok_and(|output| output.status.success());
    found || here(&root().join(".xtask/venv/perplexity"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn perplexity_from_npm() {
    if here(&root().join("tests/sdk/node_modules/@perplexity-ai/perplexity_ai")) {
        let mut command = Command::new("node");
        command.arg("tests/sdk/sonar.mjs");
        check(command, 9).await;
    }
}
