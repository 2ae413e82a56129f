//! Answers in one document, refusals before them, and the paths around them.

use crate::client::{drain, post};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use twin::engine::{Before, Behaviour, Script, ScriptedEngine, State, closed_url};

async fn start(behaviour: &str) -> ScriptedEngine {
    ScriptedEngine::start(Script::by_model(behaviour.parse().unwrap())).await.unwrap()
}

async fn json_of(engine: &ScriptedEngine, path: &str, body: &Value) -> (u16, Value) {
    let answer = post(engine, path, body).await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&drain(answer).await.0).unwrap())
}

#[tokio::test]
async fn chat_completions_and_embeddings() {
    let engine = start("tokens=3").await;
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "two words"}]});
    let (status, answer) = json_of(&engine, "/v1/chat/completions", &chat).await;
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &json!("tok0 tok1 tok2")));
    assert_eq!(answer["usage"]["total_tokens"], 5);
    let (_, answer) =
        json_of(&engine, "/v1/completions", &json!({"model": "m", "prompt": "one", "max_tokens": 2})).await;
    assert_eq!(
        answer["choices"][0],
        json!({"index": 0, "text": "tok0 tok1", "logprobs": null, "finish_reason": "length"})
    );
    let (_, answer) = json_of(&engine, "/v1/embeddings", &json!({"model": "m", "input": ["a", "b c"]})).await;
    assert_eq!((answer["data"].as_array().unwrap().len(), &answer["usage"]["prompt_tokens"]), (2, &json!(3)));
    assert_eq!(engine.output_tokens(), 5);
}

#[tokio::test]
async fn parameters_and_tools_come_back() {
    let engine = start("echo").await;
    let body = json!({
        "model": "m", "messages": [], "unknown": {"deep": [1, null]},
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}],
    });
    let (_, answer) = json_of(&engine, "/v1/chat/completions", &body).await;
    assert_eq!(answer["twin_echo"], body.to_string());
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "weather");
    assert_eq!(engine.requests()[0].json(), body);
    assert_eq!(engine.requests()[0].header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn refusals() {
    async fn check(behaviour: &str, expect: Result<u16, &str>) {
        let engine = start(behaviour).await;
        let answer = post(&engine, "/v1/chat/completions", &json!({"model": "m", "messages": []})).await;
        match (answer, expect) {
            (Ok(answer), Ok(status)) => assert_eq!(answer.status().as_u16(), status, "{behaviour}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{behaviour}: {error}"),
            (answer, _) => panic!("{behaviour}: {answer:?}"),
        }
    }
    check("status=503", Ok(503)).await;
    check("busy=7", Ok(429)).await;
    check("html", Ok(200)).await;
    check("refuse", Err("connection error")).await;
    check("close", Err("connection closed before message completed")).await;
    let garbage = Behaviour::before(Before::Garbage("SSH-2.0-OpenSSH_9\r\n".into()));
    let engine = ScriptedEngine::start(garbage).await.unwrap();
    let error = post(&engine, "/v1/completions", &json!({"model": "m", "prompt": ""})).await.unwrap_err();
    assert!(error.contains("invalid HTTP version parsed"), "{error}");
}

#[tokio::test]
async fn scripts_choose_by_turn_and_by_model() {
    let turns = [Behaviour::before(Before::error(500)), Behaviour::before(Before::busy("1"))];
    let engine = ScriptedEngine::start(Script::queue(turns, Behaviour::tokens(1))).await.unwrap();
    let body = json!({"model": "m", "prompt": "x"});
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(post(&engine, "/v1/completions", &body).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [500, 429, 200, 200]);
    let engine = start("tokens=1").await;
    let answer = post(&engine, "/v1/completions", &json!({"model": "m#status=418", "prompt": ""})).await.unwrap();
    assert_eq!(answer.status(), 418);
}

#[tokio::test]
async fn a_hanging_answer_that_nobody_waits_for_is_cancelled() {
    let engine = start("hang").await;
    let request = tokio::spawn({
        let body = json!({"model": "m", "prompt": ""});
        let address = engine.address();
        async move {
            let _socket = raw(address, &body).await;
            std::future::pending::<()>().await;
        }
    });
    engine.until(|requests| requests.len() == 1).await;
    request.abort();
    assert_eq!(engine.until_ended(1).await[0].state, State::Cancelled);
    assert_eq!(engine.cancels(), 1);
}

async fn raw(address: std::net::SocketAddr, body: &Value) -> tokio::net::TcpStream {
    use tokio::io::AsyncWriteExt;
    let body = body.to_string();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("POST /v1/completions HTTP/1.1\r\nhost: twin\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write_all((head + &body).as_bytes()).await.unwrap();
    socket
}

#[tokio::test]
async fn an_answer_cut_in_its_middle() {
    let engine = start("end=die-inside:0").await;
    let answer = post(&engine, "/v1/completions", &json!({"model": "m", "prompt": ""})).await.unwrap();
    let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let (bytes, good) = drain(answer).await;
    assert!(!good && bytes.len() == length / 2, "{} of {length}", bytes.len());
    assert_eq!(engine.requests()[0].state, State::Died);
}

#[tokio::test]
async fn nothing_listens_at_a_closed_url_and_stop_closes() {
    let address = closed_url().unwrap().replace("http://", "");
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
    let engine = start("hang").await;
    let address = engine.address();
    let answer = tokio::spawn(async move {
        let mut socket = raw(address, &json!({"model": "m", "prompt": ""})).await;
        let mut bytes = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut bytes).await.map(|_| bytes.len())
    });
    engine.until(|requests| requests.len() == 1).await;
    engine.stop().await;
    assert_eq!(answer.await.unwrap().unwrap_or(0), 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn models_and_health() {
    let engine = start("").await;
    for (path, part) in [("/v1/models", "\"scripted\""), ("/health", "\"ok\"")] {
        let socket = tokio::net::TcpStream::connect(engine.address()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(path).header("host", "twin").body(String::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&bytes).contains(part), "{path}");
    }
    assert!(engine.requests().is_empty());
}
