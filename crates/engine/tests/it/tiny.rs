//! Tiny models: random Llama, Qwen2, Qwen3 and BERT of two layers, and a Llama whose weights are a script (each token has
//! one successor), so that a test knows every word it will say.

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;

pub const VOCAB: usize = 300;
pub const BEGIN: u32 = 256;
pub const END: u32 = 257;
pub const SPECIAL: [&str; 4] = ["<|begin|>", "<|end|>", "<|user|>", "<|assistant|>"];
pub const HIDDEN: usize = 32;
pub const INNER: usize = 48;
pub const HEADS: usize = 4;
pub const KV_HEADS: usize = 2;
pub const HEAD: usize = 8;
pub const LAYERS: usize = 2;
pub const CONTEXT: usize = 256;

/// What the scripted model says after `<|assistant|>`: every byte once, so that each has one successor.
pub const SCRIPT: &str = "a€bcdefghijklmnopqrstuvwxyz";

pub const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<|user|>{% elif m.role == \
    'system' %}<|begin|>{% else %}<|assistant|>{% endif %}{{ m.content }}{% endfor %}\
    {% if add_generation_prompt %}<|assistant|>{% endif %}";

/// GPT-2's printable stand-in for each byte, in the order of the bytes.
pub fn byte_letters() -> Vec<String> {
    let plain = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let mut next = 256;
    (0..256u32)
        .map(|b| {
            let code = if plain(b) {
                b
            } else {
                next += 1;
                next - 1
            };
            char::from_u32(code).unwrap().to_string()
        })
        .collect()
}

/// The tokens in order of their ids: 256 bytes, four that control, two merged pairs.
pub fn tokens() -> Vec<String> {
    let mut all = byte_letters();
    all.extend(SPECIAL.map(str::to_owned));
    all.extend(["th".to_owned(), "he".to_owned()]);
    all
}

pub fn tokenizer() -> Value {
    let vocab: HashMap<String, usize> = tokens().into_iter().enumerate().map(|(id, t)| (t, id)).collect();
    let added: Vec<_> = (SPECIAL.iter().enumerate())
        .map(|(at, t)| {
            json!({"id": 256 + at, "content": t, "special": true, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false})
        })
        .collect();
    json!({"version": "1.0", "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 30}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "!"},
        "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": ["t h", "h e"]}})
}

/// A small generator of fixed numbers between -1 and 1.
pub struct Noise(pub u64);

impl Noise {
    pub fn tensor(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| self.next() * scale).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

pub type Weights = HashMap<String, Tensor>;

pub fn decoder_weights(kind: &str) -> Weights {
    let mut noise = Noise(7);
    let mut all = Weights::new();
    let mut add = |name: String, shape: &[usize], scale: f32| {
        let tensor = noise.tensor(shape, scale);
        let tensor = if shape.len() == 1 && !name.ends_with("bias") { (tensor + 1.0).unwrap() } else { tensor };
        all.insert(name, tensor);
    };
    add("model.embed_tokens.weight".into(), &[VOCAB, HIDDEN], 1.0);
    add("lm_head.weight".into(), &[VOCAB, HIDDEN], 0.6);
    add("model.norm.weight".into(), &[HIDDEN], 0.2);
    let (q, kv) = (HEAD * HEADS, HEAD * KV_HEADS);
    for layer in 0..LAYERS {
        let mut add = |name: &str, shape: &[usize]| {
            let scale = if shape.len() == 1 { 0.2 } else { 0.5 };
            add(format!("model.layers.{layer}.{name}"), shape, scale);
        };
        add("input_layernorm.weight", &[HIDDEN]);
        add("post_attention_layernorm.weight", &[HIDDEN]);
        add("self_attn.q_proj.weight", &[q, HIDDEN]);
        add("self_attn.k_proj.weight", &[kv, HIDDEN]);
        add("self_attn.v_proj.weight", &[kv, HIDDEN]);
        add("self_attn.o_proj.weight", &[HIDDEN, q]);
        add("mlp.gate_proj.weight", &[INNER, HIDDEN]);
        add("mlp.up_proj.weight", &[INNER, HIDDEN]);
        add("mlp.down_proj.weight", &[HIDDEN, INNER]);
        if kind == "qwen2" {
            add("self_attn.q_proj.bias", &[q]);
            add("self_attn.k_proj.bias", &[kv]);
            add("self_attn.v_proj.bias", &[kv]);
        }
        if kind == "qwen3" {
            add("self_attn.q_norm.weight", &[HEAD]);
            add("self_attn.k_norm.weight", &[HEAD]);
        }
    }
    all
}

pub fn decoder_config(kind: &str) -> Value {
    let architecture = match kind {
        "llama" => "LlamaForCausalLM",
        "qwen2" => "Qwen2ForCausalLM",
        _ => "Qwen3ForCausalLM",
    };
    json!({"architectures": [architecture], "model_type": kind, "hidden_size": HIDDEN, "intermediate_size": INNER,
        "vocab_size": VOCAB, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "max_position_embeddings": CONTEXT, "tie_word_embeddings": false, "hidden_act": "silu"})
}

pub fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).unwrap();
}

fn write_words(folder: &Path) {
    write_json(&folder.join("tokenizer.json"), &tokenizer());
    write_json(
        &folder.join("tokenizer_config.json"),
        &json!({"bos_token": SPECIAL[0], "eos_token": {"content": SPECIAL[1]}, "chat_template": TEMPLATE}),
    );
}

/// A random decoder without an end: its greedy answers run until `max_tokens` (unless it says `<|end|>` by chance).
pub fn decoder(folder: &Path, kind: &str) {
    std::fs::create_dir_all(folder).unwrap();
    write_words(folder);
    write_json(&folder.join("config.json"), &decoder_config(kind));
    candle_core::safetensors::save(&decoder_weights(kind), folder.join("model.safetensors")).unwrap();
}

/// A Llama that says [`SCRIPT`] and `<|end|>` after `<|assistant|>`. With `forever` it starts again instead of ending.
pub fn scripted(folder: &Path, forever: bool) {
    std::fs::create_dir_all(folder).unwrap();
    write_words(folder);
    let hidden = 304;
    let mut config = decoder_config("llama");
    for (name, value) in [("hidden_size", hidden), ("intermediate_size", 8), ("num_hidden_layers", 1), ("head_dim", 76)]
    {
        config[name] = json!(value);
    }
    write_json(&folder.join("config.json"), &config);
    let mut next: Vec<usize> = vec![SCRIPT.as_bytes()[0] as usize; VOCAB];
    for pair in SCRIPT.as_bytes().windows(2) {
        next[pair[0] as usize] = pair[1] as usize;
    }
    next[b'z' as usize] = if forever { b'a' as usize } else { END as usize };
    let mut embed = vec![0f32; VOCAB * hidden];
    let mut head = vec![0f32; VOCAB * hidden];
    for token in 0..VOCAB {
        embed[token * hidden + token] = 1.0;
        head[next[token] * hidden + token] = 1.0;
    }
    let matrix = |data: Vec<f32>| Tensor::from_vec(data, (VOCAB, hidden), &Device::Cpu).unwrap();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let ones = || Tensor::ones(hidden, DType::F32, &Device::Cpu).unwrap();
    let mut all = Weights::new();
    all.insert("model.embed_tokens.weight".into(), matrix(embed));
    all.insert("lm_head.weight".into(), matrix(head));
    all.insert("model.norm.weight".into(), ones());
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    all.insert(layer("input_layernorm"), ones());
    all.insert(layer("post_attention_layernorm"), ones());
    all.insert(layer("self_attn.q_proj"), zeros(&[hidden, hidden]));
    all.insert(layer("self_attn.k_proj"), zeros(&[hidden / 2, hidden]));
    all.insert(layer("self_attn.v_proj"), zeros(&[hidden / 2, hidden]));
    all.insert(layer("self_attn.o_proj"), zeros(&[hidden, hidden]));
    all.insert(layer("mlp.gate_proj"), zeros(&[8, hidden]));
    all.insert(layer("mlp.up_proj"), zeros(&[8, hidden]));
    all.insert(layer("mlp.down_proj"), zeros(&[hidden, 8]));
    candle_core::safetensors::save(&all, folder.join("model.safetensors")).unwrap();
}

/// A random BERT, with `bert.` before its tensors' names where `prefixed`.
pub fn bert(folder: &Path, prefixed: bool) {
    std::fs::create_dir_all(folder).unwrap();
    write_json(&folder.join("tokenizer.json"), &tokenizer());
    write_json(
        &folder.join("config.json"),
        &json!({"architectures": ["BertModel"], "model_type": "bert", "hidden_size": HIDDEN, "intermediate_size": INNER,
            "vocab_size": VOCAB, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "type_vocab_size": 2,
            "max_position_embeddings": 64, "hidden_act": "gelu", "layer_norm_eps": 1e-12}),
    );
    let mut noise = Noise(11);
    let mut all = Weights::new();
    let mut add = |name: String, shape: &[usize]| {
        let tensor = noise.tensor(shape, 0.5);
        let tensor = if name.ends_with("LayerNorm.weight") { (tensor + 1.0).unwrap() } else { tensor };
        all.insert(if prefixed { format!("bert.{name}") } else { name }, tensor);
    };
    add("embeddings.word_embeddings.weight".into(), &[VOCAB, HIDDEN]);
    add("embeddings.position_embeddings.weight".into(), &[64, HIDDEN]);
    add("embeddings.token_type_embeddings.weight".into(), &[2, HIDDEN]);
    add("embeddings.LayerNorm.weight".into(), &[HIDDEN]);
    add("embeddings.LayerNorm.bias".into(), &[HIDDEN]);
    for layer in 0..LAYERS {
        for (name, out, input) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ] {
            add(format!("encoder.layer.{layer}.{name}.weight"), &[out, input]);
            add(format!("encoder.layer.{layer}.{name}.bias"), &[out]);
        }
        for norm in ["attention.output.LayerNorm", "output.LayerNorm"] {
            add(format!("encoder.layer.{layer}.{norm}.weight"), &[HIDDEN]);
            add(format!("encoder.layer.{layer}.{norm}.bias"), &[HIDDEN]);
        }
    }
    candle_core::safetensors::save(&all, folder.join("model.safetensors")).unwrap();
}
