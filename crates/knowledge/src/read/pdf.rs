//! PDF: pages of drawing instructions, of which the shown texts are read in the order in which they are drawn. Where a text begins
//! and how wide its letters are says whether it goes on, is another word, another line, or another paragraph.
//!
//! Honest limits: columns and tables come in the order of drawing; a scanned page has no text; a font that tells neither its
//! encoding nor its Unicode gives nothing useful. `lopdf` reads the file's structure; geometry is ours, because its own
//! extraction runs words together where a file places them one by one.

use super::kind::{UNPACKED_BYTES_MAX, UNPACKED_TOTAL_MAX};
use super::{Document, Finding, Gathered};
use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document as Pdf, Encoding, Error, LoadOptions, Object, ObjectId};
use std::collections::HashMap;

/// Forms within forms: what real files do twice, and a loop does forever.
const FORM_DEPTH_MAX: usize = 4;

/// Nested `q`: what real files do ten times.
const STATES_MAX: usize = 256;

pub(crate) fn read(bytes: &[u8], bytes_max: usize) -> Result<Document, Finding> {
    let options = LoadOptions { max_decompressed_size: Some(UNPACKED_BYTES_MAX), ..LoadOptions::default() };
    let pdf = Pdf::load_mem_with_options(bytes, options).map_err(finding)?;
    // One that an empty password opens is open by now.
    if pdf.is_encrypted() {
        return Err(Finding::Encrypted);
    }
    let mut reading = Reading { pdf: &pdf, all: Gathered::new(bytes_max), last: None, unpacked: 0 };
    let mut pages = Vec::new();
    for page in pdf.page_iter() {
        reading.all.break_to(2)?;
        pages.push(reading.all.chars());
        reading.last = None;
        reading.page(page)?;
    }
    if pages.is_empty() {
        return Err(Finding::damaged("PDF"));
    }
    let title = pdf.trailer.get(b"Info").ok().and_then(|info| pdf.dereference(info).ok()).and_then(|(_, info)| {
        let title = lopdf::decode_text_string(info.as_dict().ok()?.get(b"Title").ok()?).ok()?;
        Some(title.trim().to_owned()).filter(|title| !title.is_empty())
    });
    Ok(Document { kind: "pdf".to_owned(), title, text: reading.all.into_text(), pages })
}

fn finding(error: Error) -> Finding {
    match error {
        Error::InvalidPassword | Error::Decryption(_) => Finding::Encrypted,
        Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) => Finding::Bomb,
        _ => Finding::damaged("PDF"),
    }
}

/// From a place in one space to a place in another: `[a b c d e f]`, as PDF writes it.
#[derive(Clone, Copy)]
struct Matrix([f32; 6]);

impl Matrix {
    const SAME: Matrix = Matrix([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    /// First this, then the other.
    fn then(self, other: Matrix) -> Matrix {
        let (Matrix([a, b, c, d, e, f]), Matrix([g, h, i, j, k, l])) = (self, other);
        Matrix([a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + l])
    }

    fn moved(x: f32, y: f32) -> Matrix {
        Matrix([1.0, 0.0, 0.0, 1.0, x, y])
    }

    fn of(operands: &[Object]) -> Option<Matrix> {
        let numbers: Vec<f32> = operands.iter().filter_map(|operand| operand.as_float().ok()).collect();
        numbers.try_into().ok().map(Matrix)
    }

    /// How much longer a line across, and one upwards, becomes.
    fn scale(self) -> (f32, f32) {
        let Matrix([a, b, c, d, ..]) = self;
        (a.hypot(b), c.hypot(d))
    }
}

struct Font<'d> {
    encoding: Option<Encoding<'d>>,
    /// Of each code, in thousandths of the font's size.
    widths: HashMap<u32, f32>,
    width_else: f32,
    /// Codes are two bytes.
    wide: bool,
}

/// Where the last text ended, on the page, and how high it was.
#[derive(Clone, Copy)]
struct End {
    x: f32,
    y: f32,
    height: f32,
}

#[derive(Clone, Copy)]
struct State<'f, 'd> {
    to_page: Matrix,
    font: Option<&'f Font<'d>>,
    size: f32,
    leading: f32,
    letter_space: f32,
    word_space: f32,
    /// How wide letters are drawn, 1 as they are.
    stretch: f32,
}

struct Reading<'d> {
    pdf: &'d Pdf,
    all: Gathered,
    last: Option<End>,
    unpacked: usize,
}

impl<'d> Reading<'d> {
    fn page(&mut self, page: ObjectId) -> Result<(), Finding> {
        let content = self.pdf.get_page_content_with_limit(page, UNPACKED_BYTES_MAX).map_err(finding)?;
        let fonts = self.pdf.get_page_fonts(page).unwrap_or_default();
        let (own, inherited) = self.pdf.get_page_resources(page).unwrap_or_default();
        let mut forms = own.map(|resources| self.forms(resources)).unwrap_or_default();
        for resources in inherited.iter().filter_map(|id| self.pdf.get_dictionary(*id).ok()) {
            forms.extend(self.forms(resources));
        }
        self.content(&content, &fonts.into_iter().collect::<Vec<_>>(), &forms, Matrix::SAME, 0)
    }

    /// Named drawings that a page or a drawing may use.
    fn forms(&self, resources: &'d Dictionary) -> HashMap<Vec<u8>, &'d Object> {
        let named = resources.get_deref(b"XObject", self.pdf).and_then(Object::as_dict);
        let of = |(name, object): (&Vec<u8>, &'d Object)| Some((name.clone(), self.pdf.dereference(object).ok()?.1));
        named.map(|named| named.iter().filter_map(of).collect()).unwrap_or_default()
    }

    fn content(
        &mut self,
        content: &[u8],
        fonts: &[(Vec<u8>, &'d Dictionary)],
        forms: &HashMap<Vec<u8>, &'d Object>,
        to_page: Matrix,
        depth: usize,
    ) -> Result<(), Finding> {
        self.unpacked += content.len();
        if self.unpacked > UNPACKED_TOTAL_MAX {
            return Err(Finding::Bomb);
        }
        // What cannot be read of a page is a page without text.
        let Ok(content) = Content::decode(content) else { return Ok(()) };
        let without: Vec<(Vec<u8>, Dictionary)> =
            fonts.iter().map(|(name, font)| (name.clone(), telling(font))).collect();
        let mut known = HashMap::new();
        for (name, font) in &without {
            known.insert(name.as_slice(), self.font(font)?);
        }
        let (mut line, mut text) = (Matrix::SAME, Matrix::SAME);
        let mut state =
            State { to_page, font: None, size: 0.0, leading: 0.0, letter_space: 0.0, word_space: 0.0, stretch: 1.0 };
        let mut states = Vec::new();
        for Operation { operator, operands } in &content.operations {
            let number = |at: usize| operands.get(at).and_then(|operand| operand.as_float().ok()).unwrap_or(0.0);
            let mut next_line = |x: f32, y: f32| {
                line = Matrix::moved(x, y).then(line);
                line
            };
            match operator.as_str() {
                "q" if states.len() < STATES_MAX => states.push(state),
                "Q" => state = states.pop().unwrap_or(state),
                "cm" => state.to_page = Matrix::of(operands).unwrap_or(Matrix::SAME).then(state.to_page),
                "BT" => (line, text) = (Matrix::SAME, Matrix::SAME),
                "Tf" => {
                    state.font = operands.first().and_then(|name| name.as_name().ok()).and_then(|name| known.get(name));
                    state.size = number(1);
                }
                "TL" => state.leading = number(0),
                "Tc" => state.letter_space = number(0),
                "Tw" => state.word_space = number(0),
                "Tz" => state.stretch = number(0) / 100.0,
                "Td" => text = next_line(number(0), number(1)),
                "TD" => {
                    state.leading = -number(1);
                    text = next_line(number(0), number(1));
                }
                "Tm" => {
                    line = Matrix::of(operands).unwrap_or(Matrix::SAME);
                    text = line;
                }
                "T*" => text = next_line(0.0, -state.leading),
                "Tj" | "TJ" => self.show(operands, &state, &mut text)?,
                "'" => {
                    text = next_line(0.0, -state.leading);
                    self.show(operands, &state, &mut text)?;
                }
                "\"" => {
                    text = next_line(0.0, -state.leading);
                    (state.word_space, state.letter_space) = (number(0), number(1));
                    self.show(operands.get(2..).unwrap_or_default(), &state, &mut text)?;
                }
                "Do" if depth < FORM_DEPTH_MAX => {
                    let form = operands.first().and_then(|name| name.as_name().ok()).and_then(|name| forms.get(name));
                    if let Some(form) = form.and_then(|form| form.as_stream().ok()) {
                        self.form(form, fonts, state.to_page, depth + 1)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn form(
        &mut self,
        form: &'d lopdf::Stream,
        outer: &[(Vec<u8>, &'d Dictionary)],
        to_page: Matrix,
        depth: usize,
    ) -> Result<(), Finding> {
        if !is_of(&form.dict, b"Form") {
            return Ok(());
        }
        let content = form.get_plain_content_with_limit(UNPACKED_BYTES_MAX).map_err(finding)?;
        let own = form.dict.get(b"Matrix").and_then(Object::as_array).ok().and_then(|numbers| Matrix::of(numbers));
        let resources = form.dict.get_deref(b"Resources", self.pdf).and_then(Object::as_dict).ok();
        let named = resources.and_then(|it| it.get_deref(b"Font", self.pdf).and_then(Object::as_dict).ok());
        let of = |(name, font): (&Vec<u8>, &'d Object)| {
            Some((name.clone(), self.pdf.dereference(font).ok()?.1.as_dict().ok()?))
        };
        let fonts = named.map_or_else(|| outer.to_vec(), |named| named.iter().filter_map(of).collect());
        let forms = resources.map(|resources| self.forms(resources)).unwrap_or_default();
        self.content(&content, &fonts, &forms, own.unwrap_or(Matrix::SAME).then(to_page), depth)
    }

    fn font<'f>(&self, font: &'f Dictionary) -> Result<Font<'f>, Finding>
    where
        'd: 'f,
    {
        let encoding = match font.get_font_encoding_with_limit(self.pdf, UNPACKED_BYTES_MAX) {
            Ok(encoding) => Some(encoding),
            Err(Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. })) => return Err(Finding::Bomb),
            Err(_) => None,
        };
        let wide = is_of(font, b"Type0");
        let mut widths = HashMap::new();
        let mut width_else = 500.0;
        if wide {
            let descendants = font.get_deref(b"DescendantFonts", self.pdf).and_then(Object::as_array);
            let first = descendants.ok().and_then(|all| self.pdf.dereference(all.first()?).ok());
            if let Some(descendant) = first.and_then(|(_, first)| first.as_dict().ok()) {
                width_else = descendant.get(b"DW").and_then(Object::as_float).unwrap_or(1_000.0);
                if let Ok(told) = descendant.get_deref(b"W", self.pdf).and_then(Object::as_array) {
                    self.wide_widths(told, &mut widths);
                }
            }
        } else if let Ok(told) = font.get_deref(b"Widths", self.pdf).and_then(Object::as_array) {
            let first = font.get(b"FirstChar").and_then(Object::as_i64).unwrap_or(0);
            for (code, width) in (u32::try_from(first).unwrap_or(0)..).zip(told) {
                widths.insert(
                    code,
                    self.pdf.dereference(width).ok().and_then(|(_, it)| it.as_float().ok()).unwrap_or(0.0),
                );
            }
        }
        Ok(Font { encoding, widths, width_else, wide })
    }

    /// `first [w w w]` or `first last w`, again and again.
    fn wide_widths(&self, told: &[Object], widths: &mut HashMap<u32, f32>) {
        let number = |object: &Object| self.pdf.dereference(object).ok().and_then(|(_, it)| it.as_float().ok());
        let mut rest = told;
        while let [first, second, tail @ ..] = rest {
            let first = number(first).unwrap_or(0.0) as u32;
            if let Ok(list) = self.pdf.dereference(second).and_then(|(_, it)| it.as_array()) {
                widths.extend((first..).zip(list.iter().filter_map(number)));
                rest = tail;
            } else {
                let [width, tail @ ..] = tail else { return };
                // Codes have two bytes.
                let last = (number(second).unwrap_or(0.0) as u32).min(0xffff);
                let width = number(width).unwrap_or(0.0);
                widths.extend((first..=last).map(|code| (code, width)));
                rest = tail;
            }
        }
    }

    /// Texts, and in between them numbers that move the next one.
    fn show(&mut self, operands: &[Object], state: &State<'_, '_>, text: &mut Matrix) -> Result<(), Finding> {
        let Some(font) = state.font else { return Ok(()) };
        let list = match operands.first() {
            Some(Object::Array(list)) => list.as_slice(),
            _ => operands,
        };
        for part in list {
            if let Ok(moved) = part.as_float() {
                *text = Matrix::moved(-moved / 1_000.0 * state.size * state.stretch, 0.0).then(*text);
            } else if let Ok(bytes) = part.as_str() {
                let advance = font.advance(bytes, state);
                let shown = font.encoding.as_ref().and_then(|encoding| Pdf::decode_text(encoding, bytes).ok());
                self.place(&shown.unwrap_or_default(), advance, state, *text)?;
                *text = Matrix::moved(advance, 0.0).then(*text);
            }
        }
        Ok(())
    }

    /// A text at its place: with what parts it from the one before.
    fn place(&mut self, shown: &str, advance: f32, state: &State<'_, '_>, text: Matrix) -> Result<(), Finding> {
        let shown: String = shown.chars().filter(|c| !c.is_control() && *c != '\u{fffd}').collect();
        if shown.is_empty() {
            return Ok(());
        }
        let on_page = text.then(state.to_page);
        let (across, upwards) = on_page.scale();
        let Matrix([.., x, y]) = on_page;
        let height = (state.size * upwards).abs().max(0.01);
        if let Some(last) = self.last {
            let (down, right) = ((last.y - y).abs(), x - last.x);
            let line = height.max(last.height);
            if down > line * 1.9 {
                self.all.break_to(2)?;
            } else if down > line * 0.5 {
                self.all.end_line(&shown)?;
            } else if (right > line * 0.15 || right < -line) && !self.all.ends_with_space() && !shown.starts_with(' ') {
                self.all.push(" ")?;
            }
        }
        self.all.push(if self.all.ends_with_space() { shown.trim_start() } else { &shown })?;
        self.last = Some(End { x: x + advance * across, y, height });
        Ok(())
    }
}

fn is_of(dictionary: &Dictionary, kind: &[u8]) -> bool {
    dictionary.get(b"Subtype").and_then(Object::as_name).is_ok_and(|found| found == kind)
}

/// The font, with what tells its letters best: its Unicode where it has that, before names of glyphs.
fn telling(font: &Dictionary) -> Dictionary {
    let mut font = font.clone();
    if font.has(b"ToUnicode") {
        font.remove(b"Encoding");
    }
    font
}

impl Font<'_> {
    /// How far a text goes, in the text's own space.
    fn advance(&self, bytes: &[u8], state: &State<'_, '_>) -> f32 {
        let codes: Vec<u32> = if self.wide {
            bytes.chunks(2).map(|pair| pair.iter().fold(0, |code, byte| code << 8 | u32::from(*byte))).collect()
        } else {
            bytes.iter().map(|byte| u32::from(*byte)).collect()
        };
        let width = |code: &u32| {
            let drawn = self.widths.get(code).copied().unwrap_or(self.width_else) / 1_000.0 * state.size;
            let space = if *code == 32 && !self.wide { state.word_space } else { 0.0 };
            (drawn + state.letter_space + space) * state.stretch
        };
        codes.iter().map(width).sum()
    }
}
