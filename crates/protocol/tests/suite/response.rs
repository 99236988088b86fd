//! Scanning of JSON responses.

use pointsman_protocol::{JsonScanner, ResponseFacts, StreamFailure, Usage};

use crate::recorded;

fn read(body: &[u8]) -> ResponseFacts {
    let mut reader = JsonScanner::default();
    reader.push(body);
    reader.facts()
}

fn usage(prompt_tokens: u64, completion_tokens: u64, cached_tokens: Option<u64>) -> Option<Usage> {
    Some(Usage { prompt_tokens, completion_tokens, cached_tokens })
}

#[test]
fn recorded_responses_are_scanned() {
    for (name, counts) in [
        ("completion", usage(76, 8, Some(0))),
        ("completion-prefix-hit", usage(76, 8, Some(64))),
        ("completion-two-prompts", usage(4, 8, Some(0))),
        ("chat", usage(100, 8, Some(0))),
        ("generate", usage(4, 4, Some(0))),
        ("messages", usage(89, 8, Some(0))),
        ("responses", usage(90, 8, Some(0))),
        ("tokenize", None),
        ("models", None),
    ] {
        let facts = read(&recorded::exchange(name).response_body);
        assert_eq!((facts.usage, facts.failure, facts.complete), (counts, None, true), "{name}");
    }
}

#[test]
fn every_recorded_error_is_a_failure_with_its_status() {
    let mut errors = 0;
    for exchange in recorded::exchanges() {
        let body = &exchange.response_body;
        if exchange.status < 400 || !body.starts_with(b"{\"error\"") {
            continue;
        }
        let code = Some(exchange.status);
        assert_eq!(read(body).failure, Some(StreamFailure::Error { code }), "{}", exchange.name);
        errors += 1;
    }
    assert!(errors > 10, "only {errors} recorded errors");
}

#[test]
fn the_id_is_the_top_level_one() {
    let body = br#"{"output":[{"id":"msg_1"}],"id":"resp_1","usage":{"id":"x"}}"#;
    assert_eq!(read(body).id.as_deref(), Some("resp_1"));
    for unusable in [&br#"{"id":""}"#[..], br#"{"id":"a\"b"}"#, br#"{"id":5}"#, br#"{"id":"abc"#] {
        assert_eq!(read(unusable).id, None);
    }
    assert_eq!(read(format!("{{\"id\":\"{}\"}}", "x".repeat(300)).as_bytes()).id, None);
}

#[test]
fn failures_within_a_response_are_found() {
    for (body, failure) in [
        (r#"{"choices":[{"finish_reason":"abort"}]}"#, Some(StreamFailure::Aborted)),
        (r#"{"choices":[{"finish_reason":"stop"},{"finish_reason":"abort"}]}"#, Some(StreamFailure::Aborted)),
        (r#"{"choices":[{"finish_reason":"error"}]}"#, Some(StreamFailure::Error { code: None })),
        (r#"{"meta_info":{"finish_reason":{"type":"abort"}}}"#, Some(StreamFailure::Aborted)),
        (r#"[{"meta_info":{"finish_reason":{"type":"abort"}}}]"#, Some(StreamFailure::Aborted)),
        (r#"{"stop_reason":"abort"}"#, Some(StreamFailure::Aborted)),
        (r#"{"status":"failed","error":null}"#, Some(StreamFailure::ResponseFailed)),
        (r#"{"error":{"code":503}}"#, Some(StreamFailure::Error { code: Some(503) })),
        (r#"{"type":"error","error":{"type":"api_error"}}"#, Some(StreamFailure::Error { code: None })),
        (
            r#"{"type":"error","error":{"type":"invalid_request_error"}}"#,
            Some(StreamFailure::Error { code: Some(400) }),
        ),
        (
            r#"{"status":"failed","error":{"code":"invalid_prompt"}}"#,
            Some(StreamFailure::Error { code: Some(400) }),
        ),
        (r#"{"error":null,"status":"completed"}"#, None),
        (r#"{"error":"","choices":[{"finish_reason":"stop"}]}"#, None),
        (r#"{"error":{},"choices":[{"finish_reason":"stop"}]}"#, None),
        (
            r#"{"choices":[{"message":{"content":"\"finish_reason\":\"abort\""},"finish_reason":"stop"}]}"#,
            None,
        ),
        (r#"{"choices":[{"message":{"error":{}}}]}"#, None),
    ] {
        assert_eq!(read(body.as_bytes()).failure, failure, "{body}");
    }
}

#[test]
fn a_truncated_response_is_not_complete() {
    let body = recorded::exchange("chat").response_body;
    assert!(read(&body).complete);
    for cut in [0, 1, body.len() / 2, body.len() - 1] {
        assert!(!read(&body[..cut]).complete, "{cut}");
    }
    for garbage in [&b"<html>"[..], b"]", b"}{", b"\"x\""] {
        assert!(!read(garbage).complete);
    }
}
