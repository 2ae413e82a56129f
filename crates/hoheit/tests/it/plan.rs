//! `hoheit site check` and `hoheit site plan`, as they are typed: exit code, lines and columns, JSON.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sites(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sites").join(name)
}

fn hoheit(arguments: &[&str], file: &Path) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hoheit")).arg("site").args(arguments).arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output, text)
}

#[test]
fn munich_is_planned_without_an_error() {
    let file = sites("munich/site.toml");
    let (output, text) = hoheit(&["check"], &file);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("munich: 1250 machines, 10000 GPUs, no errors"), "{text}");
    let (output, text) = hoheit(&["plan", "--hall", "h1", "--json"], &file);
    assert!(output.status.success());
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["totals"]["machines"], 1_250);
    assert_eq!(value["machines"].as_array().unwrap().len(), 8 * 32 + 56, "of hall h1");
    assert_eq!(value["machines"][0]["spec"]["slot"], "h1/r01/k01/u03");
    let (output, text) = hoheit(&["plan"], &file);
    assert!(output.status.success());
    assert_eq!(text.lines().filter(|line| line.starts_with("hall h")).count(), 4, "{text}");
}

#[test]
fn what_does_not_fit_is_marked_and_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.toml");
    let text = std::fs::read_to_string(sites("small/site.toml")).unwrap();
    let line = text.lines().position(|line| line == "racks = \"k01\"").unwrap() + 1;
    std::fs::write(&file, text.replace("load_kg_max = 900", "load_kg_max = 300")).unwrap();
    for verb in ["check", "plan"] {
        let (output, text) = hoheit(&[verb], &file);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("site.toml:{line}:9: error[overweight]: rack h1/r01/k01")), "{text}");
        assert_eq!(text.contains("386.8 / 300.0 !"), verb == "plan", "{text}");
    }
    // The serials stand beside it, and are read from there.
    std::fs::write(&file, text.replace("name = \"small\"", "name = \"small\"\nserials = \"s.csv\"")).unwrap();
    assert!(hoheit(&["check"], &file).1.contains("error[no_serials]"));
    std::fs::write(folder.path().join("s.csv"), "slot,part,serial\nh1/r01/k01/u13,gpu1,1\nh1/r01/k01/u13,gpu2,1\n")
        .unwrap();
    let (_, text) = hoheit(&["check"], &file);
    assert!(text.contains("s.csv:3:1: error[doubled_serial]"), "{text}");
}

#[test]
fn a_file_or_hall_that_is_not_there() {
    assert_eq!(hoheit(&["check"], &sites("nowhere.toml")).0.status.code(), Some(1));
    let (output, _) = hoheit(&["plan", "--hall", "h9"], &sites("small/site.toml"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("one of h1"));
}
