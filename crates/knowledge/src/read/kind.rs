//! What a file is, by its bytes.

use super::plain::decode;
use super::zipped::Parts;
use super::{Finding, html, table};

/// What one part of a file (a stream of a PDF, a part of a DOCX) may unpack to, and all pages of a PDF together. The longest real
/// parts are some 20 MiB; within the child's memory there is room for one of 64 and what is made of it.
pub(crate) const UNPACKED_BYTES_MAX: usize = 64 << 20;
pub(crate) const UNPACKED_TOTAL_MAX: usize = 256 << 20;

pub(crate) enum Kind<'b> {
    Pdf,
    Docx(Parts<'b>),
    Html(String),
    /// And what parts its columns.
    Table(String, u8),
    Text(String),
}

/// How other kinds begin, and what people call them.
const OTHERS: &[(&[u8], &str)] = &[
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"II*\0", "a picture (TIFF)"),
    (b"MM\0*", "a picture (TIFF)"),
    (b"RIFF", "a picture, sound or film"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"ID3", "a sound"),
    (b"OggS", "a sound or film"),
    (b"fLaC", "a sound"),
    (b"SQLite format 3\0", "a database"),
    (b"wOFF", "a font"),
    (b"\0asm", "a program"),
];

const ARCHIVES: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"\xfd7zXZ\0", "a compressed file (xz)"),
    (b"\x28\xb5\x2f\xfd", "a compressed file (zstd)"),
    (b"7z\xbc\xaf\x27\x1c", "an archive (7z)"),
    (b"Rar!\x1a\x07", "an archive (RAR)"),
];

/// How a container of Microsoft's older formats begins, and the name of the part that holds an encrypted document, as it stands
/// in there.
const OLE: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";
const OLE_ENCRYPTED: &[u8] = b"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0";

fn named(bytes: &[u8], table: &[(&[u8], &str)]) -> Option<String> {
    table.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| (*name).to_owned())
}

fn unsupported<T>(found: &str) -> Result<T, Finding> {
    Err(Finding::Unsupported { found: found.to_owned() })
}

pub(crate) fn of(bytes: &[u8]) -> Result<Kind<'_>, Finding> {
    if bytes.is_empty() {
        return Err(Finding::Empty);
    }
    if bytes.trim_ascii_start().starts_with(b"%PDF-") {
        return Ok(Kind::Pdf);
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return zip(bytes);
    }
    if bytes.starts_with(OLE) {
        let encrypted = bytes.windows(OLE_ENCRYPTED.len()).any(|window| window == OLE_ENCRYPTED);
        return if encrypted {
            Err(Finding::Encrypted)
        } else {
            unsupported("a document of an older Office (.doc, .xls, .ppt)")
        };
    }
    if let Some(found) = named(bytes, ARCHIVES) {
        return Err(Finding::Archive { found });
    }
    if bytes.starts_with(b"{\\rtf") {
        return unsupported("an RTF document");
    }
    if bytes.starts_with(b"%!PS") {
        return unsupported("a PostScript file");
    }
    // Some of these begin with letters: what is text throughout is text.
    match decode(bytes) {
        Some(text) if html::is(&text) => Ok(Kind::Html(text)),
        Some(text) => Ok(match table::delimiter(&text) {
            Some(delimiter) => Kind::Table(text, delimiter),
            None => Kind::Text(text),
        }),
        None if bytes.starts_with(b"BZh") => Err(Finding::Archive { found: "a compressed file (bzip2)".to_owned() }),
        None => {
            let found = named(bytes, OTHERS);
            unsupported(found.as_deref().unwrap_or("binary data of no kind that is known here"))
        }
    }
}

/// A zip archive: Word's documents are some, and so are many other things.
fn zip(bytes: &[u8]) -> Result<Kind<'_>, Finding> {
    let mut parts = Parts::open(bytes)?;
    if parts.encrypted() {
        return Err(Finding::Encrypted);
    }
    if parts.has("word/document.xml") {
        return Ok(Kind::Docx(parts));
    }
    for (part, found) in [
        ("xl/workbook.xml", "an Excel workbook (save its sheets as CSV)"),
        ("ppt/presentation.xml", "a PowerPoint presentation (save it as PDF)"),
        ("META-INF/container.xml", "an e-book (EPUB)"),
        ("content.xml", "an OpenDocument file (save it as DOCX or PDF)"),
    ] {
        if parts.has(part) {
            return unsupported(found);
        }
    }
    Err(Finding::Archive { found: "an archive (zip)".to_owned() })
}
