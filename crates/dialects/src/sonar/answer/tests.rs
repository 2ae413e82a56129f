//! Whole answers and streams, as clients read them.

use super::*;
use crate::grounding::Marks;
use crate::sonar::tests::passage;
use types::MicroEur;

fn answer(concise: bool) -> Answer {
    let mut frame = Frame { model: "sonar".to_owned(), created: 7, concise, ..Frame::default() };
    frame.cite(&[passage("30 Tage."), Passage { collection: WEB, ..passage("x") }]);
    frame.searched = Searched { queries: 1, context_size: Some("low"), ..frame.searched };
    frame.price = Some(Price {
        model: "m".to_owned(),
        input: MicroEur(1_000_000),
        cached_input: MicroEur(0),
        output: MicroEur(2_000_000),
    });
    Answer::new(frame, Some(Checker::new(2, Language::German, Marks::InText)), "rcp_1".to_owned())
}

fn engine_event(content: &str) -> String {
    let event = json!({"id": "cmpl-1", "created": 9, "choices": [{"index": 0, "delta": {"content": content}}]});
    format!("data: {event}\n\n")
}

const USAGE: &str = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}"#;

/// The events that a client gets for pieces of text, each with its data as JSON.
fn stream(answer: &mut Answer, pieces: &[&str]) -> Vec<Value> {
    let mut out = Vec::new();
    for piece in pieces {
        answer.events(engine_event(piece).as_bytes(), &mut out);
    }
    let end = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#;
    let end = format!("{end}\r\n\r\n: ping\n\ndata: {{\"choices\":[],\ndata: \"usage\":{USAGE}}}\n\n");
    answer.events(end.as_bytes(), &mut out);
    answer.flush(&mut out);
    data(&out).iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn a_whole_answer() {
    let body = format!(
        r#"{{"id":"cmpl-1","created":9,"choices":[{{"message":{{"content":"Es sind 30 Tage [1][7]. Mehr nicht."}},
        "finish_reason":"stop"}}],"usage":{USAGE}}}"#
    );
    let whole: Value = serde_json::from_slice(&answer(false).whole(body.as_bytes()).unwrap()).unwrap();
    let choice = &whole["choices"][0];
    assert_eq!(choice["message"]["content"], "Es sind 30 Tage [1]. Mehr nicht. [unbelegt]");
    assert_eq!((&choice["delta"]["content"], &choice["finish_reason"]), (&json!(""), &json!("stop")));
    assert_eq!((&whole["id"], &whole["created"], &whole["model"]), (&json!("cmpl-1"), &json!(9), &json!("sonar")));
    assert_eq!(
        (&whole["object"], &whole["status"], &whole["type"]),
        (&json!("chat.completion"), &json!("COMPLETED"), &json!("message"))
    );
    assert_eq!(whole["citations"], json!(["https://intern.example/handbuch", "https://intern.example/handbuch"]));
    assert_eq!(
        (&whole["search_results"][0]["source"], &whole["search_results"][1]["source"]),
        (&json!("attachment"), &json!("web"))
    );
    assert_eq!(whole["search_results"][0]["hash"], "sha256:00");
    assert_eq!(whole["usage"]["cost"]["total_cost"], 0.00002);
    assert_eq!(whole["usage"]["num_search_queries"], 1);
    assert_eq!(whole["grounding"], json!({"cited": [1], "foreign": 1, "claims": 2, "uncited": 1, "absent": false}));
    assert!(whole.get("related_questions").is_none() && whole.get("images").is_none());
}

#[test]
fn a_stream_has_delta_and_message_in_each_event() {
    let mut translated = answer(false);
    let events = stream(&mut translated, &["Es sind 30", " Tage [", "1", "].", " Nein."]);
    let mut told = String::new();
    for event in &events {
        let choice = &event["choices"][0];
        told.push_str(choice["delta"]["content"].as_str().unwrap());
        assert_eq!(choice["message"]["content"], told, "{event}");
        assert_eq!(event["object"], "chat.completion.chunk");
        assert_eq!((&event["id"], &event["created"]), (&json!("cmpl-1"), &json!(9)));
        assert_eq!(event["search_results"].as_array().unwrap().len(), 2);
        assert!(event["usage"]["cost"]["total_cost"].is_number());
    }
    assert_eq!(told, "Es sind 30 Tage [1]. Nein. [unbelegt]");
    let (last, before) = events.split_last().unwrap();
    assert!(before.iter().all(|event| event["status"] == "PENDING" && event["choices"][0]["finish_reason"].is_null()));
    assert_eq!((&last["status"], &last["type"]), (&json!("COMPLETED"), &json!("end_of_stream")));
    assert_eq!((&last["choices"][0]["finish_reason"], &last["usage"]["total_tokens"]), (&json!("length"), &json!(15)));
    assert_eq!(last["grounding"]["uncited"], 1);
    assert_eq!(translated.last(), b"data: [DONE]\n\n");
}

#[test]
fn a_concise_stream_says_everything_once() {
    let events = stream(&mut answer(true), &["Ja [1", "]."]);
    let (last, before) = events.split_last().unwrap();
    for event in before {
        assert!(event.get("search_results").is_none() && event["choices"][0].get("message").is_none(), "{event}");
    }
    assert_eq!(
        (&last["object"], &last["choices"][0]["message"]["content"]),
        (&json!("chat.completion.done"), &json!("Ja [1]."))
    );
    assert_eq!(last["citations"].as_array().unwrap().len(), 2);
}

#[test]
fn a_long_stream_does_not_grow_with_its_square() {
    let pieces = vec!["wort "; 4_000];
    let mut out = Vec::new();
    let mut translated = Answer::new(Frame::default(), None, String::new());
    for piece in pieces {
        translated.events(engine_event(piece).as_bytes(), &mut out);
    }
    translated.flush(&mut out);
    // 20 kB of text: 129 times that, and the rest of some 700 events; all so far in each of 4,000 would be 40 MB.
    assert!(out.len() < 3_200_000, "{}", out.len());
}

#[test]
fn where_nothing_was_found_no_model_speaks() {
    let whole: Value = serde_json::from_slice(&answer(false).absent(Language::German, false)).unwrap();
    assert_eq!(whole["choices"][0]["message"]["content"], Language::German.absent());
    assert_eq!(
        (&whole["usage"]["total_tokens"], &whole["grounding"]["absent"], &whole["id"]),
        (&json!(0), &json!(true), &json!("rcp_1"))
    );
    let events = String::from_utf8(answer(false).absent(Language::English, true)).unwrap();
    assert!(events.contains(Language::English.absent()) && events.ends_with("data: [DONE]\n\n"), "{events}");
}

#[test]
fn what_breaks_says_so() {
    let broken = String::from_utf8(answer(false).broken(Code::StreamBroken, "the engine broke off")).unwrap();
    let (name, data) = broken.split_once('\n').unwrap();
    assert_eq!(name, "event: error");
    let error: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap().trim()).unwrap();
    assert_eq!(error["error"]["code"], "stream_broken");
    // The second is JSON for who only skips over it: half of a surrogate pair is no text.
    for unread in [
        &b"garbage"[..],
        br#"{"choices":[{"message":{"content":"\ud83d"}}]}"#,
        b"{}",
        br#"{"choices":[]}"#,
        br#"{"choices":[7]}"#,
    ] {
        assert_eq!(answer(false).whole(unread), None);
    }
    let mut out = Vec::new();
    answer(false).events(b"data: garbage\n\n", &mut out);
    assert_eq!(data_count(&out), 1);
}

fn data_count(out: &[u8]) -> usize {
    data(out).len()
}

#[test]
fn members_that_were_asked_for_are_there() {
    let mut translated = answer(false);
    translated.frame.related = Some(vec!["Wer?".to_owned()]);
    translated.frame.images = true;
    let whole = translated.whole(br#"{"choices":[{"message":{"content":null}}]}"#).unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!((&whole["related_questions"], &whole["images"]), (&json!(["Wer?"]), &json!([])));
    assert!(whole.get("usage").is_none(), "no count is not a count of zero");
}

#[test]
fn snippets_end_between_words() {
    assert_eq!(snippet("kurz", 10), "kurz");
    assert_eq!(snippet("eins zwei drei", 10), "eins zwei…");
    assert_eq!(snippet("einszweidrei", 4), "eins…");
    assert_eq!(snippet("ääääää", 3), "äää…");
}
