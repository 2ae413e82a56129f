//! `openapi.json` is what the code says. `cargo xtask openapi` writes it anew.

use serde_json::Value;
use std::path::Path;

#[test]
fn the_file_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let described = controller::openapi();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &described).unwrap();
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(file == described, "crates/controller/openapi.json is not current: run cargo xtask openapi");
}

/// A field without a word about it is a field that somebody will guess.
#[test]
fn every_schema_and_every_operation_is_described() {
    let description: Value = serde_json::from_str(&controller::openapi()).unwrap();
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "schema {name}");
        let closed = schema["additionalProperties"] == Value::Bool(false);
        assert!(closed || !(name.ends_with("New") || name.ends_with("Patch")), "schema {name} takes unknown fields");
    }
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{method} {path} {status}"
                );
            }
            assert!(!operation["tags"].as_array().unwrap().is_empty(), "{method} {path}");
        }
    }
}
