//! Routes and model rules, as client and engine see them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::net::SocketAddr;

use support::client::{ask, post};
use support::engine::{self, Engine, Step, full_response};
use support::{Running, manifests};

const MANIFESTS: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: pointsman
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: g}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /old}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {scheme: https, hostname: new.test, statusCode: 301}
  - matches: [{path: {type: PathPrefix, value: /team}}]
    filters:
    - type: URLRewrite
      urlRewrite:
        hostname: engine.test
        path: {type: ReplacePrefixMatch, replacePrefixMatch: /}
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{name: x-team, value: blue}]
        remove: [x-secret]
    - type: ResponseHeaderModifier
      responseHeaderModifier:
        add: [{name: x-served, value: "yes"}]
        remove: [server]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
  - matches: [{path: {type: PathPrefix, value: /v1}, headers: [{name: x-gateway-model-name, value: special}]}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: two}]
  - matches: [{path: {type: Exact, value: /v1/load_lora_adapter}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
  - matches: [{path: {type: PathPrefix, value: /hurry}}]
    timeouts: {request: 50ms}
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: two}]
  - matches: [{path: {type: PathPrefix, value: /v1}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: one}
spec:
  selector: {matchLabels: {app: one}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: p, port: {number: 9002}}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: two}
spec:
  selector: {matchLabels: {app: two}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: p, port: {number: 9002}}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: assistant}
spec:
  modelName: assistant
  criticality: Critical
  poolRef: {name: one}
  targetModels: [{name: assistant-v1, weight: 1}]
"#;

async fn before(one: &[SocketAddr], two: &[SocketAddr]) -> Running {
    let slice = |(app, addresses): (&str, &[SocketAddr])| {
        addresses
            .iter()
            .map(|address| {
                format!(
                    "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {app}-{port}\n  \
                     labels: {{app: {app}}}\n  annotations: {{pointsman.dev/static-endpoints: \"true\"}}\n\
                     addressType: IPv4\nports: [{{name: p, port: {port}}}]\nendpoints: [{{addresses: [127.0.0.1]}}]\n",
                    port = address.port()
                )
            })
            .collect::<String>()
    };
    let slices: String = [("one", one), ("two", two)].into_iter().map(slice).collect();
    Running::start(manifests(&format!("{MANIFESTS}{slices}"))).await
}

#[tokio::test]
async fn only_the_model_changes_in_a_rewritten_body() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = before(&[engine.address], &[]).await;
    let body = "{ \"stream\":false,\t\"model\" : \"assistant\" , \"messages\":[{\"content\":\"model: \\\"assistant\\\"\"}]}\n";
    assert_eq!(ask(gateway.address, &post("/v1/chat/completions", body)).await.status, 200);
    let seen = &engine.seen()[0];
    let expected = body.replacen("\"assistant\"", "\"assistant-v1\"", 1);
    assert_eq!(String::from_utf8_lossy(&seen.body), expected);
    assert_eq!(seen.header("content-length"), Some(expected.len().to_string().as_str()));
    gateway.stop().await;
}

#[tokio::test]
async fn routes_match_on_the_bodys_model() {
    let one = Engine::start(|_| full_response("200 OK", "text/plain", "one")).await;
    let two = Engine::start(|_| full_response("200 OK", "text/plain", "two")).await;
    let gateway = before(&[one.address], &[two.address]).await;
    for (model, pool) in [("special", "two"), ("other", "one")] {
        let body = format!(r#"{{"model":"{model}","prompt":"x"}}"#);
        assert_eq!(ask(gateway.address, &post("/v1/completions", &body)).await.text(), pool);
    }
    let forged = b"GET /v1/x HTTP/1.1\r\nhost: h\r\nx-gateway-model-name: special\r\n\r\n";
    assert_eq!(ask(gateway.address, forged).await.text(), "one", "a client's copy is ignored");
    gateway.stop().await;
}

#[tokio::test]
async fn filters_change_headers_and_paths() {
    let answer = "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: 0\r\n\r\n";
    let engine = Engine::start(move |_| vec![Step::Send(answer.into())]).await;
    let gateway = before(&[engine.address], &[]).await;
    let request = b"GET /team/v1/x?q=1 HTTP/1.1\r\nhost: h\r\nx-secret: s\r\nx-team: red\r\n\r\n";
    let reply = ask(gateway.address, request).await;
    assert_eq!((reply.header("x-served"), reply.header("server")), (Some("yes"), None));
    let seen = &engine.seen()[0];
    assert!(seen.head.starts_with("GET /v1/x?q=1 HTTP/1.1"), "{}", seen.head);
    assert_eq!(seen.header("x-team"), Some("blue"));
    assert_eq!(seen.header("x-secret"), None);
    assert_eq!(seen.header("host"), Some("engine.test"));
    assert_eq!(seen.header("x-forwarded-host"), Some("h"));
    gateway.stop().await;
}

#[tokio::test]
async fn redirects_and_unmatched_requests_are_answered_by_the_gateway() {
    let gateway = before(&[], &[]).await;
    let reply = ask(gateway.address, b"GET /old/x?q=1 HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((reply.status, reply.header("location")), (301, Some("https://new.test/old/x?q=1")));
    let reply = ask(gateway.address, b"GET /else HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((reply.status, reply.reason()), (404, "no_route"));
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_administration_path_needs_a_route_that_matches_exactly() {
    let engine = Engine::start(|_| full_response("200 OK", "text/plain", "loaded")).await;
    let gateway = before(&[engine.address], &[]).await;
    assert_eq!(ask(gateway.address, &post("/v1/load_lora_adapter", "{}")).await.text(), "loaded");
    assert_eq!(
        ask(gateway.address, &post("/v1/unload_lora_adapter", "{}")).await.reason(),
        "administration_path"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_routes_timeout_covers_the_whole_request() {
    let engine = Engine::start(|_| vec![Step::AwaitClose]).await;
    let gateway = before(&[], &[engine.address]).await;
    let reply = ask(gateway.address, b"GET /hurry HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((reply.status, reply.reason()), (504, "request_timeout"));
    engine.closed_by_peer().await;
    gateway.idle().await;
    assert_eq!(
        gateway.metric("pointsman_endpoint_failures_total"),
        0.0,
        "the route's choice, no engine's fault"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn a_stored_response_is_requested_from_its_engine() {
    let script = |name: &'static str| {
        move |n: usize| {
            let id = format!(r#"{{"id":"resp_{name}_{n}","object":"response","status":"completed"}}"#);
            full_response("200 OK", "application/json", &id)
        }
    };
    let (a, b) = (Engine::start(script("a")).await, Engine::start(script("b")).await);
    let gateway = before(&[a.address, b.address], &[]).await;
    for _ in 0..6 {
        let made = ask(gateway.address, &post("/v1/responses", r#"{"model":"m","input":"x"}"#)).await.text();
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let id = made["id"].as_str().unwrap();
        let get = format!("GET /v1/responses/{id} HTTP/1.1\r\nhost: h\r\n\r\n");
        let got = ask(gateway.address, get.as_bytes()).await.text();
        assert_eq!(got[..13], made.to_string()[..13], "the same engine answers");
        let next = format!(r#"{{"model":"m","input":"x","previous_response_id":"{id}"}}"#);
        let next = ask(gateway.address, &post("/v1/responses", &next)).await.text();
        assert_eq!(next[..13], got[..13]);
        let delete = format!("DELETE /v1/responses/{id} HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(ask(gateway.address, delete.as_bytes()).await.status, 200);
    }
    gateway.idle().await;
    gateway.stop().await;
}
