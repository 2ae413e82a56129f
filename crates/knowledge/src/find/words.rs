//! An index of words: tantivy's BM25 over two fields, one analysed as German and one as English. A passage stands in the field of
//! its language, one of neither in both; a question is asked of both.
//!
//! Analysis: split where letters and digits end, small letters, stop words out, stems (Snowball); German compounds also in parts
//! ([`super::compounds`]). In memory only (`RamDirectory`): files would hold the text in clear.

use super::compounds::Vocabulary;
use std::cell::RefCell;
use std::collections::HashMap;
use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::directory::RamDirectory;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{
    Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer, TokenizerManager,
};
use tantivy::{Index, Searcher, TantivyDocument, TantivyError, Term};

/// A word longer than this is none.
const WORD_BYTES_MAX: usize = 80;

/// Different words of a question that are asked for; the rest of a longer one adds nothing.
const TERMS_MAX: usize = 64;

/// A part of a compound in a question counts less than a word that was written.
const PART_BOOST: f32 = 0.5;

/// Where tantivy's writer would begin another segment; we never have more than one.
const WRITER_BYTES: usize = 64 << 20;

const POSITION: &str = "position";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tongue {
    German,
    English,
}

impl Tongue {
    const BOTH: [Tongue; 2] = [Tongue::German, Tongue::English];

    fn code(self) -> &'static str {
        match self {
            Tongue::German => "de",
            Tongue::English => "en",
        }
    }

    fn language(self) -> Language {
        match self {
            Tongue::German => Language::German,
            Tongue::English => Language::English,
        }
    }

    /// From text to what stands in the index.
    fn analyzer(self) -> TextAnalyzer {
        let plain = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
            .filter(LowerCaser);
        let stop = StopWordFilter::new(self.language()).expect("tantivy has the stop words of both");
        plain.filter(stop).filter(Stemmer::new(self.language())).build()
    }
}

fn tokens(analyzer: &mut TextAnalyzer, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    analyzer.token_stream(text).process(&mut |token| found.push(token.text.clone()));
    found
}

fn lower_words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && word.len() <= WORD_BYTES_MAX)
        .map(str::to_lowercase)
}

pub(crate) struct Words {
    searcher: Searcher,
    fields: [Field; 2],
    analyzers: [TextAnalyzer; 2],
    vocabulary: Vocabulary,
    bytes: usize,
}

/// Splits compounds, and remembers each: a collection uses the same words again and again.
struct Splitter<'v> {
    vocabulary: &'v Vocabulary,
    stemmer: RefCell<TextAnalyzer>,
    known: HashMap<String, Vec<String>>,
}

impl<'v> Splitter<'v> {
    fn new(vocabulary: &'v Vocabulary) -> Splitter<'v> {
        let stemmer = TextAnalyzer::builder(SimpleTokenizer::default()).filter(Stemmer::new(Language::German)).build();
        Splitter { vocabulary, stemmer: RefCell::new(stemmer), known: HashMap::new() }
    }

    fn parts(&mut self, word: &str) -> &[String] {
        if !self.known.contains_key(word) {
            let stem = |word: &str| tokens(&mut self.stemmer.borrow_mut(), word).pop().unwrap_or_default();
            let parts = self.vocabulary.parts(word, &stem);
            self.known.insert(word.to_owned(), parts);
        }
        &self.known[word]
    }

    /// A text followed by the parts of its compounds.
    fn with_parts(&mut self, text: &str) -> String {
        let mut all = text.to_owned();
        for word in lower_words(text) {
            for part in self.parts(&word) {
                all.push(' ');
                all.push_str(part);
            }
        }
        all
    }
}

impl Words {
    /// An index of texts and what is known of their language; their places in this list are what [`Words::search`] answers.
    pub(crate) fn of<'t>(texts: &[(&'t str, Option<&'t str>)]) -> Result<Words, TantivyError> {
        let mut analyzers = Tongue::BOTH.map(Tongue::analyzer);
        let mut schema = Schema::builder();
        let indexing = |tongue: Tongue| {
            let indexing = TextFieldIndexing::default()
                .set_tokenizer(tongue.code())
                .set_index_option(IndexRecordOption::WithFreqs);
            TextOptions::default().set_indexing_options(indexing)
        };
        let fields = Tongue::BOTH.map(|tongue| schema.add_text_field(tongue.code(), indexing(tongue)));
        let position = schema.add_u64_field(POSITION, FAST);
        let manager = TokenizerManager::default();
        for (tongue, analyzer) in Tongue::BOTH.into_iter().zip(&analyzers) {
            manager.register(tongue.code(), analyzer.clone());
        }
        let mut vocabulary = Vocabulary::default();
        for (text, language) in texts {
            if speaks(*language, Tongue::German) {
                tokens(&mut analyzers[0], text).iter().for_each(|stem| vocabulary.add(stem));
            }
        }
        let builder = Index::builder().schema(schema.build()).tokenizers(manager);
        let mut writer = builder.single_segment_index_writer(RamDirectory::create(), WRITER_BYTES)?;
        let mut splitter = Splitter::new(&vocabulary);
        for (place, (text, language)) in (0_u64..).zip(texts) {
            let mut document = TantivyDocument::default();
            document.add_u64(position, place);
            for (tongue, field) in Tongue::BOTH.into_iter().zip(fields) {
                match tongue {
                    _ if !speaks(*language, tongue) => {}
                    Tongue::German => document.add_text(field, splitter.with_parts(text)),
                    Tongue::English => document.add_text(field, text),
                }
            }
            writer.add_document(document)?;
        }
        let index = writer.finalize()?;
        let searcher = index.reader()?.searcher();
        // Postings, dictionary and lengths are about as large as the text; tantivy says it exactly only of files.
        let bytes = texts.iter().map(|(text, _)| text.len()).sum::<usize>() + vocabulary.bytes();
        Ok(Words { searcher, fields, analyzers, vocabulary, bytes })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The best places for a question, with their scores, best first; only those that `allowed` holds.
    pub(crate) fn search(
        &self,
        question: &str,
        allowed: &std::sync::Arc<[bool]>,
        limit: usize,
    ) -> Result<Vec<(f32, u32)>, TantivyError> {
        let mut wanted: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for (tongue, field) in Tongue::BOTH.into_iter().zip(self.fields) {
            let mut analyzer = self.analyzers[usize::from(tongue == Tongue::English)].clone();
            let mut terms: Vec<(String, f32)> = Vec::new();
            let mut add = |text: String, boost: f32| {
                if terms.len() < TERMS_MAX && !terms.iter().any(|(known, _)| *known == text) {
                    terms.push((text, boost));
                }
            };
            tokens(&mut analyzer, question).into_iter().for_each(|token| add(token, 1.0));
            if tongue == Tongue::German {
                let mut splitter = Splitter::new(&self.vocabulary);
                for word in lower_words(question) {
                    for part in splitter.parts(&word) {
                        tokens(&mut analyzer, part).into_iter().for_each(|token| add(token, PART_BOOST));
                    }
                }
            }
            for (text, boost) in terms {
                let term = TermQuery::new(Term::from_field_text(field, &text), IndexRecordOption::WithFreqs);
                wanted.push((Occur::Should, Box::new(BoostQuery::new(Box::new(term), boost))));
            }
        }
        if wanted.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        let may = allowed.clone();
        let may =
            move |place: u64| usize::try_from(place).ok().and_then(|place| may.get(place)).is_some_and(|may| *may);
        let collector = FilterCollector::new(POSITION.to_owned(), may, TopDocs::with_limit(limit).order_by_score());
        let found = self.searcher.search(&BooleanQuery::new(wanted), &collector)?;
        // One segment, written in order: a document's number in it is its place.
        Ok(found.into_iter().map(|(score, address)| (score, address.doc_id)).collect())
    }
}

fn speaks(language: Option<&str>, tongue: Tongue) -> bool {
    match language {
        Some("de") => tongue == Tongue::German,
        Some("en") => tongue == Tongue::English,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_find_their_passages() {
        let texts = [
            ("Das Wartungsintervall der Presse beträgt 500 Stunden.", Some("de")),
            ("Der Antrag auf Urlaub geht an die Leitung. Jede Wartung wird im Intervall geplant.", Some("de")),
            ("The presses are serviced by trained staff.", Some("en")),
            ("MX-400 MX-500", None),
        ];
        let words = Words::of(&texts).unwrap();
        let all: std::sync::Arc<[bool]> = [true; 4].into();
        let check = |question: &str, expect: &[u32]| {
            let found: Vec<u32> =
                words.search(question, &all, 2).unwrap().into_iter().map(|(_, place)| place).collect();
            assert_eq!(found, expect, "{question}");
        };
        check("Wie oft werden Pressen gewartet, im welchem Intervall?", &[0, 1]);
        check("Urlaubsanträge", &[1]);
        // The German stem of `Presse` is the same.
        check("who services a press", &[2, 0]);
        check("mx 500", &[3, 0]);
        check("der die das", &[]);
        check("§§ ???", &[]);
        let one: std::sync::Arc<[bool]> = [false, true, false, false].into();
        let found = words.search("Wartungsintervall", &one, 9).unwrap();
        assert_eq!(found.iter().map(|(_, place)| *place).collect::<Vec<_>>(), [1]);
        assert_eq!(words.search("mx", &[].into(), 9).unwrap(), []);
    }

    #[test]
    fn an_index_of_nothing_finds_nothing() {
        let words = Words::of(&[]).unwrap();
        assert_eq!(words.search("etwas", &[].into(), 9).unwrap(), []);
    }
}
