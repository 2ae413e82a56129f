//! `application/x-www-form-urlencoded`, which the token endpoint and query strings are written in.

/// Names and values in their order.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    text.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// `%41` is A. What is no escape stays as it is; what is not UTF-8 then is replaced.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let digits = escaped.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        match digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let check = |text: &str, expect: &[(&str, &str)]| {
            let got = pairs(text);
            let got: Vec<(&str, &str)> = got.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(got, expect, "{text}");
        };
        check("", &[]);
        check("a=1&b=x+y%20z&c", &[("a", "1"), ("b", "x y z"), ("c", "")]);
        check("%24top=5&x=%C3%A4&y=%zz%4&z=%", &[("$top", "5"), ("x", "ä"), ("y", "%zz%4"), ("z", "%")]);
    }
}
