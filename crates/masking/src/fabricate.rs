//! Invented values of the same kind. Each contains a word (or a run of digits), in ASCII as labels are, that stands in no text of the request and in no other
//! invented value, so it can be found in an answer and means one thing.
//!
//! Numbers are from ranges in which nobody lives: telephone numbers that the Bundesnetzagentur keeps for films, `example.org`, a bank
//! code that no bank has, test cards. They pass their checksums, so that whoever computes with them does not stumble.

use crate::checksum;
use crate::find::Kind;
use std::collections::BTreeSet;

pub(crate) fn can(kind: Kind) -> bool {
    use Kind::*;
    matches!(kind, Person | Org | University | Location | Address | Phone | Email | Url | Iban | Card)
}

const GIVEN: [&str; 16] = [
    "Alex", "Robin", "Kim", "Sascha", "Toni", "Luca", "Noel", "Jona", "Mika", "Charlie", "Eike", "Kaya", "Sam",
    "Jules", "Rene", "Quinn",
];
const BEGINNINGS: [&str; 24] = [
    "Ahlen", "Birken", "Dorn", "Eschen", "Falken", "Gersten", "Hollen", "Ilmen", "Kiefern", "Linden", "Marder",
    "Nebel", "Otter", "Pappel", "Quitten", "Reiher", "Silber", "Tannen", "Ulmen", "Veilchen", "Weiden", "Zander",
    "Wachtel", "Hasel",
];
const MIDDLES: [&str; 12] = ["", "ber", "hol", "lan", "mar", "nor", "ost", "rud", "sel", "tor", "wal", "zig"];
const ENDINGS: [&str; 24] = [
    "acker", "bach", "born", "bruck", "dorf", "eck", "feld", "furt", "grund", "hain", "heide", "hof", "holz", "horst",
    "kamp", "loh", "moor", "rode", "see", "stein", "tal", "wald", "werder", "winkel",
];
/// Telephone numbers for films: area, begin of the number; three digits follow.
const PHONES: [(&str, &str); 5] = [("30", "23125"), ("69", "90009"), ("40", "66969"), ("221", "4710"), ("89", "99998")];
/// Draws before a word gets longer: a request that used up all of 6,912 words and 5,000 numbers goes on.
const DRAWS_MAX: usize = 100;

#[derive(Debug, Clone)]
pub(crate) struct Inventor {
    state: u64,
    /// Hashes of the words that are taken.
    taken: BTreeSet<u64>,
}

impl Inventor {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, taken: BTreeSet::new() }
    }

    /// The words of this text are not to be used.
    pub(crate) fn taken(&mut self, text: &str) {
        self.taken.extend(text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(hash));
    }

    /// SplitMix64.
    fn draw(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + self.draw(10) as u8)).collect()
    }

    /// A word of this making that is not taken yet; gets longer when luck fails.
    fn fresh(&mut self, mut make: impl FnMut(&mut Self, usize) -> String) -> String {
        for draw in 0.. {
            let word = make(self, draw / DRAWS_MAX);
            // With a genitive's s it is found too.
            if !self.taken.contains(&hash(&word)) && !self.taken.contains(&hash(&format!("{word}s"))) {
                self.taken.insert(hash(&word));
                return word;
            }
        }
        unreachable!("words get longer without end, and what is taken is finite")
    }

    fn word(&mut self, ending: &str) -> String {
        self.fresh(|it, longer| {
            let mut word = BEGINNINGS[it.draw(BEGINNINGS.len())].to_owned();
            for _ in 0..=longer {
                word.push_str(MIDDLES[it.draw(MIDDLES.len())]);
            }
            word.push_str(ENDINGS[it.draw(ENDINGS.len())]);
            word.push_str(ending);
            word
        })
    }

    /// For addresses of the network, which are written small.
    fn small_word(&mut self) -> String {
        self.fresh(|it, longer| {
            let word = [BEGINNINGS[it.draw(BEGINNINGS.len())], ENDINGS[it.draw(ENDINGS.len())]].concat();
            format!("{}{}", word.to_lowercase(), it.digits(2 + longer))
        })
    }

    pub(crate) fn invent(&mut self, kind: Kind) -> String {
        match kind {
            Kind::Org => format!("{} GmbH", self.word("")),
            Kind::University => format!("Universität {}", self.word("")),
            Kind::Location => self.word(""),
            Kind::Address => {
                let number = 1 + self.draw(99);
                format!("{} Weg {number}, 00000 Musterstadt", self.word("er"))
            }
            Kind::Email => format!("{}@example.org", self.small_word()),
            Kind::Url => format!("https://{}.example.org/", self.small_word()),
            Kind::Phone => {
                let (area, begin) = PHONES[self.draw(PHONES.len())];
                let number = self.fresh(|it, longer| format!("{begin}{}", it.digits(3 + longer)));
                format!("+49 {area} {number}")
            }
            Kind::Iban => self.fresh(|it, longer| {
                let account = format!("00000000{}", it.digits(10 + longer));
                let check =
                    (0..97).map(|check| format!("DE{check:02}{account}")).find(|it| checksum::iban(it.as_bytes()));
                check.unwrap_or(account)
            }),
            Kind::Card => self.fresh(|it, longer| {
                let body = format!("400000{}", it.digits(9 + longer));
                let card = (0..10).map(|check| format!("{body}{check}")).find(|it| checksum::luhn(it.as_bytes()));
                card.unwrap_or(body)
            }),
            _ => format!("{} {}", GIVEN[self.draw(GIVEN.len())], self.word("")),
        }
    }
}

/// FNV-1a. A collision makes a word look taken, which costs another draw.
fn hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
