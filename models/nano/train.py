"""Trains nano from nothing and writes the model folder.

    python train.py            # about 25 minutes on one core; writes next to this file
    python train.py --out DIR --steps N

What it is: tokenizer, model, loop and export, in that order. What it is not: the corpus (`conversations.py`) or the
measurement (`check.py`). Everything random comes from `SEED`; with the versions of `requirements.txt` on the same
kind of processor the weights come out the same.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

# One thread: a training run must not take the machine from its neighbours, and one thread adds in one order. glibc is
# told to keep its memory: asking the kernel anew for each buffer costs a third of the time. Both are read when a
# process starts, so the script starts itself once more.
ENVIRONMENT = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
    "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1", "MALLOC_TOP_PAD_": str(512 << 20),
}
if __name__ == "__main__" and not ENVIRONMENT.items() <= os.environ.items():
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ENVIRONMENT)

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from conversations import HERE, Conversations

SEED = 2026
SPECIAL = ["<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
BOS, END = 0, 1
ROLE = {"system": 2, "user": 3, "assistant": 4}

# Llama, small: 1.5 million parameters are 3 MB in f16. Fewer key heads than heads, so that engines' grouped-query
# path is used too.
HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, VOCAB, CONTEXT = 160, 448, 4, 4, 2, 2048, 512
HEAD = HIDDEN // HEADS
THETA, EPS = 10_000.0, 1e-5

# Rows of one length compile once. Most conversations are short; the long rows teach the rest of the context.
SHAPES = [(16, 128), (3, 512)]
LONG_EVERY = 8
STEPS = 2600
LEARNING_RATE, WARMUP, WEIGHT_DECAY = 3e-3, 150, 0.1
# The first tokens of an answer decide which answer it is; the rest is recited.
FIRST_TOKENS, FIRST_WEIGHT = 6, 5.0
# The user's tokens are predicted too, a little: it helps to tell words apart.
USER_WEIGHT = 0.05
# So many of the user's tokens are replaced by any token, against learning questions by heart.
USER_NOISE = 0.06

CHAT_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages -%}
{%- if message['role'] == 'assistant' -%}<|assistant|>
{%- elif message['role'] in ['system', 'developer'] -%}<|system|>
{%- else -%}<|user|>
{%- endif -%}
{%- if message['content'] is string -%}{{ message['content'] | trim }}
{%- elif message['content'] -%}
{%- for part in message['content'] -%}{%- if part['type'] == 'text' -%}{{ part['text'] | trim }}{%- endif -%}{%- endfor -%}
{%- endif -%}<|end|>
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}
"""


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=[AddedToken(t, special=True) for t in SPECIAL],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    source = Conversations(SEED)
    texts = [text for topic in source.topics for text in [topic.answer] * 3 + topic.own + topic.framed[::7]]
    tokenizer.train_from_iterator(texts + [text for _, text in source.prose], trainer)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=[("<|bos|>", BOS)]),
    ])
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer


class Rows:
    """Batches of (tokens, targets, weights), endless and seeded."""

    def __init__(self, tokenizer, seed):
        self.source = Conversations(seed)
        self.noise = np.random.default_rng(seed)
        self.tokenizer = tokenizer

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def row(self, length):
        """length + 1 tokens and the weight of predicting each."""
        rng = self.source.rng
        if rng.random() < 0.06:
            ids = self.ids(self.source.plain()) + [END]
            tokens, weights = [BOS] + ids, [0.0] + [1.0] * len(ids)
        else:
            tokens, weights = [BOS], [0.0]
            # 40 tokens are less than any turn has on average: the row is filled and then cut.
            for role, text in self.source.chat(max(1, length // 40)):
                ids = self.ids(text)
                if role == "user":
                    keep = self.noise.random(len(ids)) > USER_NOISE
                    noisy = np.where(keep, ids, self.noise.integers(len(SPECIAL), VOCAB, len(ids))).tolist()
                    tokens += [ROLE[role]] + noisy + [END]
                    weights += [0.0] + [USER_WEIGHT * bool(k) for k in keep] + [USER_WEIGHT]
                else:
                    tokens += [ROLE[role]] + ids + [END]
                    first = min(FIRST_TOKENS, len(ids))
                    told = [FIRST_WEIGHT] * first + [1.0] * (len(ids) + 1 - first)
                    weights += [0.0] + (told if role == "assistant" else [0.0] * len(told))
                if len(tokens) > length:
                    break
        pad = max(0, length + 1 - len(tokens))
        return (tokens + [END] * pad)[: length + 1], (weights + [0.0] * pad)[: length + 1]

    def batch(self, rows, length):
        tokens, weights = zip(*(self.row(length) for _ in range(rows)))
        tokens, weights = np.array(tokens, np.int32), np.array(weights, np.float32)
        return tokens[:, :-1], tokens[:, 1:], weights[:, 1:]


def init(rng):
    def normal(*shape):
        return rng.normal(0, 0.02, shape).astype(np.float32)

    weights = {"model.embed_tokens.weight": normal(VOCAB, HIDDEN), "model.norm.weight": np.ones(HIDDEN, np.float32)}
    for n in range(LAYERS):
        at = f"model.layers.{n}"
        shrink = (2 * LAYERS) ** -0.5
        weights |= {
            f"{at}.self_attn.q_proj.weight": normal(HIDDEN, HIDDEN),
            f"{at}.self_attn.k_proj.weight": normal(KV_HEADS * HEAD, HIDDEN),
            f"{at}.self_attn.v_proj.weight": normal(KV_HEADS * HEAD, HIDDEN),
            f"{at}.self_attn.o_proj.weight": normal(HIDDEN, HIDDEN) * shrink,
            f"{at}.mlp.gate_proj.weight": normal(INTERMEDIATE, HIDDEN),
            f"{at}.mlp.up_proj.weight": normal(INTERMEDIATE, HIDDEN),
            f"{at}.mlp.down_proj.weight": normal(HIDDEN, INTERMEDIATE) * shrink,
            f"{at}.input_layernorm.weight": np.ones(HIDDEN, np.float32),
            f"{at}.post_attention_layernorm.weight": np.ones(HIDDEN, np.float32),
        }
    return {name: jnp.asarray(value, jnp.float32) for name, value in weights.items()}


def norm(x, weight):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS) * weight


def rope(x, cos, sin):
    """Rotate-half, as Hugging Face and candle have it: the pair of dimension i is i + HEAD / 2."""
    first, second = jnp.split(x, 2, axis=-1)
    return x * cos + jnp.concatenate([-second, first], -1) * sin


def logits(weights, tokens):
    rows, length = tokens.shape
    angle = jnp.arange(length)[:, None] * (THETA ** (-jnp.arange(0, HEAD, 2) / HEAD))[None, :]
    cos, sin = (jnp.concatenate([f(angle)] * 2, -1)[None, :, None, :] for f in (jnp.cos, jnp.sin))
    mask = jnp.where(jnp.tril(jnp.ones((length, length), bool)), 0.0, -1e9)
    x = weights["model.embed_tokens.weight"][tokens]
    for n in range(LAYERS):
        layer = {k.removeprefix(f"model.layers.{n}."): v for k, v in weights.items() if f"layers.{n}." in k}
        h = norm(x, layer["input_layernorm.weight"])
        q = rope((h @ layer["self_attn.q_proj.weight"].T).reshape(rows, length, HEADS, HEAD), cos, sin)
        k = rope((h @ layer["self_attn.k_proj.weight"].T).reshape(rows, length, KV_HEADS, HEAD), cos, sin)
        v = (h @ layer["self_attn.v_proj.weight"].T).reshape(rows, length, KV_HEADS, HEAD)
        q = q.reshape(rows, length, KV_HEADS, HEADS // KV_HEADS, HEAD)
        scores = jnp.einsum("bikgd,bjkd->bkgij", q, k) / HEAD**0.5 + mask
        mixed = jnp.einsum("bkgij,bjkd->bikgd", jax.nn.softmax(scores, -1), v).reshape(rows, length, HIDDEN)
        x = x + mixed @ layer["self_attn.o_proj.weight"].T
        h = norm(x, layer["post_attention_layernorm.weight"])
        gate = jax.nn.silu(h @ layer["mlp.gate_proj.weight"].T) * (h @ layer["mlp.up_proj.weight"].T)
        x = x + gate @ layer["mlp.down_proj.weight"].T
    return norm(x, weights["model.norm.weight"]) @ weights["model.embed_tokens.weight"].T


def loss(weights, tokens, targets, weight):
    each = optax.softmax_cross_entropy_with_integer_labels(logits(weights, tokens), targets)
    return (each * weight).sum() / weight.sum()


def train(tokenizer, steps):
    weights = init(np.random.default_rng(SEED))
    schedule = optax.warmup_cosine_decay_schedule(0.0, LEARNING_RATE, WARMUP, steps, LEARNING_RATE / 50)
    decays = {name: value.ndim > 1 for name, value in weights.items()}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0),
                            optax.adamw(schedule, b2=0.98, weight_decay=WEIGHT_DECAY, mask=decays))
    state = optimizer.init(weights)

    @jax.jit
    def step(weights, state, tokens, targets, weight):
        value, slope = jax.value_and_grad(loss)(weights, tokens, targets, weight)
        update, state = optimizer.update(slope, state, weights)
        return optax.apply_updates(weights, update), state, value

    rows, began, mean = Rows(tokenizer, SEED), time.monotonic(), None
    for number in range(1, steps + 1):
        shape = SHAPES[number % LONG_EVERY == 0]
        weights, state, value = step(weights, state, *rows.batch(*shape))
        mean = float(value) if mean is None else 0.98 * mean + 0.02 * float(value)
        if number % 200 == 0 or number == 20:
            print(f"step {number}/{steps}  loss {mean:.4f}  {time.monotonic() - began:.0f} s", flush=True)
    return weights


def write(out, tokenizer, weights):
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    save_file({name: np.asarray(value, np.float16) for name, value in weights.items()},
              str(out / "model.safetensors"), metadata={"format": "pt"})
    files = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS, "head_dim": HEAD, "hidden_act": "silu", "rms_norm_eps": EPS,
            "rope_theta": THETA, "rope_scaling": None, "max_position_embeddings": CONTEXT, "vocab_size": VOCAB,
            "bos_token_id": BOS, "eos_token_id": END, "pad_token_id": END, "tie_word_embeddings": True,
            "attention_bias": False, "mlp_bias": False, "initializer_range": 0.02, "use_cache": True,
            "torch_dtype": "float16",
        },
        "generation_config.json": {"bos_token_id": BOS, "eos_token_id": END, "pad_token_id": END, "do_sample": False},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, "bos_token": "<|bos|>",
            "eos_token": "<|end|>", "pad_token": "<|end|>", "add_bos_token": True, "add_eos_token": False,
            "clean_up_tokenization_spaces": False, "additional_special_tokens": SPECIAL[2:],
            "chat_template": CHAT_TEMPLATE,
        },
    }
    for name, value in files.items():
        (out / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    tokenizer = make_tokenizer()
    write(options.out, tokenizer, train(tokenizer, options.steps))


if __name__ == "__main__":
    main()
