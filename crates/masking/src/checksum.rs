//! Check digits, each from its specification. All of them find a wrong digit; none says that a number was ever given out, and a
//! modulus of ten lets one wrong number in ten pass. What follows from that is in `docs/masking.md`.
//!
//! Input is ASCII, without separators.

fn digits(text: &[u8]) -> Option<Vec<u32>> {
    text.iter().map(|byte| char::from(*byte).to_digit(10)).collect()
}

/// A letter as its place in the alphabet, A = 1; either case.
fn place(byte: u8) -> Option<u32> {
    byte.is_ascii_alphabetic().then(|| u32::from(byte.to_ascii_uppercase() - b'A') + 1)
}

fn digit_sum(number: u32) -> u32 {
    number / 10 + number % 10
}

/// Payment cards: ISO/IEC 7812-1, annex B.
pub fn luhn(text: &[u8]) -> bool {
    let Some(digits) = digits(text) else { return false };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| if at % 2 == 0 { *digit } else { digit_sum(digit * 2) })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// IBAN: ISO 13616, with MOD 97-10 of ISO 7064. The length is the caller's.
pub fn iban(text: &[u8]) -> bool {
    if text.len() < 5 || !text.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let value = |remainder: u32, byte: &u8| match place(*byte) {
        Some(place) => (remainder * 100 + place + 9) % 97,
        None => (remainder * 10 + u32::from(byte - b'0')) % 97,
    };
    text[4..].iter().chain(&text[..4]).fold(0, value) == 1
}

/// The eleven digits of the German tax number of a person (Steuer-ID, § 139b AO): MOD 11,10 of ISO 7064, and the rule of the
/// Bundeszentralamt für Steuern about repeats: of the first ten digits exactly one is there twice or three times, and if three
/// times then not three in a row.
pub fn tax_id(text: &[u8]) -> bool {
    let Some(digits) = digits(text) else { return false };
    if digits.len() != 11 || digits[0] == 0 {
        return false;
    }
    let mut times = [0_u32; 10];
    for digit in &digits[..10] {
        times[*digit as usize] += 1;
    }
    let repeated: Vec<_> = times.iter().copied().filter(|times| *times > 1).collect();
    let in_a_row = digits[..10].windows(3).any(|three| three[0] == three[1] && three[1] == three[2]);
    if !matches!(repeated[..], [2 | 3]) || in_a_row {
        return false;
    }
    let mut product = 10;
    for digit in &digits[..10] {
        let sum = (digit + product) % 10;
        product = (if sum == 0 { 10 } else { sum }) * 2 % 11;
    }
    (11 - product) % 10 == digits[10]
}

/// Number of the German pension insurance (Sozialversicherungsnummer), § 147 SGB VI: area, date of birth, first letter of the
/// name at birth, serial, check digit. The date must be one, the area one that is used.
pub fn pension_number(text: &[u8]) -> bool {
    const FACTORS: [u32; 12] = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
    const AREAS: [u32; 36] = [
        2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 28, 29, 38, 39, 40, 48, 49, 50,
        51, 52, 53, 54, 55, 56, 57,
    ];
    if text.len() != 12 {
        return false;
    }
    let (Some(before), Some(letter), Some(after)) = (digits(&text[..8]), place(text[8]), digits(&text[9..])) else {
        return false;
    };
    let (area, day, month) = (before[0] * 10 + before[1], before[2] * 10 + before[3], before[4] * 10 + before[5]);
    // Areas of single institutions follow those of the regions: 58 to 69, 78, 80 to 82, 89.
    let known = AREAS.contains(&area) || matches!(area, 58..=69 | 78 | 80..=82 | 89);
    if !known || !(1..=31).contains(&day) || !(1..=12).contains(&month) {
        return false;
    }
    let all = before.iter().copied().chain([letter / 10, letter % 10]).chain(after[..2].iter().copied());
    let sum: u32 = all.zip(FACTORS).map(|(digit, factor)| digit_sum(digit * factor)).sum();
    sum % 10 == after[2]
}

/// The part of a German health insurance number that stays for life (Krankenversichertennummer, § 290 SGB V).
pub fn health_number(text: &[u8]) -> bool {
    if text.len() != 10 {
        return false;
    }
    let (Some(letter), Some(rest)) = (place(text[0]), digits(&text[1..])) else { return false };
    let all = [letter / 10, letter % 10].into_iter().chain(rest[..8].iter().copied());
    let sum: u32 = all.enumerate().map(|(at, digit)| digit_sum(digit * (1 + at as u32 % 2))).sum();
    sum % 10 == rest[8]
}

/// Travel documents: ICAO 9303 part 3, 4.9, weights 7, 3, 1. The last byte is the check digit; `<` counts nothing.
pub fn travel_document(text: &[u8]) -> bool {
    let Some((last, body)) = text.split_last() else { return false };
    let mut sum = 0;
    for (at, byte) in body.iter().enumerate() {
        let value = match byte {
            b'<' => 0,
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A'..=b'Z' => u32::from(byte - b'A') + 10,
            _ => return false,
        };
        sum += value * [7, 3, 1][at % 3];
    }
    !body.is_empty() && last.is_ascii_digit() && sum % 10 == u32::from(last - b'0')
}

/// German driving licence: authority (4), serial (5), check (digit or X), copy. Weights 9 to 1, modulus 11.
pub fn driving_licence(text: &[u8]) -> bool {
    if text.len() != 11 {
        return false;
    }
    let mut sum = 0;
    for (byte, factor) in text[..9].iter().zip((1..=9).rev()) {
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A'..=b'Z' => u32::from(byte - b'A') + 10,
            _ => return false,
        };
        sum += value * factor;
    }
    let check = if sum % 11 == 10 { b'X' } else { b'0' + u8::try_from(sum % 11).unwrap_or(0) };
    text[9] == check
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each right example passes, and none of its neighbours that differ in one digit does.
    fn check(name: &str, rule: fn(&[u8]) -> bool, right: &[&str]) {
        for text in right {
            assert!(rule(text.as_bytes()), "{name}: {text}");
            for at in 0..text.len() {
                let mut wrong = text.as_bytes().to_vec();
                if !wrong[at].is_ascii_digit() {
                    continue;
                }
                wrong[at] = if wrong[at] == b'9' { b'0' } else { wrong[at] + 1 };
                assert!(!rule(&wrong), "{name}: {}", String::from_utf8_lossy(&wrong));
            }
        }
        for wrong in ["", "1", "x", "ü", "12345"] {
            assert!(!rule(wrong.as_bytes()), "{name}: {wrong:?}");
        }
    }

    #[test]
    fn published_examples_and_their_neighbours() {
        check("luhn", luhn, &["4111111111111111", "378282246310005", "5555555555554444"]);
        check("iban", iban, &["DE89370400440532013000", "GB29NWBK60161331926819", "AT611904300234573201"]);
        check("tax", tax_id, &["86095742719", "47036892816", "65929970489"]);
        check("pension", pension_number, &["15070649C103"]);
        check("health", health_number, &["A123456780"]);
        check("document", travel_document, &["L898902C36", "7408122", "1204159"]);
        check("licence", driving_licence, &[]);
        assert!(driving_licence(b"B072RRE2I55") && !driving_licence(b"B072RRE2I65"));
    }

    #[test]
    fn a_digit_three_times_in_a_row_is_no_tax_id() {
        // Found by trying the check digits: the arithmetic alone would pass.
        let passes = |body: &str| (0..10).any(|check| tax_id(format!("{body}{check}").as_bytes()));
        assert!(passes("1213145678"), "one digit three times");
        assert!(!passes("1112345678"), "three in a row");
        assert!(!passes("1234567890"), "none twice");
        assert!(!passes("1122345678"), "two of them twice");
        assert!(!passes("0123456788"), "begins with zero");
    }
}
