//! From an engine's response to the outcome of the request.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pointsman_config::models::ModelRules;
use pointsman_core::{Completion, FailureCause, PoolId};
use pointsman_exchange::{
    ChunkFacts, EngineRequest, HeadVerdict, Limits, RequestHead, RequestReader, ResolveContext, ResponseEnd,
    Verdict,
};
use pointsman_protocol::BlockKey;

static KEY: LazyLock<BlockKey> = LazyLock::new(|| BlockKey::new([1, 2]));

const SSE: &str = "text/event-stream; charset=utf-8";
const JSON: &str = "application/json";

fn request_to(path: &str, body: &'static str) -> EngineRequest {
    let headers = HeaderMap::new();
    let head = RequestHead { method: &Method::POST, path, headers: &headers, has_body: true, trusted: false };
    let mut incoming = RequestReader::begin(&head, Limits { max_body_bytes: 1 << 20 }).unwrap();
    incoming.body_chunk(Bytes::from_static(body.as_bytes())).unwrap();
    let rules = ModelRules::default();
    let with = ResolveContext {
        rules: &rules,
        pool: PoolId(0),
        draw: 0,
        names_path_exactly: false,
        holder: None,
        default_model: None,
        path,
        block_key: &KEY,
    };
    incoming.finish(|_| Ok(())).unwrap().resolve(&with).unwrap()
}

fn chat() -> EngineRequest {
    request_to("/v1/chat/completions", r#"{"model":"m","messages":[],"stream":true}"#)
}

struct Observed {
    head: HeadVerdict,
    facts: ChunkFacts,
    verdict: Verdict,
}

fn observe(
    request: &EngineRequest,
    status: u16,
    kind: &'static str,
    body: &str,
    end: ResponseEnd,
) -> Observed {
    let mut response = request.response();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let head = response.head(StatusCode::from_u16(status).unwrap(), &headers);
    let mut facts = ChunkFacts::default();
    for piece in body.as_bytes().chunks(7) {
        let next = response.chunk(piece);
        facts.first_token |= next.first_token;
        facts.output_tokens = next.output_tokens;
        facts.failure = facts.failure.or(next.failure);
    }
    Observed { head, facts, verdict: response.end(end) }
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
fn a_complete_stream_reports_its_usage() {
    let body = events(&[ROLE, WORD, WORD, STOP, USAGE, "[DONE]"]);
    let observed = observe(&chat(), 200, SSE, &body, ResponseEnd::Clean);
    assert_eq!(observed.head, HeadVerdict::Relay);
    assert!(observed.facts.first_token);
    assert_eq!(observed.facts.output_tokens, 2);
    assert_eq!(observed.verdict.completion, Completion::Complete);
    let usage = observed.verdict.usage;
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.output_tokens), (Some(9), Some(4), Some(2)));
    assert!(observed.verdict.error_event.is_none() && !observed.verdict.abort);
}

#[test]
fn a_stream_without_its_end_mark_is_truncated_and_ends_with_an_error_event() {
    let observed = observe(&chat(), 200, SSE, &events(&[ROLE, WORD]), ResponseEnd::Clean);
    assert_eq!(observed.verdict.completion, Completion::Broken(FailureCause::Truncated));
    let event = String::from_utf8(observed.verdict.error_event.unwrap().to_vec()).unwrap();
    assert!(event.contains("\"error\"") && !event.contains("[DONE]"), "{event}");
    assert!(observed.verdict.abort);
}

#[test]
fn done_or_a_finish_reason_is_an_end() {
    for body in [events(&[ROLE, WORD, "[DONE]"]), events(&[ROLE, WORD, STOP])] {
        let observed = observe(&chat(), 200, SSE, &body, ResponseEnd::Clean);
        assert_eq!(observed.verdict.completion, Completion::Complete, "{body}");
        assert!(observed.verdict.error_event.is_none() && !observed.verdict.abort, "{body}");
    }
}

#[test]
fn nothing_follows_done_whatever_becomes_of_the_connection() {
    let transports = [
        ResponseEnd::Failed(FailureCause::Truncated),
        ResponseEnd::Failed(FailureCause::Stalled),
        ResponseEnd::ClientGone,
    ];
    for end in transports {
        let complete = observe(&chat(), 200, SSE, &events(&[ROLE, WORD, STOP, "[DONE]"]), end);
        assert_eq!(complete.verdict.completion, Completion::Complete, "{end:?}");
        let failed = observe(&chat(), 200, SSE, &events(&[ROLE, ERROR, "[DONE]"]), end);
        assert_eq!(failed.verdict.completion, Completion::Broken(FailureCause::EngineError), "{end:?}");
        for verdict in [complete.verdict, failed.verdict] {
            assert!(verdict.error_event.is_none() && !verdict.abort, "{end:?}");
        }
    }
    let response = |datas: &[&str]| {
        let mut response = chat().response();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SSE));
        response.head(StatusCode::OK, &headers);
        response.chunk(events(datas).as_bytes());
        (response.takes_events(), response.is_over())
    };
    assert_eq!(response(&[ROLE, WORD]), (true, false));
    assert_eq!(response(&[ROLE, WORD, "[DONE]"]), (false, true));
}

#[test]
fn an_error_response_is_no_stream() {
    for status in [400, 404, 429, 500] {
        let observed = observe(&chat(), status, SSE, "data: {\"detail\":\"no\"}\n\n", ResponseEnd::Clean);
        assert!(observed.verdict.error_event.is_none() && !observed.verdict.abort, "{status}");
        let lost = ResponseEnd::Failed(FailureCause::Lost);
        assert!(observe(&chat(), status, SSE, "data: ", lost).verdict.error_event.is_none(), "{status}");
    }
}

#[test]
fn an_encoded_stream_is_passed_and_not_judged() {
    for (coding, readable) in [("gzip", false), ("br", false), ("identity", true)] {
        let mut response = chat().response();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SSE));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        response.head(StatusCode::OK, &headers);
        assert!(response.is_stream());
        assert_eq!(response.takes_events(), readable);
        assert_eq!(response.chunk(b"\x1f\x8b\x08").first_token, !readable);
        assert!(!response.chunk(b"data: {}\n\n").first_token);
        let verdict = response.end(ResponseEnd::Clean);
        assert_eq!(verdict.completion == Completion::Complete, !readable, "{coding}");
        assert_eq!(verdict.error_event.is_some(), readable, "{coding}");
    }
    let mut response = chat().response();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SSE));
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.head(StatusCode::OK, &headers);
    let verdict = response.end(ResponseEnd::Failed(FailureCause::Lost));
    assert!(verdict.abort && verdict.error_event.is_none(), "no plain text follows an encoded stream");
}

#[test]
fn an_error_event_is_a_failure_even_if_done_follows() {
    for failing in [ERROR, ABORT] {
        let body = events(&[ROLE, WORD, failing, "[DONE]"]);
        let observed = observe(&chat(), 200, SSE, &body, ResponseEnd::Clean);
        assert_eq!(observed.facts.failure, Some(FailureCause::EngineError));
        assert_eq!(observed.verdict.completion, Completion::Broken(FailureCause::EngineError));
        assert!(observed.verdict.error_event.is_none(), "the client has received the engine's error");
    }
}

#[test]
fn an_error_that_blames_the_request_declines_it() {
    let error = r#"{"error":{"message":"too long","type":"BadRequestError","param":null,"code":400}}"#;
    let observed = observe(&chat(), 200, SSE, &events(&[error, "[DONE]"]), ResponseEnd::Clean);
    assert_eq!(observed.verdict.completion, Completion::Declined);
    assert_eq!(observed.facts.failure, Some(FailureCause::Declined));
    for (status, kind) in [(200, JSON), (400, JSON), (404, "text/plain"), (429, SSE)] {
        let observed = observe(&chat(), status, kind, error, ResponseEnd::Clean);
        assert_eq!(observed.verdict.completion, Completion::Declined, "{status} {kind}");
    }
}

#[test]
fn a_transport_failure_overrides_the_body() {
    let body = events(&[ROLE, WORD]);
    for cause in [FailureCause::Stalled, FailureCause::Lost] {
        let observed = observe(&chat(), 200, SSE, &body, ResponseEnd::Failed(cause));
        assert_eq!(observed.verdict.completion, Completion::Broken(cause));
        assert!(observed.verdict.abort && observed.verdict.error_event.is_some());
    }
    let observed = observe(&chat(), 200, SSE, &body, ResponseEnd::ClientGone);
    assert_eq!(observed.verdict.completion, Completion::ClientGone);
    assert_eq!(observed.verdict.usage.output_tokens, Some(1));
    assert!(observed.verdict.error_event.is_none());
}

#[test]
fn a_successful_answer_of_a_known_kind_has_content() {
    for (path, status, kind, expected) in [
        ("/v1/chat/completions", 200, JSON, true),
        ("/v1/chat/completions", 200, SSE, true),
        ("/v1/chat/completions", 200, "text/plain", false),
        ("/v1/chat/completions", 400, JSON, false),
        ("/v1/chat/completions", 503, SSE, false),
        ("/v1/embeddings", 200, SSE, false),
        ("/v1/files", 200, JSON, false),
    ] {
        let mut response = request_to(path, r#"{"model":"m","input":"x","messages":[]}"#).response();
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        _ = response.head(StatusCode::from_u16(status).unwrap(), &headers);
        assert_eq!(response.owes_content(), expected, "{path} {status} {kind}");
    }
}

#[test]
fn a_websocket_is_complete_whoever_closes_it() {
    let realtime = request_to("/v1/realtime", "");
    for end in [ResponseEnd::ClientGone, ResponseEnd::Clean] {
        let observed = observe(&realtime, 101, "text/plain", "frames", end);
        assert_eq!(observed.verdict.completion, Completion::Complete, "{end:?}");
        assert!(!observed.verdict.abort);
    }
}

#[test]
fn a_502_or_503_fails_the_attempt_and_a_500_counts_against_the_engine() {
    let plain = request_to("/v1/completions", r#"{"model":"m"}"#);
    for (status, head, completion) in [
        (502, HeadVerdict::Failure(FailureCause::Unavailable), Completion::Broken(FailureCause::Unavailable)),
        (503, HeadVerdict::Failure(FailureCause::Unavailable), Completion::Broken(FailureCause::Unavailable)),
        (
            500,
            HeadVerdict::Doubtful(FailureCause::EngineError),
            Completion::Broken(FailureCause::EngineError),
        ),
        (429, HeadVerdict::Doubtful(FailureCause::Declined), Completion::Declined),
        (404, HeadVerdict::Doubtful(FailureCause::Declined), Completion::Declined),
    ] {
        let observed = observe(&plain, status, JSON, "{}", ResponseEnd::Clean);
        assert_eq!((observed.head, observed.verdict.completion), (head, completion), "{status}");
    }
}

#[test]
fn a_json_response_reports_usage_and_the_id_of_the_stored_response() {
    let body =
        r#"{"id":"resp_7","status":"completed","output":[],"usage":{"input_tokens":3,"output_tokens":5}}"#;
    let stored = request_to("/v1/responses", r#"{"model":"m","input":"x"}"#);
    let observed = observe(&stored, 200, JSON, body, ResponseEnd::Clean);
    assert_eq!(observed.verdict.stored_response.as_deref(), Some("resp_7"));
    assert_eq!(observed.verdict.usage.output_tokens, Some(5));
    let unstored = request_to("/v1/responses", r#"{"model":"m","input":"x","store":false}"#);
    assert_eq!(observe(&unstored, 200, JSON, body, ResponseEnd::Clean).verdict.stored_response, None);
}

#[test]
fn an_incomplete_json_response_is_truncated() {
    let plain = request_to("/v1/completions", r#"{"model":"m"}"#);
    let observed = observe(&plain, 200, JSON, r#"{"id":"cmpl","choices":[{"te"#, ResponseEnd::Clean);
    assert_eq!(observed.verdict.completion, Completion::Broken(FailureCause::Truncated));
    assert!(observed.verdict.abort && observed.verdict.error_event.is_none());
}

#[test]
fn a_stream_of_an_unknown_format_fails_with_its_transport_only() {
    let unknown = request_to("/v1/embeddings", r#"{"model":"m","input":"x"}"#);
    let observed = observe(&unknown, 200, SSE, &events(&[ERROR]), ResponseEnd::Clean);
    assert_eq!(observed.verdict.completion, Completion::Complete);
}

#[test]
fn more_output_tokens_than_the_bytes_can_hold_are_not_believed() {
    let body = r#"{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4294967295}}"#;
    let observed = observe(&chat(), 200, JSON, body, ResponseEnd::Clean);
    let most = u32::try_from(64 * body.len()).unwrap();
    assert_eq!(observed.verdict.usage.output_tokens, Some(most));
    let honest = body.replace("4294967295", "700");
    let observed = observe(&chat(), 200, JSON, &honest, ResponseEnd::Clean);
    assert_eq!(observed.verdict.usage.output_tokens, Some(700), "hidden reasoning counts");
}
