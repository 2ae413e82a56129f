//! BERT-type embedding: one text in, one unit vector out. The token vectors are pooled as the folder's
//! `1_Pooling/config.json` says (mean, or the first token), mean where it says nothing. Vectors always have length 1, as
//! OpenAI's have: a caller may use the dot product.

use super::config::read_object;
use crate::error::LoadError;
use candle_core::{Device, Result, Tensor};
use candle_transformers::models::bert::BertModel;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    Mean,
    FirstToken,
}

pub(crate) struct Embedder {
    pub(crate) network: BertModel,
    pub(crate) pooling: Pooling,
    pub(crate) dimensions: usize,
}

impl Pooling {
    pub(crate) fn read(folder: &Path) -> std::result::Result<Self, LoadError> {
        let path = folder.join("1_Pooling").join("config.json");
        let Some(fields) = read_object(&path)? else { return Ok(Self::Mean) };
        let mut on =
            fields.iter().filter(|(name, value)| name.starts_with("pooling_mode_") && value.as_bool() == Some(true));
        match (on.next().map(|(name, _)| name.as_str()), on.next()) {
            (Some("pooling_mode_mean_tokens") | None, None) => Ok(Self::Mean),
            (Some("pooling_mode_cls_token"), None) => Ok(Self::FirstToken),
            _ => Err(LoadError::unsupported(
                &path,
                "asks for another pooling than mean or first token",
                "Use an embedding model that pools by mean or by its first token",
            )),
        }
    }
}

impl Embedder {
    /// The unit vector of one tokenised text.
    pub(crate) fn embed(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let states = self.network.forward(&input, &input.zeros_like()?, None)?.squeeze(0)?;
        let pooled = match self.pooling {
            Pooling::Mean => states.mean(0)?,
            Pooling::FirstToken => states.get(0)?,
        };
        let mut vector = pooled.to_vec1::<f32>()?;
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        if norm > 0.0 {
            vector.iter_mut().for_each(|x| *x /= norm);
        }
        Ok(vector)
    }
}
