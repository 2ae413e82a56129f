//! `/v2/embeddings`: texts, masked where asked, to vectors.

use super::attempt::not_masked;
use super::error::{Failure, Location};
use super::masking::Masking;
use super::read::Object;
use super::request::{RETRIES_MAX, TIMEOUT_SECONDS_MAX, TIMEOUT_SECONDS_USUAL, json, version};
use serde_json::{Map, Value, json};

#[derive(Debug)]
pub struct Embeddings {
    pub model: String,
    pub version: Option<String>,
    pub timeout_seconds: u64,
    params: Map<String, Value>,
    /// A text by itself stays one.
    texts: Vec<String>,
    single: bool,
    masking: Option<Masking>,
}

/// What to ask the model, and what to make of its answer.
pub struct PreparedEmbeddings {
    /// In OpenAI's form.
    pub body: Vec<u8>,
    pub answer: EmbeddingsAnswer,
}

pub struct EmbeddingsAnswer {
    request_id: String,
    results: Map<String, Value>,
}

impl Embeddings {
    pub fn parse(body: &[u8]) -> Result<Embeddings, Failure> {
        let root = json(body).map_err(Failure::request)?;
        read(&root)
    }

    pub fn prepare(&self, request_id: &str, seed: u64) -> Result<PreparedEmbeddings, Failure> {
        let mut texts = self.texts.clone();
        let mut results = Map::new();
        if let Some(masking) = &self.masking {
            let mut masker = masking.masker(seed);
            for text in &mut texts {
                *text = masker.mask(text).map_err(|error| not_masked(&error))?;
            }
            let data = json!({"masked_input": texts});
            results.insert("input_masking".into(), json!({"message": "input to the model was masked", "data": data}));
        }
        let mut body = self.params.clone();
        body.insert("model".into(), self.model.clone().into());
        let input = if self.single { texts.pop().unwrap_or_default().into() } else { Value::from(texts) };
        body.insert("input".into(), input);
        Ok(PreparedEmbeddings {
            body: Value::Object(body).to_string().into_bytes(),
            answer: EmbeddingsAnswer { request_id: request_id.to_owned(), results },
        })
    }
}

fn read(root: &Value) -> Result<Embeddings, Failure> {
    let wrong = Failure::request;
    let request = Object::body(root).map_err(wrong)?;
    request.only(&["config", "input"]).map_err(wrong)?;
    let config = request.need_object("config").map_err(wrong)?;
    config.only(&["modules"]).map_err(wrong)?;
    let modules = config.need_object("modules").map_err(wrong)?;
    modules.only(&["embeddings", "masking"]).map_err(wrong)?;
    let embeddings = modules.need_object("embeddings").map_err(wrong)?;
    embeddings.only(&["model"]).map_err(wrong)?;
    let model = embeddings.need_object("model").map_err(wrong)?;
    model.only(&["name", "version", "params", "timeout", "max_retries"]).map_err(wrong)?;
    model.whole("max_retries", 0..=RETRIES_MAX).map_err(wrong)?;
    let timeout = model.whole("timeout", 1..=TIMEOUT_SECONDS_MAX).map_err(wrong)?;
    let params = params(&model).map_err(wrong)?;
    let masking = modules.object("masking").and_then(|it| it.map(|it| Masking::read(&it)).transpose());
    let masking = masking.map_err(|wrong| Failure::new(400, Location::Masking, wrong))?;
    let input = request.need_object("input").map_err(wrong)?;
    input.only(&["text", "type"]).map_err(wrong)?;
    // A hint for models whose vectors of questions and documents differ; OpenAI's API has no place for it.
    if let Some(kind) = input.text("type").map_err(wrong)?
        && !["text", "document", "query"].contains(&kind)
    {
        return Err(wrong("input.type must be text, document or query".to_owned()));
    }
    let single = matches!(input.get("text"), Some(Value::String(_)));
    let texts = match single {
        true => vec![input.need_text("text").map_err(wrong)?.to_owned()],
        false => input.texts("text").map_err(wrong)?.unwrap_or_default(),
    };
    if texts.is_empty() {
        return Err(wrong("input.text must be a text or a list of texts".to_owned()));
    }
    Ok(Embeddings {
        model: model.need_text("name").map_err(wrong)?.to_owned(),
        version: version(model.text("version").map_err(wrong)?),
        timeout_seconds: timeout.unwrap_or(TIMEOUT_SECONDS_USUAL),
        params,
        texts,
        single,
        masking,
    })
}

fn params(model: &Object<'_>) -> Result<Map<String, Value>, String> {
    let mut out = Map::new();
    let Some(params) = model.object("params")? else { return Ok(out) };
    params.only(&["encoding_format", "dimensions"])?;
    let format = match params.get("encoding_format") {
        // SAP's form allows several at once; one is what OpenAI's has.
        Some(Value::Array(formats)) if formats.len() == 1 => formats.first(),
        other => other,
    };
    match format.map(Value::as_str) {
        None => {}
        Some(Some(format @ ("float" | "base64"))) => {
            out.insert("encoding_format".into(), format.into());
        }
        Some(_) => return Err(format!("{}.encoding_format must be float or base64", params.path)),
    }
    if let Some(dimensions) = params.whole("dimensions", 1..=u64::from(u32::MAX))? {
        out.insert("dimensions".into(), dimensions.into());
    }
    Ok(out)
}

impl EmbeddingsAnswer {
    /// Vectors in OpenAI's form. None: the engine's answer is not an object of JSON.
    pub fn whole(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        let Ok(Value::Object(answer)) = serde_json::from_slice::<Value>(body) else { return None };
        let known = ["object", "model", "data", "usage"];
        let result: Map<String, Value> =
            answer.into_iter().filter(|(name, _)| known.contains(&name.as_str())).collect();
        let answer =
            json!({"request_id": self.request_id, "intermediate_results": self.results, "final_result": result});
        Some(answer.to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let request = json!({
            "config": {"modules": {"embeddings": {"model": {"name": "e", "version": "latest",
                "params": {"encoding_format": ["float"], "dimensions": 4}}}}},
            "input": {"text": ["a", "b"], "type": "document"},
        });
        let embeddings = Embeddings::parse(request.to_string().as_bytes()).unwrap();
        let mut prepared = embeddings.prepare("r", 0).unwrap();
        let body: Value = serde_json::from_slice(&prepared.body).unwrap();
        assert_eq!(body, json!({"model": "e", "input": ["a", "b"], "encoding_format": "float", "dimensions": 4}));
        let engine = json!({"object": "list", "model": "e", "id": "x", "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}});
        let whole = prepared.answer.whole(engine.to_string().as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(prepared.answer.whole(br#"["no object"]"#), None);
        assert_eq!(answer["final_result"]["data"][0]["embedding"], json!([0.5]));
        assert_eq!(answer["request_id"], "r");
        assert!(answer["final_result"].get("id").is_none());
    }

    #[test]
    fn refused() {
        let check = |edit: &dyn Fn(&mut Value), named: &str| {
            let mut request =
                json!({"config": {"modules": {"embeddings": {"model": {"name": "e"}}}}, "input": {"text": "a"}});
            edit(&mut request);
            let failure = Embeddings::parse(request.to_string().as_bytes()).unwrap_err();
            assert!(failure.code == 400 && failure.message.contains(named), "{named}: {}", failure.message);
        };
        check(&|r| r["input"] = json!({}), "input.text");
        check(&|r| r["input"] = json!({"text": []}), "input.text");
        check(&|r| r["input"]["type"] = json!("poem"), "input.type");
        check(&|r| r["config"]["modules"]["filtering"] = json!({}), "config.modules.filtering");
        let params =
            |value: Value| move |r: &mut Value| r["config"]["modules"]["embeddings"]["model"]["params"] = value.clone();
        check(&params(json!({"encoding_format": "binary"})), "encoding_format");
        check(&params(json!({"normalize": true})), "normalize");
    }
}
