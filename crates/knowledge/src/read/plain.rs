//! Text of no markup, and Markdown, which stays as it is: models read it.

use super::{Document, Finding, Gathered};

/// Text in UTF-8, in UTF-16 where a byte order mark says so, else in Windows-1252, which older German files are in. None: it is no
/// text, for no text has control characters.
pub(crate) fn decode(bytes: &[u8]) -> Option<String> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok()?.to_owned(),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| windows_1252(*byte)).collect::<Option<String>>()?,
        },
    };
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}' | '\u{85}');
    (!text.contains(control)).then_some(text)
}

fn utf16(bytes: &[u8], number: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| number(*pair));
    rest.is_empty().then(|| char::decode_utf16(units).collect::<Result<String, _>>().ok()).flatten()
}

/// What 0x80 to 0x9f are, where Latin-1 has control characters.
const WINDOWS: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“', '”', '•',
    '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

fn windows_1252(byte: u8) -> Option<char> {
    match byte {
        0x80..=0x9f => Some(WINDOWS[usize::from(byte - 0x80)]).filter(|c| *c != '\0'),
        _ => Some(char::from(byte)),
    }
}

/// Lines end with a line feed; a form feed begins a page.
pub(crate) fn read(text: &str, bytes_max: usize) -> Result<Document, Finding> {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{85}'], "\n");
    let mut all = Gathered::new(bytes_max);
    let mut pages = Vec::new();
    let paged = text.contains('\u{c}');
    for page in text.split('\u{c}') {
        all.break_to(2)?;
        if paged {
            pages.push(all.chars());
        }
        all.push(page)?;
    }
    let title = text.lines().find_map(|line| line.strip_prefix("# ")).map(|title| title.trim().to_owned());
    Ok(Document { kind: "text".to_owned(), title, text: all.into_text(), pages })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let check = |bytes: &[u8], expect: Option<&str>| assert_eq!(decode(bytes).as_deref(), expect, "{bytes:?}");
        check("Größe €".as_bytes(), Some("Größe €"));
        check(b"\xef\xbb\xbfA", Some("A"));
        check(b"Gr\xf6\xdfe \x80 \x84x\x93", Some("Größe € „x“"));
        check(b"\xff\xfeG\0r\0\xf6\0", Some("Grö"));
        check(b"\xfe\xff\0G\0r", Some("Gr"));
        check(b"\xff\xfeG\0r", None);
        check(b"\xff\xfe\0\xd8", None);
        check(b"a\0b", None);
        check(b"a\x81b", None);
        check(b"a\x1bb", None);
        check(b"", Some(""));
    }

    #[test]
    fn form_feeds_are_pages_and_a_heading_is_the_title() {
        let document = read("# Über uns \r\neins\u{c}zwei", 1_000).unwrap();
        assert_eq!(document.title.as_deref(), Some("Über uns"));
        assert_eq!((document.text.as_str(), document.pages), ("# Über uns \neins\n\nzwei", vec![0, 18]));
        assert!(read("eins", 1_000).unwrap().pages.is_empty());
        assert_eq!(read("12345", 4), Err(Finding::TooMuchText));
        assert!(read("1234", 4).is_ok());
    }
}
