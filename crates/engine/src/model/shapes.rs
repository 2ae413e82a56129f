//! The tensors of each architecture by name and shape, as transformers writes them and candle reads them.

use super::config::Architecture;
use super::weights::Expected;
use candle_transformers::models::bert;

/// Every tensor that the network reads, with its shape. Checked before candle sees the weights, because candle's
/// Llama ends the thread where a tensor is missing.
pub(crate) fn expected(architecture: &Architecture) -> Vec<Expected> {
    match architecture {
        Architecture::Llama(c) => {
            let head = c.hidden_size / c.num_attention_heads;
            let (q, kv) = (head * c.num_attention_heads, head * c.num_key_value_heads);
            let shape = DecoderShape { hidden: c.hidden_size, inner: c.intermediate_size, q, kv, head };
            shape.tensors(c.num_hidden_layers, c.vocab_size, c.tie_word_embeddings, false, false)
        }
        Architecture::Qwen2(c) => {
            let head = c.hidden_size / c.num_attention_heads;
            let (q, kv) = (head * c.num_attention_heads, head * c.num_key_value_heads);
            let shape = DecoderShape { hidden: c.hidden_size, inner: c.intermediate_size, q, kv, head };
            shape.tensors(c.num_hidden_layers, c.vocab_size, c.tie_word_embeddings, true, false)
        }
        Architecture::Qwen3(c) => {
            let (q, kv) = (c.head_dim * c.num_attention_heads, c.head_dim * c.num_key_value_heads);
            let shape = DecoderShape { hidden: c.hidden_size, inner: c.intermediate_size, q, kv, head: c.head_dim };
            shape.tensors(c.num_hidden_layers, c.vocab_size, c.tie_word_embeddings, false, true)
        }
        Architecture::Bert(c) => bert_tensors(c),
    }
}

struct DecoderShape {
    hidden: usize,
    inner: usize,
    q: usize,
    kv: usize,
    head: usize,
}

impl DecoderShape {
    fn tensors(&self, layers: usize, vocab: usize, tied: bool, qkv_bias: bool, qk_norm: bool) -> Vec<Expected> {
        let &Self { hidden, inner, q, kv, head } = self;
        let mut all = vec![
            ("model.embed_tokens.weight".to_owned(), vec![vocab, hidden]),
            ("model.norm.weight".to_owned(), vec![hidden]),
        ];
        if !tied {
            all.push(("lm_head.weight".to_owned(), vec![vocab, hidden]));
        }
        for layer in 0..layers {
            let mut add = |name: &str, shape: Vec<usize>| all.push((format!("model.layers.{layer}.{name}"), shape));
            add("input_layernorm.weight", vec![hidden]);
            add("post_attention_layernorm.weight", vec![hidden]);
            add("self_attn.q_proj.weight", vec![q, hidden]);
            add("self_attn.k_proj.weight", vec![kv, hidden]);
            add("self_attn.v_proj.weight", vec![kv, hidden]);
            add("self_attn.o_proj.weight", vec![hidden, q]);
            add("mlp.gate_proj.weight", vec![inner, hidden]);
            add("mlp.up_proj.weight", vec![inner, hidden]);
            add("mlp.down_proj.weight", vec![hidden, inner]);
            if qkv_bias {
                add("self_attn.q_proj.bias", vec![q]);
                add("self_attn.k_proj.bias", vec![kv]);
                add("self_attn.v_proj.bias", vec![kv]);
            }
            if qk_norm {
                add("self_attn.q_norm.weight", vec![head]);
                add("self_attn.k_norm.weight", vec![head]);
            }
        }
        all
    }
}

fn bert_tensors(c: &bert::Config) -> Vec<Expected> {
    let (h, inner) = (c.hidden_size, c.intermediate_size);
    let mut all = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![c.vocab_size, h]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![c.max_position_embeddings, h]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![c.type_vocab_size, h]),
        ("embeddings.LayerNorm.weight".to_owned(), vec![h]),
        ("embeddings.LayerNorm.bias".to_owned(), vec![h]),
    ];
    for layer in 0..c.num_hidden_layers {
        let mut linear = |name: &str, out: usize, input: usize| {
            all.push((format!("encoder.layer.{layer}.{name}.weight"), vec![out, input]));
            all.push((format!("encoder.layer.{layer}.{name}.bias"), vec![out]));
        };
        linear("attention.self.query", h, h);
        linear("attention.self.key", h, h);
        linear("attention.self.value", h, h);
        linear("attention.output.dense", h, h);
        linear("intermediate.dense", inner, h);
        linear("output.dense", h, inner);
        for norm in ["attention.output.LayerNorm", "output.LayerNorm"] {
            all.push((format!("encoder.layer.{layer}.{norm}.weight"), vec![h]));
            all.push((format!("encoder.layer.{layer}.{norm}.bias"), vec![h]));
        }
    }
    all
}
