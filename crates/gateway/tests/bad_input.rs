//! Errors of clients, and the responses to them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::client::{Wire, ask, chat_request, post};
use support::engine::{self, Engine};
use support::{Running, world};

async fn gateway() -> (Engine, Running) {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    (engine, gateway)
}

#[tokio::test]
async fn client_errors_have_a_status_and_a_reason() {
    let (engine, gateway) = gateway().await;
    let chat = "/v1/chat/completions";
    let deep = format!(r#"{{"model":"m","messages":{}{}}}"#, "[".repeat(400), "]".repeat(400));
    let encoded = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}".to_vec();
    let mut invalid = post(chat, r#"{"model":"m","messages":"??"}"#);
    let at = invalid.len() - 4;
    invalid[at..at + 2].copy_from_slice(&[0xff, 0xfe]);
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("not JSON", post(chat, "hello"), 400, "invalid_body"),
        ("empty", post(chat, ""), 400, "invalid_body"),
        ("two models", post(chat, r#"{"model":"a","model":"b"}"#), 400, "invalid_body"),
        ("invalid UTF-8", invalid, 400, "invalid_body"),
        ("too deep", post(chat, &deep), 400, "invalid_body"),
        ("encoded", encoded, 415, "content_encoding"),
        ("administration", post("/v1/load_lora_adapter", "{}"), 404, "administration_path"),
    ];
    for (name, request, status, reason) in cases {
        let reply = ask(gateway.address, &request).await;
        assert_eq!((reply.status, reply.reason()), (status, reason), "{name}");
        assert!(reply.text().contains(r#""error""#), "{name}: {}", reply.text());
        assert_eq!(reply.header("x-should-retry"), Some("false"), "{name}");
    }
    let tunnel = b"CONNECT engine:80 HTTP/1.1\r\nhost: engine:80\r\n\r\nGET /shutdown HTTP/1.1\r\n\r\n";
    let reply = ask(gateway.address, tunnel).await;
    assert_eq!((reply.status, reply.reason()), (405, "method"));
    let reply = ask(gateway.address, b"GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").await;
    assert_eq!((reply.status, reply.reason()), (400, "several_hosts"));
    assert!(engine.seen().is_empty());
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_and_without_content_length() {
    let engine = Engine::start(|_| engine::chat()).await;
    let mut world = world(&[engine.address]);
    world.gateway.max_body_bytes = 1000;
    let gateway = Running::start(world).await;
    let long = format!(r#"{{"model":"m","prompt":"{}"}}"#, "x".repeat(1000));
    let announced = post("/v1/completions", &long);
    let head = "POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{:x}\r\n{long}\r\n0\r\n\r\n", long.len()).into_bytes();
    let unread = "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    let unread = format!("{unread}{:x}\r\n{long}\r\n0\r\n\r\n", long.len()).into_bytes();
    for request in [announced, chunked, unread] {
        let reply = ask(gateway.address, &request).await;
        assert_eq!((reply.status, reply.reason()), (413, "body_too_large"));
    }
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn buffered_bodies_and_requests_in_flight_are_limited() {
    let engine = Engine::start(|_| engine::chat()).await;
    let mut bounded = world(&[engine.address]);
    bounded.gateway.max_held_bytes = 10;
    let gateway = Running::start(bounded).await;
    let reply = ask(gateway.address, &chat_request(false)).await;
    assert_eq!((reply.status, reply.reason(), reply.header("retry-after")), (429, "busy", Some("1")));
    gateway.idle().await;
    gateway.stop().await;

    let mut bounded = world(&[engine.address]);
    bounded.gateway.max_requests = 1;
    let gateway = Running::start(bounded).await;
    let mut slow = Wire::open(gateway.address).await;
    let request = chat_request(false);
    slow.send(&request[..request.len() - 1]).await;
    while gateway.metric("pointsman_requests_in_flight") == 0.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(gateway.address, &chat_request(false)).await.status, 429);
    assert_eq!(slow.ask(&request[request.len() - 1..]).await.status, 200);
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let (engine, gateway) = gateway().await;
    let many: String = (0..500).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(400_000));
    for flood in [many, long] {
        let request = format!("GET / HTTP/1.1\r\nhost: h\r\n{flood}\r\n");
        let reply = ask(gateway.address, request.as_bytes()).await;
        assert_eq!(reply.status, 431);
    }
    assert!(engine.seen().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn invalid_framing_closes_only_its_connection() {
    let (engine, gateway) = gateway().await;
    let head = "POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n";
    let cases = [
        format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\n{{}}"),
        format!("{head}content-length: five\r\n\r\n{{}}"),
        format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n"),
        "\u{1}\u{2}\u{3} nonsense\r\n\r\n".to_owned(),
    ];
    for request in cases {
        let reply = ask(gateway.address, request.as_bytes()).await;
        assert_eq!(reply.status, 400, "{request:?}");
    }
    // A body shorter than its content-length: the client has disconnected, so there is no response.
    let mut wire = Wire::open(gateway.address).await;
    wire.send(format!("{head}content-length: 100\r\n\r\n{{\"model\"").as_bytes()).await;
    drop(wire);
    gateway.idle().await;
    assert!(engine.seen().is_empty());
    assert_eq!(ask(gateway.address, &chat_request(false)).await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn no_route_is_404_and_models_are_listed() {
    let engine = Engine::start(|_| engine::chat()).await;
    let mut named = world(&[engine.address]);
    named.listeners[0].hostname = Some("h".into());
    let gateway = Running::start(named).await;
    let reply = ask(gateway.address, b"GET /x HTTP/1.1\r\nhost: nowhere\r\n\r\n").await;
    assert_eq!((reply.status, reply.reason()), (404, "no_route"));
    let list = b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n";
    while !ask(gateway.address, list).await.text().contains(r#""id":"served""#) {
        tokio::task::yield_now().await;
    }
    let one = ask(gateway.address, b"GET /v1/models/served HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(one.status, 200);
    let none = ask(gateway.address, b"GET /v1/models/other HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(none.status, 404);
    gateway.idle().await;
    gateway.stop().await;
}
