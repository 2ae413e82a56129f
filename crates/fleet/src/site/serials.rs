//! Serial numbers: the bill of materials part by part, from the CSV beside the site file. Lines of `slot,part,serial`; an
//! empty line, a line that begins with # and the title line are passed over.

use super::problem::{File, Place, Problems};

/// 1,250 machines of 40 parts are 50,000 lines and 2 MB.
pub const SERIALS_BYTES_MAX: usize = 64 << 20;
/// No maker's serial is longer.
pub const SERIAL_LEN_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Line<'a> {
    pub at: Place,
    pub slot: &'a str,
    pub part: &'a str,
    pub serial: &'a str,
}

pub(super) fn read<'a>(text: &'a str, problems: &mut Problems) -> Vec<Line<'a>> {
    let mut all = Vec::new();
    if text.len() > SERIALS_BYTES_MAX {
        let at = Place { file: File::Serials, ..Place::START };
        let what = format!("the serials have {} bytes, more than {SERIALS_BYTES_MAX}", text.len());
        problems.error(at, "too_large", what, "is this the right file?");
        return all;
    }
    for (index, line) in text.lines().enumerate() {
        let at = Place { file: File::Serials, line: u32::try_from(index + 1).unwrap_or(u32::MAX), column: 1 };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || (index == 0 && line.replace(' ', "") == "slot,part,serial") {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        match fields[..] {
            [slot, part, serial] if is_part(part) && is_serial(serial) => all.push(Line { at, slot, part, serial }),
            _ => {
                let what = "this is not slot,part,serial";
                problems.error(at, "serial_line", what, "write for example: h1/r01/k01/u01,gpu1,1654422005434");
            }
        }
    }
    all
}

pub(super) fn is_part(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

pub(super) fn is_serial(text: &str) -> bool {
    (1..=SERIAL_LEN_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}
