//! A model's language: its tokenizer, its chat template, the tokens that end an answer, and the sampling its authors
//! recommend. Shared read-only by the HTTP side (prompt to tokens) and the inference thread (tokens to text).

use super::template::{Message, Template};
use crate::error::LoadError;
use std::path::Path;
use tokenizers::Tokenizer;

pub(crate) struct Words {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: Option<Template>,
    /// Tokens that end an answer.
    pub(crate) end_tokens: Vec<u32>,
    /// Rows of the embedding table: no token id may reach it.
    pub(crate) vocab_size: usize,
    pub(crate) temperature: f64,
    pub(crate) top_p: f64,
}

/// Why a prompt could not be turned into tokens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WordsError {
    #[error("this model has no chat template, so it cannot chat; use /v1/completions")]
    NoTemplate,
    #[error("the model's chat template refuses this conversation: {0}")]
    Template(String),
    #[error("the prompt cannot be tokenised: {0}")]
    Tokenizer(String),
    #[error("token {0} is outside the model's vocabulary")]
    UnknownToken(u32),
}

impl Words {
    /// Reads a tokenizer from JSON text. Truncation and padding, which training scripts leave in such files, are taken
    /// out: a prompt is never shortened silently and usage counts no padding.
    pub(crate) fn tokenizer(path: &Path, json: &[u8]) -> Result<Tokenizer, LoadError> {
        let mut tokenizer = Tokenizer::from_bytes(json)
            .map_err(|e| LoadError::damaged(path, format!("is no tokenizer that can be read: {e}")))?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(None)
            .map_err(|e| LoadError::damaged(path, format!("is no tokenizer that can be read: {e}")))?;
        Ok(tokenizer)
    }

    /// The tokens of a conversation, ending where the assistant is to speak.
    pub(crate) fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, WordsError> {
        let template = self.template.as_ref().ok_or(WordsError::NoTemplate)?;
        let prompt = template.render(messages).map_err(WordsError::Template)?;
        self.encode(&prompt, false)
    }

    /// The tokens of a plain text. `frame` adds the tokens that the tokenizer puts around every text; a rendered
    /// template brings its own.
    pub(crate) fn encode(&self, text: &str, frame: bool) -> Result<Vec<u32>, WordsError> {
        let encoding = self.tokenizer.encode_fast(text, frame).map_err(|e| WordsError::Tokenizer(e.to_string()))?;
        self.known(encoding.get_ids().to_vec())
    }

    /// The same tokens, if the model has an embedding for each.
    pub(crate) fn known(&self, tokens: Vec<u32>) -> Result<Vec<u32>, WordsError> {
        match tokens.iter().find(|t| **t as usize >= self.vocab_size) {
            Some(token) => Err(WordsError::UnknownToken(*token)),
            None => Ok(tokens),
        }
    }
}
