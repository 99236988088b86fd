//! Error responses in the shape of each API.

use pointsman_protocol::{Api, ErrorBody, ErrorShape, SseScanner, StreamEnd};
use serde_json::{Value, json};

fn error() -> ErrorBody {
    ErrorBody::new(429, "saturated", "the pool is \"full\"").with_param(Some("model"))
}

#[test]
fn bodies_have_the_shape_of_the_clients_api() {
    let openai = json!({"error": {
        "message": "the pool is \"full\"", "type": "rate_limit_error", "param": "model", "code": "saturated",
    }});
    let anthropic =
        json!({"type": "error", "error": {"type": "rate_limit_error", "message": "the pool is \"full\""}});
    let apis = [
        Api::Completions,
        Api::ChatCompletions,
        Api::Responses,
        Api::Messages,
        Api::CountTokens,
        Api::Embeddings,
        Api::Score,
        Api::Rerank,
        Api::Pooling,
        Api::Classify,
        Api::Tokenize,
        Api::Detokenize,
        Api::Generate,
        Api::Render,
    ];
    for api in apis.into_iter().map(Some).chain([None]) {
        let body: Value = serde_json::from_slice(&error().body(ErrorShape::of(api))).unwrap();
        let expected =
            if matches!(api, Some(Api::Messages | Api::CountTokens)) { &anthropic } else { &openai };
        assert_eq!(&body, expected, "{api:?}");
    }
}

#[test]
fn an_error_event_fails_the_stream_of_every_format() {
    for api in [Api::Completions, Api::ChatCompletions, Api::Responses, Api::Messages, Api::Generate] {
        let (event, format) = (error().event(ErrorShape::of(Some(api))), api.stream_format());
        assert!(!event.windows(6).any(|window| window == b"[DONE]"), "{format:?}");
        for before in ["", "data: {\"choices\":[{\"text\":\"cut", "data: {}\n", "event: x\r\n"] {
            let mut scanner = SseScanner::new(format);
            scanner.push(before.as_bytes());
            scanner.push(&event);
            assert!(matches!(scanner.finish().1, StreamEnd::Failed(_)), "{format:?} after {before:?}");
        }
    }
}

#[test]
fn every_status_has_an_openai_and_an_anthropic_type() {
    for (status, openai, anthropic) in [
        (400, "invalid_request_error", "invalid_request_error"),
        (404, "not_found_error", "not_found_error"),
        (413, "invalid_request_error", "request_too_large"),
        (415, "invalid_request_error", "invalid_request_error"),
        (429, "rate_limit_error", "rate_limit_error"),
        (502, "server_error", "api_error"),
        (503, "service_unavailable", "overloaded_error"),
        (504, "timeout_error", "timeout_error"),
    ] {
        let error = ErrorBody::new(status, "x", "");
        let kind = |shape| {
            let body: Value = serde_json::from_slice(&error.body(shape)).unwrap();
            body["error"]["type"].as_str().unwrap().to_owned()
        };
        assert_eq!(kind(ErrorShape::OpenAi), openai);
        assert_eq!(kind(ErrorShape::Anthropic), anthropic);
    }
}
