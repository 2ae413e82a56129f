//! The child: bounds, bytes in, a document or a finding out. Run as `hoheit read-document`, or as this crate's own program in tests.

use super::kind::{self, Kind};
use super::{Document, Finding, Said, bounds, docx, html, pdf, plain, table};
use std::io::{ErrorKind, Read as _, Write as _};
use std::process::ExitCode;

/// What the child says when it could not even begin: the parent's to tell of, not the document's.
pub(crate) const NO_BOUNDS: u8 = 3;

/// Reads the document on standard input and writes what it is to standard output. `text_bytes_max`: of its text.
pub fn child(text_bytes_max: usize) -> ExitCode {
    if bounds::apply().is_err() {
        return ExitCode::from(NO_BOUNDS);
    }
    let mut bytes = Vec::new();
    // As long as the parent sends; it has counted.
    let said = match std::io::stdin().lock().read_to_end(&mut bytes) {
        Ok(_) => match std::panic::catch_unwind(|| document(&bytes, text_bytes_max)) {
            Ok(Ok(document)) => Said::Document(document),
            Ok(Err(finding)) => Said::Finding(finding),
            Err(_) => Said::Finding(Finding::Crashed),
        },
        Err(error) if error.kind() == ErrorKind::OutOfMemory => Said::Finding(Finding::TooMuchMemory),
        Err(_) => return ExitCode::FAILURE,
    };
    drop(bytes);
    let mut out = std::io::stdout().lock();
    let written = serde_json::to_writer(&mut out, &said).map_err(std::io::Error::from).and_then(|()| out.flush());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn document(bytes: &[u8], text_bytes_max: usize) -> Result<Document, Finding> {
    let document = match kind::of(bytes)? {
        Kind::Pdf => pdf::read(bytes, text_bytes_max)?,
        Kind::Docx(mut parts) => docx::read(&mut parts, text_bytes_max)?,
        Kind::Html(text) => html::read(&text, text_bytes_max)?,
        Kind::Table(text, delimiter) => table::read(&text, delimiter, text_bytes_max)?,
        Kind::Text(text) => plain::read(&text, text_bytes_max)?,
    };
    if document.text.trim().is_empty() { Err(Finding::NoText) } else { Ok(document) }
}
