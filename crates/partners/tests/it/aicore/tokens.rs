//! The token endpoint, and what a token is worth.

use super::client::{Client, completion, credentials};
use super::world::*;
use base64::Engine as _;
use serde_json::{Value, json};

#[tokio::test]
async fn a_key_gets_a_token_by_either_form_of_its_id() {
    let world = World::start(vec![model("nano", says("Hello"))]).await;
    let client = Client::new(&world.url);
    let reply = client.ask_token(&credentials(&KEY.to_string(), &key_text(KEY))).await;
    insta::assert_snapshot!("token", reply.exchange);
    // It parses as a JWT with the claims that SAP's code looks at, and lives longer than the hour at which one client refreshes.
    let answer = reply.json();
    let claims = answer["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    for name in ["zid", "cid", "client_id", "scope", "ext_attr"] {
        assert!(!claims[name].is_null(), "{name}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 43_199);
    let digits = client.ask_token(&credentials(&KEY.digits(), &key_text(KEY))).await;
    assert_eq!(digits.status, 200);
}

#[tokio::test]
async fn wrong_credentials_get_none() {
    let world = World::start(Vec::new()).await;
    let client = Client::new(&world.url);
    let wrong = client.ask_token(&credentials(&KEY.to_string(), "hk_wrong")).await;
    insta::assert_snapshot!("token_refused", wrong.exchange);
    for (form, status) in [
        // Another key's secret, also of the same site.
        (credentials(&KEY.to_string(), &key_text(OTHER_KEY)), 401),
        (credentials("", ""), 401),
        ("grant_type=client_credentials".to_owned(), 400),
        ("grant_type=password&client_id=a&client_secret=b".to_owned(), 400),
        (String::new(), 400),
    ] {
        let reply = client.ask_token(&form).await;
        assert_eq!(reply.status, status, "{form}");
        assert!(reply.json()["error"].is_string(), "OAuth's own shape");
    }
}

/// A token that is not good is refused in the shape of the path that was asked.
#[tokio::test]
async fn a_bad_token_is_told_in_both_shapes() {
    let mut world = World::start(vec![model("nano", says("Hello"))]).await;
    let elsewhere = World::of_site([1; 32], Vec::new(), |_| {}).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    let foreign = Client::of(&elsewhere.url, &KEY.to_string(), &key_text(KEY)).await;
    let deployment = client.deployment("orchestration", "orchestration", None).await;
    let (list, complete) = ("/v2/lm/deployments", format!("{deployment}/v2/completion"));
    let body = completion("nano", "Hi", json!({}));
    let cut = &client.token()[..client.token().len() - 2];
    for (name, token) in [("none", None), ("cut", Some(cut)), ("foreign", Some(foreign.token()))] {
        let stranger = client.with_token(token);
        let (api, orchestration) = (stranger.get(list).await, stranger.post(&complete, &body).await);
        assert_eq!((api.status, orchestration.status), (401, 401), "{name}");
        assert!(api.json()["error"]["code"].is_string() && orchestration.json()["error"]["code"] == 401, "{name}");
        if name == "foreign" {
            insta::assert_snapshot!("unauthorized_api", api.exchange);
            insta::assert_snapshot!("unauthorized_orchestration", orchestration.exchange);
        }
    }
    assert_eq!(client.get(list).await.status, 200);
    world.advance(43_000);
    assert_eq!(client.get(list).await.status, 200, "minutes before its end");
    world.advance(199);
    let expired = client.get(list).await;
    assert_eq!((expired.status, &expired.json()["error"]["code"]), (401, &json!("key_expired")));
    assert_eq!(client.post(&complete, &body).await.status, 401);
}

/// The token says twelve hours; the key that it names decides.
#[tokio::test]
async fn revoking_a_key_ends_its_tokens_at_once() {
    let mut world = World::start(vec![model("nano", says("Hello"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    assert_eq!(client.complete(&completion("nano", "Hi", json!({}))).await.status, 200);
    let deployment = client.deployment("orchestration", "orchestration", None).await;
    world.publish(|snapshot| snapshot.keys[0].revoked = true);
    assert_eq!(client.get("/v2/lm/deployments").await.status, 401);
    let refused = client.post(&format!("{deployment}/v2/completion"), &completion("nano", "Hi", json!({}))).await;
    assert_eq!((refused.status, &refused.json()["error"]["location"]), (401, &json!("Authentication")));
    assert_eq!(client.ask_token(&credentials(&KEY.to_string(), &key_text(KEY))).await.status, 401);
}
