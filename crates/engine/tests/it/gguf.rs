//! GGUF files: the same weights give the same answer as their safetensors, the tokenizer comes from the file or from
//! beside it, and damaged files are refused.

use crate::client::{said, serve};
use crate::tiny::{self, HEADS, HIDDEN, KV_HEADS};
use candle_core::Tensor;
use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use engine::{Engine, LoadError, Options};
use serde_json::json;
use std::path::Path;

fn texts(list: impl IntoIterator<Item = String>) -> Value {
    Value::Array(list.into_iter().map(Value::String).collect())
}

fn metadata(kind: &str) -> Vec<(String, Value)> {
    let number = |n: usize| Value::U32(n as u32);
    let own = |name: &str| format!("{kind}.{name}");
    let types = (0..tiny::tokens().len()).map(|id| Value::I32(if (256..260).contains(&id) { 3 } else { 1 }));
    let mut all = vec![
        ("general.architecture".into(), Value::String(kind.into())),
        (own("attention.head_count"), number(HEADS)),
        (own("attention.head_count_kv"), number(KV_HEADS)),
        (own("attention.key_length"), number(tiny::HEAD)),
        (own("block_count"), number(tiny::LAYERS)),
        (own("embedding_length"), number(HIDDEN)),
        (own("context_length"), number(tiny::CONTEXT)),
        (own("rope.dimension_count"), number(tiny::HEAD)),
        (own("rope.freq_base"), Value::F32(10_000.0)),
        (own("attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
        ("tokenizer.ggml.model".into(), Value::String("gpt2".into())),
        ("tokenizer.ggml.pre".into(), Value::String("default".into())),
        ("tokenizer.ggml.tokens".into(), texts(tiny::tokens())),
        ("tokenizer.ggml.token_type".into(), Value::Array(types.collect())),
        ("tokenizer.ggml.merges".into(), texts(["t h".to_owned(), "h e".to_owned()])),
        ("tokenizer.ggml.bos_token_id".into(), number(tiny::BEGIN as usize)),
        ("tokenizer.ggml.eos_token_id".into(), number(tiny::END as usize)),
        ("tokenizer.chat_template".into(), Value::String(tiny::TEMPLATE.into())),
    ];
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// llama.cpp's order of the rows of a Llama's query and key: halves interleaved.
fn interleaved(tensor: &Tensor, heads: usize) -> Tensor {
    let (rows, columns) = tensor.dims2().unwrap();
    let split = tensor.reshape((heads, 2, rows / heads / 2, columns)).unwrap();
    split.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap()
}

fn name(name: &str) -> String {
    let name = name.replace("model.layers.", "blk.");
    let pairs = [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    pairs.iter().fold(name, |name, (from, to)| name.replace(from, to))
}

fn write(path: &Path, kind: &str, metadata: &[(String, Value)]) {
    let tensors: Vec<(String, QTensor)> = (tiny::decoder_weights(kind).into_iter())
        .map(|(old, tensor)| {
            let tensor = match (kind, old.contains("q_proj.weight"), old.contains("k_proj.weight")) {
                ("llama", true, _) => interleaved(&tensor, HEADS),
                ("llama", _, true) => interleaved(&tensor, KV_HEADS),
                _ => tensor,
            };
            (name(&old), QTensor::quantize(&tensor, GgmlDType::F32).unwrap())
        })
        .collect();
    let tensors: Vec<(&str, &QTensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
}

#[tokio::test]
async fn a_gguf_answers_as_its_safetensors_do() {
    for kind in ["llama", "qwen2", "qwen3"] {
        let dir = tempfile::tempdir().unwrap();
        tiny::decoder(&dir.path().join("folder"), kind);
        let file = dir.path().join("model.gguf");
        write(&file, kind, &metadata(kind));
        let body = json!({"model": "tiny", "temperature": 0, "max_tokens": 40,
                          "messages": [{"role": "user", "content": "the hen"}]});
        let mut answers = Vec::new();
        for (path, prefill_chunk) in
            [(dir.path().join("folder"), 32), (file.clone(), 32), (file.clone(), 3), (file.clone(), 7)]
        {
            let served = serve(&path, Options { prefill_chunk, ..Options::default() }).await;
            let first = served.chat(body.clone()).await;
            // The second finds no trace of the first, and three at once find each their own cache.
            let more = tokio::join!(served.chat(body.clone()), served.chat(body.clone()), served.chat(body.clone()));
            for answer in [&first, &more.0, &more.1, &more.2] {
                assert_eq!(said(answer), said(&first), "{kind}");
            }
            answers.push((said(&first), first.json()["usage"].clone()));
            served.stop().await;
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{kind}: {answers:?}");
    }
}

#[tokio::test]
async fn a_tokenizer_beside_the_file_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("small.gguf");
    let without: Vec<_> = metadata("qwen2").into_iter().filter(|(n, _)| !n.contains("ggml.tokens")).collect();
    write(&file, "qwen2", &without);
    let error = Engine::load(&file, Options::default()).err().unwrap().to_string();
    assert!(error.contains("no tokenizer") && error.contains("tokenizer.json beside"), "{error}");
    tiny::write_json(&dir.path().join("tokenizer.json"), &tiny::tokenizer());
    let engine = Engine::load(&file, Options::default()).unwrap();
    assert_eq!((engine.info().name.as_str(), engine.info().context_length), ("small", 256));
}

#[test]
fn a_sentencepiece_tokenizer_is_rebuilt_from_its_scores() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.gguf");
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..256).map(|b| format!("<0x{b:02X}>")));
    tokens.extend(["\u{2581}", "h", "e", "n", "he", "\u{2581}he", "hen"].map(str::to_owned));
    let scores = (0..tokens.len()).map(|id| Value::F32(-(id as f32))).collect();
    let types = (0..tokens.len())
        .map(|id| {
            Value::I32(match id {
                0 => 2,
                1 | 2 => 3,
                3..259 => 6,
                _ => 1,
            })
        })
        .collect();
    let mut all: Vec<_> = (metadata("llama").into_iter()).filter(|(n, _)| !n.starts_with("tokenizer.")).collect();
    all.extend([
        ("tokenizer.ggml.model".to_owned(), Value::String("llama".into())),
        ("tokenizer.ggml.tokens".to_owned(), texts(tokens)),
        ("tokenizer.ggml.scores".to_owned(), Value::Array(scores)),
        ("tokenizer.ggml.token_type".to_owned(), Value::Array(types)),
        ("tokenizer.ggml.unknown_token_id".to_owned(), Value::U32(0)),
        ("tokenizer.ggml.bos_token_id".to_owned(), Value::U32(1)),
        ("tokenizer.ggml.eos_token_id".to_owned(), Value::U32(2)),
    ]);
    write(&file, "llama", &all);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let served = serve(&file, Options::default()).await;
        // <s> ▁he n, and <s> ▁ h with the two bytes of ä.
        for (prompt, count) in [("hen", 3), ("hä", 5)] {
            let body = json!({"model": "tiny", "prompt": prompt, "max_tokens": 3});
            let answer = served.post("/v1/completions", &body).await;
            assert_eq!(answer.json()["usage"]["prompt_tokens"], count, "{prompt}");
        }
        served.stop().await;
    });
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model.gguf");
    let refuse = || Engine::load(&file, Options::default()).err().expect("this should not load");
    write(&file, "qwen3", &metadata("qwen3"));
    let whole = std::fs::read(&file).unwrap();
    for keep in [0, 3, 4, 20, 100, 2_000, whole.len() / 2, whole.len() - 64] {
        std::fs::write(&file, &whole[..keep]).unwrap();
        let error = refuse();
        assert!(matches!(error, LoadError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("cut short"), "{keep}: {error}");
    }
    // Lengths that lie are caught before memory is reserved for them.
    for at in (0..256).step_by(8) {
        let mut lying = whole.clone();
        lying[at..at + 8].fill(0xff);
        std::fs::write(&file, &lying).unwrap();
        if let Err(error) = Engine::load(&file, Options::default()) {
            assert!(error.to_string().contains("model.gguf"), "{error}");
        }
    }
    let changed = |kind: &str, key: &str, value: Value| {
        let mut all = metadata(kind);
        all.retain(|(name, _)| name != key);
        all.push((key.into(), value));
        write(&file, kind, &all);
        refuse().to_string()
    };
    for (kind, key, value, word) in [
        ("llama", "general.architecture", Value::String("mamba".into()), "mamba"),
        ("llama", "llama.attention.head_count", Value::U32(0), "head_count"),
        ("llama", "llama.attention.head_count_kv", Value::U32(3), "4 heads over 3"),
        ("qwen2", "qwen2.block_count", Value::U32(u32::MAX), "layers"),
        ("qwen2", "qwen2.block_count", Value::U32(3), "blk.2"),
        ("qwen3", "qwen3.attention.key_length", Value::U32(u32::MAX), "width"),
        ("qwen3", "qwen3.context_length", Value::U32(u32::MAX), "context"),
        ("qwen3", "tokenizer.ggml.pre", Value::String("unheard-of".into()), "unheard-of"),
        ("qwen3", "tokenizer.ggml.model", Value::String("bert".into()), "bert"),
        ("qwen3", "tokenizer.chat_template", Value::String("{% if %}".into()), "chat template"),
        ("qwen3", "qwen3.attention.head_count", Value::U32(2), "cannot be run"),
    ] {
        let error = changed(kind, key, value);
        assert!(error.contains(word), "{word}: {error}");
    }
}
