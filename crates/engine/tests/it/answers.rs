//! What is said: chat and text, whole and streamed, for each architecture; stop strings, usage, seeds.

use crate::client::{Open, said, serve};
use crate::tiny::{self, SCRIPT};
use engine::{Engine, ModelKind, Options};
use http::{Method, StatusCode};
use serde_json::{Value, json};

fn hello() -> Value {
    json!({"model": "tiny", "temperature": 0, "max_tokens": 40, "messages": [{"role": "user", "content": "the hen"}]})
}

fn with(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// `<|begin|><|user|>` + `th` `e` ` ` `he` `n` + `<|assistant|>`.
const HELLO_TOKENS: u64 = 8;

#[tokio::test]
async fn every_architecture_loads_and_answers() {
    for kind in ["llama", "qwen2", "qwen3"] {
        let dir = tempfile::tempdir().unwrap();
        tiny::decoder(dir.path(), kind);
        let engine = Engine::load(dir.path(), Options::default()).unwrap();
        let info = engine.info();
        assert_eq!((info.architecture.as_str(), info.context_length, info.kind), (kind, 256, ModelKind::Decoder));
        assert_eq!(info.weights_digest.len(), "sha256:".len() + 64);
        // A prompt read in pieces is the same prompt.
        let mut answers = Vec::new();
        for prefill_chunk in [1, 3, 7, 64] {
            let served = serve(dir.path(), Options { prefill_chunk, ..Options::default() }).await;
            let answer = served.chat(hello()).await;
            assert_eq!(answer.json()["usage"]["prompt_tokens"], HELLO_TOKENS);
            answers.push(said(&answer));
            served.stop().await;
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{kind}");
    }
}

#[tokio::test]
async fn shards_are_read_like_one_file() {
    let dir = tempfile::tempdir().unwrap();
    tiny::decoder(dir.path(), "llama");
    let served = serve(dir.path(), Options::default()).await;
    let one = said(&served.chat(hello()).await);
    served.stop().await;
    let (mut first, mut second) = (tiny::Weights::new(), tiny::Weights::new());
    let mut map = serde_json::Map::new();
    for (at, (name, tensor)) in tiny::decoder_weights("llama").into_iter().enumerate() {
        let (part, file) =
            if at % 2 == 0 { (&mut first, "model-1.safetensors") } else { (&mut second, "model-2.safetensors") };
        map.insert(name.clone(), file.into());
        part.insert(name, tensor);
    }
    candle_core::safetensors::save(&first, dir.path().join("model-1.safetensors")).unwrap();
    candle_core::safetensors::save(&second, dir.path().join("model-2.safetensors")).unwrap();
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    tiny::write_json(&dir.path().join("model.safetensors.index.json"), &json!({"weight_map": map}));
    let served = serve(dir.path(), Options::default()).await;
    assert_eq!(said(&served.chat(hello()).await), one);
    served.stop().await;
}

#[tokio::test]
async fn a_seed_repeats_an_answer_and_temperature_0_needs_none() {
    let dir = tempfile::tempdir().unwrap();
    tiny::decoder(dir.path(), "llama");
    let served = serve(dir.path(), Options::default()).await;
    let ask = |more: Value| {
        let served = &served;
        async move { said(&served.chat(with(hello(), more)).await) }
    };
    let seeded = |seed: i64| ask(json!({"temperature": 1.5, "seed": seed}));
    assert_eq!(seeded(4).await, seeded(4).await);
    assert_eq!(seeded(-4).await, seeded(-4).await);
    let different: std::collections::HashSet<String> =
        [seeded(1).await, seeded(2).await, seeded(3).await].into_iter().collect();
    assert!(different.len() > 1, "{different:?}");
    let greedy = ask(json!({"seed": 1})).await;
    assert_eq!(greedy, ask(json!({"seed": 2})).await);
    // The most likely token alone is the nucleus of a tiny top_p: greedy by another way.
    assert_eq!(greedy, ask(json!({"temperature": 1.0, "top_p": 1e-6})).await);
    // Company changes nothing.
    let (one, other, third) = tokio::join!(seeded(4), ask(json!({"max_tokens": 9})), seeded(4));
    assert_eq!(one, third);
    assert!(greedy.starts_with(other.trim_end_matches('\u{FFFD}')));
    served.stop().await;
}

#[tokio::test]
async fn the_authors_sampling_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    tiny::decoder(dir.path(), "llama");
    let mut plain = hello();
    plain.as_object_mut().unwrap().remove("temperature");
    let mut answers = Vec::new();
    for authors in [json!({"temperature": 0.0}), json!({"do_sample": false}), json!({})] {
        tiny::write_json(&dir.path().join("generation_config.json"), &authors);
        let served = serve(dir.path(), Options::default()).await;
        answers.push((said(&served.chat(hello()).await), said(&served.chat(plain.clone()).await)));
        served.stop().await;
    }
    assert_eq!(answers[0].0, answers[0].1);
    assert_eq!(answers[1].0, answers[1].1);
    assert_ne!(answers[2].0, answers[2].1);
}

#[tokio::test]
async fn usage_counts_every_token() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options::default()).await;
    let answer = served.chat(hello()).await;
    assert_eq!(said(&answer), SCRIPT);
    let json = answer.json();
    assert_eq!(json["choices"][0]["finish_reason"], "stop");
    let tokens = SCRIPT.len() as u64 + 1; // one per byte, and the end
    assert_eq!(
        json["usage"],
        json!({"prompt_tokens": HELLO_TOKENS, "completion_tokens": tokens, "total_tokens": HELLO_TOKENS + tokens,
               "prompt_tokens_details": {"cached_tokens": 0}})
    );
    let answer = served.chat(with(hello(), json!({"max_tokens": 5}))).await;
    assert_eq!(said(&answer), &SCRIPT[..5]);
    assert_eq!(answer.json()["usage"]["completion_tokens"], 5);
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
    // Cut inside a letter: said as what it is, once.
    let answer = served.chat(with(hello(), json!({"max_completion_tokens": 2, "max_tokens": 9}))).await;
    assert_eq!(said(&answer), "a\u{FFFD}");
    // Exactly as many tokens as the answer has.
    let answer = served.chat(with(hello(), json!({"max_tokens": tokens}))).await;
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "stop");
    assert_eq!(served.count("prompt_tokens_total").await, 4 * HELLO_TOKENS);
    assert_eq!(served.count("completion_tokens_total").await, tokens + 5 + 2 + tokens);
    served.stop().await;
}

#[tokio::test]
async fn stop_strings_are_met_across_tokens() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options::default()).await;
    for (stop, text, tokens, reason) in [
        (json!("def"), "a€bc", 9, "stop"),
        (json!(["xyz", "€b"]), "a", 5, "stop"),
        (json!("a"), "", 1, "stop"),
        (json!("zz"), SCRIPT, SCRIPT.len() + 1, "stop"),
        (json!("€"), "a", 4, "stop"),
    ] {
        let answer = served.chat(with(hello(), json!({"stop": stop}))).await;
        assert_eq!(said(&answer), text, "{stop}");
        assert_eq!(answer.json()["usage"]["completion_tokens"], tokens, "{stop}");
        assert_eq!(answer.json()["choices"][0]["finish_reason"], reason, "{stop}");
        let streamed = served.stream(&with(hello(), json!({"stop": stop, "stream": true}))).await;
        assert_eq!(text_of(&streamed.chunks().await), text, "{stop}");
    }
    // Held back for a stop that does not come, then given out at the end.
    let answer = served.chat(with(hello(), json!({"stop": "bcX", "max_tokens": 6}))).await;
    assert_eq!(said(&answer), "a€bc");
    served.stop().await;
}

fn text_of(chunks: &[Value]) -> String {
    let parts = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str());
    parts.collect()
}

#[tokio::test]
async fn a_stream_says_the_same_in_whole_letters() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options::default()).await;
    let open: Open = served.stream(&with(hello(), json!({"stream": true}))).await;
    assert_eq!(open.headers["content-type"], "text/event-stream; charset=utf-8");
    let chunks = open.chunks().await;
    assert_eq!(text_of(&chunks), SCRIPT);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks.last().unwrap()["choices"][0]["delta"], json!({}));
    for chunk in &chunks {
        assert!(!chunk.to_string().contains('\u{FFFD}'));
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], chunks[0]["id"]);
        assert!(chunk.get("usage").is_none());
    }
    // One chunk per letter, one before and one after.
    assert_eq!(chunks.len(), SCRIPT.chars().count() + 2);
    served.stop().await;
}

#[tokio::test]
async fn a_streams_usage_comes_at_the_end_and_on_request_all_along() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options::default()).await;
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = served.stream(&with(hello(), options)).await.chunks().await;
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], SCRIPT.len() + 1);
    assert!(others.iter().all(|c| c["usage"].is_null() && c.get("usage").is_some()));

    let options = json!({"stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true}});
    let chunks = served.stream(&with(hello(), options)).await.chunks().await;
    let counts: Vec<u64> = chunks.iter().map(|c| c["usage"]["completion_tokens"].as_u64().unwrap()).collect();
    // Every token is shown, also those in the middle of a letter; then the finish and the closing repeat the sum.
    let tokens = SCRIPT.len() as u64 + 1;
    let mut expect: Vec<u64> = (0..=tokens).collect();
    expect.push(tokens);
    assert_eq!(counts, expect);
    assert!(chunks.iter().all(|c| c["usage"]["prompt_tokens"] == HELLO_TOKENS));
    assert_eq!(text_of(&chunks), SCRIPT);
    served.stop().await;
}

#[tokio::test]
async fn a_stream_of_rubbish_is_the_whole_answers_rubbish() {
    let dir = tempfile::tempdir().unwrap();
    tiny::decoder(dir.path(), "qwen2");
    let served = serve(dir.path(), Options::default()).await;
    for seed in 0..8 {
        let body = with(hello(), json!({"temperature": 2.0, "seed": seed, "max_tokens": 200}));
        let whole = said(&served.chat(body.clone()).await);
        let chunks = served.stream(&with(body, json!({"stream": true}))).await.chunks().await;
        assert_eq!(text_of(&chunks), whole);
    }
    served.stop().await;
}

#[tokio::test]
async fn text_completions_continue_a_text() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), true);
    let served = serve(dir.path(), Options::default()).await;
    let ask = |more: Value| {
        let body = with(json!({"model": "tiny", "temperature": 0}), more);
        let served = &served;
        async move { served.post("/v1/completions", &body).await.json() }
    };
    let json = ask(json!({"prompt": "xyb"})).await;
    assert_eq!(json["object"], "text_completion");
    assert_eq!(json["choices"][0]["text"], "cdefghijklmnopqr");
    assert_eq!(json["usage"]["completion_tokens"], 16);
    assert_eq!(json["usage"]["prompt_tokens"], 3);
    assert_eq!(ask(json!({"prompt": ["xyb"], "max_tokens": 2})).await["choices"][0]["text"], "cd");
    assert_eq!(ask(json!({"prompt": [98], "max_tokens": 2})).await["choices"][0]["text"], "cd");
    let body = json!({"model": "tiny", "temperature": 0, "prompt": "b", "max_tokens": 2, "stream": true,
                      "stream_options": {"include_usage": true}});
    let chunks = served.open(Method::POST, "/v1/completions", body.to_string()).await.chunks().await;
    let text: String = chunks.iter().filter_map(|c| c["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "cd");
    assert_eq!(chunks.last().unwrap()["usage"]["total_tokens"], 3);
    served.stop().await;
}

#[tokio::test]
async fn a_prompt_may_fill_the_context_to_the_last_token() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), true);
    let served = serve(dir.path(), Options { context_max: 40, ..Options::default() }).await;
    let ask = |letters: usize, more: Value| {
        let body = with(json!({"model": "tiny", "prompt": "b".repeat(letters)}), more);
        let served = &served;
        async move { served.post("/v1/completions", &body).await }
    };
    assert_eq!(ask(39, json!({})).await.json()["usage"]["completion_tokens"], 1);
    assert_eq!(ask(30, json!({"max_tokens": 10})).await.json()["usage"]["total_tokens"], 40);
    for (letters, more) in [(40, json!({})), (30, json!({"max_tokens": 11})), (4000, json!({}))] {
        let answer = ask(letters, more).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
        assert_eq!(answer.json()["error"]["param"], "prompt");
    }
    // A chat without max_tokens goes on to the end of the context.
    let body = json!({"model": "tiny", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(served.chat(body).await.json()["usage"]["total_tokens"], 40);
    served.stop().await;
}

#[tokio::test]
async fn the_model_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    tiny::decoder(dir.path(), "qwen3");
    let served = serve(dir.path(), Options::default()).await;
    let list = served.get("/v1/models").await.json();
    assert_eq!(list["data"][0]["id"], "tiny");
    assert_eq!(list["data"][0]["max_model_len"], 256);
    assert_eq!(served.get("/v1/models/tiny").await.json(), list["data"][0]);
    assert_eq!(served.get("/v1/models/other").await.status, StatusCode::NOT_FOUND);
    assert_eq!(served.get("/health").await.json(), json!({"status": "ok"}));
    let metrics = served.get("/metrics").await;
    let text = std::str::from_utf8(&metrics.body).unwrap();
    assert!(text.contains("\nhoheit_engine_sequences_running 0\n"), "{text}");
    served.stop().await;
}

/// A gateway caps answers whose length nobody named; whether the cap fits behind the prompt only the engine knows.
#[tokio::test]
async fn a_length_that_nobody_named_gives_way_to_the_prompt() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options { context_max: 12, ..Options::default() }).await;
    let check = async |more: Value, tokens: Result<u64, &str>| {
        let body = json!({"model": "tiny", "temperature": 0, "messages": [{"role": "user", "content": "xyz"}]});
        let answer = served.chat(with(body, more.clone())).await.json();
        match tokens {
            Ok(tokens) => assert_eq!(answer["usage"]["completion_tokens"], tokens, "{more}"),
            Err(code) => assert_eq!(answer["error"]["code"], code, "{more}"),
        }
    };
    // Six tokens of prompt leave six.
    check(json!({"max_tokens": 100}), Err("context_length_exceeded")).await;
    check(json!({"max_tokens_fitting": 100}), Ok(6)).await;
    check(json!({"max_tokens_fitting": 4}), Ok(4)).await;
    check(json!({"max_tokens_fitting": 4, "max_tokens": 2}), Ok(2)).await;
    check(json!({"max_tokens_fitting": 4, "max_tokens": 5}), Ok(4)).await;
    served.stop().await;
}
