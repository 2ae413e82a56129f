//! What is told of a story: each change of each machine, and one line instead of two hundred that say the same.

use types::UnixMillis;

/// So many machines are named one by one.
const NAMED_MAX: usize = 3;

struct Line {
    at: UnixMillis,
    who: String,
    what: String,
    detail: String,
}

#[derive(Default)]
pub(super) struct Told {
    lines: Vec<Line>,
    pub quiet: bool,
}

impl Told {
    pub fn add(&mut self, at: UnixMillis, who: &str, what: impl Into<String>, detail: impl Into<String>) {
        if !self.quiet {
            let (who, what, detail) = (who.to_owned(), what.into(), detail.into());
            self.lines.push(Line { at, who, what, detail });
        }
    }

    /// Everything since the last time, in its order; who says the same at the same time is one line.
    pub fn take(&mut self) -> Vec<String> {
        let mut groups: Vec<Vec<Line>> = Vec::new();
        for line in self.lines.drain(..) {
            let like = |group: &&mut Vec<Line>| group[0].at == line.at && group[0].what == line.what;
            match groups.iter_mut().rev().take_while(|group| group[0].at == line.at).find(like) {
                Some(group) => group.push(line),
                None => groups.push(vec![line]),
            }
        }
        groups.iter().flat_map(|group| show(group)).collect()
    }
}

fn show(group: &[Line]) -> Vec<String> {
    let at = clock(group[0].at);
    if group.len() > NAMED_MAX {
        let names: Vec<&str> = group.iter().take(NAMED_MAX).map(|line| line.who.as_str()).collect();
        return vec![format!("{at} {} machines ({}, …): {}", group.len(), names.join(", "), group[0].what)];
    }
    let one = |line: &Line| match line.detail.as_str() {
        "" => format!("{at} {}: {}", line.who, line.what),
        detail => format!("{at} {}: {}: {detail}", line.who, line.what),
    };
    group.iter().map(one).collect()
}

/// Days and time of day since the story began.
pub(super) fn clock(at: UnixMillis) -> String {
    let minutes = at.0 / 60_000;
    format!("{}d {:02}:{:02}", minutes / 1_440, minutes / 60 % 24, minutes % 60)
}
