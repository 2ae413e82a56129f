//! What a person sees: steps, results, and colour where the terminal has it. Everything goes to standard error except
//! results that a script reads, so that `--json` stays clean.

use std::io::IsTerminal;
use std::sync::OnceLock;

fn colour() -> bool {
    static COLOUR: OnceLock<bool> = OnceLock::new();
    *COLOUR.get_or_init(|| std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
}

fn paint(code: &str, text: &str) -> String {
    if colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

pub fn bold(text: &str) -> String {
    paint("1", text)
}

pub fn dim(text: &str) -> String {
    paint("2", text)
}

pub fn good(text: &str) -> String {
    paint("32", text)
}

pub fn bad(text: &str) -> String {
    paint("31", text)
}

/// A chapter: an empty line and a headline.
pub fn chapter(text: &str) {
    eprintln!("\n{}", bold(text));
}

/// Something that begins and may take a while.
pub fn step(text: &str) {
    eprintln!("{} {text}", dim("·"));
}

/// A command as a person would type it.
pub fn typed(text: &str) {
    eprintln!("{}", dim(&format!("$ {text}")));
}

/// Indented lines.
pub fn show(text: &str) {
    for line in text.lines() {
        eprintln!("  {line}");
    }
}
