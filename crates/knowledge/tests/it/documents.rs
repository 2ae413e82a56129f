//! Documents to test with, made here: PDF, DOCX and their damaged, locked and swollen kin.

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, EncryptionState, EncryptionVersion, Object, Permissions, Stream, dictionary};
use std::io::{Cursor, Write as _};
use zip::write::{SimpleFileOptions, ZipWriter};

/// Letters as Windows-1252 has them, which all of ours are in.
fn shown(text: &str) -> Object {
    Object::string_literal(text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<u8>>())
}

pub fn line(text: &str) -> Vec<Operation> {
    vec![Operation::new("Tj", vec![shown(text)]), Operation::new("T*", vec![])]
}

/// A text of lines, begun at the top of the page.
pub fn lines(texts: &[&str]) -> Vec<Operation> {
    let mut all = vec![
        Operation::new("BT", vec![]),
        Operation::new("Tf", vec!["F1".into(), 12.into()]),
        Operation::new("TL", vec![14.into()]),
        Operation::new("Td", vec![50.into(), 700.into()]),
    ];
    all.extend(texts.iter().flat_map(|text| line(text)));
    all.push(Operation::new("ET", vec![]));
    all
}

/// A text whose every word is placed by itself, as some programs write it: no space is ever drawn.
pub fn placed(words: &[&str]) -> Vec<Operation> {
    let mut all = vec![Operation::new("BT", vec![]), Operation::new("Tf", vec!["F1".into(), 10.into()])];
    let mut x = 50.0;
    for word in words {
        let place: Vec<Object> = vec![1.into(), 0.into(), 0.into(), 1.into(), x.into(), 500.into()];
        all.push(Operation::new("Tm", place));
        // In two pieces, which belong together.
        let (one, two) = word.split_at(word.len() / 2);
        all.push(Operation::new("TJ", vec![Object::Array(vec![shown(one), 3.into(), shown(two)])]));
        // Each letter is 500 wide, and a space 250.
        x += word.chars().count() as f32 * 5.0 + 2.5;
    }
    all.push(Operation::new("ET", vec![]));
    all
}

pub fn pdf_of(pages: Vec<Vec<Operation>>, title: Option<&str>) -> Document {
    let mut pdf = Document::with_version("1.5");
    let tree = pdf.new_object_id();
    let widths: Vec<Object> = (0..=255).map(|_| 500.into()).collect();
    let font = pdf.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
        "FirstChar" => 0, "Widths" => widths,
    });
    let resources = pdf.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let mut kids: Vec<Object> = Vec::new();
    for operations in pages {
        let content = Content { operations }.encode().unwrap();
        let content = pdf.add_object(Stream::new(Dictionary::new(), content));
        kids.push(pdf.add_object(dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content }).into());
    }
    let count = i64::try_from(kids.len()).unwrap();
    let pages = dictionary! {
        "Type" => "Pages", "Kids" => kids, "Count" => count, "Resources" => resources,
        "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
    };
    pdf.objects.insert(tree, Object::Dictionary(pages));
    let catalog = pdf.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    pdf.trailer.set("Root", catalog);
    if let Some(title) = title {
        let info = pdf.add_object(dictionary! { "Title" => lopdf::text_string(title) });
        pdf.trailer.set("Info", info);
    }
    pdf
}

pub fn bytes(mut pdf: Document) -> Vec<u8> {
    let mut all = Vec::new();
    pdf.save_to(&mut all).unwrap();
    all
}

pub fn pdf(pages: &[&[&str]]) -> Vec<u8> {
    bytes(pdf_of(pages.iter().map(|texts| lines(texts)).collect(), None))
}

pub fn pdf_locked(user_password: &str) -> Vec<u8> {
    let mut pdf = pdf_of(vec![lines(&["Geheimnis hinter Schloss und Riegel."])], None);
    pdf.trailer.set("ID", vec![Object::string_literal("0123456789abcdef"), Object::string_literal("0123456789abcdef")]);
    let version = EncryptionVersion::V2 {
        document: &pdf,
        owner_password: "owner",
        user_password,
        key_length: 128,
        permissions: Permissions::all(),
    };
    let state = EncryptionState::try_from(version).unwrap();
    pdf.encrypt(&state).unwrap();
    bytes(pdf)
}

/// Spaces without end, packed to a thousandth: one letter, and again and again "the same 258 times" (RFC 1951, fixed codes).
fn deflated_spaces(bytes: usize) -> Vec<u8> {
    let (mut packed, mut held, mut bits) = (vec![0x78, 0x01], 0_u32, 0);
    let mut put = |code: u32, length: u32| {
        // Codes are written from their first bit on.
        for at in (0..length).rev() {
            held |= (code >> at & 1) << bits;
            bits += 1;
            if bits == 8 {
                packed.push(held as u8);
                (held, bits) = (0, 0);
            }
        }
    };
    // The last block, of fixed codes: bits 1, 1, 0. Then a space, and matches of length 258 at distance 1.
    put(0b110, 3);
    put(0x30 + u32::from(b' '), 8);
    for _ in 0..bytes / 258 {
        put(0b1100_0101, 8);
        put(0, 5);
    }
    put(0, 7);
    put(0, 7);
    packed
}

/// A page whose instructions unpack to more than any page has.
pub fn pdf_bomb() -> Vec<u8> {
    let mut pdf = pdf_of(vec![vec![]], None);
    let page = pdf.page_iter().next().unwrap();
    let content = pdf.get_page_contents(page)[0];
    let stream = Stream::new(dictionary! { "Filter" => "FlateDecode" }, deflated_spaces(65 << 20));
    pdf.objects.insert(content, Object::Stream(stream));
    bytes(pdf)
}

pub fn zip(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The same, with the mark of encryption on its parts, in both places where it stands.
pub fn zip_locked(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = zip(parts);
    for (signature, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let places: Vec<usize> =
            (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == signature.as_slice()).collect();
        places.into_iter().for_each(|at| bytes[at + flags] |= 1);
    }
    bytes
}

pub fn docx(body: &str) -> Vec<u8> {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">\
         <w:body>{body}</w:body></w:document>"
    );
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        ("word/document.xml", document.as_bytes()),
        ("docProps/core.xml", b"<cp><dc:title>Betrieb &amp; Ordnung</dc:title></cp>"),
    ])
}
