//! The program itself: exit codes and help.

use crate::world::World;
use std::process::Command;

fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hoheit-verify")).args(args).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::sound();
    for (path, bytes) in world.0.iter().filter(|(path, _)| path.starts_with("log")) {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let (log, vkey) = (dir.path().join("log"), dir.path().join("log.vkey"));
    let line = ["log", log.to_str().unwrap(), "--log-key", vkey.to_str().unwrap()];
    assert_eq!(run(&line).0, Some(0));
    std::fs::write(log.join("tile/0/000"), "short").unwrap();
    assert_eq!(run(&line).0, Some(1));
    std::fs::remove_file(log.join("tile/0/000")).unwrap();
    assert_eq!(run(&line).0, Some(2));
}

#[test]
fn bad_arguments_end_with_2() {
    for args in [
        &[][..],
        &["sell"],
        &["receipt"],
        &["receipt", "x.jwt"],
        &["proof", "x.tlog-proof", "--log-key", "k"],
        &["proof", "x", "--receipt", "r", "--leaf", "00", "--log-key", "k"],
        &["log", "x", "--log-key", "k", "--lang", "fr"],
        &["log", "no-such-folder", "--log-key", "no-such-key"],
    ] {
        assert_eq!(run(args).0, Some(2), "{args:?}");
    }
}

#[test]
fn help_has_examples() {
    for command in ["", "receipt", "proof", "chain", "acceptance", "log"] {
        let words = [command, "--help"];
        let args = &words[usize::from(command.is_empty())..];
        let (code, text) = run(args);
        assert_eq!(code, Some(0));
        assert!(text.contains("Example") && text.contains("hoheit-verify "), "{text}");
    }
    assert!(run(&["--version"]).1.starts_with("hoheit-verify "));
}
