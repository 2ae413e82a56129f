//! HTML: what a reader would see as text. Scripts, styles, templates and what is marked `hidden` are not content; blocks are lines
//! or paragraphs. No tree is built: a page is read token by token, so that no nesting costs anything.

use super::{Document, Finding, Gathered};
use html5gum::{DefaultEmitter, Token, Tokenizer};

/// Elements whose content is not text of the page.
const SILENT: &[&str] = &[
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas", "select", "datalist",
    "textarea", "audio", "video", "noembed", "noframes",
];

/// Elements that a paragraph, and those that a line, ends at.
const PARAGRAPHS: &[&str] = &[
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "table",
    "ul",
    "ol",
    "dl",
    "pre",
    "blockquote",
    "section",
    "article",
    "main",
    "header",
    "footer",
    "nav",
    "aside",
    "figure",
    "hr",
    "form",
];
const LINES: &[&str] =
    &["br", "div", "li", "tr", "dt", "dd", "caption", "figcaption", "address", "option", "summary", "details"];

/// Elements without an end.
const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "param"];

pub(crate) fn read(text: &str, bytes_max: usize) -> Result<Document, Finding> {
    let mut all = Gathered::new(bytes_max);
    let mut title = String::new();
    let mut in_title = false;
    // The silent element that we are in, and how deep in elements of its name.
    let mut silent: Option<(String, usize)> = None;
    let mut emitter = DefaultEmitter::default();
    // Scripts and their like are raw text up to their end tag, as in a browser.
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(text, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name).into_owned();
                if let Some((within, depth)) = &mut silent {
                    if *within == name && !tag.self_closing {
                        *depth += 1;
                    }
                    continue;
                }
                let hidden = tag.attributes.contains_key(b"hidden".as_slice());
                let holds = !VOID.contains(&name.as_str()) && !tag.self_closing;
                if holds && (hidden || SILENT.contains(&name.as_str())) {
                    silent = Some((name, 1));
                    continue;
                }
                in_title = name == "title";
                // A cell after another one of its row.
                if matches!(name.as_str(), "td" | "th") && !all.begins_line() {
                    all.push(" | ")?;
                }
                divide(&mut all, &name)?;
            }
            Token::EndTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name).into_owned();
                if let Some((within, depth)) = &mut silent {
                    if *within == name {
                        *depth -= 1;
                        if *depth == 0 {
                            silent = None;
                        }
                    }
                    continue;
                }
                in_title = false;
                divide(&mut all, &name)?;
            }
            Token::String(shown) if silent.is_none() => {
                let shown = String::from_utf8_lossy(&shown);
                if in_title {
                    title.push_str(&shown);
                } else {
                    words(&mut all, &shown)?;
                }
            }
            _ => {}
        }
    }
    let title = Some(title.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|title| !title.is_empty());
    Ok(Document { kind: "html".to_owned(), title, text: all.into_text(), pages: Vec::new() })
}

fn divide(all: &mut Gathered, name: &str) -> Result<(), Finding> {
    if PARAGRAPHS.contains(&name) {
        all.break_to(2)
    } else if LINES.contains(&name) {
        all.break_to(1)
    } else {
        Ok(())
    }
}

/// White space is one space, as a browser shows it.
fn words(all: &mut Gathered, shown: &str) -> Result<(), Finding> {
    if shown.starts_with(char::is_whitespace) && !all.ends_with_space() {
        all.push(" ")?;
    }
    for (number, word) in shown.split_whitespace().enumerate() {
        if number > 0 {
            all.push(" ")?;
        }
        all.push(word)?;
    }
    let blank = shown.trim().is_empty();
    if !blank && shown.ends_with(char::is_whitespace) { all.push(" ") } else { Ok(()) }
}

/// Whether a text is a page of HTML: it begins like one, or has its frame near its beginning.
pub(crate) fn is(text: &str) -> bool {
    let head: String = text.chars().take(2_000).collect::<String>().to_ascii_lowercase();
    let begins = head.trim_start();
    begins.starts_with("<!doctype html")
        || begins.starts_with("<html")
        || (begins.starts_with('<') && (head.contains("<html") || head.contains("<body") || head.contains("<head>")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_read() {
        let check = |html: &str, expect: &str| assert_eq!(read(html, 1_000).unwrap().text.trim(), expect, "{html}");
        check(
            "<p>Eins <b>zw</b>ei</p><p>drei&nbsp;&amp; vier",
            "Eins zwei\n\ndrei\u{a0}& vier".replace('\u{a0}', " ").as_str(),
        );
        check("<script>var a = '<p>nein</p>';</script>ja<style>p { x: y }</style>", "ja");
        check("<p hidden>nein <b>nein</b></p>ja", "ja");
        check("<div hidden>a<div>b</div>c</div>ja", "ja");
        check("<!-- nein -->ja<template><p>nein</p></template>", "ja");
        check("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a | b\nc");
        check("<ul><li>a<li>b</ul>", "a\nb");
        check("a<br>b<img src=x onerror='alert(1)'>c", "a\nbc");
        check("<script>never ends", "");
        check("1 < 2 und 3 > 2", "1 < 2 und 3 > 2");
    }

    #[test]
    fn pages_are_told_from_text() {
        for (text, expect) in [
            ("<!DOCTYPE html><p>x", true),
            (" <HTML lang=de>", true),
            ("<?xml version='1.0'?><html>", true),
            ("a <html> tag", false),
            ("<note>x</note>", false),
        ] {
            assert_eq!(is(text), expect, "{text}");
        }
        assert_eq!(read("<title> A\n B </title>c", 99).unwrap().title.as_deref(), Some("A B"));
    }
}
