//! `/v2/lm` and resource groups: what a fresh project sees, and what clients make of it.

use super::client::{Client, completion};
use super::world::*;
use http::Method;
use serde_json::{Value, json};

async fn world() -> (World, Client) {
    let world = World::start(vec![model("nano", says("Hello")), model("large", says("Good day"))]).await;
    let client = Client::of(&world.url, &KEY.to_string(), &key_text(KEY)).await;
    (world, client)
}

#[tokio::test]
async fn a_fresh_project_has_all_that_saps_clients_look_for() {
    let (world, client) = world().await;
    for (name, path) in [
        ("meta", "/v2/lm/meta"),
        ("scenarios", "/v2/lm/scenarios"),
        ("executables", "/v2/lm/scenarios/foundation-models/executables"),
        ("executables_orchestration", "/v2/lm/scenarios/orchestration/executables"),
        ("models", "/v2/lm/scenarios/foundation-models/models"),
        ("deployments", "/v2/lm/deployments?scenarioId=foundation-models&status=RUNNING&executableIds=azure-openai"),
        ("deployments_orchestration", "/v2/lm/deployments?scenarioId=orchestration&status=RUNNING"),
        ("configurations", "/v2/lm/configurations?scenarioId=orchestration"),
    ] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        insta::assert_snapshot!(name, reply.exchange);
    }
    // The same ids each time: clients keep a list for minutes.
    let ids = || async { client.get("/v2/lm/deployments").await.json()["resources"].clone() };
    assert_eq!(ids().await, ids().await);
    assert_eq!(ids().await.as_array().unwrap().len(), 5);
    // What another tenant's key sees has other ids, and ours are not there for it.
    let other = Client::of(&world.url, &OTHER_KEY.to_string(), &key_text(OTHER_KEY)).await;
    let theirs = other.get("/v2/lm/deployments").await.json();
    let mine = ids().await;
    for deployment in mine.as_array().unwrap() {
        let id = deployment["id"].as_str().unwrap();
        assert!(theirs["resources"].as_array().unwrap().iter().all(|it| it["id"] != id));
        assert_eq!(other.get(&format!("/v2/lm/deployments/{id}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_deployment_from_its_configuration_to_its_end() {
    let (_world, client) = world().await;
    let configuration = json!({
        "name": "only-nano", "scenarioId": "orchestration", "executableId": "orchestration", "versionId": "1",
        "parameterBindings": [
            {"key": "modelFilterList", "value": r#"[{"modelName":"nano"}]"#},
            {"key": "modelFilterListType", "value": "allow"},
        ],
        "inputArtifactBindings": [],
    });
    let made = client.post("/v2/lm/configurations", &configuration).await;
    assert_eq!(made.status, 201);
    insta::assert_snapshot!("configuration_create", made.exchange);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    insta::assert_snapshot!("configuration", client.get(&format!("/v2/lm/configurations/{id}")).await.exchange);
    let made = client.post("/v2/lm/deployments", &json!({"configurationId": id})).await;
    assert_eq!(made.status, 202);
    insta::assert_snapshot!("deployment_create", made.exchange);
    let path = format!("/v2/lm/deployments/{}", made.json()["id"].as_str().unwrap());
    let shown = client.get(&path).await;
    assert_eq!(shown.json()["status"], "RUNNING");
    insta::assert_snapshot!("deployment", shown.exchange);
    // The filter narrows what may be asked.
    let call = format!("/v2/inference/deployments/{}/v2/completion", made.json()["id"].as_str().unwrap());
    assert_eq!(client.post(&call, &completion("nano", "Hi", json!({}))).await.status, 200);
    let left_out = client.post(&call, &completion("large", "Hi", json!({}))).await;
    assert_eq!(left_out.status, 400);
    insta::assert_snapshot!("model_left_out", left_out.exchange);
    // Only what is stopped is deleted, and what is stopped does not answer.
    let running = client.call(Method::DELETE, &path, None).await;
    assert_eq!(running.status, 409);
    insta::assert_snapshot!("deployment_delete_running", running.exchange);
    let stop = client.call(Method::PATCH, &path, Some(&json!({"targetStatus": "STOPPED"}))).await;
    assert_eq!(stop.status, 202);
    insta::assert_snapshot!("deployment_stop", stop.exchange);
    assert_eq!(client.get(&path).await.json()["status"], "STOPPED");
    assert_eq!(client.get(&path).await.json()["deploymentUrl"], "");
    let stopped = client.post(&call, &completion("nano", "Hi", json!({}))).await;
    assert_eq!((stopped.status, &stopped.json()["error"]["location"]), (404, &json!("Deployment")));
    let deleted = client.call(Method::DELETE, &path, None).await;
    assert_eq!(deleted.status, 202);
    insta::assert_snapshot!("deployment_delete", deleted.exchange);
    assert_eq!(client.get(&path).await.status, 404);
    assert_eq!(client.call(Method::DELETE, &path, None).await.status, 404);
}

#[tokio::test]
async fn a_running_deployment_gets_another_configuration() {
    let (_world, client) = world().await;
    let make = |model: &str| {
        json!({"name": model, "scenarioId": "foundation-models", "executableId": "azure-openai",
            "parameterBindings": [{"key": "modelName", "value": model}, {"key": "modelVersion", "value": "latest"}]})
    };
    let mut ids = Vec::new();
    for model in ["nano", "large", "not-there-yet"] {
        let made = client.post("/v2/lm/configurations", &make(model)).await;
        ids.push(made.json()["id"].as_str().unwrap().to_owned());
    }
    let made = client.post("/v2/lm/deployments", &json!({"configurationId": ids[0]})).await.json();
    let path = format!("/v2/lm/deployments/{}", made["id"].as_str().unwrap());
    let configure =
        async |id: &str| client.call(Method::PATCH, &path, Some(&json!({"configurationId": id}))).await.status;
    assert_eq!(configure(&ids[1]).await, 202);
    let model = |deployment: Value| deployment["details"]["resources"]["backendDetails"]["model"]["name"].clone();
    assert_eq!(model(client.get(&path).await.json()), "large");
    // A model that is not offered: the deployment waits for it.
    assert_eq!(configure(&ids[2]).await, 202);
    assert_eq!(client.get(&path).await.json()["status"], "PENDING");
    assert_eq!(client.post("/v2/lm/deployments", &json!({"configurationId": "conf_x"})).await.status, 400);
    let orchestration = client.get("/v2/lm/configurations?scenarioId=orchestration").await.json();
    assert_eq!(configure(orchestration["resources"][0]["id"].as_str().unwrap()).await, 409, "another executable");
}

#[tokio::test]
async fn what_the_site_made_stays() {
    let (_world, client) = world().await;
    let id = client.get("/v2/lm/deployments").await.json()["resources"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v2/lm/deployments/{id}");
    let stop = client.call(Method::PATCH, &path, Some(&json!({"targetStatus": "STOPPED"}))).await;
    assert_eq!(stop.status, 409);
    insta::assert_snapshot!("deployment_stop_automatic", stop.exchange);
    assert_eq!(client.call(Method::DELETE, &path, None).await.status, 409);
}

#[tokio::test]
async fn resource_groups_are_parts_of_the_project() {
    let (world, client) = world().await;
    let made = client.post("/v2/admin/resourceGroups", &json!({"resourceGroupId": "team-a"})).await;
    assert_eq!(made.status, 202);
    insta::assert_snapshot!("group_create", made.exchange);
    let doubled = client.post("/v2/admin/resourceGroups", &json!({"resourceGroupId": "team-a"})).await;
    assert_eq!(doubled.status, 409);
    insta::assert_snapshot!("group_create_doubled", doubled.exchange);
    assert_eq!(client.post("/v2/admin/resourceGroups", &json!({"resourceGroupId": "default"})).await.status, 409);
    assert_eq!(client.post("/v2/admin/resourceGroups", &json!({"resourceGroupId": "a_b"})).await.status, 400);
    insta::assert_snapshot!("groups", client.get("/v2/admin/resourceGroups").await.exchange);
    // A group has deployments of its own, and answers under them.
    let team = client.in_group("team-a");
    let (mine, theirs) = (
        client.deployment("orchestration", "orchestration", None).await,
        team.deployment("orchestration", "orchestration", None).await,
    );
    assert_ne!(mine, theirs);
    assert_eq!(team.complete(&completion("nano", "Hi", json!({}))).await.status, 200);
    let crossed = team.post(&format!("{mine}/v2/completion"), &completion("nano", "Hi", json!({}))).await;
    assert_eq!(crossed.status, 404, "a deployment of another group");
    // Its receipts are the project's.
    assert_eq!(world.receipts().await.last().unwrap().project, PROJECT);
    let unknown = client.in_group("team-b").get("/v2/lm/deployments").await;
    assert_eq!(unknown.status, 404);
    insta::assert_snapshot!("group_unknown", unknown.exchange);
    let other = Client::of(&world.url, &OTHER_KEY.to_string(), &key_text(OTHER_KEY)).await;
    assert_eq!(other.in_group("team-a").get("/v2/lm/deployments").await.status, 404, "another tenant's group");
    assert_eq!(other.call(Method::DELETE, "/v2/admin/resourceGroups/team-a", None).await.status, 404);
    let labels = json!({"labels": [{"key": "ext.ai.sap.com/document-grounding", "value": "true"}]});
    assert_eq!(client.call(Method::PATCH, "/v2/admin/resourceGroups/team-a", Some(&labels)).await.status, 204);
    assert_eq!(client.get("/v2/admin/resourceGroups/team-a").await.json()["labels"], labels["labels"]);
    let deleted = client.call(Method::DELETE, "/v2/admin/resourceGroups/team-a", None).await;
    assert_eq!(deleted.status, 202);
    insta::assert_snapshot!("group_delete", deleted.exchange);
    assert_eq!(team.get("/v2/lm/deployments").await.status, 404);
    assert_eq!(client.call(Method::DELETE, "/v2/admin/resourceGroups/default", None).await.status, 409);
}
