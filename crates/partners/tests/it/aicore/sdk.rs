//! SAP's AI SDK for JavaScript, exactly pinned and unchanged, with nothing but a service key (`tests/aicore`).
//!
//! Without it on this machine (`cargo xtask test` brings it) the test says so and is skipped, unless `HOHEIT_TEST_SDK=required`.

use super::world::*;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use twin::engine::{Behaviour, End};

#[tokio::test]
async fn saps_own_client_works_with_nothing_but_a_service_key() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/aicore");
    if !folder.join("node_modules").exists() {
        let missing = "tests/aicore/node_modules is missing; `cargo xtask test` installs it";
        assert!(std::env::var("HOHEIT_TEST_SDK").as_deref() != Ok("required"), "{missing}");
        return eprintln!("skipped: {missing}");
    }
    let world = World::start(vec![
        model("nano", says("Hello")),
        model("counts", Behaviour::tokens(5)),
        model("masked", says("Sent to MASKED_EMAIL_1.")),
        model("breaks", Behaviour { end: End::DieAfter(2), ..Behaviour::tokens(9) }),
    ])
    .await;
    let service_key = json!({
        "clientid": KEY, "clientsecret": key_text(KEY), "url": world.url, "identityzone": "test", "identityzoneid": "test",
        "appname": "test", "serviceurls": {"AI_API_URL": world.url},
    });
    let mut node = Command::new("node");
    node.arg("check.mjs").current_dir(folder).env("AICORE_SERVICE_KEY", service_key.to_string());
    node.env_remove("VCAP_SERVICES").env("SAP_CLOUD_SDK_LOG_LEVEL", "error");
    let output = tokio::task::spawn_blocking(move || node.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    let failed: Vec<_> = said.lines().filter(|line| line.starts_with("FAILED ")).collect();
    assert!(output.status.success() && failed.is_empty(), "{failed:#?}\n{said}{complained}");
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= 15, "cases are missing:\n{said}");
}
