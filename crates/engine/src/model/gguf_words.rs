//! The tokenizer inside a GGUF file, rebuilt as the `tokenizer.json` it was made from: byte-level BPE ("gpt2") and
//! SentencePiece-BPE ("llama"). How a text is first cut into words is only named in the file (`tokenizer.ggml.pre`); a
//! name that is not known here is refused, because a wrong cut gives other tokens and a model that seems dull.

use super::template::Template;
use super::words::Words;
use crate::error::LoadError;
use candle_core::quantized::gguf_file::{Content, Value};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

const LLAMA3_CUT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2_CUT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `tokenizer.ggml.token_type`: a token that controls and is not text.
const CONTROL: i64 = 3;
/// A token of the model's makers that is text.
const USER_DEFINED: i64 = 4;

/// Tokens that end a turn; files often name only one of them.
const TURN_ENDS: [&str; 4] = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>"];

pub(super) fn read(path: &Path, content: &Content) -> Result<Words, LoadError> {
    let source = Source { path, content };
    let tokens = source.texts("tokenizer.ggml.tokens");
    let beside = path.with_file_name("tokenizer.json");
    let tokenizer = match std::fs::read(&beside) {
        Ok(json) => Words::tokenizer(&beside, &json)?,
        Err(_) => {
            let json = source.tokenizer_json(tokens.as_deref().unwrap_or_default())?;
            Words::tokenizer(path, json.to_string().as_bytes())?
        }
    };
    let vocab_size = match content.tensor_infos.get("token_embd.weight").map(|t| t.shape.dims()) {
        Some([rows, _]) => *rows,
        _ => return Err(LoadError::damaged(path, "lacks the tensor token_embd.weight")),
    };
    let id = |key: &str| source.number(key).and_then(|n| u32::try_from(n).ok());
    let mut end_tokens: Vec<u32> =
        [id("tokenizer.ggml.eos_token_id"), id("tokenizer.ggml.eot_token_id")].into_iter().flatten().collect();
    end_tokens.extend(TURN_ENDS.iter().filter_map(|t| tokenizer.token_to_id(t)));
    end_tokens.sort_unstable();
    end_tokens.dedup();
    let text = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_token(id)).unwrap_or_default();
    let (bos, eos) = (text(id("tokenizer.ggml.bos_token_id")), text(id("tokenizer.ggml.eos_token_id")));
    let template = match source.text("tokenizer.chat_template") {
        None => None,
        Some(jinja) => Some(
            Template::compile(jinja, bos, eos)
                .map_err(|e| LoadError::damaged(path, format!("holds a chat template that does not work: {e}")))?,
        ),
    };
    Ok(Words { tokenizer, template, end_tokens, vocab_size, temperature: 1.0, top_p: 1.0 })
}

struct Source<'a> {
    path: &'a Path,
    content: &'a Content,
}

/// A merge's score, its place and its two halves.
type Merge<'a> = (f32, (usize, usize), (&'a str, &'a str));

impl Source<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.to_string().ok().map(String::as_str)
    }

    fn number(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Value::U32(n) => Some(i64::from(*n)),
            Value::I32(n) => Some(i64::from(*n)),
            Value::U64(n) => i64::try_from(*n).ok(),
            _ => None,
        }
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.to_bool().ok()
    }

    fn texts(&self, key: &str) -> Option<Vec<String>> {
        self.get(key)?.to_vec().ok()?.iter().map(|v| v.to_string().ok().cloned()).collect()
    }

    fn refuse(&self, what: String) -> LoadError {
        LoadError::unsupported(self.path, what, "Put the model's tokenizer.json beside the file")
    }

    fn tokenizer_json(&self, tokens: &[String]) -> Result<serde_json::Value, LoadError> {
        if tokens.is_empty() {
            return Err(self.refuse("holds no tokenizer".into()));
        }
        let types: Vec<i64> = match self.get("tokenizer.ggml.token_type").and_then(|v| v.to_vec().ok()) {
            Some(list) => list.iter().map(|v| v.to_i32().map_or(1, i64::from)).collect(),
            None => vec![1; tokens.len()],
        };
        let vocab: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, t)| (t.as_str(), id)).collect();
        let added: Vec<_> = (tokens.iter().zip(&types).enumerate())
            .filter(|(_, (_, kind))| matches!(**kind, CONTROL | USER_DEFINED))
            .map(|(id, (token, kind))| {
                json!({"id": id, "content": token, "special": *kind == CONTROL, "single_word": false, "lstrip": false,
                       "rstrip": false, "normalized": false})
            })
            .collect();
        let (mut json, bos_by_default) = match self.text("tokenizer.ggml.model") {
            Some("gpt2") => self.byte_level(&vocab)?,
            Some("llama") => (self.sentence_piece(tokens, &vocab)?, true),
            other => return Err(self.refuse(format!("holds a tokenizer of kind {}", other.unwrap_or("(unnamed)")))),
        };
        json["version"] = json!("1.0");
        json["added_tokens"] = json!(added);
        let bos = self.number("tokenizer.ggml.bos_token_id").and_then(|n| usize::try_from(n).ok());
        if let Some(bos) = bos.filter(|_| self.flag("tokenizer.ggml.add_bos_token").unwrap_or(bos_by_default)) {
            let Some(token) = tokens.get(bos) else {
                return Err(LoadError::damaged(self.path, "names a first token outside its own list"));
            };
            json["post_processor"] = json!({"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {token: {"id": token, "ids": [bos], "tokens": [token]}}});
        }
        Ok(json)
    }

    /// Byte-level BPE, and whether a text starts with the first token where the file does not say.
    fn byte_level(&self, vocab: &HashMap<&str, usize>) -> Result<(serde_json::Value, bool), LoadError> {
        let merges = self.texts("tokenizer.ggml.merges").unwrap_or_default();
        let cut = |pattern: &str| {
            json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]})
        };
        let pre = self.text("tokenizer.ggml.pre").unwrap_or("default");
        let (pre_tokenizer, normalizer, bos) = match pre {
            "llama-bpe" | "llama3" | "llama-v3" => (cut(LLAMA3_CUT), json!(null), true),
            "qwen2" => (cut(QWEN2_CUT), json!({"type": "NFC"}), false),
            "default" | "gpt-2" => (
                json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true}),
                json!(null),
                false,
            ),
            other => return Err(self.refuse(format!("cuts its words in a way that is not known here ({other})"))),
        };
        let json = json!({
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                      "ignore_merges": pre.starts_with("llama"), "vocab": vocab, "merges": merges}});
        Ok((json, bos))
    }

    /// SentencePiece-BPE: the merges are not in the file and follow from the scores, as transformers derives them.
    fn sentence_piece(&self, tokens: &[String], vocab: &HashMap<&str, usize>) -> Result<serde_json::Value, LoadError> {
        let scores: Vec<f32> = match self.get("tokenizer.ggml.scores").and_then(|v| v.to_vec().ok()) {
            Some(list) if list.len() == tokens.len() => list.iter().map(|v| v.to_f32().unwrap_or(0.0)).collect(),
            _ => return Err(self.refuse("holds a SentencePiece tokenizer without scores".into())),
        };
        let mut merges: Vec<Merge<'_>> = Vec::new();
        for (token, score) in tokens.iter().zip(&scores) {
            let from = merges.len();
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if let (Some(l), Some(r)) = (vocab.get(left), vocab.get(right)) {
                    merges.push((*score, (*l, *r), (left, right)));
                }
            }
            merges[from..].sort_by_key(|(_, ids, _)| *ids);
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((b.2.0.len(), b.2.1.len()).cmp(&(a.2.0.len(), a.2.1.len()))));
        let merges: Vec<_> = merges.iter().map(|(_, _, (l, r))| [l, r]).collect();
        let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"})];
        let prefix = self.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true);
        if prefix {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": "\u{2581}"}));
        }
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unknown = self.number("tokenizer.ggml.unknown_token_id").and_then(|n| usize::try_from(n).ok());
        Ok(json!({
            "normalizer": {"type": "Sequence", "normalizers": normalizers}, "pre_tokenizer": null,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {"type": "BPE", "dropout": null, "unk_token": unknown.and_then(|id| tokens.get(id)),
                      "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
                      "byte_fallback": true, "ignore_merges": false, "vocab": vocab, "merges": merges}}))
    }
}
