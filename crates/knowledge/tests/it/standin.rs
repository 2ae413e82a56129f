//! A stand-in for an embedding model, which cannot be had here: a text is its words and their pieces of three to five letters,
//! hashed into so many dimensions, weighed by how rare they are among the passages that it was fitted to. It knows no meaning: two
//! words are near if they share letters. A real model is expected to do better, above all across languages.

use knowledge::{BoxFuture, EmbedError};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

pub const DIMENSIONS: usize = 2_048;

pub struct StandIn {
    /// How rare each dimension is.
    weights: Vec<f32>,
}

/// The pieces of a text with how much each counts.
fn pieces(text: &str) -> Vec<(usize, f32)> {
    let hash = |piece: &str| {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(piece);
        (hash % DIMENSIONS as u64) as usize
    };
    let mut all = Vec::new();
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        all.push((hash(word), 1.0));
        let letters: Vec<char> = format!("<{word}>").chars().collect();
        for length in 3..=5 {
            for window in letters.windows(length) {
                all.push((hash(&window.iter().collect::<String>()), 0.5));
            }
        }
    }
    all
}

impl StandIn {
    /// Fitted to passages, never to questions.
    pub fn fitted_to<'t>(texts: impl Iterator<Item = &'t str>) -> StandIn {
        let mut documents = vec![0_u32; DIMENSIONS];
        let mut count = 0_u32;
        for text in texts {
            count += 1;
            let mut there: Vec<usize> = pieces(text).into_iter().map(|(place, _)| place).collect();
            there.sort_unstable();
            there.dedup();
            there.into_iter().for_each(|place| documents[place] += 1);
        }
        let weight = |seen: u32| ((f64::from(count) + 1.0) / (f64::from(seen) + 1.0)).ln() as f32;
        StandIn { weights: documents.into_iter().map(weight).collect() }
    }

    pub fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0_f32; DIMENSIONS];
        for (place, counts) in pieces(text) {
            vector[place] += counts;
        }
        for (value, weight) in vector.iter_mut().zip(&self.weights) {
            *value = value.ln_1p() * weight;
        }
        vector
    }

    /// As the endpoint would be asked.
    pub fn embed(&self, texts: Vec<String>) -> BoxFuture<'static, Result<Vec<Vec<f32>>, EmbedError>> {
        let vectors = texts.iter().map(|text| self.vector(text)).collect();
        Box::pin(async move { Ok(vectors) })
    }
}
