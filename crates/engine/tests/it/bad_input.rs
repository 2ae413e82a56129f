//! What is refused: each with OpenAI's envelope, the right status, and the parameter that is wrong. After all of it the
//! engine still answers.

use crate::client::{said, serve};
use crate::tiny::{self, SCRIPT};
use engine::Options;
use http::{Method, StatusCode};
use serde_json::{Value, json};

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "tiny", "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn saying(message: Value) -> Value {
    json!({"model": "tiny", "messages": [message]})
}

#[tokio::test]
async fn chats_that_cannot_be_answered() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options { body_bytes_max: 100_000, ..Options::default() }).await;
    let tool = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
    for (body, status, code, param) in [
        (json!([]).to_string(), 400, "invalid_json", ""),
        ("{\"model\":".into(), 400, "invalid_json", ""),
        (String::new(), 400, "invalid_json", ""),
        ("\u{0}\u{1}".into(), 400, "invalid_json", ""),
        ("[".repeat(50_000), 400, "invalid_json", ""),
        (" ".repeat(100_001), 413, "body_too_large", ""),
        (json!({"messages": []}).to_string(), 400, "", "model"),
        (chat(json!({"model": 3})).to_string(), 400, "", "model"),
        (chat(json!({"model": "other"})).to_string(), 404, "model_not_found", "model"),
        (chat(json!({"messages": []})).to_string(), 400, "", "messages"),
        (chat(json!({"messages": "x"})).to_string(), 400, "", "messages"),
        (chat(json!({"messages": null})).to_string(), 400, "", "messages"),
        (saying(json!("x")).to_string(), 400, "", "messages[0].role"),
        (saying(json!({"role": "wizard", "content": "x"})).to_string(), 400, "", "messages[0].role"),
        (saying(json!({"role": "user"})).to_string(), 400, "", "messages[0].content"),
        (saying(json!({"role": "user", "content": 3})).to_string(), 400, "", "messages[0].content"),
        (
            saying(json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]})).to_string(),
            400,
            "unsupported_parameter",
            "messages[0].content",
        ),
        (
            saying(json!({"role": "tool", "content": "x", "tool_call_id": "1"})).to_string(),
            400,
            "unsupported_parameter",
            "messages[0].role",
        ),
        (
            saying(json!({"role": "assistant", "content": null, "tool_calls": []})).to_string(),
            400,
            "unsupported_parameter",
            "messages[0].tool_calls",
        ),
        (chat(json!({"tools": tool})).to_string(), 400, "unsupported_parameter", "tools"),
        (
            chat(json!({"response_format": {"type": "json_object"}})).to_string(),
            400,
            "unsupported_parameter",
            "response_format",
        ),
        (chat(json!({"logprobs": true})).to_string(), 400, "unsupported_parameter", "logprobs"),
        (chat(json!({"top_logprobs": 2})).to_string(), 400, "unsupported_parameter", "top_logprobs"),
        (chat(json!({"n": 2})).to_string(), 400, "unsupported_parameter", "n"),
        (chat(json!({"frequency_penalty": 0.5})).to_string(), 400, "unsupported_parameter", "frequency_penalty"),
        (chat(json!({"presence_penalty": 0.5})).to_string(), 400, "unsupported_parameter", "presence_penalty"),
        (chat(json!({"logit_bias": {"1": 2}})).to_string(), 400, "unsupported_parameter", "logit_bias"),
        (chat(json!({"store": true})).to_string(), 400, "unsupported_parameter", "store"),
        (chat(json!({"top_k": 5})).to_string(), 400, "unknown_parameter", "top_k"),
        (chat(json!({"temperature": "hot"})).to_string(), 400, "", "temperature"),
        (chat(json!({"temperature": -0.1})).to_string(), 400, "", "temperature"),
        (chat(json!({"temperature": 2.1})).to_string(), 400, "", "temperature"),
        (chat(json!({"top_p": 0})).to_string(), 400, "", "top_p"),
        (chat(json!({"top_p": 1.1})).to_string(), 400, "", "top_p"),
        (chat(json!({"seed": 1.5})).to_string(), 400, "", "seed"),
        (chat(json!({"max_tokens": 0})).to_string(), 400, "", "max_tokens"),
        (chat(json!({"max_tokens": -1})).to_string(), 400, "", "max_tokens"),
        (chat(json!({"max_completion_tokens": "3"})).to_string(), 400, "", "max_completion_tokens"),
        (chat(json!({"max_tokens": 100_000})).to_string(), 400, "context_length_exceeded", "messages"),
        (chat(json!({"stop": 3})).to_string(), 400, "", "stop"),
        (chat(json!({"stop": [3]})).to_string(), 400, "", "stop"),
        (chat(json!({"stop": ""})).to_string(), 400, "", "stop"),
        (chat(json!({"stop": vec!["a"; 17]})).to_string(), 400, "", "stop"),
        (chat(json!({"stream": "yes"})).to_string(), 400, "", "stream"),
        (chat(json!({"stream_options": {"include_usage": true}})).to_string(), 400, "", "stream_options"),
        (
            chat(json!({"stream": true, "stream_options": {"include_usage": 1}})).to_string(),
            400,
            "",
            "stream_options.include_usage",
        ),
    ] {
        let shown = body.chars().take(120).collect::<String>();
        let answer = served.open(Method::POST, "/v1/chat/completions", body).await.whole().await;
        let error = &answer.json()["error"];
        let got = (
            answer.status.as_u16(),
            error["code"].as_str().unwrap_or_default(),
            error["param"].as_str().unwrap_or_default(),
        );
        assert_eq!(got, (status, code, param), "{shown}: {error}");
        assert!(error["message"].as_str().is_some_and(|m| m.len() > 10), "{shown}");
        assert!(error["type"].is_string());
    }
    // None of it took a place or a step, and what has no effect or asks for nothing is no obstacle.
    assert_eq!(served.count("sequences_accepted_total").await, 0);
    let harmless = json!({"temperature": 0, "user": "u", "metadata": {"a": "b"}, "store": false, "n": 1, "tools": [],
        "logprobs": false, "response_format": {"type": "text"}, "logit_bias": {}, "frequency_penalty": 0, "stop": null,
        "service_tier": "auto", "presence_penalty": 0.0, "tool_choice": "none"});
    assert_eq!(said(&served.chat(chat(harmless)).await), SCRIPT);
    let parts = json!({"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]});
    let answer = served.chat(json!({"model": "tiny", "messages": [parts]})).await;
    assert_eq!(answer.json()["usage"]["prompt_tokens"], 5);
    served.stop().await;
}

#[tokio::test]
async fn texts_that_cannot_be_continued() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options::default()).await;
    for (more, code, param) in [
        (json!({}), "", "prompt"),
        (json!({"prompt": ""}), "", "prompt"),
        (json!({"prompt": []}), "", "prompt"),
        (json!({"prompt": {}}), "", "prompt"),
        (json!({"prompt": ["a", "b"]}), "unsupported_parameter", "prompt"),
        (json!({"prompt": [1, "b"]}), "", "prompt"),
        (json!({"prompt": [-1]}), "", "prompt"),
        (json!({"prompt": [300]}), "", "prompt"),
        (json!({"prompt": "a", "echo": true}), "unsupported_parameter", "echo"),
        (json!({"prompt": "a", "logprobs": 0}), "unsupported_parameter", "logprobs"),
        (json!({"prompt": "a", "suffix": "b"}), "unsupported_parameter", "suffix"),
        (json!({"prompt": "a", "best_of": 2}), "unsupported_parameter", "best_of"),
    ] {
        let mut body = json!({"model": "tiny"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = served.post("/v1/completions", &body).await;
        let error = &answer.json()["error"];
        let got = (error["code"].as_str().unwrap_or_default(), error["param"].as_str().unwrap_or_default());
        assert_eq!((answer.status, got), (StatusCode::BAD_REQUEST, (code, param)), "{body}: {error}");
    }
    served.stop().await;
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options::default()).await;
    for (method, path, status) in [
        (Method::GET, "/v1/chat/completions", 405),
        (Method::POST, "/v1/models", 405),
        (Method::GET, "/", 404),
        (Method::POST, "/v1/responses", 404),
    ] {
        let answer = served.open(method, path, "").await.whole().await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(answer.json()["error"]["message"].is_string());
    }
    served.stop().await;
}

#[tokio::test]
async fn templates_may_be_missing_or_refuse() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    std::fs::write(
        dir.path().join("chat_template.jinja"),
        "{% if messages[0].role != 'user' %}{{ raise_exception('users first') }}{% endif %}x",
    )
    .unwrap();
    let served = serve(dir.path(), Options::default()).await;
    let answer = served.chat(saying(json!({"role": "system", "content": "x"}))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("users first"));
    // The folder's own file goes before tokenizer_config.json.
    assert_eq!(served.chat(chat(json!({}))).await.json()["usage"]["prompt_tokens"], 1);
    served.stop().await;
    std::fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
    std::fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
    let served = serve(dir.path(), Options::default()).await;
    let answer = served.chat(chat(json!({}))).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("messages")));
    assert_eq!(served.post("/v1/completions", &json!({"model": "tiny", "prompt": "a"})).await.status, StatusCode::OK);
    served.stop().await;
}

#[tokio::test]
async fn who_does_not_show_the_credential_gets_nothing_but_health() {
    let dir = tempfile::tempdir().unwrap();
    tiny::scripted(dir.path(), false);
    let served = serve(dir.path(), Options { bearer: Some("secret".into()), ..Options::default() }).await;
    let status = async |path: &str, shown: Option<&str>| {
        let stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut request = http::Request::builder().uri(path).header("host", "engine");
        if let Some(shown) = shown {
            request = request.header("authorization", shown);
        }
        let answer = sender.send_request(request.body(String::new()).unwrap()).await.unwrap();
        connection.abort();
        answer.status().as_u16()
    };
    for path in ["/v1/models", "/metrics", "/v1/engine/status", "/v1/chat/completions", "/nothing"] {
        for shown in [None, Some("Bearer secre"), Some("Bearer secret2"), Some("secret"), Some("")] {
            assert_eq!(status(path, shown).await, 401, "{path} {shown:?}");
        }
    }
    assert_eq!((status("/health", None).await, status("/v1/models", Some("Bearer secret")).await), (200, 200));
    served.stop().await;
}
