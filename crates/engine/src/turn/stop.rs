//! Stop strings, found across the borders of tokens. Text that could be the beginning of a stop string is held until it
//! is known not to be; the stop string itself and what follows it is never given out.

#[derive(Debug)]
pub(crate) struct Stops {
    stops: Vec<String>,
    held: String,
}

/// What a piece of text led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Text that can be given out now.
    pub(crate) release: String,
    /// A stop string was met: nothing more will come.
    pub(crate) stopped: bool,
}

impl Stops {
    /// Empty strings are left out: they would stop everything.
    pub(crate) fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|s| !s.is_empty());
        Self { stops, held: String::new() }
    }

    pub(crate) fn push(&mut self, text: &str) -> Scan {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|s| self.held.find(s.as_str())).min() {
            self.held.truncate(at);
            return Scan { release: std::mem::take(&mut self.held), stopped: true };
        }
        let rest = self.held.split_off(self.held.len() - self.open_end());
        Scan { release: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held, because no more text comes.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The length of the longest end of the held text that begins a stop string.
    fn open_end(&self) -> usize {
        let starts = |len: usize| {
            let from = self.held.len() - len;
            self.held.is_char_boundary(from) && self.stops.iter().any(|s| s.starts_with(&self.held[from..]))
        };
        let longest = self.stops.iter().map(|s| s.len() - 1).max().unwrap_or(0).min(self.held.len());
        (1..=longest).rev().find(|len| starts(*len)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stops: &[&str], pieces: &[&str], expect: &[&str], stopped: bool) {
        let mut scan = Stops::new(stops.iter().map(|s| s.to_string()).collect());
        let mut got = Vec::new();
        let mut end = false;
        for piece in pieces {
            let Scan { release, stopped } = scan.push(piece);
            got.push(release);
            if stopped {
                end = true;
                break;
            }
        }
        if !end {
            got.push(scan.finish());
        }
        assert_eq!((got.iter().map(String::as_str).collect::<Vec<_>>(), end), (expect.to_vec(), stopped));
    }

    #[test]
    fn a_stop_string_is_found_wherever_the_pieces_break() {
        check(&["END"], &["abEND", "x"], &["ab"], true);
        check(&["END"], &["abE", "N", "Dx"], &["ab", "", ""], true);
        check(&["END"], &["E", "N", "E", "ND"], &["", "", "EN", ""], true);
        check(&["\n\n"], &["a\n", "b\n", "\nc"], &["a", "\nb", ""], true);
    }

    #[test]
    fn what_only_looked_like_a_stop_is_given_out_late() {
        check(&["END"], &["EN", "d"], &["", "ENd", ""], false);
        check(&["END"], &["xEN"], &["x", "EN"], false);
        check(&[], &["EN"], &["EN", ""], false);
        check(&[""], &["EN"], &["EN", ""], false);
    }

    #[test]
    fn the_earliest_of_several_stops_wins_and_letters_stay_whole() {
        check(&["world", "o w"], &["hello world"], &["hell"], true);
        check(&["ää"], &["xä", "ö"], &["x", "äö", ""], false);
        check(&["ää"], &["xä", "ä"], &["x", ""], true);
    }
}
