//! A client of AI Core, written from the contract: a service key, a token by client credentials in the form, `AI-Resource-Group` and
//! `AI-Client-Type` with each call, deployments looked up by scenario. It knows HTTP and JSON, and no type of ours.

use super::redact::Redactor;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    url: String,
    token: Option<String>,
    group: String,
    idempotency_key: Option<String>,
    redactor: Redactor,
}

/// A response, read whole, and the exchange as its golden file holds it.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub exchange: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// The data of a stream's events.
    pub fn events(&self) -> Vec<&str> {
        self.body.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect()
    }

    /// The events of a stream that ended well, without the closing one.
    pub fn chunks(&self) -> Vec<Value> {
        let events = self.events();
        let (last, events) = events.split_last().unwrap();
        assert_eq!(*last, "[DONE]");
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// What a client shows of a stream.
    pub fn text(&self) -> String {
        let content =
            |event: &Value| event["final_result"]["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
        self.chunks().iter().filter_map(content).collect()
    }
}

impl Client {
    pub fn new(url: &str) -> Client {
        Client {
            http: Http::builder(TokioExecutor::new()).build_http(),
            url: url.to_owned(),
            token: None,
            group: "default".to_owned(),
            idempotency_key: None,
            redactor: Redactor::default(),
        }
    }

    /// A client that has its token.
    pub async fn of(url: &str, client_id: &str, client_secret: &str) -> Client {
        let mut client = Client::new(url);
        let reply = client.ask_token(&credentials(client_id, client_secret)).await;
        client.token = Some(reply.json()["access_token"].as_str().unwrap().to_owned());
        client
    }

    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap()
    }

    /// The same client with another token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Client {
        let mut other = Client::new(&self.url);
        other.token = token.map(str::to_owned);
        other
    }

    /// The same client in another resource group.
    pub fn in_group(&self, group: &str) -> Client {
        let mut other = self.with_token(self.token.as_deref());
        other.group = group.to_owned();
        other
    }

    /// The same client, whose requests name a key of its own.
    pub fn repeating(&self, key: &str) -> Client {
        let mut other = self.with_token(self.token.as_deref());
        other.idempotency_key = Some(key.to_owned());
        other
    }

    pub async fn ask_token(&self, form: &str) -> Reply {
        let request = Request::post(format!("{}/oauth/token", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form.to_owned())));
        self.send(request.unwrap(), form).await
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Reply {
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("ai-resource-group", &self.group)
            .header("ai-client-type", "written from the contract");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        self.send(request.body(Full::new(Bytes::from(text.clone()))).unwrap(), &text).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::POST, path, Some(body)).await
    }

    /// The URL's path of the first running deployment that these filters find, as SAP's clients look for one.
    pub async fn deployment(&self, scenario: &str, executable: &str, model: Option<&str>) -> String {
        let query = format!("/v2/lm/deployments?scenarioId={scenario}&executableIds={executable}&status=RUNNING");
        let list = self.get(&query).await.json();
        let of_model = |deployment: &&Value| {
            let name = &deployment["details"]["resources"]["backendDetails"]["model"]["name"];
            model.is_none_or(|model| name == model)
        };
        let found = list["resources"].as_array().unwrap().iter().find(of_model).expect("a deployment");
        found["deploymentUrl"].as_str().unwrap().strip_prefix(&self.url).unwrap().to_owned()
    }

    /// Asks orchestration, at the deployment that is there from the first day.
    pub async fn complete(&self, body: &Value) -> Reply {
        let deployment = self.deployment("orchestration", "orchestration", None).await;
        self.post(&format!("{deployment}/v2/completion"), body).await
    }

    async fn send(&self, request: Request<Full<Bytes>>, text: &str) -> Reply {
        let first = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
        let group = request.headers().get("ai-resource-group").map_or("", |group| group.to_str().unwrap()).to_owned();
        let response = self.http.request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let shown = |name: &str| {
            let value = head.headers.get(name)?.to_str().unwrap();
            Some(format!("{name}: {value}\n"))
        };
        let headers: String = ["content-type", "retry-after", "www-authenticate", "hoheit-receipt"]
            .into_iter()
            .filter_map(shown)
            .collect();
        let group = if group.is_empty() { String::new() } else { format!("ai-resource-group: {group}\n") };
        let exchange =
            format!("{first}\n{group}{}\n-> {}\n{headers}{}", pretty(text), head.status.as_u16(), pretty(&body));
        Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            exchange: self.redactor.redact(&exchange.replace(&self.url, "http://site")),
            body,
        }
    }
}

pub fn credentials(client_id: &str, client_secret: &str) -> String {
    format!("grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}")
}

/// JSON as people read it; events of a stream one by one; anything else as it is.
fn pretty(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    if text.starts_with("data: ") {
        let event = |event: &str| format!("data: {}", pretty(event.strip_prefix("data: ").unwrap_or(event)));
        return text.split_terminator("\n\n").map(event).collect::<Vec<_>>().join("\n");
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) => format!("{value:#}\n"),
        Err(_) => format!("{text}\n"),
    }
}

/// A request to orchestration with one configuration.
pub fn completion(model: &str, template: &str, values: Value) -> Value {
    json!({
        "config": {"modules": {"prompt_templating": {
            "prompt": {"template": [{"role": "user", "content": template}]},
            "model": {"name": model},
        }}},
        "placeholder_values": values,
    })
}
