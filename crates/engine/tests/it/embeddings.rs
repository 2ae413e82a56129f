//! Embeddings: unit vectors, in both encodings, with the usage of the real tokens.

use crate::client::{Served, serve};
use crate::tiny;
use base64::Engine as _;
use engine::{Engine, ModelKind, Options};
use http::StatusCode;
use serde_json::{Value, json};

async fn embed(served: &Served, input: Value) -> Vec<Vec<f32>> {
    let answer = served.post("/v1/embeddings", &json!({"model": "tiny", "input": input})).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
    let json = answer.json();
    let data = json["data"].as_array().unwrap();
    assert!(data.iter().enumerate().all(|(at, d)| d["index"] == at));
    data.iter().map(|d| serde_json::from_value(d["embedding"].clone()).unwrap()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[tokio::test]
async fn texts_become_unit_vectors() {
    let dir = tempfile::tempdir().unwrap();
    tiny::bert(dir.path(), false);
    let info = Engine::load(dir.path(), Options::default()).unwrap().info();
    assert_eq!((info.kind, info.context_length), (ModelKind::Embedding { dimensions: tiny::HIDDEN }, 64));
    let served = serve(dir.path(), Options::default()).await;
    let both = embed(&served, json!(["the hen", "something else"])).await;
    assert!(both.iter().all(|v| v.len() == tiny::HIDDEN && (dot(v, v) - 1.0).abs() < 1e-5));
    assert!(dot(&both[0], &both[1]) < 0.999);
    assert_eq!(embed(&served, json!("the hen")).await[0], both[0]);
    let hen: Vec<u32> = vec![260, 101, 32, 261, 110];
    assert_eq!(embed(&served, json!(hen)).await[0], both[0]);
    assert_eq!(embed(&served, json!([hen, [1]])).await[0], both[0]);
    // The SDK's default encoding.
    let body = json!({"model": "tiny", "input": "the hen", "encoding_format": "base64", "dimensions": tiny::HIDDEN});
    let json = served.post("/v1/embeddings", &body).await.json();
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(json["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let vector: Vec<f32> = bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(vector, both[0]);
    assert_eq!(json["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    assert_eq!(served.count("prompt_tokens_total").await, (5 + 13) + 5 + 5 + (5 + 1) + 5);
    served.stop().await;
}

#[tokio::test]
async fn pooling_is_the_folders_and_prefixes_do_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    tiny::bert(dir.path(), false);
    let served = serve(dir.path(), Options::default()).await;
    let mean = embed(&served, json!("the hen")).await;
    served.stop().await;
    let prefixed = tempfile::tempdir().unwrap();
    tiny::bert(prefixed.path(), true);
    let served = serve(prefixed.path(), Options::default()).await;
    assert_eq!(embed(&served, json!("the hen")).await, mean);
    served.stop().await;
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    let pooling = dir.path().join("1_Pooling/config.json");
    tiny::write_json(&pooling, &json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}));
    tiny::write_json(&dir.path().join("sentence_bert_config.json"), &json!({"max_seq_length": 8}));
    let served = serve(dir.path(), Options::default()).await;
    assert_ne!(embed(&served, json!("the hen")).await, mean);
    let long = served.post("/v1/embeddings", &json!({"model": "tiny", "input": "abcdefghi"})).await;
    assert_eq!(long.json()["error"]["code"], "context_length_exceeded");
    served.stop().await;
    tiny::write_json(&pooling, &json!({"pooling_mode_max_tokens": true}));
    let error = Engine::load(dir.path(), Options::default()).err().unwrap().to_string();
    assert!(error.contains("1_Pooling") && error.contains("pooling"), "{error}");
}

#[tokio::test]
async fn embeddings_that_cannot_be_made() {
    let dir = tempfile::tempdir().unwrap();
    tiny::bert(dir.path(), false);
    let served = serve(dir.path(), Options::default()).await;
    for (more, code, param) in [
        (json!({}), "", "input"),
        (json!({"input": ""}), "", "input"),
        (json!({"input": []}), "", "input"),
        (json!({"input": ["a", 3]}), "", "input"),
        (json!({"input": ["a", ""]}), "", "input"),
        (json!({"input": "a".repeat(65)}), "context_length_exceeded", "input"),
        (json!({"input": vec!["a"; 2049]}), "", "input"),
        (json!({"input": "a", "dimensions": 8}), "unsupported_parameter", "dimensions"),
        (json!({"input": "a", "encoding_format": "hex"}), "", "encoding_format"),
    ] {
        let mut body = json!({"model": "tiny"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = served.post("/v1/embeddings", &body).await;
        let error = &answer.json()["error"];
        let got = (error["code"].as_str().unwrap_or_default(), error["param"].as_str().unwrap_or_default());
        assert_eq!((answer.status, got), (StatusCode::BAD_REQUEST, (code, param)), "{error}");
    }
    let chat = json!({"model": "tiny", "messages": [{"role": "user", "content": "x"}]});
    let answer = served.chat(chat).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("model")));
    served.stop().await;
    let dir = tempfile::tempdir().unwrap();
    tiny::decoder(dir.path(), "llama");
    let served = serve(dir.path(), Options::default()).await;
    let answer = served.post("/v1/embeddings", &json!({"model": "tiny", "input": "a"})).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("model")));
    served.stop().await;
}
