//! Orchestration from the request to the client's bytes, without a socket.

use super::*;
use serde_json::{Value, json};
use types::{CollectionId, FileId, Passage};

fn request(config: Value, values: Value) -> Vec<u8> {
    json!({"config": config, "placeholder_values": values}).to_string().into_bytes()
}

fn module(content: &str, more: Value) -> Value {
    let mut module = json!({"prompt_templating": {
        "prompt": {"template": [{"role": "user", "content": content}]},
        "model": {"name": "m", "params": {"max_tokens": 9}},
    }});
    module.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    module
}

fn masking(method: &str) -> Value {
    json!({"providers": [{"type": "sap_data_privacy_integration", "method": method,
        "entities": [{"type": "profile-email"}, {"type": "profile-iban"}]}]})
}

fn grounding() -> Value {
    json!({"type": "document_grounding_service", "config": {
        "filters": [{"data_repository_type": "vector"}],
        "placeholders": {"input": ["question"], "output": "found"}}})
}

fn passage(text: &str) -> Passage {
    Passage {
        collection: CollectionId(1),
        file: FileId(1),
        number: 0,
        title: "t".into(),
        url: "u".into(),
        text: text.into(),
        start: 0,
        page: None,
        date: None,
        language: None,
        hash: format!("sha256:{text}"),
    }
}

fn prepare(body: &[u8]) -> Prepared {
    let completion = Completion::parse(body).unwrap();
    let attempt = completion.attempt(&completion.configurations[0], 1);
    attempt.prepare("req", &[]).unwrap()
}

fn asked(prepared: &Prepared) -> Value {
    serde_json::from_slice(&prepared.body).unwrap()
}

fn engine(content: &str) -> String {
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{
        "index": 0, "message": {"role": "assistant", "content": content, "refusal": null}, "logprobs": null,
        "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})
    .to_string()
}

/// The events of an engine's stream, each by itself.
fn engine_events(pieces: &[&str]) -> Vec<String> {
    let chunk = |choices: Value| json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices});
    let choice =
        |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let mut events = vec![chunk(choice(json!({"role": "assistant", "content": ""}), Value::Null))];
    events.extend(pieces.iter().map(|piece| chunk(choice(json!({"content": piece}), Value::Null))));
    events.push(chunk(choice(json!({}), "stop".into())));
    let mut usage = chunk(json!([]));
    usage["usage"] = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
    events.push(usage);
    events.into_iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// What the client reads of a stream, event by event.
fn stream(prepared: &mut Prepared, events: &[String]) -> Vec<Value> {
    let mut out = Vec::new();
    for event in events {
        prepared.answer.events(event.as_bytes(), &mut out);
    }
    prepared.answer.flush(&mut out);
    let text = String::from_utf8(out).unwrap();
    text.split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

fn content(event: &Value) -> &str {
    event["final_result"]["choices"][0]["delta"]["content"].as_str().unwrap_or_default()
}

#[test]
fn a_template_becomes_a_prompt() {
    let mut config = json!({"modules": module("Hi {{?x}}, {{ ?y }}", json!({}))});
    config["modules"]["prompt_templating"]["prompt"]["defaults"] = json!({"x": "not this", "y": "Y"});
    config["modules"]["prompt_templating"]["prompt"]["tools"] =
        json!([{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}]);
    let mut body: Value = serde_json::from_slice(&request(config, json!({"x": "X {{?y}}"}))).unwrap();
    body["messages_history"] = json!([{"role": "system", "content": "{{?x}} stays"}]);
    let mut prepared = prepare(body.to_string().as_bytes());
    let messages =
        json!([{"role": "system", "content": "{{?x}} stays"}, {"role": "user", "content": "Hi X {{?y}}, Y"}]);
    assert_eq!(
        asked(&prepared),
        json!({"model": "m", "max_tokens": 9, "messages": messages, "tools": [{"type": "function", "function": {"name": "f"}}]})
    );
    let answer: Value = serde_json::from_slice(&prepared.answer.whole(engine("Hello").as_bytes()).unwrap()).unwrap();
    assert_eq!(answer["intermediate_results"]["templating"], messages);
    assert_eq!(answer["intermediate_results"]["llm"], answer["final_result"]);
    assert_eq!(answer["final_result"]["choices"][0]["message"], json!({"role": "assistant", "content": "Hello"}));
    assert_eq!(answer["request_id"], "req");
    assert!(answer.get("intermediate_failures").is_none());
}

#[test]
fn missing_and_unused_placeholders() {
    let check = |content: &str, values: Value, named: &str| {
        let failure = Completion::parse(&request(json!({"modules": module(content, json!({}))}), values)).unwrap_err();
        assert_eq!((failure.code, failure.location), (400, Location::Templating));
        assert_eq!(failure.message, named);
    };
    check("{{?b}} {{?a}}", json!({}), "missing required parameters: a, b");
    check("{{?a}}", json!({"a": "1", "c": "2", "b": "3"}), "unused parameters: b, c");
    // A value that one of several configurations uses is used.
    let two = json!({"modules": [module("{{?a}}", json!({})), module("{{?a}} {{?b}}", json!({}))]});
    assert!(Completion::parse(&request(two, json!({"a": "1", "b": "2"}))).is_ok());
}

#[test]
fn grounding_fills_its_placeholder_and_names_the_passages() {
    let config = json!({"modules": module("{{?question}}: {{?found}}", json!({"grounding": grounding()}))});
    let completion = Completion::parse(&request(config, json!({"question": "Urlaub?"}))).unwrap();
    let mut attempt = completion.attempt(&completion.configurations[0], 1);
    assert_eq!(attempt.retrievals().unwrap()[0].text, "Urlaub?");
    attempt.grounded(&[passage("30 Tage"), passage("{{?question}}")]);
    let prepared = attempt.prepare("req", &[]).unwrap();
    // What stands in a document is not a template.
    assert_eq!(asked(&prepared)["messages"][0]["content"], "Urlaub?: 30 Tage```{{?question}}");
    assert_eq!(prepared.passages, ["sha256:30 Tage", "sha256:{{?question}}"]);
    let refused = |content: &str, values: Value, named: &str| {
        let config = json!({"modules": module(content, json!({"grounding": grounding()}))});
        let failure = Completion::parse(&request(config, values)).unwrap_err();
        assert!(failure.code == 400 && failure.message.contains(named), "{}", failure.message);
    };
    refused("no place", json!({"question": "x"}), "no placeholder {{?found}}");
    refused("{{?found}}", json!({}), "missing required parameters: question");
    refused("{{?found}}", json!({"question": "x", "found": "y"}), "grounding fills itself: found");
}

#[test]
fn masked_on_the_way_in_and_unmasked_on_the_way_back() {
    let config = json!({"modules": module("write to {{?to}}", json!({"masking": masking("pseudonymization")}))});
    let mut prepared = prepare(&request(config, json!({"to": "erika@example.de"})));
    assert_eq!(asked(&prepared)["messages"][0]["content"], "write to MASKED_EMAIL_1");
    let answer: Value =
        serde_json::from_slice(&prepared.answer.whole(engine("sent to MASKED_EMAIL_1").as_bytes()).unwrap()).unwrap();
    let results = &answer["intermediate_results"];
    assert_eq!(results["templating"][0]["content"], "write to erika@example.de");
    let masked: Value =
        serde_json::from_str(results["input_masking"]["data"]["masked_template"].as_str().unwrap()).unwrap();
    assert_eq!(masked[0]["content"], "write to MASKED_EMAIL_1");
    assert_eq!(results["llm"]["choices"][0]["message"]["content"], "sent to MASKED_EMAIL_1");
    assert_eq!(results["output_unmasking"][0]["message"]["content"], "sent to erika@example.de");
    assert_eq!(answer["final_result"]["choices"][0]["message"]["content"], "sent to erika@example.de");
}

#[test]
fn what_is_anonymous_stays_so() {
    let config = json!({"modules": module("write to {{?to}}", json!({"masking": masking("anonymization")}))});
    let mut prepared = prepare(&request(config, json!({"to": "erika@example.de"})));
    assert_eq!(asked(&prepared)["messages"][0]["content"], "write to MASKED_EMAIL");
    let answer: Value =
        serde_json::from_slice(&prepared.answer.whole(engine("to MASKED_EMAIL").as_bytes()).unwrap()).unwrap();
    assert_eq!(answer["final_result"]["choices"][0]["message"]["content"], "to MASKED_EMAIL");
    assert!(answer["intermediate_results"].get("output_unmasking").is_none());
}

#[test]
fn the_question_is_masked_too_where_asked() {
    for (enabled, expect) in [(true, "MASKED_EMAIL_1?"), (false, "erika@example.de?")] {
        let mut masking = masking("pseudonymization");
        masking["providers"][0]["mask_grounding_input"] = json!({"enabled": enabled});
        let config = json!({"modules": module("{{?found}}", json!({"grounding": grounding(), "masking": masking}))});
        let completion = Completion::parse(&request(config, json!({"question": "erika@example.de?"}))).unwrap();
        let mut attempt = completion.attempt(&completion.configurations[0], 1);
        assert_eq!(attempt.retrievals().unwrap()[0].text, expect);
    }
}

#[test]
fn a_tool_call_gets_its_quotes_right() {
    let config = json!({"modules": module("{{?to}}", json!({"masking": {"providers": [{
        "type": "sap_data_privacy_integration", "method": "pseudonymization",
        "entities": [{"regex": "O'[^ ]+", "replacement_strategy": {"method": "constant", "value": "NAME"}}]}]}}))});
    let body = request(config.clone(), json!({"to": "O'\"Neill\\ here"}));
    let mut prepared = prepare(&body);
    assert_eq!(asked(&prepared)["messages"][0]["content"], "NAME_1 here");
    let arguments = |message: &Value| {
        let text = message["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
        serde_json::from_str::<Value>(text).unwrap()
    };
    let expect = json!({"who": "O'\"Neill\\"});
    let whole = engine("").replace(
        "\"refusal\":null",
        r#""tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"who\":\"NAME_1\"}"}}]"#,
    );
    let answer: Value = serde_json::from_slice(&prepared.answer.whole(whole.as_bytes()).unwrap()).unwrap();
    let message = &answer["final_result"]["choices"][0]["message"];
    assert_eq!((arguments(message), &message["content"]), (expect.clone(), &json!("")));
    // In a stream the arguments come in pieces, and leave whole.
    let mut config = config;
    config["stream"] = json!({"enabled": true});
    let mut prepared = prepare(&request(config, json!({"to": "O'\"Neill\\ here"})));
    let mut events = engine_events(&[]);
    let call =
        |call: Value| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}));
    events.insert(
        1,
        call(
            json!({"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"who\":\"NA"}}),
        ),
    );
    events.insert(2, call(json!({"index": 0, "function": {"arguments": "ME_1\"}"}})));
    let got = stream(&mut prepared, &events);
    assert_eq!(arguments(&got.last().unwrap()["final_result"]["choices"][0]["delta"]), expect);
    assert_eq!(got.last().unwrap()["final_result"]["choices"][0]["delta"]["tool_calls"][0]["id"], "1");
}

#[test]
fn a_stream_begins_with_the_modules_and_ends_with_the_reason() {
    let config = json!({"modules": module("Hi", json!({})), "stream": {"enabled": true}});
    let mut prepared = prepare(&request(config, json!({})));
    assert_eq!(asked(&prepared)["stream"], true);
    assert_eq!(asked(&prepared)["stream_options"], json!({"include_usage": true}));
    let events = stream(&mut prepared, &engine_events(&["Hel", "lo"]));
    assert_eq!(events.len(), 4);
    assert_eq!(events[0]["intermediate_results"]["templating"][0]["content"], "Hi");
    assert_eq!(events[0]["final_result"], json!({"id": "", "object": "", "created": 0, "model": "", "choices": []}));
    assert_eq!(events[1]["final_result"]["choices"][0]["delta"], json!({"role": "assistant", "content": "Hel"}));
    assert_eq!(events[2]["final_result"]["choices"][0]["delta"], json!({"content": "lo"}));
    let reasons: Vec<&Value> =
        events[1..].iter().map(|event| &event["final_result"]["choices"][0]["finish_reason"]).collect();
    assert_eq!(reasons, ["", "", "stop"]);
    assert_eq!(events[3]["final_result"]["usage"]["total_tokens"], 3);
    assert!(events[2]["final_result"].get("usage").is_none());
    assert_eq!(prepared.answer.last(), "data: [DONE]\n\n");
}

#[test]
fn chunks_have_their_size_and_end_at_delimiters() {
    let check = |chunking: Value, pieces: &[&str], expect: &[&str]| {
        let mut config = json!({"modules": module("Hi", json!({})), "stream": {"enabled": true}});
        config["stream"].as_object_mut().unwrap().extend(chunking.as_object().unwrap().clone());
        let mut prepared = prepare(&request(config, json!({})));
        let events = stream(&mut prepared, &engine_events(pieces));
        let got: Vec<&str> = events[1..].iter().map(content).collect();
        assert_eq!(got, expect, "{chunking}");
    };
    check(json!({}), &["a", "b"], &["a", "b", ""]);
    // Characters, not bytes; a larger chunk of the engine passes whole.
    check(json!({"chunk_size": 3}), &["ä", "ö", "ü", "ß", "abcdefgh", "i"], &["äöü", "ßabcdefgh", "i"]);
    check(
        json!({"chunk_size": 4, "delimiters": [".", "!"]}),
        &["ab. cd", "ef! g", "h. ij"],
        &["ab. cdef!", " gh.", " ij"],
    );
    check(json!({"chunk_size": 1, "delimiters": ["."]}), &["a.b.c.d"], &["a.", "b.", "c.", "d"]);
    // A delimiter of which only the beginning is there is none yet.
    check(json!({"chunk_size": 1, "delimiters": ["\n\n"]}), &["a\n", "\nb"], &["a\n\n", "b"]);
}

#[test]
fn no_chunk_cuts_a_pseudonym() {
    let content_of = "write to erika@example.de";
    for size in [1, 2, 7, 13, 100] {
        let config = json!({"modules": module(content_of, json!({"masking": masking("pseudonymization")})),
            "stream": {"enabled": true, "chunk_size": size}});
        let mut prepared = prepare(&request(config, json!({})));
        let text = "Sent: MASKED_EMAIL_1, not MASKED_EMAIL_17 nor MASKED_EM";
        let pieces: Vec<String> = text.chars().map(String::from).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let events = stream(&mut prepared, &engine_events(&pieces));
        let got: String = events.iter().map(content).collect();
        assert_eq!(got, "Sent: erika@example.de, not MASKED_EMAIL_17 nor MASKED_EM", "{size}");
        for event in &events[1..] {
            let part = content(event);
            assert!(
                !part.ends_with("MASKED_EMAIL_") && (!part.contains('@') || part.contains("erika@example.de")),
                "{part}"
            );
        }
        let masked: String = events[1..]
            .iter()
            .map(|event| event["intermediate_results"]["llm"]["choices"][0]["delta"]["content"].as_str().unwrap())
            .collect();
        assert_eq!(masked, text);
        assert!(events[1]["intermediate_results"]["output_unmasking"][0]["delta"].is_object());
    }
}

#[test]
fn a_broken_stream_ends_in_an_error_and_nothing_after_it() {
    let config = json!({"modules": module("Hi", json!({})), "stream": {"enabled": true}});
    let mut prepared = prepare(&request(config, json!({})));
    let event = prepared.answer.broken_event(502, "the engine broke off");
    let error: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap().trim()).unwrap();
    assert_eq!(error["error"]["code"], 502);
    assert_eq!(error["error"]["location"], "LLM Module");
    assert_eq!(error["error"]["request_id"], "req");
}

#[test]
fn failures_before_are_told() {
    let config = json!({"modules": module("Hi", json!({})), "stream": {"enabled": true}});
    let completion = Completion::parse(&request(config, json!({}))).unwrap();
    let failure = Failure::new(400, Location::Llm, "no model of this name");
    let mut prepared = completion.attempt(&completion.configurations[0], 1).prepare("req", &[failure]).unwrap();
    let events = stream(&mut prepared, &engine_events(&["x"]));
    assert_eq!(events[0]["intermediate_failures"][0]["message"], "no model of this name");
    assert!(events[1].get("intermediate_failures").is_none());
}

#[test]
fn several_choices_and_reasoning() {
    let config = json!({"modules": module("Hi", json!({})), "stream": {"enabled": true}});
    let mut prepared = prepare(&request(config, json!({})));
    let event = |choices: Value| format!("data: {}\r\n\r\n", json!({"id": "c", "choices": choices}));
    let events = [
        event(json!([{"index": 1, "delta": {"content": "b"}}])),
        ": a comment\n\n".to_owned(),
        event(json!([{"index": 0, "delta": {"reasoning_content": "hm"}}])),
        event(
            json!([{"index": 0, "delta": {}, "finish_reason": "length"}, {"index": 1, "delta": {}, "finish_reason": "stop"}]),
        ),
    ];
    let got = stream(&mut prepared, &events);
    assert_eq!(got[1]["final_result"]["choices"][0]["index"], 1);
    assert_eq!(
        got[2]["final_result"]["choices"][0]["delta"]["reasoning_content"],
        json!([{"content": "hm", "signature": ""}])
    );
    let last: Vec<&Value> =
        got[3]["final_result"]["choices"].as_array().unwrap().iter().map(|c| &c["finish_reason"]).collect();
    assert_eq!(last, ["length", "stop"]);
}
