//! How vectors are made: the caller asks the pipeline, so that each is admitted, metered and receipted like any other request.

use crate::KnowledgeError;
use std::future::Future;
use std::pin::Pin;
use types::Code;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Texts to vectors, one each, in their order. None where there is no embedding endpoint: then retrieval is by words alone. (A
/// closure whose return type is written out says `BoxFuture<'_, …>`: with `'static` it would have to live forever itself.)
pub type Embed<'a> = &'a (dyn Fn(Vec<String>) -> BoxFuture<'a, Result<Vec<Vec<f32>>, EmbedError>> + Send + Sync);

/// Why there are no vectors, as the pipeline says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the embedding endpoint: {message}")]
pub struct EmbedError {
    pub code: Code,
    pub message: String,
}

/// Texts in one question to the endpoint: 64 of 1,200 characters are 20,000 tokens at most, which engines take at once.
pub(crate) const EMBED_TEXTS_MAX: usize = 64;

/// More dimensions than any model on the market has.
const DIMENSIONS_MAX: usize = 8_192;

/// Vectors of length 1 for all texts, asked for in portions.
pub(crate) async fn vectors(embed: Embed<'_>, texts: &[&str]) -> Result<Vec<Vec<f32>>, KnowledgeError> {
    let mut all = Vec::with_capacity(texts.len());
    for portion in texts.chunks(EMBED_TEXTS_MAX) {
        let asked: Vec<String> = portion.iter().map(|text| (*text).to_owned()).collect();
        let mut made = embed(asked).await?;
        if made.len() != portion.len() || !made.iter_mut().all(|vector| normalise(vector)) {
            let message = "it answered with another number of vectors, or with what is no vector".to_owned();
            return Err(EmbedError { code: Code::EngineFailed, message }.into());
        }
        all.append(&mut made);
    }
    Ok(all)
}

/// Brings a vector to length 1, so that a dot product is the cosine. False: it is none.
fn normalise(vector: &mut [f32]) -> bool {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if vector.is_empty() || vector.len() > DIMENSIONS_MAX || !length.is_finite() {
        return false;
    }
    // A vector of zeros is near nothing.
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    true
}

/// A vector as stored: 32-bit floats, little-endian.
pub(crate) fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Vec<f32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_or_are_none() {
        let check = |mut vector: Vec<f32>, expect: Option<&[f32]>| {
            let good = normalise(&mut vector);
            assert_eq!(good.then_some(vector.as_slice()), expect);
        };
        check(vec![3.0, 4.0], Some(&[0.6, 0.8]));
        check(vec![0.0, 0.0], Some(&[0.0, 0.0]));
        check(vec![], None);
        check(vec![f32::NAN, 1.0], None);
        check(vec![f32::MAX, f32::MAX], None);
        check(vec![0.0; DIMENSIONS_MAX + 1], None);
    }

    #[test]
    fn bytes_and_back() {
        let vector = vec![0.25, -1.5, f32::MIN_POSITIVE];
        assert_eq!(from_bytes(&to_bytes(&vector)), Some(vector));
        assert_eq!(from_bytes(&[0; 5]), None);
    }
}
