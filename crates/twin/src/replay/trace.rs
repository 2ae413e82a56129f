//! Traces of real traffic: when a request came, how long it was, how long its answer, and which blocks its prompt had.
//!
//! Two formats. JSONL with `timestamp` in milliseconds, `input_length`, `output_length` and `hash_ids` of 512-token blocks; and
//! Azure's CSV (`TIMESTAMP,ContextTokens,GeneratedTokens`), which says nothing of prompts: every one counts as new.

use super::engine::BLOCK_TOKENS;
use serde::Deserialize;
use std::io::BufRead;

/// A trace of a day at a site has some million requests; a line more than that is a mistake.
pub const REQUESTS_MAX: usize = 20_000_000;

/// No model that we know reads more.
pub const LENGTH_MAX: u64 = 10_000_000;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Since the first one.
    pub at_millis: f64,
    pub input: u64,
    pub output: u64,
    pub blocks: Vec<u64>,
}

/// What is wrong with a trace, and where.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("line {line}: {what}")]
    Line { line: usize, what: String },
    #[error("there is no request in it")]
    Empty,
}

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    #[serde(default)]
    hash_ids: Option<Vec<u64>>,
}

/// Reads a trace; the format is seen from its first line. Requests are sorted by time, those of the same time stay as they
/// stand. `progress` is told how many lines were read.
pub fn read(source: impl BufRead, mut progress: impl FnMut(usize)) -> Result<Vec<Request>, TraceError> {
    let mut requests = Vec::new();
    let mut csv = false;
    for (at, line) in source.lines().enumerate() {
        let number = at + 1;
        let wrong = |what: String| TraceError::Line { line: number, what };
        let line = line.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => wrong("it is not UTF-8".to_owned()),
            _ => TraceError::Read(error),
        })?;
        let text = line.trim_start_matches('\u{feff}').trim();
        if text.is_empty() {
            continue;
        }
        if at == 0 && !text.starts_with('{') {
            csv = true;
            if text != "TIMESTAMP,ContextTokens,GeneratedTokens" {
                return Err(wrong("neither a JSON object nor TIMESTAMP,ContextTokens,GeneratedTokens".to_owned()));
            }
            continue;
        }
        let request = if csv { azure(text, requests.len() as u64) } else { json(text) }.map_err(wrong)?;
        if requests.len() == REQUESTS_MAX {
            return Err(wrong(format!("more than {REQUESTS_MAX} requests")));
        }
        requests.push(request);
        if number % 10_000 == 0 {
            progress(number);
        }
    }
    requests.sort_by(|a, b| a.at_millis.total_cmp(&b.at_millis));
    let first = requests.first().ok_or(TraceError::Empty)?.at_millis;
    requests.iter_mut().for_each(|request| request.at_millis -= first);
    Ok(requests)
}

fn json(text: &str) -> Result<Request, String> {
    let line: Line = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let Line { timestamp, input_length: input, output_length: output, hash_ids } = line;
    if !(timestamp.is_finite() && timestamp >= 0.0) {
        return Err(format!("timestamp {timestamp} is no time"));
    }
    lengths(input, output)?;
    let blocks = hash_ids.unwrap_or_default();
    if blocks.len() as u64 > input.div_ceil(BLOCK_TOKENS) {
        return Err(format!("{} hash_ids for {input} tokens: one is {BLOCK_TOKENS} of them", blocks.len()));
    }
    Ok(Request { at_millis: timestamp, input, output, blocks })
}

fn azure(text: &str, row: u64) -> Result<Request, String> {
    let mut cells = text.split(',');
    let (Some(time), Some(input), Some(output), None) = (cells.next(), cells.next(), cells.next(), cells.next()) else {
        return Err("three cells are expected: TIMESTAMP,ContextTokens,GeneratedTokens".to_owned());
    };
    let number =
        |name: &str, cell: &str| cell.parse::<u64>().map_err(|_| format!("{name} {cell:?} is no whole number"));
    let (input, output) = (number("ContextTokens", input)?, number("GeneratedTokens", output)?);
    lengths(input, output)?;
    let at_millis =
        time_millis(time).ok_or_else(|| format!("TIMESTAMP {time:?} is not 2023-11-16 18:17:03.9799600"))?;
    // Every prompt is a new one: blocks that no other row has.
    let blocks = (0..input.div_ceil(BLOCK_TOKENS)).map(|block| (row << 20) | block).collect();
    Ok(Request { at_millis, input, output, blocks })
}

fn lengths(input: u64, output: u64) -> Result<(), String> {
    match input == 0 || input > LENGTH_MAX || output > LENGTH_MAX {
        true => Err(format!("a prompt of {input} and an answer of {output} tokens: 1 to {LENGTH_MAX} are possible")),
        false => Ok(()),
    }
}

/// `2023-11-16 18:17:03.9799600` in milliseconds since 1970.
fn time_millis(text: &str) -> Option<f64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let [year, month, day] = split(date, '-')?;
    let [hour, minute, second] = split(time.trim_end_matches('Z'), ':')?;
    let right = (1.0..=12.0).contains(&month)
        && (1.0..=31.0).contains(&day)
        && (0.0..24.0).contains(&hour)
        && (0.0..60.0).contains(&minute)
        && (0.0..61.0).contains(&second);
    // Days since 1970: March begins the year, so that the leap day is its last.
    let (year, month) = if month > 2.0 { (year, month - 3.0) } else { (year - 1.0, month + 9.0) };
    let days = 365.0 * year + (year / 4.0).floor() - (year / 100.0).floor()
        + (year / 400.0).floor()
        + ((153.0 * month + 2.0) / 5.0).floor()
        + day
        - 719_469.0;
    right.then_some(((days * 24.0 + hour) * 60.0 + minute) * 60_000.0 + second * 1_000.0)
}

fn split(text: &str, at: char) -> Option<[f64; 3]> {
    let mut parts = text.split(at).map(|part| part.parse::<f64>().ok());
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}
