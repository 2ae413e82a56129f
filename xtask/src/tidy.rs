//! `cargo xtask tidy`: numbers that start a conversation and fail no build. What does fail a build is in `tests/tidy.rs`.

use crate::root;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A file, or a function in one.
struct Measured {
    lines: usize,
    name: String,
}

pub fn run() -> Result<()> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root::path().join(folder), &mut files)?;
    }
    let mut lengths = Vec::new();
    let mut functions = Vec::new();
    let mut undocumented = 0;
    for path in &files {
        let source = fs::read_to_string(path)?;
        let name = path.strip_prefix(root::path()).unwrap_or(path).display().to_string();
        undocumented += usize::from(!source.starts_with("//!"));
        functions.extend(
            function_lengths(&source)
                .into_iter()
                .map(|(function, lines)| Measured { lines, name: format!("{name}: {function}") }),
        );
        lengths.push(Measured { lines: source.lines().count(), name });
    }
    let lock = fs::read_to_string(root::path().join("Cargo.lock")).context("read Cargo.lock")?;
    let total: usize = lengths.iter().map(|file| file.lines).sum();
    println!("{} files, {total} lines; {undocumented} without module docs", lengths.len());
    println!("{} locked packages (never grows without a written reason)", lock.matches("[[package]]").count());
    print("file length", "median <= 200, past 600 ask what second story moved in", lengths, 600);
    print("function length", "<= 70", functions, 70);
    Ok(())
}

fn print(what: &str, wish: &str, mut measured: Vec<Measured>, limit: usize) {
    measured.sort_by_key(|one| std::cmp::Reverse(one.lines));
    let at = |share: usize| measured.get(measured.len() * share / 100).map_or(0, |one| one.lines);
    let over = measured.iter().filter(|one| one.lines > limit).count();
    println!("\n{what} (wish: {wish}): median {}, p90 {}, {over} over {limit}", at(50), at(10));
    for one in measured.iter().take(8) {
        println!("  {:>5}  {}", one.lines, one.name);
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => collect(&path, files)?,
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
    Ok(())
}

/// Names and lengths of functions: from the line with `fn` to the line that closes at the same indentation. It reads
/// formatted code, which ours is.
fn function_lengths(source: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = source.lines().collect();
    let mut functions = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let words = text.split_once("fn ").filter(|(before, _)| {
            before
                .split_whitespace()
                .all(|word| word.starts_with("pub") || matches!(word, "async" | "const" | "unsafe"))
        });
        let Some((_, after)) = words else { continue };
        let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let close = format!("{}}}", " ".repeat(indent));
        let one_line = text.ends_with('}') || text.ends_with(';');
        let length = match one_line {
            true => 1,
            false => lines[start..].iter().position(|line| *line == close).map_or(1, |end| end + 1),
        };
        functions.push((name, length));
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured() {
        let source = "impl A {\n    pub async fn one(\n        x: u8,\n    ) {\n        x;\n    }\n}\nfn two() {}\n";
        assert_eq!(function_lengths(source), [("one".to_owned(), 5), ("two".to_owned(), 1)]);
    }
}
