//! Foundation models: an OpenAI body in which `model` may be absent, because the deployment names it. Nothing else is touched.

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "as_it_stands")]
    model: Option<Value>,
}

/// `null` stands there too, and is not the same as nothing.
fn as_it_stands<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The body with the deployment's model in it. A body that names another is refused: the caller would get an answer from a
/// model that it did not ask.
pub fn body_for(model: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    let at = body.iter().position(|byte| !byte.is_ascii_whitespace());
    let Some(at) = at.filter(|at| body[*at] == b'{') else {
        return Err("the body must be a JSON object".to_owned());
    };
    let named: Named = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    match named.model {
        Some(Value::String(name)) if name == model => Ok(body.to_vec()),
        Some(Value::Null) => Err(format!("model is null: leave it out, or say {model}")),
        Some(_) => Err(format!("this deployment serves {model}: leave model out, or say {model}")),
        None => {
            let empty = body[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
            let mut out = Vec::with_capacity(body.len() + model.len() + 16);
            out.extend_from_slice(&body[..=at]);
            out.extend_from_slice(b"\"model\":");
            out.extend_from_slice(Value::from(model).to_string().as_bytes());
            if !empty {
                out.push(b',');
            }
            out.extend_from_slice(&body[at + 1..]);
            Ok(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deployment_names_the_model() {
        let check = |body: &str, expect: Result<&str, &str>| {
            let got = body_for("m\"x", body.as_bytes()).map(|body| String::from_utf8(body).unwrap());
            match expect {
                Ok(expect) => assert_eq!(got.as_deref(), Ok(expect), "{body}"),
                Err(named) => assert!(got.unwrap_err().contains(named), "{body}"),
            }
        };
        check(r#" {"messages": []}"#, Ok(r#" {"model":"m\"x","messages": []}"#));
        check("{}", Ok(r#"{"model":"m\"x"}"#));
        check(r#"{"model":"m\"x"}"#, Ok(r#"{"model":"m\"x"}"#));
        check(r#"{"model":"other"}"#, Err("this deployment serves"));
        check(r#"{"model":null}"#, Err("leave it out"));
        check(r#"{"model":"m\"x","model":"other"}"#, Err("not JSON"));
        check("[]", Err("object"));
        check("", Err("object"));
        check("{", Err("not JSON"));
    }
}
