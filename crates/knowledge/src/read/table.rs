//! CSV: each row as `column: value; column: value`, a line each, so that a passage of rows says what its numbers are.

use super::{Document, Finding, Gathered};

/// Rows looked at to tell a table from text.
const ROWS_TRIED: usize = 50;

/// A cell of a table is short; a line of prose with commas in it is not.
const CELL_CHARS_MEAN_MAX: usize = 60;

const COLUMNS_MAX: usize = 1_000;

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes())
}

/// What parts the columns of a table: what parts at least three rows into the same number of short cells. None: it is no table.
pub(crate) fn delimiter(text: &str) -> Option<u8> {
    [b';', b'\t', b',', b'|'].into_iter().find(|delimiter| is_table(text, *delimiter))
}

fn is_table(text: &str, delimiter: u8) -> bool {
    let rows: Vec<csv::StringRecord> =
        reader(text, delimiter).records().take(ROWS_TRIED).map_while(Result::ok).collect();
    let Some(head) = rows.first() else { return false };
    let columns = head.len();
    if !(2..=COLUMNS_MAX).contains(&columns) {
        return false;
    }
    let cells = || rows.iter().flat_map(csv::StringRecord::iter);
    // In prose a comma has a space after it.
    let spaced = rows.iter().flat_map(|row| row.iter().skip(1)).filter(|cell| cell.starts_with(' ')).count();
    let chars: usize = cells().map(|cell| cell.chars().count()).sum();
    rows.len() >= 3
        && rows.iter().all(|row| row.len() == columns)
        && head.iter().all(|name| !name.trim().is_empty())
        && spaced * 2 <= rows.len() * (columns - 1)
        && chars <= CELL_CHARS_MEAN_MAX * cells().count()
}

pub(crate) fn read(text: &str, delimiter: u8, bytes_max: usize) -> Result<Document, Finding> {
    let mut all = Gathered::new(bytes_max);
    let mut rows = reader(text, delimiter).into_records();
    let head = match rows.next() {
        Some(Ok(head)) => head,
        _ => return Err(Finding::damaged("CSV")),
    };
    for row in rows {
        let row = row.map_err(|_| Finding::damaged("CSV"))?;
        all.break_to(1)?;
        let mut first = true;
        for (at, cell) in row.iter().enumerate().filter(|(_, cell)| !cell.trim().is_empty()) {
            let name = head.get(at).unwrap_or_default().trim();
            let parted = if first { "" } else { "; " };
            let named = if name.is_empty() { String::new() } else { format!("{name}: ") };
            all.push(&format!("{parted}{named}{}", cell.trim().replace('\n', " ")))?;
            first = false;
        }
        if !first {
            all.push(".")?;
        }
    }
    Ok(Document { kind: "csv".to_owned(), title: None, text: all.into_text(), pages: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_from_text() {
        let check = |text: &str, expect: Option<u8>| assert_eq!(delimiter(text), expect, "{text}");
        check("Teil;Preis\nA;1,5\nB;2,5\n", Some(b';'));
        check("part,price\na,1\nb,2\n", Some(b','));
        check("a\tb\n1\t2\n3\t4", Some(b'\t'));
        check("Zwei Zeilen, eine\nmit Komma, so", None);
        check("eins, zwei\ndrei\nvier, fünf", None);
        check("", None);
        let prose = "Dies ist ein langer Satz ohne Ende, der in jeder Zeile genau ein Komma hat, und das ist nicht wenig, sondern viel.\n";
        check(&prose.repeat(4), None);
    }

    #[test]
    fn rows_say_what_their_cells_are() {
        let document = read("Teil;Preis;\n\"A; groß\";1,50;\nB;;x\n", b';', 999).unwrap();
        assert_eq!(document.text, "Teil: A; groß; Preis: 1,50.\nTeil: B; x.");
    }
}
