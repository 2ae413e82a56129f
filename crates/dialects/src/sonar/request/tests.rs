//! What is read, what is refused, and what an engine is asked.

use super::*;
use crate::sonar::tests::passage;

fn parse(json: &str) -> Result<Question, Finding> {
    Question::parse(json.as_bytes(), UnixMillis(1_795_773_600_000))
}

/// A question with members added.
fn with(members: &str) -> Result<Question, Finding> {
    parse(&format!(r#"{{"model":"sonar","messages":[{{"role":"user","content":"Wie viele Urlaubstage?"}}]{members}}}"#))
}

fn engine(question: &Question, grounding: Option<&Grounding>) -> Value {
    serde_json::from_slice(&question.body("nano", grounding)).unwrap()
}

#[test]
fn usual_values() {
    let question = with("").unwrap();
    assert_eq!((question.model.as_str(), question.text()), ("sonar", "Wie viele Urlaubstage?"));
    assert!(question.search && !question.stream && !question.concise && !question.related);
    assert_eq!(question.limits, Limits { passages: 5, bytes: 12_000 });
    assert_eq!((question.form.clone(), question.marks()), (Form::Text, Marks::InText));
    let body = engine(&question, None);
    assert_eq!(body, json!({"model": "nano", "messages": [{"role": "user", "content": "Wie viele Urlaubstage?"}]}));
}

#[test]
fn what_is_asked_for() {
    let question = with(
        r#","stream":true,"stream_mode":"concise","max_tokens":7,"temperature":0,"top_k":0,"country":"DE","safe_search":true,
        "web_search_options":{"search_context_size":"high"},"num_search_results":3,"vector_store_ids":["vs_1"],
        "file_workspace_id":"vs_2","language_preference":"en-GB","return_related_questions":true,"tools":[],"n":1"#,
    )
    .unwrap();
    assert!(question.concise && question.related);
    assert_eq!(question.limits, Limits { passages: 3, bytes: 48_000 });
    assert_eq!(question.collections, ["vs_1", "vs_2"]);
    assert_eq!(question.language, Some(Language::English));
    let body = engine(&question, None);
    assert_eq!(body["stream_options"], json!({"include_usage": true}));
    assert_eq!((body["max_tokens"].clone(), body["temperature"].clone()), (json!(7), json!(0)));
    for unknown in ["top_k", "country", "tools", "vector_store_ids", "safe_search"] {
        assert!(body.get(unknown).is_none(), "{unknown}");
    }
    assert!(!with(r#","disable_search":true"#).unwrap().search);
}

#[test]
fn forms() {
    let schema =
        with(r#","response_format":{"type":"json_schema","json_schema":{"schema":{"type":"object"}}}"#).unwrap();
    assert_eq!(schema.marks(), Marks::None);
    let asked = engine(&schema, None)["response_format"].clone();
    assert_eq!(asked, json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}));
    let regex = with(r#","response_format":{"type":"regex","regex":{"regex":"[0-9]+"}}"#).unwrap();
    assert_eq!(engine(&regex, None)["structured_outputs"], json!({"regex": "[0-9]+"}));
    assert_eq!(with(r#","response_format":{"type":"text"}"#).unwrap().form, Form::Text);
}

#[test]
fn what_is_refused_is_named() {
    for (members, param) in [
        (r#","search_mode":"academic""#, "search_mode"),
        (r#","search_mode":"dark""#, "search_mode"),
        (r#","n":2"#, "n"),
        (r#","tools":[{"type":"function"}]"#, "tools"),
        (r#","stream":"yes""#, "stream"),
        (r#","stream_mode":"terse""#, "stream_mode"),
        (r#","num_search_results":0"#, "num_search_results"),
        (r#","num_search_results":21"#, "num_search_results"),
        (r#","web_search_options":{"search_context_size":"huge"}"#, "search_context_size"),
        (r#","web_search_options":[]"#, "web_search_options"),
        (r#","response_format":{"type":"xml"}"#, "response_format"),
        (r#","response_format":{"type":"regex","regex":"a"}"#, "response_format"),
        (r#","response_format":{"type":"json_schema"}"#, "response_format"),
        (r#","vector_store_ids":"#, "vector_store_ids"),
    ] {
        let members = if members.ends_with(':') {
            format!("{members}[{}]", vec!["\"v\""; 21].join(","))
        } else {
            members.to_owned()
        };
        assert_eq!(with(&members).unwrap_err().param.as_deref(), Some(param), "{members}");
    }
    assert!(with(r#","num_search_results":20"#).is_ok());
    for messages in [
        "[]",
        "7",
        r#"[{"role":"user","content":" "}]"#,
        r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]"#,
        r#"[{"role":"tool","content":"a"},{"role":"user","content":"b"}]"#,
        r#"[{"role":"king","content":"a"}]"#,
        r#"[{"role":"user"}]"#,
        r#"[{"role":"user","content":[{"type":"pdf_url","pdf_url":{"url":"https://a.de/b.pdf"}}]}]"#,
        r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a.de/b.png"}}]}]"#,
    ] {
        let refused = parse(&format!(r#"{{"model":"sonar","messages":{messages}}}"#)).unwrap_err();
        assert_eq!(refused.param.as_deref(), Some("messages"), "{messages}");
    }
    assert_eq!(parse(r#"{"messages":[]}"#).unwrap_err().param.as_deref(), Some("model"));
    assert_eq!(parse(r#"{"model":"","messages":[]}"#).unwrap_err().param.as_deref(), Some("model"));
}

#[test]
fn a_grounded_question_keeps_the_conversation() {
    let question = parse(
        r#"{"model":"sonar","messages":[{"role":"system","content":"Sei kurz."},{"role":"developer","content":"Und höflich."},
        {"role":"user","content":"Wie lang ist die Kündigungsfrist?"},{"role":"assistant","content":"Vier Wochen [2]."},
        {"role":"user","content":[{"type":"text","text":"Und in der Probezeit?"},
        {"type":"image_url","image_url":"data:image/png;base64,AA=="}]}]}"#,
    )
    .unwrap();
    assert_eq!(question.query(), "Wie lang ist die Kündigungsfrist?\nUnd in der Probezeit?");
    assert_eq!(question.query_outside(), "Und in der Probezeit?", "what was said before stays");
    let grounding = Grounding::new(question.text(), vec![passage("Zwei Wochen.")], question.limits);
    let messages = engine(&question, Some(&grounding))["messages"].clone();
    let roles: Vec<_> = messages.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    let system = messages[0]["content"].as_str().unwrap();
    assert!(system.starts_with(&grounding.rules()) && system.ends_with("Sei kurz.\n\nUnd höflich."));
    assert_eq!(messages[2]["content"], "Vier Wochen (2).");
    assert_eq!(messages[3]["content"][0]["text"], grounding.task());
    assert_eq!(messages[3]["content"][1]["image_url"]["url"], "data:image/png;base64,AA==");
}

#[test]
fn a_long_question_is_searched_for_alone_and_by_its_beginning() {
    let ask = |last: &str| {
        let messages = json!([{"role": "user", "content": "davor"}, {"role": "assistant", "content": "x"},
            {"role": "user", "content": last}]);
        parse(&json!({"model": "sonar", "messages": messages}).to_string()).unwrap().query()
    };
    assert_eq!(ask("eins zwei drei vier fünf"), "davor\neins zwei drei vier fünf");
    assert_eq!(ask("eins zwei drei vier fünf sechs"), "eins zwei drei vier fünf sechs");
    assert_eq!(ask(&"ü ".repeat(1_000)).chars().count(), QUERY_CHARS_MAX);
    let long = "ü ".repeat(1_000);
    let messages = json!([{"role": "user", "content": long}]);
    let long = parse(&json!({"model": "sonar", "messages": messages}).to_string()).unwrap();
    assert_eq!(long.query_outside().chars().count(), QUERY_CHARS_MAX);
}

#[test]
fn related_questions_are_lines_that_ask() {
    let answer = |text: &str| related(json!({"choices": [{"message": {"content": text}}]}).to_string().as_bytes());
    assert_eq!(
        answer("1. Was gilt 2027?\n- **Wer zahlt?**\nGerne!\n\"Ab wann?\"\n"),
        ["Was gilt 2027?", "Wer zahlt?", "Ab wann?"]
    );
    assert_eq!(answer(&"a?\n".repeat(9)).len(), RELATED_MAX);
    assert!(answer(&format!("{}?", "a".repeat(RELATED_CHARS_MAX))).is_empty());
    assert!(related(b"garbage").is_empty());
    let question = with("").unwrap();
    let grounding = Grounding::new(question.text(), vec![passage("a")], question.limits);
    let body: Value = serde_json::from_slice(&question.related_body("nano", &grounding)).unwrap();
    assert_eq!(body["max_tokens"], RELATED_TOKENS_MAX);
}
