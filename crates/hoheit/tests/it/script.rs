//! The contract for scripts, walked from end to end with the real model: what each command takes, prints and leaves.

use crate::client::Client;
use crate::site::{Site, hoheit, text, verify};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use twin::engine::{Behaviour, ScriptedEngine};

fn question(model: &str) -> Value {
    json!({ "model": model, "max_tokens": 24, "messages": [{ "role": "user", "content": "Was ist ein Beleg?" }] })
}

/// The claims, if the signature holds, by a library that is not ours.
fn foreign_verify(jwt: &str, jwks: &Value) -> Result<Value, jsonwebtoken::errors::Error> {
    let kid = jsonwebtoken::decode_header(jwt)?.kid.expect("a kid");
    let key =
        jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid.as_str()).expect("the key is published");
    assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")));
    let mut validation = Validation::new(Algorithm::EdDSA);
    // A receipt is a record of the past: it has no expiry and no audience.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_ed_components(key["x"].as_str().unwrap())?;
    Ok(jsonwebtoken::decode::<Value>(jwt, &key, &validation)?.claims)
}

struct Keys {
    jwks: PathBuf,
    vkey: String,
}

impl Keys {
    /// As a customer takes them on the first day.
    async fn of(site: &Site) -> Keys {
        let client = Client::new();
        let jwks = site.scratch("jwks.json");
        std::fs::write(&jwks, client.get(&site.path("/.well-known/jwks.json"), &[]).await.body).unwrap();
        let vkey = client.get(&site.path("/log/vkey"), &[]).await.body;
        Keys { jwks, vkey: String::from_utf8(vkey.to_vec()).unwrap().trim().to_owned() }
    }

    fn check(&self, command: &str, path: &Path, more: &[&str]) -> verify::Ending {
        let keys = ["--jwks", self.jwks.to_str().unwrap(), "--log-key", &self.vkey];
        verify(&[&[command, path.to_str().unwrap()], more, &keys[..]].concat())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_an_empty_folder_to_a_proof() {
    let site = Site::start(&[]);
    let client = Client::new();
    assert_eq!(client.get(&site.path("/readyz"), &[]).await.status, 200);
    assert_eq!(client.get(&site.path("/healthz"), &[]).await.status, 200);

    let tenant = text(&site.cli(&["tenant", "create", "Muster GmbH"])["id"]);
    assert!(tenant.starts_with("ten_"));
    let project = site.project(&tenant, &["--class", "internal", "--budget-eur", "5.00", "--country", "DE"]);
    let (key_id, key) = site.key(&project, &["--budget-eur", "1.00", "--rpm", "100", "--tpm", "100000"]);
    assert!(key.starts_with("hk_"), "{key_id}");

    let model = text(
        &client.get(&site.path("/v1/models"), &[("authorization", &format!("Bearer {key}"))]).await.json()["data"][0]["id"],
    );
    let reply = client.post(&site.chat_url(), &key, &question(&model)).await;
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let answer = reply.json();
    assert!(!answer["choices"][0]["message"]["content"].as_str().unwrap().is_empty());
    assert_eq!(reply.header("x-ratelimit-limit-requests"), "100");
    let receipt = reply.header("hoheit-receipt").to_owned();

    let file = site.scratch("receipt");
    let written = site.cli(&["receipt", "get", &receipt, "--out", file.to_str().unwrap(), "--wait"]);
    let (jwt, proof) = (file.with_extension("jwt"), file.with_extension("tlog-proof"));
    assert_eq!((written["jwt"].as_str(), written["proof"].as_str()), (jwt.to_str(), proof.to_str()));
    let keys = Keys::of(&site).await;
    let ending = keys.check("receipt", &jwt, &["--proof", proof.to_str().unwrap()]);
    assert_eq!(ending.code, 0, "{}{}", ending.stdout, ending.stderr);

    // The same receipt, read by somebody else's library: what it says is what happened.
    let token = std::fs::read_to_string(&jwt).unwrap();
    let jwks: Value = serde_json::from_slice(&std::fs::read(&keys.jwks).unwrap()).unwrap();
    let claims = foreign_verify(token.trim(), &jwks).unwrap();
    assert_eq!((text(&claims["jti"]), text(&claims["sub"]), text(&claims["key"])), (receipt, tenant.clone(), key_id));
    assert_eq!(claims["usage"]["output"], answer["usage"]["completion_tokens"]);
    assert_eq!(claims["usage"]["input"], answer["usage"]["prompt_tokens"]);
    assert_eq!(claims["served_by"]["country"], "DE");
    let (head, signature) = token.trim().rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    assert!(foreign_verify(&format!("{head}.{other}{}", &signature[1..]), &jwks).is_err());
    std::fs::write(&jwt, format!("{head}.{other}{}", &signature[1..])).unwrap();
    assert_eq!(keys.check("receipt", &jwt, &[]).code, 1);

    let folder = site.export(&tenant, "export");
    let ending = keys.check("chain", &folder, &[]);
    assert_eq!(ending.code, 0, "{}{}", ending.stdout, ending.stderr);
    let log = verify(&["log", site.data().join("log").to_str().unwrap(), "--log-key", &keys.vkey]);
    assert_eq!(log.code, 0, "{}{}", log.stdout, log.stderr);

    let explained = site.cli(&["policy", "explain", "--key", &key, "--class", "secret", "--model", &model]);
    assert_eq!(explained["endpoints"][0]["permit"], true, "{explained}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_only_foreign_replicas_left_there_is_a_signed_refusal_and_no_answer() {
    let (home, abroad) = (
        ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap(),
        ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap(),
    );
    let site = Site::start(&["--no-model"]);
    let german = text(&site.engine(&home.url(), "m")["id"]);
    site.engine_in(&abroad.url(), "m", "FR", "FR");
    let tenant = site.tenant("Muster");
    let project = site.project(&tenant, &["--country", "DE"]);
    let (_, key) = site.key(&project, &[]);
    let client = Client::new();
    let reply = client.post(&site.chat_url(), &key, &question("m")).await;
    assert_eq!(reply.status, 200);
    site.cli(&["engine", "remove", &german]);
    let reply = client.post(&site.chat_url(), &key, &question("m")).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "residency_unavailable"));
    let id = reply.header("hoheit-receipt").to_owned();
    let file = site.scratch("refusal");
    site.cli(&["receipt", "get", &id, "--out", file.to_str().unwrap(), "--wait"]);
    let (jwt, proof) = (file.with_extension("jwt"), file.with_extension("tlog-proof"));
    let keys = Keys::of(&site).await;
    assert_eq!(keys.check("receipt", &jwt, &["--proof", proof.to_str().unwrap()]).code, 0);
    let jwks: Value = serde_json::from_slice(&std::fs::read(&keys.jwks).unwrap()).unwrap();
    let claims = foreign_verify(std::fs::read_to_string(&jwt).unwrap().trim(), &jwks).unwrap();
    assert_eq!((&claims["outcome"], &claims["code"]), (&json!("refused"), &json!("residency_unavailable")));
    assert_eq!(claims["cost_micro_eur"], 0);
    assert!(claims.get("served_by").is_none());
    assert!(abroad.requests().is_empty(), "data left the country");
}

/// What the command line says to bad input: one clear line, exit code 1 or 2, no panic.
#[test]
fn bad_input_on_the_command_line() {
    let site = Site::start(&["--no-model"]);
    let tenant = site.tenant("Muster");
    let project = site.project(&tenant, &[]);
    let rule = site.scratch("rule.cedar");
    std::fs::write(&rule, "forbid (principal, action, resource) when { context.nonsense == 1 };").unwrap();
    let price = site.scratch("prices.json");
    std::fs::write(&price, "[{\"model\":\"*\",\"input\":-1}]").unwrap();
    let none = site.scratch("none");
    let unknown = "ten_00000000000000000000000007";
    let engine = |url| {
        [
            "engine",
            "add",
            url,
            "--model",
            "m",
            "--country",
            "DE",
            "--operator",
            "o",
            "--provider",
            "p",
            "--jurisdiction",
            "DE",
        ]
    };
    let cases: &[(&[&str], &str)] = &[
        (&["tenant", "create", ""], "name"),
        (&["project", "create", "p", "--tenant", unknown], "no such"),
        (&["key", "create", "--project", &project, "--budget-eur", "-1"], "-1"),
        (&engine("not a url"), "URL"),
        (&engine("ftp://127.0.0.1/"), "http"),
        (&["policy", "rules", "add", "r", "--file", rule.to_str().unwrap()], "nonsense"),
        (&["policy", "explain", "--project", &project, "--class", "geheim"], "geheim"),
        (&["receipt", "get", "rcp_00000000000000000000000007", "--out", none.to_str().unwrap()], "no such"),
    ];
    for (arguments, expected) in cases {
        let output = site.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).to_string();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {said}");
        assert!(said.to_lowercase().contains(&expected.to_lowercase()), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(!site.scratch("none.jwt").exists());
    let output =
        hoheit(&["tenant", "list"]).env("HOHEIT_URL", "http://127.0.0.1:1").env("HOHEIT_TOKEN", "x").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_string();
    assert!(output.status.code() == Some(1) && said.contains("127.0.0.1:1"), "{said}");
    let wrong =
        hoheit(&["tenant", "list"]).env("HOHEIT_URL", &site.url).env("HOHEIT_TOKEN", "ht_wrong").output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
}
