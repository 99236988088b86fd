//! What the gateway answers itself behaves like what its route's engines answer.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::client::{Reply, ask, post};
use support::engine::{self, Engine, full_response};
use support::{Running, manifests};

fn config(engines: &[(&str, u16)]) -> String {
    let mut text = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec: {gatewayClassName: pointsman, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a}
spec:
  parentRefs: [{name: g}]
  hostnames: [a.test]
  rules:
  - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-team, value: a}]}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: a}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: both}
spec:
  parentRefs: [{name: g}]
  hostnames: [both.test]
  rules:
  - matches: [{headers: [{name: X-Gateway-Model-Name, value: alias-a}]}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: a}]
  - matches: [{headers: [{name: X-Gateway-Base-Model-Name, value: alias-b}]}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: b}]
"#
    .to_owned();
    for (app, port) in engines {
        text += &format!(
            r#"---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {{name: {app}}}
spec:
  selector: {{matchLabels: {{app: {app}}}}}
  targetPorts: [{{number: 8000}}]
  endpointPickerRef: {{name: p, port: {{number: 9002}}}}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {{name: alias-{app}}}
spec: {{modelName: alias-{app}, poolRef: {{name: {app}}}, targetModels: [{{name: served, weight: 1}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {app}
  labels: {{app: {app}}}
  annotations: {{pointsman.dev/static-endpoints: "true"}}
addressType: IPv4
ports: [{{name: p, port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"#
        );
    }
    text
}

async fn start() -> (Running, Engine, Engine) {
    let one = Engine::start(|_| engine::chat()).await;
    let two = Engine::start(|_| engine::chat()).await;
    let text = config(&[("a", one.address.port()), ("b", two.address.port())]);
    (Running::start(manifests(&text)).await, one, two)
}

async fn get(gateway: &Running, method: &str, path: &str, host: &str, more: &str) -> Reply {
    ask(gateway.address, format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n").as_bytes()).await
}

fn ids(reply: &Reply) -> Vec<String> {
    let list: Value = serde_json::from_str(&reply.text()).unwrap();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_model_list_has_the_models_of_its_route_as_engines_describe_them() {
    let (gateway, _one, _two) = start().await;
    let list = get(&gateway, "GET", "/v1/models", "a.test", "").await;
    assert_eq!(ids(&list), ["alias-a", "served"]);
    assert_eq!(list.header("access-control-allow-origin"), Some("*"), "the engine's");
    assert_eq!(list.header("x-team"), Some("a"), "the route's");
    let entry: Value = serde_json::from_str(&list.text()).unwrap();
    let described = json!({"id": "alias-a", "object": "model", "created": 7, "owned_by": "vllm",
        "root": null, "parent": null, "max_model_len": 4096});
    assert_eq!(entry["data"][0], described);
    assert_eq!(
        ids(&get(&gateway, "GET", "/v1/models", "both.test", "").await),
        ["alias-a", "alias-b", "served"]
    );
    let one = get(&gateway, "GET", "/v1/models/alias-a", "a.test", "").await;
    assert_eq!(serde_json::from_str::<Value>(&one.text()).unwrap(), described);
    assert_eq!(get(&gateway, "GET", "/v1/models/alias-b", "a.test", "").await.status, 404);
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_engines_own_authorisation_stands_before_the_list() {
    let (gateway, _one, _two) = start().await;
    for path in ["/v1/models", "/v1/models/served"] {
        let refused = get(&gateway, "GET", path, "a.test", "authorization: Bearer wrong\r\n").await;
        assert_eq!((refused.status, refused.text().as_str()), (401, r#"{"error":"Unauthorized"}"#));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn head_and_get_of_the_list_have_the_same_headers() {
    let (gateway, _one, _two) = start().await;
    let of = |reply: &Reply| {
        ["content-type", "content-length", "x-team", "access-control-allow-origin"]
            .map(|name| reply.header(name).map(str::to_owned))
    };
    let got = get(&gateway, "GET", "/v1/models", "a.test", "").await;
    let mut wire = support::client::Wire::open(gateway.address).await;
    wire.send(b"HEAD /v1/models HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
    let head = wire.read_until(b"\r\n\r\n").await;
    let head = Reply { status: 200, head, body: Vec::new(), complete: true };
    assert!(head.head.starts_with("HTTP/1.1 200"), "{}", head.head);
    assert_eq!(of(&head), of(&got));
    gateway.stop().await;
}

#[tokio::test]
async fn refusals_have_the_routes_headers_and_every_response_its_id() {
    let (gateway, one, _two) = start().await;
    let chat = |body: &str, more: &str| {
        let text = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a.test\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = gateway.address;
        async move { ask(address, text.as_bytes()).await }
    };
    let refused = chat("no json", "x-request-id: rid-1\r\n").await;
    assert_eq!((refused.status, refused.header("x-team")), (400, Some("a")));
    assert_eq!(refused.header("x-request-id"), Some("rid-1"));
    let served = chat(r#"{"model":"m","messages":[]}"#, "x-request-id: rid-2\r\n").await;
    assert_eq!((served.status, served.header("x-request-id")), (200, Some("rid-2")));
    assert_eq!(one.seen()[0].header("x-request-id"), Some("rid-2"));
    let made = chat(r#"{"model":"m","messages":[]}"#, "").await;
    assert!(made.header("x-request-id").is_some_and(|id| id.len() == 16));
    assert_eq!(one.seen()[1].header("x-request-id"), made.header("x-request-id"));
    let unrouted = get(&gateway, "GET", "/x", "c.test", "x-request-id: rid-3\r\n").await;
    assert_eq!((unrouted.reason(), unrouted.header("x-request-id")), ("no_route", Some("rid-3")));
    let long = format!("x-request-id: {}\r\n", "x".repeat(129));
    let replaced = get(&gateway, "GET", "/v1/models", "a.test", &long).await;
    assert_eq!(replaced.header("x-request-id").map(str::len), Some(16));
    gateway.stop().await;
}

#[tokio::test]
async fn a_stored_response_that_nobody_remembers_is_looked_for() {
    let missing = || full_response("404 Not Found", "application/json", r#"{"error":"no such response"}"#);
    let found = || {
        full_response(
            "200 OK",
            "application/json",
            r#"{"id":"resp_1","object":"response","status":"completed"}"#,
        )
    };
    let (without, with) = (Engine::start(move |_| missing()).await, Engine::start(move |_| found()).await);
    let gateway = Running::before(&[without.address, with.address]).await;
    let next = post("/v1/responses", r#"{"model":"m","input":"x","previous_response_id":"resp_1"}"#);
    assert_eq!(ask(gateway.address, &next).await.status, 200);
    assert_eq!(without.seen().len(), 1, "it was asked once");
    assert!(without.seen()[0].head.starts_with("GET /v1/responses/resp_1 "));
    gateway.idle().await;
    gateway.stop().await;
    let gateway = Running::before(&[without.address]).await;
    let reply = get(&gateway, "GET", "/v1/responses/resp_1", "h", "").await;
    assert_eq!(
        (reply.status, reply.header("x-pointsman-reason")),
        (404, None),
        "the only engine's own words"
    );
    gateway.stop().await;
}

/// An engine that answers everything with this.
async fn answers_all(answer: &'static str) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            _ = tokio::io::AsyncReadExt::read(&mut stream, &mut head).await;
            _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_list_in_another_form_passes_where_nothing_else_is_known() {
    let list = r#"{"models":[{"name":"m"}]}"#;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/x\r\nconnection: close\r\ncontent-length: 25\r\n\r\n\
        {\"models\":[{\"name\":\"m\"}]}";
    let gateway = Running::before(&[answers_all(answer).await]).await;
    let reply = ask(gateway.address, b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(
        (reply.status, reply.text().as_str(), reply.header("content-type")),
        (200, list, Some("text/x"))
    );
    let reply = ask(gateway.address, b"GET /v1/models/m HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(reply.status, 404);
    gateway.idle().await;
    gateway.stop().await;
}
