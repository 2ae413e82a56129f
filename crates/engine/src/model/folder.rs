//! A model folder as Hugging Face lays it out: config.json, tokenizer.json, safetensors weights, and for a decoder the
//! chat template. Everything is read and checked before the first tensor is loaded.

use super::config::{Architecture, Config, read_object, token_ids};
use super::decoder::Decoder;
use super::digest::weights_digest;
use super::embedder::{Embedder, Pooling};
use super::shapes::expected;
use super::template::Template;
use super::weights::Weights;
use super::words::Words;
use super::{Loaded, Network, without_panic};
use crate::error::LoadError;
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert::BertModel, llama, qwen2, qwen3};
use serde_json::{Map, Value};
use std::path::Path;

pub(super) fn load(folder: &Path, context_max: usize) -> Result<Loaded, LoadError> {
    let config = Config::read(folder, context_max)?;
    let words = read_words(folder, &config)?;
    let weights = Weights::open(folder)?;
    let is_bert = matches!(config.architecture, Architecture::Bert(_));
    let prefix = if is_bert && weights.has("bert.embeddings.word_embeddings.weight") { "bert." } else { "" };
    let tensors = weights.read(&expected(&config.architecture), prefix)?;
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let mut context_length = config.context_length;
    let (architecture, network) = match &config.architecture {
        Architecture::Llama(c) => (
            "llama",
            without_panic(|| {
                let empty = llama::Cache::new(true, DType::F32, c, &Device::Cpu)?;
                Ok(Network::Decoder(Decoder::Llama { network: llama::Llama::load(builder, c)?, empty }))
            }),
        ),
        Architecture::Qwen2(c) => {
            ("qwen2", without_panic(|| Ok(Network::Decoder(Decoder::Qwen2(qwen2::ModelForCausalLM::new(c, builder)?)))))
        }
        Architecture::Qwen3(c) => {
            ("qwen3", without_panic(|| Ok(Network::Decoder(Decoder::Qwen3(qwen3::ModelForCausalLM::new(c, builder)?)))))
        }
        Architecture::Bert(c) => {
            let pooling = Pooling::read(folder)?;
            context_length = context_length.min(sentence_length(folder)?);
            (
                "bert",
                without_panic(|| {
                    Ok(Network::Embedder(Embedder {
                        network: BertModel::load(builder, c)?,
                        pooling,
                        dimensions: c.hidden_size,
                    }))
                }),
            )
        }
    };
    let network = network.map_err(|e| LoadError::damaged(weights.path(), format!("cannot be run: {e}")))?;
    Ok(Loaded { network, words, architecture, context_length, digest: weights_digest(&weights.files)? })
}

fn read_words(folder: &Path, config: &Config) -> Result<Words, LoadError> {
    let path = folder.join("tokenizer.json");
    let json = match std::fs::read(&path) {
        Ok(json) => json,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let remedy =
                "Copy tokenizer.json from where the model came from (tokenizer.model or vocab.txt alone are not read)";
            return Err(LoadError::missing(&path, "is not there", remedy));
        }
        Err(e) => return Err(LoadError::io(&path, e)),
    };
    let tokenizer = Words::tokenizer(&path, &json)?;
    let settings_path = folder.join("tokenizer_config.json");
    let settings = read_object(&settings_path)?.unwrap_or_default();
    let generation = read_object(&folder.join("generation_config.json"))?.unwrap_or_default();
    let (bos, eos) = (token_text(settings.get("bos_token")), token_text(settings.get("eos_token")));
    let mut end_tokens = config.end_tokens.clone();
    end_tokens.extend(token_ids(generation.get("eos_token_id")));
    end_tokens.extend(tokenizer.token_to_id(&eos));
    end_tokens.sort_unstable();
    end_tokens.dedup();
    let template_path = folder.join("chat_template.jinja");
    let source = match std::fs::read_to_string(&template_path) {
        Ok(text) => Some((template_path, text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            template_text(settings.get("chat_template")).map(|text| (settings_path, text))
        }
        Err(e) => return Err(LoadError::io(&template_path, e)),
    };
    let template = match source {
        None => None,
        Some((path, text)) => Some(
            Template::compile(&text, bos, eos)
                .map_err(|e| LoadError::damaged(&path, format!("holds a chat template that does not work: {e}")))?,
        ),
    };
    let (temperature, top_p) = sampling(&generation);
    Ok(Words { tokenizer, template, end_tokens, vocab_size: config.vocab_size, temperature, top_p })
}

/// What the authors recommend, where a request says nothing; OpenAI's defaults where they say nothing either.
fn sampling(generation: &Map<String, Value>) -> (f64, f64) {
    let number = |name: &str, max: f64| generation.get(name).and_then(Value::as_f64).filter(|n| *n >= 0.0 && *n <= max);
    let greedy = generation.get("do_sample") == Some(&Value::Bool(false));
    let temperature = if greedy { 0.0 } else { number("temperature", 2.0).unwrap_or(1.0) };
    (temperature, number("top_p", 1.0).filter(|p| *p > 0.0).unwrap_or(1.0))
}

/// A special token, given as text or as an object with its `content`.
fn token_text(value: Option<&Value>) -> String {
    let text = value.and_then(|v| v.as_str().or_else(|| v.get("content").and_then(Value::as_str)));
    text.unwrap_or_default().to_owned()
}

/// The template, given as text or as a list of named ones.
fn template_text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Array(list) => {
            let default = list.iter().find(|t| t.get("name").and_then(Value::as_str) == Some("default"))?;
            default.get("template").and_then(Value::as_str).map(str::to_owned)
        }
        _ => None,
    }
}

/// The length that an embedding model was trained for, where it is shorter than its table of positions.
fn sentence_length(folder: &Path) -> Result<usize, LoadError> {
    let fields = read_object(&folder.join("sentence_bert_config.json"))?.unwrap_or_default();
    let length = fields.get("max_seq_length").and_then(Value::as_u64).filter(|n| *n > 0);
    Ok(length.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX))
}
