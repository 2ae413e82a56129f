//! A folder's `config.json`, read into candle's own configurations. Whatever a published configuration may ask for and
//! candle's network would silently not do (other activations, biases, sliding windows, stretched positions) is refused
//! here: a wrong answer that looks right is worse than none. Whatever is only absent gets transformers' default.

use crate::error::LoadError;
use candle_nn::Activation;
use candle_transformers::models::{bert, llama, qwen2, qwen3};
use serde_json::{Map, Value};
use std::path::Path;

/// What kind of network a folder holds, with candle's configuration for it.
pub(crate) enum Architecture {
    Llama(llama::Config),
    Qwen2(qwen2::Config),
    Qwen3(qwen3::Config),
    Bert(bert::Config),
}

pub(crate) struct Config {
    pub(crate) architecture: Architecture,
    pub(crate) vocab_size: usize,
    pub(crate) context_length: usize,
    /// Tokens that end an answer, as far as config.json names them.
    pub(crate) end_tokens: Vec<u32>,
}

/// A network of more layers, or a table of more positions, is a damaged file and not a model that runs on a CPU.
const LAYERS_MAX: usize = 1024;
const POSITIONS_MAX: usize = 1 << 24;

impl Config {
    /// Reads `config.json`; at most `context_max` positions are prepared.
    pub(crate) fn read(folder: &Path, context_max: usize) -> Result<Self, LoadError> {
        let path = folder.join("config.json");
        let fields = read_object(&path)?.ok_or_else(|| {
            let remedy = "Give the folder of a whole model: config.json, tokenizer.json and safetensors weights";
            LoadError::missing(&path, "is not there", remedy)
        })?;
        let fields = Fields { path: &path, fields };
        if fields.get("quantization_config").is_some() {
            let remedy = "Use the unquantised model, or a GGUF file";
            return Err(LoadError::unsupported(&path, "describes quantised safetensors", remedy));
        }
        let named = fields.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str).map(str::to_owned);
        let kind = fields.get("model_type").and_then(Value::as_str).map(str::to_owned);
        let context_length = fields.positions()?.min(context_max);
        let end_tokens = token_ids(fields.get("eos_token_id"));
        let vocab_size = fields.size("vocab_size")?;
        let architecture = match (named.as_deref(), kind.as_deref()) {
            (Some("LlamaForCausalLM"), _) | (None, Some("llama")) => fields.llama(context_length)?,
            (Some("Qwen2ForCausalLM"), _) | (None, Some("qwen2")) => fields.qwen2(context_length)?,
            (Some("Qwen3ForCausalLM"), _) | (None, Some("qwen3")) => fields.qwen3(context_length)?,
            (Some("BertModel" | "BertForMaskedLM"), _) | (None, Some("bert")) => fields.bert()?,
            (named, kind) => {
                let name = named.or(kind).unwrap_or("(none named)");
                let remedy = "This engine runs LlamaForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM and BertModel; \
                              serve others with vLLM or llama-server and register their URL";
                return Err(LoadError::unsupported(&path, format!("names the architecture {name}"), remedy));
            }
        };
        Ok(Self { architecture, vocab_size, context_length, end_tokens })
    }
}

/// Token ids given as one number or a list; anything else is none.
pub(crate) fn token_ids(value: Option<&Value>) -> Vec<u32> {
    let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(one) => id(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A JSON object from a file; `None` where there is no such file.
pub(crate) fn read_object(path: &Path) -> Result<Option<Map<String, Value>>, LoadError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(LoadError::io(path, e)),
    };
    let map = serde_json::from_slice(&text).map_err(|e| LoadError::damaged(path, format!("is no JSON object: {e}")))?;
    Ok(Some(map))
}

struct Fields<'a> {
    path: &'a Path,
    fields: Map<String, Value>,
}

impl Fields<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|v| !v.is_null())
    }

    fn wrong(&self, name: &str, what: &str) -> LoadError {
        LoadError::damaged(self.path, format!("{name} {what}"))
    }

    fn size(&self, name: &str) -> Result<usize, LoadError> {
        let value = self.get(name).ok_or_else(|| self.wrong(name, "is missing"))?;
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        size.ok_or_else(|| self.wrong(name, &format!("should be a whole number above 0 and is {value}")))
    }

    fn size_or(&self, name: &str, default: usize) -> Result<usize, LoadError> {
        if self.get(name).is_some() { self.size(name) } else { Ok(default) }
    }

    fn number(&self, name: &str, default: Option<f64>) -> Result<f64, LoadError> {
        match (self.get(name), default) {
            (None, Some(default)) => Ok(default),
            (None, None) => Err(self.wrong(name, "is missing")),
            (Some(value), _) => match value.as_f64().filter(|n| n.is_finite() && *n > 0.0) {
                Some(number) => Ok(number),
                None => Err(self.wrong(name, &format!("should be a number above 0 and is {value}"))),
            },
        }
    }

    fn flag(&self, name: &str) -> Result<bool, LoadError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(self.wrong(name, &format!("should be true or false and is {value}"))),
        }
    }

    fn refuse(&self, what: &str) -> LoadError {
        let remedy = "This engine would compute something else; serve this model with vLLM or llama-server";
        LoadError::unsupported(self.path, what, remedy)
    }

    fn positions(&self) -> Result<usize, LoadError> {
        let positions = self.size("max_position_embeddings")?;
        if positions > POSITIONS_MAX {
            return Err(self.wrong("max_position_embeddings", "is beyond any model"));
        }
        Ok(positions)
    }

    fn layers(&self) -> Result<usize, LoadError> {
        let layers = self.size("num_hidden_layers")?;
        if layers > LAYERS_MAX {
            return Err(self.wrong("num_hidden_layers", "is beyond any model"));
        }
        Ok(layers)
    }

    /// (attention heads, key-value heads); `head_dim` says whether the head size is free of the hidden size.
    fn heads(&self, free: bool) -> Result<(usize, usize), LoadError> {
        let (hidden, heads) = (self.size("hidden_size")?, self.size("num_attention_heads")?);
        let kv = self.size_or("num_key_value_heads", heads)?;
        if !heads.is_multiple_of(kv) {
            return Err(self.wrong("num_attention_heads", "should be a multiple of num_key_value_heads"));
        }
        if !free && !hidden.is_multiple_of(heads) {
            return Err(self.wrong("hidden_size", "should be a multiple of num_attention_heads"));
        }
        if !free && self.size_or("head_dim", hidden / heads)? != hidden / heads {
            return Err(self.refuse("has heads of another size than hidden_size / num_attention_heads"));
        }
        Ok((heads, kv))
    }

    fn silu(&self) -> Result<(), LoadError> {
        match self.get("hidden_act").and_then(Value::as_str) {
            None | Some("silu" | "swish") => Ok(()),
            Some(other) => Err(self.refuse(&format!("uses the activation {other}"))),
        }
    }

    /// The rotary base: `rope_theta`, or the place where newer files keep it.
    fn rope_theta(&self) -> Result<f64, LoadError> {
        let nested = self.get("rope_parameters").and_then(|p| p.get("rope_theta")).and_then(Value::as_f64);
        self.number("rope_theta", Some(nested.unwrap_or(10_000.0)))
    }

    /// The stretched positions that a file asks for, if any.
    fn rope_scaling(&self) -> Option<&Value> {
        let kind = |v: &Value| v.get("rope_type").or(v.get("type")).and_then(Value::as_str).map(str::to_owned);
        let scaling = self.get("rope_scaling").or_else(|| self.get("rope_parameters"))?;
        (!matches!(kind(scaling).as_deref(), None | Some("default"))).then_some(scaling)
    }

    fn plain_positions(&self) -> Result<(), LoadError> {
        match self.rope_scaling() {
            None => Ok(()),
            Some(scaling) => Err(self.refuse(&format!("stretches its positions (rope_scaling {scaling})"))),
        }
    }

    fn no_window(&self) -> Result<(), LoadError> {
        if self.flag("use_sliding_window")? { Err(self.refuse("uses a sliding window")) } else { Ok(()) }
    }

    fn llama(&self, positions: usize) -> Result<Architecture, LoadError> {
        self.silu()?;
        if self.flag("attention_bias")? || self.flag("mlp_bias")? {
            return Err(self.refuse("has biases in its projections"));
        }
        let rope_scaling = match self.rope_scaling() {
            None => None,
            Some(scaling) => match serde_json::from_value(scaling.clone()) {
                Ok(llama3) => Some(llama3),
                Err(_) => return Err(self.refuse(&format!("stretches its positions (rope_scaling {scaling})"))),
            },
        };
        let (heads, kv) = self.heads(false)?;
        Ok(Architecture::Llama(llama::Config {
            hidden_size: self.size("hidden_size")?,
            intermediate_size: self.size("intermediate_size")?,
            vocab_size: self.size("vocab_size")?,
            num_hidden_layers: self.layers()?,
            num_attention_heads: heads,
            num_key_value_heads: kv,
            use_flash_attn: false,
            rms_norm_eps: self.number("rms_norm_eps", Some(1e-6))?,
            rope_theta: self.rope_theta()? as f32,
            bos_token_id: None,
            eos_token_id: None,
            rope_scaling,
            max_position_embeddings: positions,
            tie_word_embeddings: self.flag("tie_word_embeddings")?,
        }))
    }

    fn qwen2(&self, positions: usize) -> Result<Architecture, LoadError> {
        self.silu()?;
        self.plain_positions()?;
        self.no_window()?;
        let (heads, kv) = self.heads(false)?;
        Ok(Architecture::Qwen2(qwen2::Config {
            vocab_size: self.size("vocab_size")?,
            hidden_size: self.size("hidden_size")?,
            intermediate_size: self.size("intermediate_size")?,
            num_hidden_layers: self.layers()?,
            num_attention_heads: heads,
            num_key_value_heads: kv,
            max_position_embeddings: positions,
            // candle masks by this width whether or not use_sliding_window is set: the whole context means no window.
            sliding_window: positions,
            max_window_layers: 0,
            tie_word_embeddings: self.flag("tie_word_embeddings")?,
            rope_theta: self.rope_theta()?,
            rms_norm_eps: self.number("rms_norm_eps", Some(1e-6))?,
            use_sliding_window: false,
            hidden_act: Activation::Silu,
        }))
    }

    fn qwen3(&self, positions: usize) -> Result<Architecture, LoadError> {
        self.silu()?;
        self.plain_positions()?;
        self.no_window()?;
        if self.flag("attention_bias")? {
            return Err(self.refuse("has biases in its projections"));
        }
        let (heads, kv) = self.heads(true)?;
        let head_dim = self.size_or("head_dim", 128)?;
        if !head_dim.is_multiple_of(2) {
            return Err(self.wrong("head_dim", "should be even"));
        }
        Ok(Architecture::Qwen3(qwen3::Config {
            vocab_size: self.size("vocab_size")?,
            hidden_size: self.size("hidden_size")?,
            intermediate_size: self.size("intermediate_size")?,
            num_hidden_layers: self.layers()?,
            num_attention_heads: heads,
            head_dim,
            attention_bias: false,
            num_key_value_heads: kv,
            max_position_embeddings: positions,
            sliding_window: None,
            max_window_layers: 0,
            tie_word_embeddings: self.flag("tie_word_embeddings")?,
            rope_theta: self.rope_theta()?,
            rms_norm_eps: self.number("rms_norm_eps", Some(1e-6))?,
            use_sliding_window: false,
            hidden_act: Activation::Silu,
        }))
    }

    fn bert(&self) -> Result<Architecture, LoadError> {
        let hidden_act = match self.get("hidden_act").and_then(Value::as_str) {
            None | Some("gelu") => bert::HiddenAct::Gelu,
            Some("gelu_new" | "gelu_pytorch_tanh") => bert::HiddenAct::GeluApproximate,
            Some("relu") => bert::HiddenAct::Relu,
            Some(other) => return Err(self.refuse(&format!("uses the activation {other}"))),
        };
        match self.get("position_embedding_type").and_then(Value::as_str) {
            None | Some("absolute") => {}
            Some(other) => return Err(self.refuse(&format!("uses {other} positions"))),
        }
        let (heads, _) = self.heads(false)?;
        Ok(Architecture::Bert(bert::Config {
            vocab_size: self.size("vocab_size")?,
            hidden_size: self.size("hidden_size")?,
            num_hidden_layers: self.layers()?,
            num_attention_heads: heads,
            intermediate_size: self.size("intermediate_size")?,
            hidden_act,
            max_position_embeddings: self.positions()?,
            type_vocab_size: self.size_or("type_vocab_size", 2)?,
            layer_norm_eps: self.number("layer_norm_eps", Some(1e-12))?,
            ..bert::Config::default()
        }))
    }
}
