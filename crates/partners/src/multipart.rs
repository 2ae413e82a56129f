//! `multipart/form-data` (RFC 7578), of a body that is here in whole: a field or two and a file.
//!
//! Why our own: one upload has a bounded body, so nothing has to be parsed while it comes; what remains is to find a boundary.
//! Encoded parts (`Content-Transfer-Encoding`) are not known, as the RFC wants it.

use memchr::memmem;

/// Fields of a form. OpenAI's clients send three.
const PARTS_MAX: usize = 16;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub name: String,
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    pub bytes: &'a [u8],
}

/// The form is cut off, or is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is no multipart/form-data of at most {PARTS_MAX} parts, or it is cut off")]
pub(crate) struct Malformed;

/// The boundary that a `Content-Type` names.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let value = value.trim().trim_matches('"');
    // RFC 2046: 1 to 70 characters.
    (1..=70).contains(&value.len()).then_some(value)
}

pub(crate) fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, Malformed> {
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let finder = memmem::Finder::new(between.as_bytes());
    // What stands before the first boundary is nobody's.
    let mut rest = match body.strip_prefix(first.as_bytes()) {
        Some(rest) => rest,
        None => &body[finder.find(body).ok_or(Malformed)? + between.len()..],
    };
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let part = rest.strip_prefix(b"\r\n").ok_or(Malformed)?;
        let end = finder.find(part).ok_or(Malformed)?;
        if parts.len() == PARTS_MAX {
            return Err(Malformed);
        }
        parts.push(one(&part[..end])?);
        rest = &part[end + between.len()..];
    }
}

fn one(part: &[u8]) -> Result<Part<'_>, Malformed> {
    let (head, bytes) = match memmem::find(part, b"\r\n\r\n") {
        Some(at) => (&part[..at], &part[at + 4..]),
        None => return Err(Malformed),
    };
    let head = std::str::from_utf8(head).map_err(|_| Malformed)?;
    let header = |name: &str| {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let disposition = header("content-disposition").ok_or(Malformed)?;
    let name = parameter(disposition, "name").ok_or(Malformed)?;
    let file_name = parameter(disposition, "filename*").and_then(|name| extended(&name));
    let file_name = file_name.or_else(|| parameter(disposition, "filename"));
    Ok(Part { name, file_name, content_type: header("content-type").map(str::to_owned), bytes })
}

/// A parameter's value: quoted, with `\"` and browsers' `%22`, or bare.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if name.trim_matches([';', ' ', '\t']).eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = left;
    }
}

fn quoted_value(quoted: &str) -> Option<(String, &str)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => return Some((value.replace("%22", "\""), &quoted[at + 1..])),
            '\\' if !escaped => escaped = true,
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    None
}

/// RFC 5987: `UTF-8''Gr%C3%BC%C3%9Fe.pdf`.
fn extended(text: &str) -> Option<String> {
    let encoded = text.strip_prefix("UTF-8''").or_else(|| text.strip_prefix("utf-8''"))?;
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = tail;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries() {
        let check = |text: &str, expect: Option<&str>| assert_eq!(boundary(text), expect, "{text}");
        check("multipart/form-data; boundary=abc", Some("abc"));
        check("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\"", Some("a b"));
        check("multipart/form-data", None);
        check("multipart/form-data; boundary=", None);
        check("application/json; boundary=abc", None);
        check(&format!("multipart/form-data; boundary={}", "a".repeat(70)), Some(&"a".repeat(70)));
        check(&format!("multipart/form-data; boundary={}", "a".repeat(71)), None);
    }

    #[test]
    fn a_form() {
        let body = b"preamble\r\n--X\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n--X\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".txt\"\r\nContent-Type: text/plain\r\n\r\n\
            line\r\n--Y\r\n\r\n--X--\r\nepilogue";
        let parts = parts(body, "X").unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].name.as_str(), parts[0].bytes), ("purpose", &b"assistants"[..]));
        assert_eq!(parts[1].file_name.as_deref(), Some("a \"b\".txt"));
        assert_eq!((parts[1].content_type.as_deref(), parts[1].bytes), (Some("text/plain"), &b"line\r\n--Y\r\n"[..]));
        let german =
            b"--X\r\nContent-Disposition: form-data; name=file; filename*=UTF-8''Gr%C3%BC%C3%9Fe.pdf\r\n\r\n\r\n--X--";
        let parts = super::parts(german, "X").unwrap();
        assert_eq!((parts[0].file_name.as_deref(), parts[0].bytes.len()), (Some("Grüße.pdf"), 0));
    }

    #[test]
    fn what_is_no_form() {
        for bad in [
            "",
            "--X",
            "--X\r\n",
            "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb",
            "--X\r\nContent-Disposition: form-data\r\n\r\nb\r\n--X--",
            "--X\r\nContent-Disposition: form-data; name=\"a\r\n\r\nb\r\n--X--",
            "--X\r\nname: a\r\n\r\nb\r\n--X--",
            "--Y\r\n\r\n--Y--",
        ] {
            assert_eq!(parts(bad.as_bytes(), "X"), Err(Malformed), "{bad:?}");
        }
        let form = |count: usize| {
            let part = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n";
            format!("{}--X--", part.repeat(count))
        };
        assert_eq!(parts(form(PARTS_MAX).as_bytes(), "X").unwrap().len(), PARTS_MAX);
        assert_eq!(parts(form(PARTS_MAX + 1).as_bytes(), "X"), Err(Malformed));
    }
}
