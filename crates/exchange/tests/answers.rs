//! From an engine's answer to the outcome of the request.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pointsman_config::models::ModelRules;
use pointsman_core::{Completion, FailureCause, PoolId};
use pointsman_exchange::{
    AnswerEnd, ChunkFacts, Head, HeadVerdict, Incoming, Limits, Outgoing, Resolving, Verdict,
};

const SSE: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

fn outgoing(path: &str, body: &'static str) -> Outgoing {
    let headers = HeaderMap::new();
    let head = Head { method: &Method::POST, path, headers: &headers, has_body: true, trusted: false };
    let mut incoming = Incoming::begin(&head, Limits { max_body_bytes: 1 << 20 }).unwrap();
    incoming.body_chunk(Bytes::from_static(body.as_bytes())).unwrap();
    let rules = ModelRules::default();
    let with = Resolving { rules: &rules, pool: PoolId(0), draw: 0, names_path_exactly: false, holder: None };
    incoming.finish().unwrap().resolve(&with).unwrap()
}

fn chat() -> Outgoing {
    outgoing("/v1/chat/completions", r#"{"model":"m","messages":[],"stream":true}"#)
}

struct Watched {
    head: HeadVerdict,
    facts: ChunkFacts,
    verdict: Verdict,
}

fn watch(outgoing: &Outgoing, status: u16, kind: &'static str, body: &str, end: AnswerEnd) -> Watched {
    let mut answer = outgoing.answer();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let head = answer.head(StatusCode::from_u16(status).unwrap(), &headers);
    let mut facts = ChunkFacts::default();
    for piece in body.as_bytes().chunks(7) {
        let next = answer.chunk(piece);
        facts.first_token |= next.first_token;
        facts.output_tokens = next.output_tokens;
        facts.failure = facts.failure.or(next.failure);
    }
    Watched { head, facts, verdict: answer.end(end) }
}

fn events(datas: &[&str]) -> String {
    datas.iter().map(|data| format!("data: {data}\n\n")).collect()
}

const ROLE: &str =
    r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const WORD: &str = r#"{"choices":[{"index":0,"delta":{"content":"word"},"finish_reason":null}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}}"#;
const ERROR: &str =
    r#"{"error":{"message":"EngineCore died","type":"InternalServerError","param":null,"code":500}}"#;
const ABORT: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}"#;

#[test]
fn a_whole_stream_completes_with_its_usage() {
    let body = events(&[ROLE, WORD, WORD, STOP, USAGE, "[DONE]"]);
    let watched = watch(&chat(), 200, SSE, &body, AnswerEnd::Clean);
    assert_eq!(watched.head, HeadVerdict::Relay);
    assert!(watched.facts.first_token);
    assert_eq!(watched.facts.output_tokens, 2);
    assert_eq!(watched.verdict.completion, Completion::Complete);
    let usage = watched.verdict.usage;
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.output_tokens), (Some(9), Some(4), Some(2)));
    assert!(watched.verdict.last_event.is_none() && !watched.verdict.break_off);
}

#[test]
fn a_stream_that_ends_cleanly_but_early_is_truncated_and_says_so() {
    let watched = watch(&chat(), 200, SSE, &events(&[ROLE, WORD]), AnswerEnd::Clean);
    assert_eq!(watched.verdict.completion, Completion::Broken(FailureCause::Truncated));
    let event = String::from_utf8(watched.verdict.last_event.unwrap().to_vec()).unwrap();
    assert!(event.contains("\"error\"") && !event.contains("[DONE]"), "{event}");
    assert!(watched.verdict.break_off);
}

#[test]
fn an_error_inside_a_stream_is_a_failure_even_when_done_follows() {
    for failing in [ERROR, ABORT] {
        let body = events(&[ROLE, WORD, failing, "[DONE]"]);
        let watched = watch(&chat(), 200, SSE, &body, AnswerEnd::Clean);
        assert_eq!(watched.facts.failure, Some(FailureCause::EngineError));
        assert_eq!(watched.verdict.completion, Completion::Broken(FailureCause::EngineError));
        assert!(watched.verdict.last_event.is_none(), "the client has the engine's own error");
    }
}

#[test]
fn an_error_that_blames_the_request_is_an_answer() {
    let error = r#"{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}"#;
    let watched = watch(&chat(), 200, SSE, &events(&[error, "[DONE]"]), AnswerEnd::Clean);
    assert_eq!(watched.verdict.completion, Completion::Complete);
    let watched = watch(&chat(), 400, JSON, error, AnswerEnd::Clean);
    assert_eq!(watched.verdict.completion, Completion::Complete);
}

#[test]
fn transport_failures_have_the_last_word() {
    let body = events(&[ROLE, WORD]);
    for cause in [FailureCause::Stalled, FailureCause::Lost] {
        let watched = watch(&chat(), 200, SSE, &body, AnswerEnd::Failed(cause));
        assert_eq!(watched.verdict.completion, Completion::Broken(cause));
        assert!(watched.verdict.break_off && watched.verdict.last_event.is_some());
    }
    let watched = watch(&chat(), 200, SSE, &body, AnswerEnd::ClientGone);
    assert_eq!(watched.verdict.completion, Completion::ClientGone);
    assert_eq!(watched.verdict.usage.output_tokens, Some(1));
    assert!(watched.verdict.last_event.is_none());
}

#[test]
fn gateway_type_answers_are_failures_and_a_500_counts_against_the_engine() {
    let plain = outgoing("/v1/completions", r#"{"model":"m"}"#);
    for (status, head, completion) in [
        (502, HeadVerdict::Failure(FailureCause::Unavailable), Completion::Broken(FailureCause::Unavailable)),
        (503, HeadVerdict::Failure(FailureCause::Unavailable), Completion::Broken(FailureCause::Unavailable)),
        (500, HeadVerdict::Relay, Completion::Broken(FailureCause::EngineError)),
        (429, HeadVerdict::Relay, Completion::Complete),
    ] {
        let watched = watch(&plain, status, JSON, "{}", AnswerEnd::Clean);
        assert_eq!((watched.head, watched.verdict.completion), (head, completion), "{status}");
    }
}

#[test]
fn a_whole_reply_gives_usage_and_the_id_under_which_it_is_stored() {
    let body =
        r#"{"id":"resp_7","status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":5}}"#;
    let stored = outgoing("/v1/responses", r#"{"model":"m","input":"x"}"#);
    let watched = watch(&stored, 200, JSON, body, AnswerEnd::Clean);
    assert_eq!(watched.verdict.stored_response.as_deref(), Some("resp_7"));
    assert_eq!(watched.verdict.usage.output_tokens, Some(5));
    let unstored = outgoing("/v1/responses", r#"{"model":"m","input":"x","store":false}"#);
    assert_eq!(watch(&unstored, 200, JSON, body, AnswerEnd::Clean).verdict.stored_response, None);
}

#[test]
fn half_a_reply_is_truncated() {
    let plain = outgoing("/v1/completions", r#"{"model":"m"}"#);
    let watched = watch(&plain, 200, JSON, r#"{"id":"cmpl","choices":[{"te"#, AnswerEnd::Clean);
    assert_eq!(watched.verdict.completion, Completion::Broken(FailureCause::Truncated));
    assert!(watched.verdict.break_off && watched.verdict.last_event.is_none());
}

#[test]
fn an_unknown_stream_fails_by_its_transport_alone() {
    let unknown = outgoing("/v1/embeddings", r#"{"model":"m","input":"x"}"#);
    let watched = watch(&unknown, 200, SSE, &events(&[ERROR]), AnswerEnd::Clean);
    assert_eq!(watched.verdict.completion, Completion::Complete);
}
