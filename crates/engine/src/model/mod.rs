//! From a path to a network that has answered once. `folder` reads Hugging Face's layout, `gguf` llama.cpp's single file;
//! both end in [`Loaded`]. Not here: requests, threads, HTTP.

pub(crate) mod config;
pub(crate) mod decoder;
mod digest;
pub(crate) mod embedder;
mod folder;
mod gguf;
mod gguf_words;
mod shapes;
pub(crate) mod template;
mod weights;
pub(crate) mod words;

use crate::error::LoadError;
use decoder::Decoder;
use embedder::Embedder;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use words::Words;

pub(crate) enum Network {
    Decoder(Decoder),
    Embedder(Embedder),
}

pub(crate) struct Loaded {
    pub(crate) network: Network,
    pub(crate) words: Words,
    pub(crate) architecture: &'static str,
    pub(crate) context_length: usize,
    pub(crate) digest: String,
}

/// Loads what lies at `path` and runs it once on one token, so that what does not fit together shows at start.
pub(crate) fn load(path: &Path, context_max: usize) -> Result<Loaded, LoadError> {
    let kind = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => LoadError::missing(path, "is not there", "Give a model folder or a GGUF file"),
        _ => LoadError::io(path, e),
    })?;
    let mut loaded = if kind.is_dir() {
        folder::load(path, context_max)?
    } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
        gguf::load(path, context_max)?
    } else {
        let remedy = "Give the folder that holds config.json, tokenizer.json and the weights, or a file named .gguf";
        return Err(LoadError::unsupported(path, "is neither a folder nor a GGUF file", remedy));
    };
    try_once(&mut loaded.network).map_err(|e| LoadError::damaged(path, format!("the model cannot be run: {e}")))?;
    Ok(loaded)
}

fn try_once(network: &mut Network) -> Result<(), String> {
    without_panic(|| match network {
        Network::Decoder(decoder) => {
            let Some(mut session) = decoder.open() else { return Ok(()) };
            let result = session.forward(&[0], 0).map(|_| ());
            decoder.close(session);
            result
        }
        Network::Embedder(embedder) => embedder.embed(&[0]).map(|_| ()),
    })
}

/// Runs candle's code so that neither its errors nor its assertions end the thread.
pub(crate) fn without_panic<T>(run: impl FnOnce() -> candle_core::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            Err(format!("candle gave up: {text}"))
        }
    }
}
