//! Models that cannot be served: each names the file and what is wrong with it, and nothing panics.

use crate::tiny;
use engine::{Engine, LoadError, Options};
use serde_json::{Value, json};
use std::path::Path;

fn refusal(path: &Path) -> LoadError {
    Engine::load(path, Options::default()).err().expect("this should not load")
}

/// Loads a folder after `damage`; the error names `file` and says each of `words`.
#[track_caller]
fn check(kind: &str, damage: impl FnOnce(&Path), file: &str, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    if kind == "bert" {
        tiny::bert(dir.path(), false)
    } else {
        tiny::decoder(dir.path(), kind)
    }
    damage(dir.path());
    let error = refusal(dir.path()).to_string();
    assert!(error.contains(&format!("{file}:")), "{error}");
    for word in words {
        assert!(error.contains(word), "{word:?} in {error}");
    }
}

fn config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    tiny::write_json(&path, &value);
}

fn cut(path: &Path, keep: impl FnOnce(u64) -> u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(keep(file.metadata().unwrap().len())).unwrap();
}

#[test]
fn weights_cut_short_anywhere() {
    const WEIGHTS: &str = "model.safetensors";
    check("llama", |d| cut(&d.join(WEIGHTS), |n| n - 1), WEIGHTS, &["cut short", "again"]);
    check("qwen3", |d| cut(&d.join(WEIGHTS), |n| n / 2), WEIGHTS, &["cut short"]);
    check("llama", |d| cut(&d.join(WEIGHTS), |_| 100), WEIGHTS, &["cut short"]);
    check("llama", |d| cut(&d.join(WEIGHTS), |_| 7), WEIGHTS, &["cut short"]);
    check("llama", |d| cut(&d.join(WEIGHTS), |_| 0), WEIGHTS, &["cut short"]);
    check("llama", |d| std::fs::write(d.join(WEIGHTS), [255; 64]).unwrap(), WEIGHTS, &["no safetensors file"]);
    let lie = |header: Value| {
        let text = header.to_string();
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.extend([0; 16]);
        move |d: &Path| std::fs::write(d.join(WEIGHTS), bytes).unwrap()
    };
    check("llama", lie(json!("x")), WEIGHTS, &["JSON"]);
    check("llama", lie(json!({"a": 3})), WEIGHTS, &["\"a\""]);
    let tensor = |shape: Value, offsets: Value| json!({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}});
    check("llama", lie(tensor(json!([4]), json!([16, 0]))), WEIGHTS, &["ends before it starts"]);
    check("llama", lie(tensor(json!([5]), json!([0, 16]))), WEIGHTS, &["shape [5]", "16 bytes"]);
    check("llama", lie(tensor(json!([u64::MAX, 8]), json!([0, 16]))), WEIGHTS, &["shape"]);
}

#[test]
fn files_that_are_missing() {
    let gone = |name: &'static str| move |d: &Path| std::fs::remove_file(d.join(name)).unwrap();
    check("llama", gone("tokenizer.json"), "tokenizer.json", &["not there", "Copy tokenizer.json"]);
    check("llama", gone("config.json"), "config.json", &["not there"]);
    check("llama", gone("model.safetensors"), "model.safetensors", &["not there", "GGUF"]);
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(refusal(&dir.path().join("nothing")), LoadError::Missing { .. }));
    std::fs::write(dir.path().join("model.bin"), "x").unwrap();
    assert!(matches!(refusal(&dir.path().join("model.bin")), LoadError::Unsupported { .. }));
    let index = |map: Value| {
        move |d: &Path| tiny::write_json(&d.join("model.safetensors.index.json"), &json!({"weight_map": map}))
    };
    check("llama", index(json!({"a": "part-1.safetensors"})), "part-1.safetensors", &["not there"]);
    check("llama", index(json!({"a": "../x.safetensors"})), "index.json", &["outside"]);
    check("llama", index(json!({"a": "model.safetensors"})), "index.json", &["\"a\""]);
}

#[test]
fn weights_of_another_model() {
    const WEIGHTS: &str = "model.safetensors";
    let set = |name: &'static str, value: Value| move |d: &Path| config(d, |c| c[name] = value);
    for kind in ["llama", "qwen2", "qwen3", "bert"] {
        check(kind, set("intermediate_size", json!(64)), WEIGHTS, &["shape", "asks for [64, 32]"]);
        check(kind, set("num_hidden_layers", json!(3)), WEIGHTS, &["lacks tensor", "2."]);
        check(kind, set("vocab_size", json!(301)), WEIGHTS, &["shape [300, 32]"]);
    }
    check("llama", set("num_key_value_heads", json!(4)), WEIGHTS, &["k_proj"]);
    check(
        "llama",
        |d| {
            let weights = tiny::decoder_weights("llama").into_iter();
            let whole: tiny::Weights =
                weights.map(|(name, t)| (name, t.to_dtype(candle_core::DType::I64).unwrap())).collect();
            candle_core::safetensors::save(&whole, d.join(WEIGHTS)).unwrap();
        },
        WEIGHTS,
        &["I64", "GGUF"],
    );
}

#[test]
fn configurations_that_make_no_sense() {
    let set = |name: &'static str, value: Value| move |d: &Path| config(d, |c| c[name] = value);
    const CONFIG: &str = "config.json";
    check("llama", |d| std::fs::write(d.join(CONFIG), "{").unwrap(), CONFIG, &["JSON"]);
    check("llama", set("hidden_size", json!("32")), CONFIG, &["hidden_size"]);
    check("llama", set("hidden_size", json!(0)), CONFIG, &["hidden_size", "above 0"]);
    check("llama", set("hidden_size", json!(33)), CONFIG, &["multiple"]);
    check("llama", set("num_attention_heads", json!(5)), CONFIG, &["multiple"]);
    check("llama", set("num_hidden_layers", json!(u64::MAX)), CONFIG, &["num_hidden_layers"]);
    check("llama", set("max_position_embeddings", json!(1u64 << 60)), CONFIG, &["max_position_embeddings"]);
    check("llama", set("rms_norm_eps", json!(-1)), CONFIG, &["rms_norm_eps"]);
    check("llama", set("vocab_size", Value::Null), CONFIG, &["vocab_size is missing"]);
}

#[test]
fn what_would_be_computed_wrongly_is_refused() {
    let set = |name: &'static str, value: Value| move |d: &Path| config(d, |c| c[name] = value);
    const CONFIG: &str = "config.json";
    check(
        "llama",
        set("architectures", json!(["MambaForCausalLM"])),
        CONFIG,
        &["MambaForCausalLM", "LlamaForCausalLM"],
    );
    check(
        "llama",
        |d| config(d, |c| *c = json!({"vocab_size": 3, "max_position_embeddings": 3})),
        CONFIG,
        &["none named"],
    );
    check("llama", set("hidden_act", json!("relu")), CONFIG, &["relu"]);
    check("llama", set("attention_bias", json!(true)), CONFIG, &["biases"]);
    check("llama", set("head_dim", json!(16)), CONFIG, &["heads of another size"]);
    check("llama", set("rope_scaling", json!({"type": "linear", "factor": 2.0})), CONFIG, &["stretches"]);
    check("qwen2", set("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0})), CONFIG, &["stretches"]);
    check("qwen2", set("use_sliding_window", json!(true)), CONFIG, &["sliding"]);
    check("qwen3", set("attention_bias", json!(true)), CONFIG, &["biases"]);
    check("llama", set("quantization_config", json!({"bits": 4})), CONFIG, &["quantised"]);
    check("bert", set("position_embedding_type", json!("relative_key")), CONFIG, &["relative_key"]);
}

#[test]
fn words_that_do_not_work() {
    let write = |name: &'static str, text: &'static str| move |d: &Path| std::fs::write(d.join(name), text).unwrap();
    check("llama", write("tokenizer.json", "{}"), "tokenizer.json", &["tokenizer"]);
    check("llama", write("tokenizer.json", "x"), "tokenizer.json", &["tokenizer"]);
    check("llama", write("tokenizer_config.json", "["), "tokenizer_config.json", &["JSON"]);
    check("llama", write("chat_template.jinja", "{% for %}"), "chat_template.jinja", &["chat template"]);
    check("llama", write("chat_template.jinja", "{{ a.b.c }}"), "chat_template.jinja", &["chat template"]);
}
