//! Each state has its page for the night shift, and each finding stands on one.

use fleet::machine::Lifecycle;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<(Lifecycle, String)> {
    let page = |state: &Lifecycle| {
        let path = root().join(format!("docs/runbooks/machine-{state}.md"));
        (*state, fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    Lifecycle::ALL.iter().map(page).collect()
}

#[test]
fn every_state_has_its_page() {
    for (state, page) in pages() {
        assert!(page.lines().next().unwrap().ends_with(&format!("(`{state}`)")), "machine-{state}.md: its first line");
        for section in ["**What it means.**", "**What to do.**"] {
            assert!(page.contains(section), "machine-{state}.md: {section} is missing");
        }
    }
}

#[test]
fn every_finding_stands_on_a_page() {
    let pages: String = pages().into_iter().map(|(_, page)| page).collect();
    let mut codes = vec!["repeat_offender".to_owned(), "shared_cause".to_owned(), "drain_limit".to_owned()];
    for file in fs::read_dir(root().join("crates/fleet/src/lifecycle")).unwrap() {
        let source = fs::read_to_string(file.unwrap().path()).unwrap();
        let quoted = source.split(".finding(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        codes.extend(quoted);
    }
    let readings = fs::read_to_string(root().join("crates/fleet/src/diagnosis/readings.rs")).unwrap();
    let drains =
        readings.split("Severity::").skip(1).filter(|rest| rest.starts_with("Drain") || rest.starts_with("Exchange"));
    codes.extend(drains.filter_map(|rest| rest.split_once(", \"")?.1.split('"').next().map(str::to_owned)));
    assert!(codes.len() > 15, "{codes:?}");
    codes.retain(|code| !pages.contains(&format!("`{code}`")));
    assert!(codes.is_empty(), "on no page in docs/runbooks/machine-*.md: {codes:?}");
}
