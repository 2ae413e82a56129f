//! A start that cannot succeed: it says what is wrong and what to do, ends with 1, and leaves the folder as it was.

use crate::client::Client;
use crate::site::{Site, hoheit};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NANO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/nano");

/// Starts, and expects that it ends by itself.
fn refused(arguments: &[&str]) -> String {
    let output = hoheit(&[&["up", "--listen", "127.0.0.1:0"], arguments].concat()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(!said.contains("panicked") && !said.contains("serves on"), "{said}");
    said
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false => drop(all.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    all
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let site = Site::start(&["--no-model"]);
    let said = refused(&["--data", site.data().to_str().unwrap(), "--no-model"]);
    assert!(said.contains("in use by another hoheit process") && said.contains("--data"), "{said}");
    // The first one goes on serving.
    assert_eq!(site.cli(&["tenant", "create", "Muster"])["name"], "Muster");
}

#[test]
fn a_folder_of_a_newer_version_or_of_another_site_is_left_alone() {
    let mut site = Site::start(&["--no-model", "--site", "muc1"]);
    assert_eq!(site.stop(), Some(0));
    let data = site.data();
    let said = refused(&["--data", data.to_str().unwrap(), "--no-model", "--site", "fra1"]);
    assert!(said.contains("muc1") && said.contains("leave --site out"), "{said}");

    let before = fs::read_to_string(data.join("site.json")).unwrap();
    fs::write(data.join("site.json"), before.replace("\"format\": 1", "\"format\": 99")).unwrap();
    let files_before = files(&data);
    let said = refused(&["--data", data.to_str().unwrap(), "--no-model"]);
    assert!(said.contains("newer version"), "{said}");
    assert_eq!(files(&data), files_before, "something was written");
    fs::write(data.join("site.json"), before).unwrap();
    site.boot();
}

#[test]
fn damage_inside_the_journal_is_refused_and_named() {
    let mut site = Site::start(&["--no-model"]);
    let customer = site.customer("Muster");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for _ in 0..3 {
        // Refusals are receipted: three records without an engine.
        let reply = runtime.block_on(Client::new().post(&site.chat_url(), &customer.key, &json!({ "model": "none" })));
        assert_eq!(reply.status, 400);
    }
    site.kill();
    let segment = files(&site.data().join("journal")).into_keys().find(|path| {
        // The first record's payload is a receipt; the segment taken ahead holds none.
        memchr::memmem::find(&fs::read(path).unwrap(), b"eyJ").is_some()
    });
    let segment = segment.expect("a segment with receipts");
    let whole = fs::read(&segment).unwrap();
    let mut bytes = whole.clone();
    let place = memchr::memmem::find(&bytes, b"eyJ").unwrap();
    bytes[place + 10] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    let said = refused(&["--data", site.data().to_str().unwrap(), "--no-model"]);
    assert!(said.contains(segment.file_name().unwrap().to_str().unwrap()), "{said}");
    assert_eq!(fs::read(&segment).unwrap(), bytes, "damage is evidence: it is not cut away");
    // What the runbook says to do: without that file it starts, and whole it starts with it.
    let aside = site.scratch("damaged.segment");
    fs::rename(&segment, &aside).unwrap();
    site.boot();
    site.kill();
    for later in files(&site.data().join("journal")).into_keys() {
        fs::remove_file(later).unwrap();
    }
    fs::write(&segment, whole).unwrap();
    site.boot();
    let receipts = site.cli(&["receipt", "list", "--tenant", &customer.tenant]);
    assert_eq!(receipts["data"].as_array().unwrap().len(), 3);
}

#[test]
fn a_model_that_is_not_whole_opens_no_port() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let model = folder.path().join("cut");
    fs::create_dir(&model).unwrap();
    for entry in fs::read_dir(NANO).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
        }
    }
    let start = |model: &Path| refused(&["--data", data.to_str().unwrap(), "--model", model.to_str().unwrap()]);
    let weights = model.join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    for length in [bytes.len() - 1, bytes.len() / 2, 100, 3, 0] {
        fs::write(&weights, &bytes[..length]).unwrap();
        let said = start(&model);
        assert!(said.contains("model.safetensors"), "{length} bytes: {said}");
    }
    fs::remove_file(&weights).unwrap();
    assert!(start(&model).contains("safetensors"));
    fs::write(&weights, &bytes).unwrap();
    let config = model.join("config.json");
    let text = fs::read(&config).unwrap();
    fs::write(&config, &text[..text.len() / 2]).unwrap();
    let said = start(&model);
    assert!(said.contains("config.json"), "{said}");
    fs::write(&config, &text).unwrap();
    assert!(start(&folder.path().join("nowhere")).contains("nowhere"));
    let gguf = folder.path().join("cut.gguf");
    fs::write(&gguf, b"GGUF\x03\0\0\0\xff").unwrap();
    assert!(start(&gguf).contains("cut.gguf"));
}

#[test]
fn a_port_in_use_is_named() {
    let site = Site::start(&["--no-model"]);
    let folder = tempfile::tempdir().unwrap();
    let port = site.url.rsplit(':').next().unwrap();
    let output = hoheit(&["up", "--no-model", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(port) && said.contains("in use"), "{said}");
}

#[test]
fn a_database_that_is_none_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://somebody:geheim@127.0.0.1:1/none";
    let said = refused(&["--data", folder.path().to_str().unwrap(), "--no-model", "--database-url", url]);
    assert!(said.contains("database") && !said.contains("geheim"), "{said}");
}

/// Help and version are for people in a hurry: no folder, no port, no connection.
#[test]
fn help_needs_nothing() {
    for arguments in [&["--help"][..], &["--version"], &["up", "--help"], &["policy", "explain", "--help"]] {
        let mut command: Command = hoheit(arguments);
        assert!(command.output().unwrap().status.success(), "{arguments:?}");
    }
}
