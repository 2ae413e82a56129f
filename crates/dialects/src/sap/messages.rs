//! Messages in SAP's form, checked and turned into OpenAI's. They are nearly the same; what SAP adds for other models' sake
//! (directives of prompt caches, reasoning to be sent back) is left out, and files, which no engine here reads, are refused.

use super::read::{Object, Wrong};
use super::template::Filling;
use serde_json::{Map, Value, json};

const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];

/// Every message of a list. With a filling they are a template: role, texts and addresses of images may hold placeholders.
pub(super) fn messages(list: &[(String, &Value)], mut filling: Option<&mut Filling<'_>>) -> Result<Vec<Value>, Wrong> {
    list.iter().map(|(path, value)| message(path, value, &mut filling)).collect()
}

type Maybe<'a, 'f> = Option<&'a mut Filling<'f>>;

fn fill(filling: &mut Maybe<'_, '_>, path: &str, text: &str) -> Result<String, Wrong> {
    match filling {
        Some(filling) => filling.fill(text).map_err(|wrong| format!("{path}: {wrong}")),
        None => Ok(text.to_owned()),
    }
}

fn message(path: &str, value: &Value, filling: &mut Maybe<'_, '_>) -> Result<Value, Wrong> {
    let message = Object::of(value, path)?;
    message.only(&["role", "content", "name", "refusal", "tool_calls", "tool_call_id", "reasoning_content"])?;
    let role = fill(filling, &format!("{path}.role"), message.need_text("role")?)?;
    // A role that is a placeholder without a value is reported as missing, not as wrong.
    let missing = filling.as_ref().is_some_and(|filling| !filling.missing.is_empty());
    if !ROLES.contains(&role.as_str()) && !missing {
        return Err(format!("{path}.role must be one of {}", ROLES.join(", ")));
    }
    let mut out = Map::new();
    out.insert("role".into(), role.clone().into());
    match message.get("content") {
        Some(content) => {
            out.insert("content".into(), self::content(&format!("{path}.content"), content, filling)?);
        }
        None if role == "assistant" => {
            out.insert("content".into(), Value::Null);
        }
        None => return Err(format!("{path}.content is missing")),
    }
    for name in ["name", "refusal", "tool_call_id"] {
        if let Some(text) = message.text(name)? {
            out.insert(name.into(), text.into());
        }
    }
    if let Some(calls) = message.list("tool_calls")? {
        let calls = calls.iter().map(|(path, call)| tool_call(path, call)).collect::<Result<Vec<_>, _>>()?;
        out.insert("tool_calls".into(), calls.into());
    }
    if role == "tool" && !out.contains_key("tool_call_id") {
        return Err(format!("{path}.tool_call_id is missing"));
    }
    Ok(Value::Object(out))
}

fn content(path: &str, content: &Value, filling: &mut Maybe<'_, '_>) -> Result<Value, Wrong> {
    match content {
        Value::String(text) => fill(filling, path, text).map(Value::from),
        Value::Array(parts) => {
            let part = |(number, value): (usize, &Value)| part(&format!("{path}[{number}]"), value, filling);
            parts.iter().enumerate().map(part).collect::<Result<Vec<_>, _>>().map(Value::from)
        }
        // One part by itself, as one of SAP's clients may send it.
        Value::Object(_) => part(path, content, filling).map(|part| json!([part])),
        _ => Err(format!("{path} must be a string or a list of parts")),
    }
}

fn part(path: &str, value: &Value, filling: &mut Maybe<'_, '_>) -> Result<Value, Wrong> {
    let part = Object::of(value, path)?;
    match part.need_text("type")? {
        "text" => {
            part.only(&["type", "text", "cache_control"])?;
            let text = part.text("text")?.ok_or_else(|| format!("{path}.text is missing"))?;
            Ok(json!({"type": "text", "text": fill(filling, &format!("{path}.text"), text)?}))
        }
        "image_url" => {
            part.only(&["type", "image_url", "cache_control"])?;
            let image = part.need_object("image_url")?;
            image.only(&["url", "detail"])?;
            let mut out = Map::new();
            let url = fill(filling, &format!("{path}.image_url.url"), image.need_text("url")?)?;
            out.insert("url".into(), url.into());
            if let Some(detail) = image.text("detail")? {
                out.insert("detail".into(), detail.into());
            }
            Ok(json!({"type": "image_url", "image_url": out}))
        }
        "file" => Err(format!("{path}: files in messages are not supported here: send their text")),
        _ => Err(format!("{path}.type must be text or image_url")),
    }
}

fn tool_call(path: &str, value: &Value) -> Result<Value, Wrong> {
    let call = Object::of(value, path)?;
    call.only(&["id", "type", "function", "index"])?;
    let function = call.need_object("function")?;
    function.only(&["name", "arguments"])?;
    Ok(json!({
        "id": call.need_text("id")?,
        "type": "function",
        "function": {"name": function.need_text("name")?, "arguments": function.text("arguments")?.unwrap_or("{}")},
    }))
}

/// Every text that a model reads in these messages, changed in place.
pub(super) fn each_text<E>(messages: &mut [Value], change: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<(), E> {
    for message in messages {
        match message.get_mut("content") {
            Some(Value::String(text)) => *text = change(text)?,
            Some(Value::Array(parts)) => {
                for part in parts {
                    if let Some(Value::String(text)) = part.get_mut("text") {
                        *text = change(text)?;
                    }
                }
            }
            _ => {}
        }
        if let Some(calls) = message.get_mut("tool_calls").and_then(Value::as_array_mut) {
            for call in calls {
                if let Some(Value::String(arguments)) = call.pointer_mut("/function/arguments") {
                    *arguments = in_arguments(arguments, change)?;
                }
            }
        }
    }
    Ok(())
}

/// Changes the texts inside the arguments of a tool call, which are JSON in a string: what is put in may hold quotes.
pub(super) fn in_arguments<E>(arguments: &str, change: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<String, E> {
    fn walk<E>(value: &mut Value, change: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<(), E> {
        match value {
            Value::String(text) => *text = change(text)?,
            Value::Array(list) => list.iter_mut().try_for_each(|value| walk(value, change))?,
            Value::Object(map) => map.values_mut().try_for_each(|value| walk(value, change))?,
            _ => {}
        }
        Ok(())
    }
    match serde_json::from_str::<Value>(arguments) {
        Ok(mut value) => {
            walk(&mut value, change)?;
            Ok(value.to_string())
        }
        Err(_) => change(arguments),
    }
}
