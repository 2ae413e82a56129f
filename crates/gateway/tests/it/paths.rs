//! The ratchet of `/v1`: every path of the table with no key, a malformed one, the wrong method, and, where it has an
//! id, with somebody else's. A path that is added to the table and not to [`foreign`] fails here.

use crate::world::*;
use bytes::Bytes;
use gateway::paths::{PATHS, Purpose, Reading};
use http::Method;
use serde_json::json;
use twin::engine::{Behaviour, ScriptedEngine};
use types::ReceiptId;
use types::snapshot::Rule;

/// An id that exists for the first tenant alone, and one that exists for nobody.
fn foreign(purpose: Purpose, receipt: &str) -> Option<[String; 2]> {
    match purpose {
        Purpose::Infer(_) | Purpose::Read(Reading::Models | Reading::Receipts) => None,
        Purpose::Read(Reading::Model) => Some([MODEL.to_owned(), "nobodys".to_owned()]),
        Purpose::Read(Reading::Receipt) => Some([receipt.to_string(), ReceiptId(1).to_string()]),
    }
}

/// All that a caller can see.
fn shape(reply: &Reply) -> (u16, http::HeaderMap, Bytes) {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    (reply.status, headers, reply.body.clone())
}

#[tokio::test]
async fn every_path_knows_strangers_and_hides_what_is_foreign() {
    let engine = ScriptedEngine::start(Behaviour::tokens(3)).await.unwrap();
    let forbid = Rule {
        id: types::RuleId(7),
        tenant: Some(OTHER_TENANT),
        name: "not-for-us".to_owned(),
        text: "forbid (principal, action, resource);".to_owned(),
    };
    let world = Setup::new().engine(&engine.url(), "DE").edit(|snapshot| snapshot.rules.push(forbid)).start().await;
    let receipt = world.chat(json!({})).await.receipt();
    for path in PATHS {
        let ids = foreign(path.purpose, &receipt);
        assert_eq!(ids.is_some(), path.template.ends_with("{id}"), "{}", path.template);
        let at = |id: &str| path.template.replace("{id}", id);
        let method = Method::from_bytes(path.method.as_bytes()).unwrap();
        let ask = async |method: &Method, path: String, authorization: &str| {
            let headers = [("authorization", authorization)];
            let headers = if authorization.is_empty() { &[][..] } else { &headers[..] };
            World::read(world.send(world.request(method.clone(), &path, headers, Bytes::from_static(b"{}"))).await)
                .await
        };
        let some = at(ids.as_ref().map_or("", |[known, _]| known));
        for (authorization, code) in [("", "key_missing"), ("Bearer sk-1", "key_invalid")] {
            let reply = ask(&method, some.clone(), authorization).await;
            assert_eq!((reply.status, reply.code().as_str()), (401, code), "{some}");
        }
        let wrong = ask(&Method::PUT, some.clone(), &bearer(KEY)).await;
        assert_eq!((wrong.status, wrong.headers["allow"].to_str().unwrap()), (405, path.method), "{some}");
        if let Some([known, unknown]) = ids {
            assert_eq!(
                ask(&method, at(&known), &bearer(KEY)).await.status,
                200,
                "{known}: a refusal would prove nothing"
            );
            let replies = [
                ask(&method, at(&known), &bearer(OTHER_KEY)).await,
                ask(&method, at(&unknown), &bearer(OTHER_KEY)).await,
            ];
            assert_eq!(replies[0].status, 404, "{}", path.template);
            assert_eq!(shape(&replies[0]), shape(&replies[1]), "{}", path.template);
        }
    }
    world.stop().await;
}
