//! From a request's head and body to its placement facts and the engine's request, or to a refusal.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pointsman_config::models::ModelRules;
use pointsman_config::{Options, SourceText, load};
use pointsman_core::{EndpointId, FailureCause, ModelKey, PoolId, Rejection};
use pointsman_exchange::{
    EngineRequest, Limits, OBJECTIVE, ParsedRequest, REASON, Refusal, RequestHead, RequestReader,
    ResolveContext,
};
use pointsman_protocol::BlockKey;

static KEY: LazyLock<BlockKey> = LazyLock::new(|| BlockKey::new([1, 2]));

const CHAT: &str = "/v1/chat/completions";
const LIMITS: Limits = Limits { max_body_bytes: 64 << 10 };

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

/// Reads a POST in chunks of `size` bytes.
fn read_in(path: &str, head: &[(&str, &str)], body: &[u8], size: usize) -> Result<ParsedRequest, Refusal> {
    let headers = headers(head);
    let head = RequestHead { method: &Method::POST, path, headers: &headers, has_body: true, trusted: true };
    read_head(&head, body, size)
}

/// Reads as much of a body as is needed.
fn read_head(head: &RequestHead<'_>, body: &[u8], size: usize) -> Result<ParsedRequest, Refusal> {
    let mut incoming = RequestReader::begin(head, LIMITS)?;
    let mut chunks = body.chunks(size.max(1));
    while incoming.needs_body() {
        match chunks.next() {
            Some(chunk) => incoming.body_chunk(Bytes::copy_from_slice(chunk))?,
            None => incoming.body_ended(),
        }
    }
    incoming.finish(|_| Ok(()))
}

fn read(path: &str, head: &[(&str, &str)], body: &str) -> Result<ParsedRequest, Refusal> {
    read_in(path, head, body.as_bytes(), body.len())
}

fn resolve(request: ParsedRequest) -> Result<EngineRequest, Refusal> {
    request.resolve(&with(&ModelRules::default()))
}

fn with(rules: &ModelRules) -> ResolveContext<'_> {
    ResolveContext {
        rules,
        pool: PoolId(0),
        draw: 0,
        names_path_exactly: false,
        holder: None,
        default_model: rules.default_model().map(|name| &**name),
        path: "/",
        block_key: &KEY,
    }
}

#[track_caller]
fn check_refused(result: Result<EngineRequest, Refusal>, status: u16, reason: &str) {
    let refusal = result.err().unwrap_or_else(|| panic!("not refused; due: {status} {reason}"));
    assert_eq!((refusal.status().as_u16(), refusal.reason()), (status, reason));
}

#[test]
fn invalid_bodies_are_refused() {
    let json = [("content-type", "application/json")];
    let deep = format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    for body in
        ["not json", "", "{", r#"{"model":"m"} x"#, r#"{"model":"m","model":"m"}"#, r#"{"model":7}"#, &deep]
    {
        check_refused(read(CHAT, &json, body).and_then(resolve), 400, "invalid_body");
    }
    check_refused(read_in(CHAT, &json, b"{\"model\":\"\xff\"}", 99).and_then(resolve), 400, "invalid_body");
    check_refused(read(CHAT, &json, r#"{"messages":[]}"#).and_then(resolve), 400, "missing_model");
}

#[test]
fn bodies_over_the_limit_are_refused_with_and_without_content_length() {
    let announced = [("content-length", "70000")];
    check_refused(read(CHAT, &announced, "").and_then(resolve), 413, "body_too_large");
    check_refused(read("/v1/audio/transcriptions", &announced, "").and_then(resolve), 413, "body_too_large");
    check_refused(read(CHAT, &[], &" ".repeat(70_000)).and_then(resolve), 413, "body_too_large");
}

#[test]
fn an_encoded_body_that_is_not_decoded_is_refused_only_if_it_must_be_read() {
    let encoded = [("content-encoding", "br"), ("content-type", "application/json")];
    check_refused(read(CHAT, &encoded, "").and_then(resolve), 415, "content_encoding");
    assert!(read("/custom", &encoded, "").and_then(resolve).is_ok());
    let broken = [("content-encoding", "gzip"), ("content-type", "application/json")];
    check_refused(read(CHAT, &broken, "no gzip").and_then(resolve), 415, "content_encoding");
    assert!(read(CHAT, &[("content-encoding", "identity")], r#"{"model":"m"}"#).and_then(resolve).is_ok());
}

#[test]
fn administration_paths_need_a_route_that_matches_exactly() {
    for path in ["/v1/load_lora_adapter", "/sleep", "//sleep", "/x/../sleep", "/%73leep"] {
        check_refused(read(path, &[], "{}").and_then(resolve), 404, "administration_path");
    }
    let named = read("/v1/load_lora_adapter", &[], "{}").unwrap();
    let rules = ModelRules::default();
    let exactly = ResolveContext { names_path_exactly: true, ..with(&rules) };
    assert!(named.resolve(&exactly).is_ok());
}

#[test]
fn a_stored_response_is_served_by_its_holder_or_refused() {
    let body = r#"{"model":"m","input":"go on","previous_response_id":"resp_1"}"#;
    let request = read("/v1/responses", &[], body).unwrap();
    assert_eq!(request.stored_response(), Some("resp_1"));
    let rules = ModelRules::default();
    check_refused(request.resolve(&with(&rules)), 404, "unknown_response");
    let known = ResolveContext { holder: Some(EndpointId(3)), ..with(&rules) };
    let request = read("/v1/responses", &[], body).unwrap().resolve(&known).unwrap();
    assert_eq!(request.placement.subset.as_deref(), Some(&[EndpointId(3)][..]));
}

#[test]
fn chunk_boundaries_do_not_change_the_request() {
    let content = "four words and more ".repeat(30);
    let body = format!(
        r#"{{"model":"llama","messages":[{{"role":"user","content":"{content}"}}],"stream":true,"max_tokens":7,"n":2}}"#
    );
    let body = body.as_bytes();
    let whole = read_in(CHAT, &[], body, body.len()).and_then(resolve).unwrap();
    assert_eq!((whole.placement.blocks.len(), whole.placement.block_tokens), (2, 64));
    for size in 1..=body.len() {
        let request = read_in(CHAT, &[], body, size).and_then(resolve).unwrap();
        assert_eq!(request.placement, whole.placement);
        let placement = &request.placement;
        assert_eq!(placement.target, Some(ModelKey::of("llama")));
        assert_eq!((placement.max_output_tokens, placement.observes_tokens), (Some(14), true));
        assert!(placement.prompt_tokens > 0);
        let sent: Vec<u8> = request.body().unwrap().parts.concat();
        assert_eq!(sent, body);
    }
}

/// A pool that rewrites the models `public` and `alias` to `adapter`.
const POOL: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec: {gatewayClassName: pointsman, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: g}]
  rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p}]}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: p}
spec:
  selector: {matchLabels: {app: p}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: e, port: {number: 9002}}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: public}
spec: {modelName: public, poolRef: {name: p}, targetModels: [{name: adapter}]}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: alias}
spec: {modelName: alias, poolRef: {name: p}, targetModels: [{name: adapter}]}
";

#[test]
fn a_prompt_is_hashed_for_its_target_model() {
    let loaded = load(&[SourceText::new("test.yaml", POOL)], &Options::default());
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    let rules = &loaded.world.pools[0].models;
    let hashed = |model: &str, salt: &str, prompt: &str| {
        let body = format!(r#"{{"model":"{model}","prompt":"{prompt}","cache_salt":"{salt}"}}"#);
        let request = read("/v1/completions", &[], &body).unwrap();
        let placement = request.resolve(&with(rules)).unwrap().placement;
        assert_eq!(placement.block_tokens, if placement.blocks.is_empty() { 0 } else { 64 });
        placement.blocks
    };
    let prompt = "It was a bright cold day in April. ".repeat(20);
    let blocks = hashed("public", "a", &prompt);
    assert_eq!(blocks.len(), 2);
    assert_eq!(hashed("alias", "a", &prompt), blocks);
    assert_eq!(hashed("adapter", "a", &prompt), blocks);
    let others = [hashed("base", "a", &prompt), hashed("public", "b", &prompt)];
    assert!(others.iter().all(|other| other.iter().all(|block| !blocks.contains(block))));
    assert!(hashed("public", "a", "short").is_empty());
}

#[test]
fn an_unread_body_is_placed_by_its_content_length() {
    for (path, length, tokens) in [("/v1/audio/transcriptions", "4000", 1_000), ("/custom", "60000", 8_192)] {
        let request =
            read(path, &[("content-length", length), ("content-type", "audio/wav")], "RIFF").unwrap();
        let request = resolve(request).unwrap();
        assert_eq!(request.placement.prompt_tokens, tokens);
        assert!(request.placement.blocks.is_empty());
        assert!(request.streams());
    }
}

#[test]
fn control_headers_are_removed_and_the_length_follows_the_body() {
    let request = read(CHAT, &[], r#"{"model":"m","messages":[]}"#).and_then(resolve).unwrap();
    let mut sent = headers(&[
        ("x-gateway-inference-objective", "o"),
        ("content-length", "5"),
        ("expect", "100-continue"),
    ]);
    request.prepare_headers(&mut sent);
    assert!(!sent.contains_key(OBJECTIVE) && !sent.contains_key(header::EXPECT));
    assert_eq!(sent[header::CONTENT_LENGTH], "27");
}

#[test]
fn only_stateless_calls_are_retried_after_they_were_written() {
    use FailureCause::{
        Connect, EngineError, FirstByteTimeout, Garbage, Lost, Refused, StaleConnection, Stalled, Tls,
        Truncated, Unavailable,
    };
    let chat = read(CHAT, &[], r#"{"model":"m"}"#).and_then(resolve).unwrap();
    let stored = read("/v1/responses", &[], r#"{"model":"m"}"#).and_then(resolve).unwrap();
    let stream =
        read("/v1/audio/transcriptions", &[("content-type", "audio/wav")], "RIFF").and_then(resolve).unwrap();
    for cause in [Connect, Tls, Refused] {
        let retries = [&chat, &stored, &stream].map(|request| request.may_retry(cause, false));
        assert_eq!(retries, [true, true, false], "{cause:?}");
        assert!(stream.may_retry(cause, true));
    }
    for cause in [Lost, StaleConnection, Stalled, Unavailable, EngineError] {
        let retries = [&chat, &stored, &stream].map(|request| request.may_retry(cause, false));
        assert_eq!(retries, [true, false, false], "{cause:?}");
        assert_eq!(
            stream.may_retry(cause, true),
            matches!(cause, Lost | StaleConnection),
            "a body that is incomplete was not processed"
        );
    }
    for cause in [FirstByteTimeout, Truncated, Garbage] {
        assert!(!chat.may_retry(cause, true), "{cause:?}");
    }
    for (method, repeats) in [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::OPTIONS, true),
        (Method::DELETE, false),
        (Method::POST, false),
    ] {
        let head = RequestHead {
            method: &method,
            path: "/version",
            headers: &HeaderMap::new(),
            has_body: false,
            trusted: false,
        };
        let request = resolve(read_head(&head, b"", 1).unwrap()).unwrap();
        assert!(request.may_retry(Connect, false));
        assert_eq!(request.may_retry(Lost, false), repeats, "{method}");
    }
}

#[test]
fn an_untrusted_peers_objective_is_ignored() {
    let named = headers(&[("x-gateway-inference-objective", "gold")]);
    for (trusted, expected) in [(true, true), (false, false)] {
        let head =
            RequestHead { method: &Method::POST, path: "/custom", headers: &named, has_body: true, trusted };
        let request = read_head(&head, b"", 1).unwrap();
        assert_eq!(format!("{request:?}").contains("gold"), expected);
    }
}

#[test]
fn debug_output_contains_no_prompt() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"MARKER"}],"cache_salt":"MARKER"}"#;
    let request = read(CHAT, &[], body).unwrap();
    assert!(!format!("{request:?}").contains("MARKER"));
    let request = resolve(request).unwrap();
    assert!(!format!("{request:?}").contains("MARKER"));
}

#[test]
fn a_refusal_tells_client_libraries_not_to_retry_only_where_that_is_of_no_use() {
    let refusal = read(CHAT, &[], "{}").and_then(resolve).err().unwrap();
    let response = refusal.response(pointsman_protocol::ErrorShape::OpenAi);
    assert_eq!(response.headers[REASON], "missing_model");
    assert_eq!(response.headers["x-should-retry"], "false");
    let text = String::from_utf8(response.body.to_vec()).unwrap();
    assert!(text.starts_with(r#"{"error":{"#) && text.contains(r#""param":"model""#), "{text}");
    let retry_after = std::time::Duration::from_secs(2);
    for refusal in [
        Refusal::Busy,
        Refusal::RequestTimeout,
        Refusal::BodyTimeout,
        Refusal::Pool(Rejection::Saturated { retry_after }),
        Refusal::Pool(Rejection::NoReadyEndpoint),
        Refusal::Pool(Rejection::EmptySubset),
        Refusal::Pool(Rejection::AttemptsFailed(FailureCause::Connect)),
    ] {
        let response = refusal.response(pointsman_protocol::ErrorShape::OpenAi);
        assert!(!response.headers.contains_key("x-should-retry"), "{refusal:?}");
    }
}
