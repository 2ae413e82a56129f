//! E-mail addresses and web addresses, by their form.

use super::{Found, Kind};
use crate::text::{Kind as Token, Text};

/// RFC 5321: 64 bytes before the @, 255 after it.
const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 255;
/// A web address may be long; past this the rest is not looked at.
const URL_MAX: usize = 2048;
/// Endings of names that are taken for a web address without `https://` or `www.`: those that are no ending of a file or a sentence.
const ENDINGS: [&str; 30] = [
    "de", "com", "org", "net", "eu", "at", "ch", "info", "io", "fr", "nl", "it", "pl", "uk", "dev", "cloud", "app",
    "edu", "gov", "berlin", "bayern", "hamburg", "koeln", "online", "shop", "biz", "es", "dk", "se", "be",
];

pub(crate) fn find(text: &Text, found: &mut Vec<Found>) {
    let mut mail_end = 0;
    let mut url_end = 0;
    for at in 0..text.len() {
        let Some(token) = text.token(at).copied() else { break };
        if token.kind == Token::Mark('@') {
            if let Some((start, end)) = mail(text, token.start, token.end).filter(|(start, _)| *start >= mail_end) {
                found.push(Found { start, end, kind: Kind::Email });
                mail_end = end;
            }
        } else if matches!(token.kind, Token::Mark('(' | '[')) && written_out(text, at) {
            let end = text.token(at + 2).map_or(token.end, |it| it.end);
            let start = text.source[..token.start].trim_end_matches(' ').len();
            let after = end + text.source[end..].len() - text.source[end..].trim_start_matches(' ').len();
            if let Some((start, end)) = mail(text, start, after).filter(|(start, _)| *start >= mail_end) {
                found.push(Found { start, end, kind: Kind::Email });
                mail_end = end;
            }
        } else if token.kind == Token::Word && token.start >= url_end.max(mail_end) {
            let stuck = text.source[..token.start].ends_with(['@', '.', '-', '_', '/'])
                || text.source[..token.start].ends_with(char::is_alphanumeric);
            if !stuck && let Some(end) = url(text, token.start) {
                found.push(Found { start: token.start, end, kind: Kind::Url });
                url_end = end;
            }
        }
    }
}

/// "(at)", "[at]", "(ät)" in place of an @. Blanks around it are at most two, so that looking for them costs little.
fn written_out(text: &Text, at: usize) -> bool {
    let word = text.str(at + 1);
    let open = text.token(at).map_or(0, |it| it.start);
    let few = !text.source[..open].ends_with("   ");
    few && (word.eq_ignore_ascii_case("at") || word == "ät") && (text.is_mark(at + 2, ')') || text.is_mark(at + 2, ']'))
}

/// Around an @ that begins and ends at these bytes.
fn mail(text: &Text, before: usize, after: usize) -> Option<(usize, usize)> {
    let local = text.source[..before]
        .char_indices()
        .rev()
        .take_while(|(at, c)| before - at <= LOCAL_MAX && (c.is_alphanumeric() || "._%+-'".contains(*c)))
        .last()
        .map(|(at, _)| at)?;
    let trimmed = text.source[local..before].trim_start_matches(['.', '-', '\'', '%', '+']);
    let start = before - trimmed.len();
    text.count(before - local);
    let end = domain(text, after)?;
    (!trimmed.is_empty() && !trimmed.ends_with('.')).then_some((start, end))
}

/// Where a domain name that begins here ends: labels and points, the last label of letters.
fn domain(text: &Text, start: usize) -> Option<usize> {
    let rest = &text.source[start..];
    let length = rest
        .char_indices()
        .take_while(|(at, c)| *at < DOMAIN_MAX && (c.is_alphanumeric() || matches!(c, '.' | '-')))
        .last()
        .map_or(0, |(at, c)| at + c.len_utf8());
    text.count(length);
    let name = rest[..length].trim_end_matches(['.', '-']);
    let (before, ending) = name.rsplit_once('.')?;
    let labels = before.split('.').all(|it| !it.is_empty() && !it.starts_with('-') && !it.ends_with('-'));
    let ends = ending.chars().count() >= 2 && ending.chars().all(char::is_alphabetic) || ending.starts_with("xn--");
    (labels && ends).then_some(start + name.len())
}

fn url(text: &Text, start: usize) -> Option<usize> {
    let rest = &text.source[start..];
    let mut window = rest.chars().take(10).collect::<String>();
    window.make_ascii_lowercase();
    text.count(10);
    let schemes = ["https://", "http://", "ftp://", "sftp://", "ldap://", "mailto:", "ssh://", "file://"];
    let (name, bare) = match schemes.iter().find(|it| window.starts_with(**it)) {
        Some(scheme) => (start + scheme.len(), false),
        None if window.starts_with("www.") => (domain(text, start).map(|_| start)?, false),
        None => (start, true),
    };
    let host = match bare {
        true => {
            let end = domain(text, start)?;
            let ending = text.source[start..end].rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
            let longest = text.source[start..end].split('.').map(str::len).max().unwrap_or(0);
            // "z.B.de" is none, nor is a name whose last part begins with a capital: the begin of a sentence without its blank.
            let sentence =
                text.source[start..end].rsplit('.').next().is_some_and(|it| it.starts_with(char::is_uppercase));
            if !ENDINGS.contains(&ending.as_str()) || longest < 3 || sentence || text.source[end..].starts_with('@') {
                return None;
            }
            end
        }
        false => name,
    };
    let tail = |c: char| !c.is_whitespace() && !"<>\"'`|\\^{}„“”»«".contains(c);
    let goes_on = !bare || text.source[host..].starts_with(['/', ':', '?', '#']);
    let mut end = host;
    if goes_on {
        let length = text.source[host..]
            .char_indices()
            .take_while(|(at, c)| *at < URL_MAX && tail(*c))
            .last()
            .map_or(0, |(at, c)| at + c.len_utf8());
        text.count(length);
        end += length;
    }
    let url = &text.source[start..end];
    let mut url = url.trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_', ')', ']']);
    // A bracket that was opened inside is part of it.
    if text.source[start + url.len()..end].starts_with(')') && url.contains('(') {
        url = &text.source[start..=start + url.len()];
    }
    (url.len() > name - start + 2).then_some(start + url.len())
}
