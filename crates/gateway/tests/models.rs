//! Model rules and routes by model, whatever names the model, as client and engine see them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

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
  - matches: [{path: {type: PathPrefix, value: /team}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
  - matches: [{path: {type: PathPrefix, value: /ask}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /v1/completions}}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
  - matches: [{path: {type: PathPrefix, value: /nap}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /sleep}}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
  - matches: [{headers: [{name: x-gateway-model-name, value: special}]}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: two}]
  - matches: [{headers: [{name: X-Gateway-Base-Model-Name, value: base}]}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: two}]
  - matches: [{headers: [{name: x-gateway-inference-objective, value: gold}]}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: two}]
  - backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
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
metadata: {name: speech}
spec: {modelName: speech, poolRef: {name: one}, targetModels: [{name: whisper, weight: 1}]}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: other}
spec: {modelName: other, poolRef: {name: one}}
---
apiVersion: pointsman.dev/v1alpha1
kind: PoolPolicy
metadata: {name: one}
spec: {poolRef: {name: one}, undeclaredModels: reject}
"#;

/// A gateway before two pools of one engine each, which answer with the pool's name.
async fn start() -> (Running, Engine, Engine) {
    let one = Engine::start(|_| full_response("200 OK", "text/plain", "one")).await;
    let two = Engine::start(|_| full_response("200 OK", "text/plain", "two")).await;
    let slice = |app: &str, port: u16| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {app}\n  labels: {{app: {app}}}\n  \
             annotations: {{pointsman.dev/static-endpoints: \"true\"}}\naddressType: IPv4\nports: [{{name: p, port: {port}}}]\n\
             endpoints: [{{addresses: [127.0.0.1]}}]\n"
        )
    };
    let slices = [slice("one", one.address.port()), slice("two", two.address.port())].concat();
    (Running::start(manifests(&format!("{MANIFESTS}{slices}"))).await, one, two)
}

fn request(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn upload(model: &str, file_bytes: usize, file_first: bool) -> Vec<u8> {
    let part = |name: &str, content: &str| {
        format!("--x\r\nContent-Disposition: form-data; name={name}\r\n\r\n{content}\r\n")
    };
    let file = part("\"file\"; filename=\"a.wav\"", &"w".repeat(file_bytes));
    let model = part("\"model\"", model);
    let parts = if file_first { [file, model] } else { [model, file] };
    request(
        "/v1/audio/transcriptions",
        "multipart/form-data; boundary=x",
        (parts.concat() + "--x--\r\n").as_bytes(),
    )
}

#[tokio::test]
async fn a_forms_model_is_routed_declared_and_rewritten() {
    let (gateway, one, two) = start().await;
    for (bytes, file_first) in [(10, true), (10, false), (600_000, true), (600_000, false)] {
        assert_eq!(ask(gateway.address, &upload("special", bytes, file_first)).await.text(), "two");
        assert_eq!(
            ask(gateway.address, &upload("nope", bytes, file_first)).await.reason(),
            "undeclared_model"
        );
        let sent = upload("speech", bytes, file_first);
        assert_eq!(ask(gateway.address, &sent).await.text(), "one");
        let seen = one.seen().pop().unwrap();
        let body = String::from_utf8(sent).unwrap();
        let expected = body.split_once("\r\n\r\n").unwrap().1.replacen("speech", "whisper", 1);
        assert_eq!(seen.header("content-length"), Some(expected.len().to_string().as_str()));
        assert!(seen.body == expected.as_bytes(), "{bytes} {file_first}");
    }
    assert_eq!((one.seen().len(), two.seen().len()), (4, 4));
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn rules_hold_on_any_path_and_content_type() {
    let (gateway, one, _two) = start().await;
    let json = |model: &str| format!(r#"{{"model":"{model}","messages":[]}}"#);
    for (path, kind) in [
        ("/v1/chat/completions", "application/x-www-form-urlencoded"),
        ("/v1/chat/completions", "text/json"),
        ("/invocations", "application/json"),
        ("/anything", "application/json"),
        ("/team/v1/chat/completions", "application/json"),
        ("/ask/me", "application/json"),
    ] {
        assert_eq!(ask(gateway.address, &request(path, kind, json("speech").as_bytes())).await.text(), "one");
        assert_eq!(one.seen().pop().unwrap().body, json("whisper").as_bytes(), "{path} {kind}");
        let refused = ask(gateway.address, &request(path, kind, json("nope").as_bytes())).await;
        assert_eq!(refused.reason(), "undeclared_model", "{path} {kind}");
    }
    let azure = "/openai/deployments/speech/chat/completions?api-version=1";
    assert_eq!(ask(gateway.address, &post(azure, r#"{"messages":[]}"#)).await.text(), "one");
    let seen = one.seen().pop().unwrap();
    assert!(
        seen.head.starts_with("POST /openai/deployments/whisper/chat/completions?api-version=1 "),
        "{}",
        seen.head
    );
    assert_eq!(seen.body, br#"{"model":"whisper","messages":[]}"#);
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_without_a_model_gets_the_only_one_that_engines_list() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    while gateway.fleet.current().pools[0].served_models().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for body in [r#"{"messages":[]}"#, r#"{"model":null,"messages":[]}"#, r#"{"model":"","messages":[]}"#] {
        assert_eq!(ask(gateway.address, &post("/v1/chat/completions", body)).await.status, 200, "{body}");
        assert_eq!(engine.seen().pop().unwrap().body, br#"{"model":"served","messages":[]}"#, "{body}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_engine_path_behind_a_rewrite_is_what_counts() {
    let (gateway, one, _two) = start().await;
    assert_eq!(ask(gateway.address, &post("/nap/now", "{}")).await.reason(), "administration_path");
    assert_eq!(ask(gateway.address, &post("/ask/me", "no json")).await.reason(), "invalid_body");
    assert_eq!(ask(gateway.address, &post("/ask/me", r#"{"prompt":"x"}"#)).await.reason(), "missing_model");
    assert_eq!(
        ask(gateway.address, &post("/ask/me", r#"{"model":"other","prompt":"x"}"#)).await.text(),
        "one"
    );
    assert_eq!(one.seen().len(), 1);
    gateway.stop().await;
}

#[tokio::test]
async fn routes_see_the_base_model_and_no_control_header_of_a_client() {
    let (gateway, _one, _two) = start().await;
    let ask_for = |more: &str, model: &str| {
        let body = format!(r#"{{"model":"{model}","prompt":"x"}}"#);
        let head = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: h\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = gateway.address;
        async move { ask(address, head.as_bytes()).await.text() }
    };
    assert_eq!(ask_for("", "base").await, "two");
    assert_eq!(ask_for("", "other").await, "one");
    for forged in [
        "x-gateway-inference-objective: gold",
        "x-gateway-base-model-name: base",
        "x-gateway-model-name: special",
    ] {
        assert_eq!(ask_for(&format!("{forged}\r\n"), "other").await, "one", "{forged}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn uploads_and_reads_survive_an_engine_that_is_gone() {
    let engine = Engine::start(|_| full_response("200 OK", "text/plain", "ok")).await;
    let gateway = Running::before(&[Engine::unused_address(), engine.address]).await;
    for round in 0..6 {
        let reply = ask(gateway.address, &upload("m", 600_000, round % 2 == 0)).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "ok"), "{round}");
    }
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_cannot_be_repeated_takes_a_new_connection() {
    let engine = Engine::start(|_| full_response("200 OK", "text/plain", "ok")).await;
    let gateway = Running::before(&[engine.address]).await;
    let get = |method: &str| format!("{method} /version HTTP/1.1\r\nhost: h\r\n\r\n").into_bytes();
    assert_eq!(ask(gateway.address, &get("GET")).await.status, 200);
    let connections = engine.connections();
    assert_eq!(ask(gateway.address, &get("GET")).await.status, 200);
    assert_eq!(engine.connections(), connections, "a read uses the kept connection");
    assert_eq!(ask(gateway.address, &get("DELETE")).await.status, 200);
    assert_eq!(ask(gateway.address, &upload("m", 10, false)).await.status, 200);
    assert_eq!(engine.connections(), connections + 2);
    gateway.stop().await;
}

#[tokio::test]
async fn a_read_that_is_lost_is_repeated() {
    let engine = Engine::start(|n| if n == 0 { vec![Step::Close] } else { engine::chat() }).await;
    let gateway = Running::before(&[engine.address]).await;
    for method in ["GET", "OPTIONS"] {
        let reply =
            ask(gateway.address, format!("{method} /version HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await;
        assert_eq!(reply.status, 200, "{method}");
    }
    assert_eq!(engine.seen().len(), 3);
    gateway.stop().await;
}

#[tokio::test]
async fn only_websockets_are_tunnelled() {
    let engine = Engine::start(|_| full_response("200 OK", "text/plain", "plain")).await;
    let gateway = Running::before(&[engine.address]).await;
    for (offer, expected) in [
        ("H2C", None),
        ("h2c", None),
        ("TLS/1.2", None),
        ("h2c, websocket", Some("websocket")),
        ("WebSocket", Some("websocket")),
    ] {
        let request = format!(
            "GET /v1/realtime HTTP/1.1\r\nhost: h\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: {offer}\r\nhttp2-settings: AAM\r\n\r\n"
        );
        assert_eq!(ask(gateway.address, request.as_bytes()).await.text(), "plain", "{offer}");
        let seen = engine.seen().pop().unwrap();
        assert_eq!((seen.header("upgrade"), seen.header("http2-settings")), (expected, None), "{offer}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_switch_to_another_protocol_is_no_tunnel() {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n".to_vec();
    let engine = Engine::start(move |_| vec![Step::Send(switch.clone()), Step::Echo]).await;
    let gateway = Running::before(&[engine.address]).await;
    let request =
        b"GET /v1/realtime HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    assert_eq!(ask(gateway.address, request).await.status, 502);
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_length_beside_chunks_is_dropped() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
    let engine = Engine::start(move |_| vec![Step::Send(answer.into())]).await;
    let gateway = Running::before(&[engine.address]).await;
    let reply = ask(gateway.address, b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!((reply.text().as_str(), reply.complete), ("whole", true));
    gateway.stop().await;
}
