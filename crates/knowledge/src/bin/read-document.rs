//! The child that reads documents, as a program of its own: for this crate's tests. The product is one program: there it is
//! `hoheit read-document`.

use std::process::ExitCode;

fn main() -> ExitCode {
    knowledge::read::child(knowledge::Limits::default().text_bytes_max)
}
