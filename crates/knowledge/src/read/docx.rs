//! DOCX: paragraphs and tables of the body, then foot- and endnotes. Deleted text of tracked changes and field codes are not
//! content; what was inserted is.
//!
//! Pages are where Word last broke them when it saved the file; a file that Word never laid out has none.

use super::zipped::Parts;
use super::{Document, Finding, Gathered};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

const BODY: &str = "word/document.xml";
const WHAT: &str = "a Word document";

/// Elements within elements: Word's own files have some thirty.
const DEPTH_MAX: usize = 512;

pub(crate) fn read(parts: &mut Parts<'_>, bytes_max: usize) -> Result<Document, Finding> {
    let mut all = Gathered::new(bytes_max);
    let mut pages = vec![0];
    let body = parts.part(BODY)?.ok_or_else(|| Finding::damaged(WHAT))?;
    text(&body, &mut all, &mut pages)?;
    for notes in ["word/footnotes.xml", "word/endnotes.xml"] {
        if let Some(notes) = parts.part(notes)? {
            all.break_to(2)?;
            text(&notes, &mut all, &mut Vec::new())?;
        }
    }
    let title = parts.part("docProps/core.xml")?.and_then(|core| title(&core));
    let pages = if pages.len() > 1 { pages } else { Vec::new() };
    Ok(Document { kind: "docx".to_owned(), title, text: all.into_text(), pages })
}

fn text(xml: &[u8], all: &mut Gathered, pages: &mut Vec<u32>) -> Result<(), Finding> {
    let damaged = || Finding::damaged(WHAT);
    let xml = std::str::from_utf8(xml).map_err(|_| damaged())?;
    let mut reader = Reader::from_str(xml);
    let mut in_text = false;
    let mut depth = 0_usize;
    // Cells of the row so far; tables within tables are read as one.
    let mut cells = 0_u32;
    let mut in_cell = 0_u32;
    loop {
        match reader.read_event().map_err(|_| damaged())? {
            Event::Start(element) => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(damaged());
                }
                match element.local_name().as_ref() {
                    "t" => in_text = true,
                    "tr" => cells = 0,
                    "tc" => {
                        if cells > 0 {
                            all.push(if all.ends_with_space() { "| " } else { " | " })?;
                        }
                        cells += 1;
                        in_cell += 1;
                    }
                    _ => empty(&element, all, pages)?,
                }
            }
            Event::Empty(element) => empty(&element, all, pages)?,
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                match element.local_name().as_ref() {
                    "t" => in_text = false,
                    "p" if in_cell > 0 && all.ends_with_space() => {}
                    "p" if in_cell > 0 => all.push(" ")?,
                    "p" => all.break_to(2)?,
                    "tc" => in_cell = in_cell.saturating_sub(1),
                    "tr" => all.break_to(1)?,
                    "tbl" if in_cell == 0 => all.break_to(2)?,
                    _ => {}
                }
            }
            Event::Text(text) if in_text => all.push(&text.xml10_content())?,
            Event::CData(text) if in_text => all.push(&text.xml10_content())?,
            // The five of XML and numbers; a document type could define more, and Word's has none.
            Event::GeneralRef(reference) if in_text => match reference.resolve_char_ref() {
                Ok(Some(c)) => all.push(c.encode_utf8(&mut [0; 4]))?,
                _ => all.push(quick_xml::escape::resolve_xml_entity(&reference.xml10_content()).unwrap_or_default())?,
            },
            Event::Eof => return if depth == 0 { Ok(()) } else { Err(damaged()) },
            _ => {}
        }
    }
}

/// What stands in a text without holding one.
fn empty(element: &BytesStart<'_>, all: &mut Gathered, pages: &mut Vec<u32>) -> Result<(), Finding> {
    match element.local_name().as_ref() {
        "tab" => all.push(" ")?,
        "br" | "cr" => all.break_to(1)?,
        "noBreakHyphen" => all.push("-")?,
        "lastRenderedPageBreak" => pages.push(all.chars()),
        _ => {}
    }
    Ok(())
}

fn title(core: &[u8]) -> Option<String> {
    let mut reader = Reader::from_str(std::str::from_utf8(core).ok()?);
    let mut inside = false;
    let mut title = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => inside = element.local_name().as_ref() == "title",
            Event::Text(text) if inside => title.push_str(&text.xml10_content()),
            Event::GeneralRef(reference) if inside => match reference.resolve_char_ref() {
                Ok(Some(c)) => title.push(c),
                _ => title.push_str(quick_xml::escape::resolve_xml_entity(&reference.xml10_content())?),
            },
            Event::End(_) => inside = false,
            Event::Eof => return Some(title.trim().to_owned()).filter(|title| !title.is_empty()),
            _ => {}
        }
    }
}
