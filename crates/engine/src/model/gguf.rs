//! A GGUF file: candle reads its header with bounds and its tensors with their length checked; here its metadata is
//! checked for what candle would silently compute wrongly, and the tokenizer is found: `tokenizer.json` beside the file
//! first, else built from the file's own metadata (`gguf_words`).

use super::decoder::{Decoder, GGUF_QWEN_SESSIONS};
use super::digest::weights_digest;
use super::gguf_words;
use super::{Loaded, Network, without_panic};
use crate::error::LoadError;
use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};
use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::path::Path;

pub(super) fn load(path: &Path, context_max: usize) -> Result<Loaded, LoadError> {
    let file = File::open(path).map_err(|e| LoadError::io(path, e))?;
    let mut reader = BufReader::new(file);
    let mut content = read_content(path, &mut reader)?;
    let facts = Facts { path, content: &content };
    let architecture = match facts.text("general.architecture") {
        Some("llama") => "llama",
        Some("qwen2") => "qwen2",
        Some("qwen3") => "qwen3",
        other => {
            let what = format!("holds the architecture {}", other.unwrap_or("(none named)"));
            let remedy = "This engine runs llama, qwen2 and qwen3; serve others with llama-server and register its URL";
            return Err(LoadError::unsupported(path, what, remedy));
        }
    };
    facts.whole()?;
    let context_length = facts.context_length(architecture)?.min(context_max);
    facts.plausible(architecture)?;
    narrow(&mut content, architecture, context_length);
    let words = gguf_words::read(path, &content)?;
    let network = match architecture {
        "llama" => {
            if content.tensor_infos.contains_key("rope_freqs.weight") {
                let what = "stretches its positions (rope_freqs.weight), which candle's GGUF reader ignores";
                let remedy = "Use the model's safetensors folder, or serve this file with llama-server";
                return Err(LoadError::unsupported(path, what, remedy));
            }
            without_panic(|| {
                quantized_llama::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).map(Decoder::GgufLlama)
            })
        }
        "qwen2" => without_panic(|| {
            let mut shelf = Vec::new();
            for _ in 0..GGUF_QWEN_SESSIONS {
                reader.rewind()?;
                let mut content = Content::read(&mut reader)?;
                narrow(&mut content, architecture, context_length);
                shelf.push(quantized_qwen2::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu)?);
            }
            Ok(Decoder::GgufQwen2(shelf))
        }),
        _ => without_panic(|| {
            let network = quantized_qwen3::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu)?;
            Ok(Decoder::GgufQwen3(vec![network; GGUF_QWEN_SESSIONS]))
        }),
    };
    let network = network.map_err(|e| LoadError::damaged(path, format!("cannot be run: {e}")))?;
    let digest = weights_digest(&[path.to_owned()])?;
    Ok(Loaded { network: Network::Decoder(network), words, architecture, context_length, digest })
}

/// What candle takes from the metadata and should not take as it stands there.
fn narrow(content: &mut Content, architecture: &str, context_length: usize) {
    let context_length = u32::try_from(context_length).unwrap_or(u32::MAX);
    content.metadata.insert(format!("{architecture}.context_length"), Value::U32(context_length));
    // Where the file names no type candle computes Qwen3's positions in 16 bits, which cannot count beyond 2,048.
    content.metadata.insert("general.dtype".into(), Value::U32(0));
}

fn read_content(path: &Path, reader: &mut BufReader<File>) -> Result<Content, LoadError> {
    without_panic(|| Content::read(reader))
        .map_err(|e| LoadError::damaged(path, format!("is cut short or no GGUF file: {e}")))
}

struct Facts<'a> {
    path: &'a Path,
    content: &'a Content,
}

impl Facts<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.content.metadata.get(key).and_then(|v| v.to_string().ok()).map(String::as_str)
    }

    fn number(&self, key: &str) -> Result<usize, LoadError> {
        let value = self.content.metadata.get(key).and_then(|v| v.to_u64().ok());
        let number = value.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        number.ok_or_else(|| LoadError::damaged(self.path, format!("lacks the number {key}")))
    }

    /// Every tensor lies inside the file.
    fn whole(&self) -> Result<(), LoadError> {
        let file_bytes = std::fs::metadata(self.path).map_err(|e| LoadError::io(self.path, e))?.len();
        for (name, info) in &self.content.tensor_infos {
            let elements = info.shape.dims().iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
            let blocks = elements.map(|n| n / info.ggml_dtype.block_size() as u64);
            let bytes = blocks.and_then(|n| n.checked_mul(info.ggml_dtype.type_size() as u64));
            let end = bytes
                .and_then(|n| n.checked_add(info.offset))
                .and_then(|n| n.checked_add(self.content.tensor_data_offset));
            if end.is_none_or(|end| end > file_bytes) {
                let what = format!("is cut short: tensor {name:?} lies beyond its {file_bytes} bytes");
                return Err(LoadError::damaged(self.path, what));
            }
        }
        Ok(())
    }

    fn context_length(&self, architecture: &str) -> Result<usize, LoadError> {
        let trained = self.number(&format!("{architecture}.context_length"))?;
        match architecture {
            // candle prepares this many positions for a GGUF Llama, whatever the file says.
            "llama" => Ok(trained.min(quantized_llama::MAX_SEQ_LEN)),
            _ if trained > 1 << 24 => Err(LoadError::damaged(self.path, "names a context beyond any model")),
            _ => Ok(trained),
        }
    }

    /// Numbers by which candle divides or reserves memory before it has looked at a tensor.
    fn plausible(&self, architecture: &str) -> Result<(), LoadError> {
        let heads = self.number(&format!("{architecture}.attention.head_count"))?;
        let kv = self.number(&format!("{architecture}.attention.head_count_kv"))?;
        let layers = self.number(&format!("{architecture}.block_count"))?;
        let width = match architecture {
            "llama" => self.number("llama.rope.dimension_count")?,
            "qwen3" => self.number("qwen3.attention.key_length")?,
            _ => self.number("qwen2.embedding_length")?,
        };
        if heads.is_multiple_of(kv) && layers <= 1024 && width <= 1 << 16 {
            return Ok(());
        }
        let what = format!("describes no real model: {heads} heads over {kv}, {layers} layers, width {width}");
        Err(LoadError::damaged(self.path, what))
    }
}
