//! The control API does what its description says, whatever is asked: schemathesis makes requests from `openapi.json`,
//! good and bad ones, and no answer is a 5xx, has a status, a content type or a form that the description lacks.
//!
//! Without schemathesis on this machine (`cargo xtask test` brings it) the test says so and is skipped, unless
//! `HOHEIT_TEST_SDK=required`.

use crate::client::Client;
use crate::sdk::{here, root};
use crate::site::Site;
use std::process::Command;

/// Seconds, of which a third is Python starting and planning. Longer by hand: `HOHEIT_TEST_OPENAPI_SECONDS=600`.
const SECONDS: &str = "30";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_the_description_suggests_is_answered_with_5xx() {
    let program = root().join(".xtask/openapi/bin/schemathesis");
    if !here(&program) {
        return;
    }
    let site = Site::start(&["--no-model"]);
    site.customer("Muster");
    site.engine("http://127.0.0.1:9", "model");
    let seconds = std::env::var("HOHEIT_TEST_OPENAPI_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let mut command = Command::new(program);
    command
        .arg("run")
        .arg(root().join("crates/controller/openapi.json"))
        .args(["--url", &site.url, "--header", &format!("Authorization: Bearer {}", site.token())])
        .args(["--checks", checks, "--max-time", &seconds, "--max-examples", "10", "--generation-deterministic"])
        .args(["--warnings", "off", "--no-color", "--continue-on-failure"])
        .current_dir(site.scratch(""));
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("No issues found"), "{said}");
    let generated = said.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse::<u32>().ok());
    assert!(generated.is_some_and(|count| count > 500), "too few requests to mean anything:\n{said}");
    // It still serves, and nothing of ours was logged as an error.
    assert_eq!(Client::new().get(&site.path("/readyz"), &[]).await.status, 200);
    let errors: Vec<_> = site.log().lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}
