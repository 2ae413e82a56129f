//! Tests that guard the architecture and fail the build. They read the sources and `cargo metadata`; they know nothing
//! of what the code does. Each says what to do instead, because whoever meets it meant no harm.
//!
//! Not here: formatting and lints (rustfmt, clippy), style numbers (`cargo xtask tidy`).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pure crates: they decide, they do nothing. Time, randomness and snapshots come in as arguments.
const PURE: [&str; 10] =
    ["types", "policy", "routing", "metering", "ledger", "vda5050", "fleet", "masking", "dialects", "broker"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The dependency graph of the platform that we ship for; other platforms' crates may not even be downloaded.
fn metadata() -> Metadata {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let options = ["--offline", "--locked", "--filter-platform", &platform].map(str::to_owned);
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).other_options(options).exec().unwrap()
}

/// Every file below a folder of the repository with this ending, without what git ignores.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | ".xtask" | ".venv" | "node_modules" | "__pycache__") {
                    folders.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The lines of a source file that belong to the product: up to the first `#[cfg(test)]`, without comments.
fn product_lines(source: &str) -> impl Iterator<Item = (usize, &str)> {
    source
        .lines()
        .enumerate()
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

fn crates() -> BTreeSet<String> {
    let folder = root().join("crates");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// What a crate links in the product: normal dependencies, transitively. From `cargo tree`, because the graph of
/// `cargo metadata` also holds optional crates that no feature switches on.
fn closure(name: &str) -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", name])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    String::from_utf8(tree.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn pure_crates_link_no_runtime_no_sockets_no_database() {
    const FORBIDDEN: [&str; 9] = ["tokio", "axum", "hyper", "sqlx", "sqlx-core", "mio", "socket2", "rustls", "reqwest"];
    for name in PURE {
        let found: Vec<_> = closure(name).into_iter().filter(|it| FORBIDDEN.contains(&it.as_str())).collect();
        assert!(found.is_empty(), "{name} is pure and links {found:?}: move what needs it into an I/O crate");
    }
}

#[test]
fn pure_crates_depend_on_no_clock_and_no_dice() {
    // Transitively some are there (Cedar's parser seeds its maps), and that decides nothing of ours.
    const FORBIDDEN: [&str; 8] = ["getrandom", "rand", "fastrand", "jiff", "chrono", "time", "uuid", "tempfile"];
    for package in metadata().workspace_packages() {
        if !PURE.contains(&package.name.as_str()) {
            continue;
        }
        for dependency in package.dependencies.iter().filter(|it| it.kind == DependencyKind::Normal) {
            let name = dependency.name.as_str();
            assert!(
                !FORBIDDEN.contains(&name),
                "{} depends on {name}: take the time or the random bytes as an argument",
                package.name
            );
        }
    }
}

#[test]
fn pure_crates_read_no_clock_environment_file_or_socket() {
    const FORBIDDEN: [&str; 9] = [
        "SystemTime",
        "Instant::now",
        "std::env",
        "env::var",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "rand::",
    ];
    let mut found = Vec::new();
    for name in PURE {
        for path in files(&format!("crates/{name}/src"), ".rs") {
            // A file of tests that is a module of its own.
            if path.file_name().is_some_and(|file| file == "tests.rs") {
                continue;
            }
            let source = read(&path);
            found.extend(product_lines(&source).filter_map(|(number, line)| {
                let word = FORBIDDEN.iter().find(|word| line.contains(**word))?;
                Some(format!("{}:{number}: {word}", shown(&path)))
            }));
        }
    }
    assert!(found.is_empty(), "pure crates decide; let an I/O crate hand the value in:\n{}", found.join("\n"));
}

#[test]
fn arrows_point_down_only() {
    // A crate may depend on rooms of a lower or, for the ends, the same storey; gateway and controller never meet.
    let storey = |name: &str| match name {
        "types" => 0,
        "policy" | "routing" | "metering" | "ledger" | "fleet" | "masking" | "broker" => 1,
        "journal" | "store" | "engine" | "redfish" | "vda5050" | "dialects" => 2,
        "robots" | "agent" | "knowledge" => 3,
        "gateway" | "controller" => 4,
        "verify" | "twin" | "partners" => 5,
        // Holds all of them, the twin's studies included.
        "hoheit" => 6,
        _ => 7,
    };
    let rooms = crates();
    for package in metadata().workspace_packages() {
        for dependency in package.dependencies.iter().filter(|it| it.kind == DependencyKind::Normal) {
            if rooms.contains(&dependency.name) {
                assert!(
                    storey(&dependency.name) < storey(&package.name),
                    "{} depends on {}: arrows point down only (ARCHITECTURE.md)",
                    package.name,
                    dependency.name
                );
            }
        }
    }
}

#[test]
fn the_auditors_program_links_no_runtime() {
    let found = closure("verify");
    for forbidden in ["tokio", "hyper", "axum", "sqlx", "rustls", "cedar-policy"] {
        assert!(!found.contains(forbidden), "hoheit-verify links {forbidden}; it has to be read in an evening");
    }
}

#[test]
fn one_crypto_provider() {
    for name in ["hoheit", "verify"] {
        let found = closure(name);
        for forbidden in ["ring", "openssl", "openssl-sys", "native-tls", "rsa"] {
            assert!(!found.contains(forbidden), "{name} links {forbidden}; aws-lc-rs is the only provider (deny.toml)");
        }
    }
}

#[test]
fn every_error_code_has_its_page() {
    const SECTIONS: [&str; 3] = ["## What happened", "## What you can do", "## What the operator can do"];
    let mut pages: BTreeSet<String> = files("docs/errors", ".md")
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    for code in types::Code::ALL {
        assert!(pages.remove(code.as_str()), "docs/errors/{code}.md is missing");
        let page = read(&root().join(format!("docs/errors/{code}.md")));
        assert!(
            page.starts_with(&format!("# `{code}` · {}\n", code.status())),
            "docs/errors/{code}.md: its first line names code and status"
        );
        for section in SECTIONS {
            let text = page.split_once(section).map(|(_, after)| after.split("\n## ").next().unwrap_or_default());
            assert!(
                text.is_some_and(|text| text.trim().len() > 20),
                "docs/errors/{code}.md: nothing under \"{section}\""
            );
        }
        assert!(page.contains("*Deutsch:*"), "docs/errors/{code}.md: one German sentence");
    }
    pages.remove("README");
    assert!(pages.is_empty(), "pages of codes that do not exist: {pages:?}");
}

#[test]
fn architecture_names_every_crate_and_none_that_does_not_exist() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let map = text.split_once("## Code map").expect("a code map").1.split("\n## ").next().unwrap();
    let named: BTreeSet<String> = map
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut here = crates();
    here.insert("xtask".to_owned());
    assert_eq!(named, here, "left: rows of the code map in ARCHITECTURE.md, right: what is on disk");
}

#[test]
fn one_integration_binary_per_crate() {
    for package in metadata().workspace_packages() {
        let tests: Vec<_> =
            package.targets.iter().filter(|target| target.is_test()).map(|target| target.src_path.as_str()).collect();
        let right = match package.name.as_str() {
            "xtask" => tests.iter().all(|path| path.ends_with("tests/tidy.rs")),
            _ => tests.iter().all(|path| path.ends_with("tests/it/main.rs")),
        };
        assert!(tests.len() <= 1 && right, "{}: tests belong into tests/it/main.rs, found {tests:?}", package.name);
    }
}

#[test]
fn every_expectation_has_a_reason_and_nothing_is_allowed_silently() {
    let mut found = Vec::new();
    for folder in ["crates", "xtask"] {
        for path in files(folder, ".rs") {
            let source = read(&path);
            let attribute = |name: &str| {
                ["#[", "#![", "#[cfg_attr"].iter().map(|open| format!("{open}{name}(")).collect::<Vec<_>>()
            };
            for open in [attribute("expect"), attribute("allow")].concat() {
                for (at, _) in source.match_indices(&open) {
                    let line_begin = source[..at].rfind('\n').map_or(0, |at| at + 1);
                    let quoted = source[line_begin..at].contains(['"', '/']);
                    let rest = &source[at..];
                    let text = &rest[..rest.find(")]").unwrap_or(rest.len())];
                    if !quoted && (!text.contains("reason = \"") || open.contains("allow")) {
                        found.push(format!("{}: {}", shown(&path), text.lines().next().unwrap_or_default()));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "write #[expect(lint, reason = \"…\")]:\n{}", found.join("\n"));
}

#[test]
fn no_paths_of_one_machine() {
    // Put together here, so that this file does not find itself.
    let machine: Vec<String> =
        ["root", "work", "home/"].iter().map(|name| format!("/{name}")).chain([format!("/tmp/{}", "hoheit")]).collect();
    let ends = |after: Option<char>| after.is_none_or(|c| !c.is_ascii_alphanumeric() && !"-_.".contains(c));
    let mut found = Vec::new();
    for ending in [".rs", ".toml", ".md", ".py", ".mjs", ".json", ".yml", ".cedar", ".sql", "run"] {
        for path in files("", ending) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            for (number, line) in text.lines().enumerate() {
                let named = machine.iter().any(|name| {
                    line.match_indices(name.as_str()).any(|(at, _)| {
                        let before = line[..at].chars().next_back();
                        let after = line[at + name.len()..].chars().next();
                        before.is_none_or(|c| !c.is_alphanumeric() && !"/._-~}$:)".contains(c))
                            && (name.ends_with('/') && after.is_some_and(char::is_alphanumeric) || ends(after))
                    })
                });
                if named {
                    found.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "paths that exist on one machine only:\n{}", found.join("\n"));
}

#[test]
fn every_dependency_is_explained() {
    let manifest = read(&root().join("Cargo.toml"));
    let page = read(&root().join("docs/dependencies.md"));
    let section = manifest.split_once("[workspace.dependencies]").unwrap().1.split("\n[").next().unwrap();
    let rooms = crates();
    let mut names: BTreeSet<&str> = section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(['=', '.']).map(|(name, _)| name.trim()))
        .filter(|name| !rooms.contains(*name))
        .collect();
    let explained: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| rest.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let missing: Vec<_> = names.difference(&explained).collect();
    assert!(
        missing.is_empty(),
        "docs/dependencies.md has no row for {missing:?}: say its role, why it, and what it costs"
    );
    names.extend(rooms.iter().map(String::as_str));
    let gone: Vec<_> = explained.difference(&names).collect();
    assert!(gone.is_empty(), "docs/dependencies.md explains what is not there: {gone:?}");
}

#[test]
fn every_crate_takes_the_workspaces_lints_and_versions() {
    for path in files("crates", "Cargo.toml").into_iter().chain([root().join("xtask/Cargo.toml")]) {
        let text = read(&path);
        assert!(text.contains("[lints]\nworkspace = true"), "{}: [lints] workspace = true", shown(&path));
        let own: Vec<_> =
            text.lines().filter(|line| line.contains("version = \"") && !line.contains("workspace")).collect();
        assert!(own.is_empty(), "{}: versions stand in the root's Cargo.toml: {own:?}", shown(&path));
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    let found: Vec<_> = ["crates", "xtask"]
        .into_iter()
        .flat_map(|folder| files(folder, ".rs"))
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| shown(&path))
        .collect();
    assert!(found.is_empty(), "no module docs at the top of:\n{}", found.join("\n"));
}

/// The arguments of the macro call whose opening bracket ends right before `text`, split at its commas.
fn arguments(text: &str) -> Vec<String> {
    let (mut arguments, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for c in text.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted && depth == 0 => break,
            ')' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
        if let Some(argument) = arguments.last_mut() {
            argument.push(c);
        }
    }
    arguments.into_iter().map(|argument| argument.trim().to_owned()).filter(|argument| !argument.is_empty()).collect()
}

#[test]
fn logs_are_fixed_sentences_with_registered_fields() {
    let page = read(&root().join("docs/logs.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let registered: BTreeSet<&str> = rows.map(|(name, _)| name).collect();
    let (mut used, mut found) = (BTreeSet::new(), Vec::new());
    for path in files("crates", ".rs") {
        let source = read(&path);
        let source: Vec<&str> = product_lines(&source).map(|(_, line)| line).collect();
        let source = source.join("\n");
        for level in ["error", "warn", "info", "debug", "trace"] {
            let open = format!("tracing::{level}!(");
            for (at, _) in source.match_indices(&open) {
                let mut arguments = arguments(&source[at + open.len()..]);
                let message = arguments.pop().unwrap_or_default();
                if !message.starts_with('"') || message.contains('{') {
                    found.push(format!("{}: {message}: a fixed sentence; what changes is a field", shown(&path)));
                }
                for field in arguments {
                    let name = field.split('=').next().unwrap_or_default().trim().trim_start_matches(['%', '?']);
                    if !registered.contains(name) {
                        found.push(format!("{}: the field {name} is not in docs/logs.md", shown(&path)));
                    }
                    used.insert(name.to_owned());
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let gone: Vec<_> = registered.iter().filter(|name| !used.contains(**name)).collect();
    assert!(gone.is_empty(), "docs/logs.md explains fields that nothing logs: {gone:?}");
}

#[test]
fn every_failure_has_a_test_of_its_number_and_the_page_names_each() {
    let page = read(&root().join("docs/failures.md"));
    let mut tests: BTreeSet<String> = BTreeSet::new();
    for path in files("crates", ".rs") {
        let source = read(&path);
        let names = source.match_indices("fn f").filter_map(|(at, _)| source[at + 3..].split('(').next());
        let numbered = |name: &&str| {
            let bytes = name.as_bytes();
            bytes.len() > 4 && bytes[1].is_ascii_digit() && bytes[2].is_ascii_digit() && bytes[3] == b'_'
        };
        tests.extend(names.filter(numbered).map(str::to_owned));
    }
    for number in 1..=21 {
        let begin = format!("f{number:02}_");
        let shown = tests.iter().any(|name| name.starts_with(&begin));
        assert!(shown, "no test is called {begin}…: what shows failure {number} of docs/failures.md?");
        assert!(page.contains(&format!("\n| {number} | ")), "docs/failures.md has no row {number}");
    }
    let named: BTreeSet<String> = page
        .split('`')
        .filter(|word| word.starts_with('f') && word.len() > 4 && word.as_bytes()[3] == b'_')
        .map(str::to_owned)
        .collect();
    let gone: Vec<_> = named.difference(&tests).collect();
    assert!(gone.is_empty(), "docs/failures.md names tests that are not there: {gone:?}");
    let unnamed: Vec<_> = tests.difference(&named).collect();
    assert!(unnamed.is_empty(), "docs/failures.md does not name {unnamed:?}");
}
