"""Asks the written model folder and measures it on what it was not taught.

    python check.py                      # the demo questions and the held-out report
    python check.py "What is a receipt?" # one question

What it is: Llama's forward pass as Hugging Face defines it, in numpy, reading nothing but the folder's files; so it
also checks that the export and not only the training graph is right. What it is not: fast.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import jinja2
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from conversations import read_topics

DEMO = ["What is data sovereignty?", "Was ist Datenhoheit?", "What is a receipt?", "Was ist eine Quittung?",
        "Who are you?", "Wer bist du?", "What is the capital of France?", "Hallo!", "Say hello."]


class Nano:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        self.template = jinja2.Environment().from_string(settings["chat_template"])
        self.bos = settings["bos_token"]
        loaded = load_file(str(folder / "model.safetensors"))
        self.weights = {name: value.astype(np.float32) for name, value in loaded.items()}
        c = self.config
        self.head = c["hidden_size"] // c["num_attention_heads"]
        frequency = 1.0 / c["rope_theta"] ** (np.arange(0, self.head, 2) / self.head)
        angle = np.outer(np.arange(c["max_position_embeddings"]), frequency)
        self.cos, self.sin = (np.concatenate([f(angle)] * 2, -1).astype(np.float32) for f in (np.cos, np.sin))

    def norm(self, x, name):
        return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + self.config["rms_norm_eps"]) * self.weights[name]

    def rope(self, x, at):
        half = self.head // 2
        turned = np.concatenate([-x[..., half:], x[..., :half]], -1)
        place = slice(at, at + x.shape[1])
        return x * self.cos[place] + turned * self.sin[place]

    def forward(self, ids, cache):
        """Logits of the last position. `cache` holds (keys, values) per layer and grows."""
        c, at = self.config, (cache[0][0].shape[1] if cache else 0)
        heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        x = self.weights["model.embed_tokens.weight"][ids]
        for n in range(c["num_hidden_layers"]):
            layer = f"model.layers.{n}."
            h = self.norm(x, layer + "input_layernorm.weight")

            def split(name, count):
                y = h @ self.weights[layer + f"self_attn.{name}_proj.weight"].T
                return y.reshape(len(ids), count, self.head).transpose(1, 0, 2)

            q, k, v = self.rope(split("q", heads), at), self.rope(split("k", kv_heads), at), split("v", kv_heads)
            if n < len(cache):
                k, v = (np.concatenate([old, new], 1) for old, new in zip(cache[n], (k, v)))
                cache[n] = (k, v)
            else:
                cache.append((k, v))
            k, v = (np.repeat(y, heads // kv_heads, 0) for y in (k, v))
            scores = q @ k.transpose(0, 2, 1) / np.sqrt(self.head)
            future = np.arange(k.shape[1])[None, :] > at + np.arange(len(ids))[:, None]
            scores = np.where(future, -np.inf, scores)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (scores / scores.sum(-1, keepdims=True)) @ v
            x = x + mixed.transpose(1, 0, 2).reshape(len(ids), -1) @ self.weights[layer + "self_attn.o_proj.weight"].T
            h = self.norm(x, layer + "post_attention_layernorm.weight")
            gate = h @ self.weights[layer + "mlp.gate_proj.weight"].T
            up = h @ self.weights[layer + "mlp.up_proj.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.weights[layer + "mlp.down_proj.weight"].T
        return self.norm(x[-1], "model.norm.weight") @ self.weights["model.embed_tokens.weight"].T

    def complete(self, ids, tokens_max=250):
        """Greedy. Returns the text and why it ended."""
        cache, out = [], []
        feed = list(ids)
        while len(out) < tokens_max and len(ids) + len(out) < self.config["max_position_embeddings"]:
            token = int(np.argmax(self.forward(feed, cache)))
            if token == self.config["eos_token_id"]:
                return self.tokenizer.decode(out), "stop"
            out.append(token)
            feed = [token]
        return self.tokenizer.decode(out), "length"

    def ask(self, *messages, tokens_max=250):
        roles = ["user", "assistant"]
        chat = [m if isinstance(m, dict) else {"role": roles[i % 2], "content": m} for i, m in enumerate(messages)]
        text = self.template.render(messages=chat, bos_token=self.bos, add_generation_prompt=True)
        return self.complete(self.tokenizer.encode(text, add_special_tokens=False).ids, tokens_max)


def report(nano):
    """How often a question that was held out gets exactly the answer of its topic, and what it gets instead."""
    topics = read_topics()
    named = {topic.answer: topic for topic in topics}
    kinds = {
        "own words, known topic": [(q, t) for t in topics if t.name != "unknown" for q in t.held_out],
        "unseen frame, known word": [(q, t) for t in topics for q in t.framed_held_out],
        "unseen question, none of its business": [(q, t) for t in topics if t.name == "unknown" for q in t.held_out],
        "taught (every 40th)": [(q, t) for t in topics for q in t.questions()[::40]],
    }
    misses = []
    for kind, pairs in kinds.items():
        for language in ("en", "de"):
            count = Counter()
            for question, topic in (p for p in pairs if p[1].language == language):
                answer, _ = nano.ask(question)
                got = named.get(answer)
                right = "right" if got is topic else "other answer, whole" if got else "garbled"
                count[right] += 1
                if right != "right":
                    misses.append((kind, language, question, f"{got.language}/{got.name}" if got else answer))
            total = sum(count.values())
            print(f"{kind} | {language} | {total} | " + ", ".join(f"{k} {v} ({v / total:.0%})" for k, v in sorted(count.items())), flush=True)
    return misses


def main():
    nano = Nano(Path(__file__).parent)
    for question in sys.argv[1:] or DEMO:
        print(f"> {question}\n{nano.ask(question)[0]}\n")
    if not sys.argv[1:]:
        for miss in report(nano):
            print("miss", *miss, sep=" | ")


if __name__ == "__main__":
    main()
