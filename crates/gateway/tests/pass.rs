//! Requests and responses that are passed on unchanged.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::Running;
use support::client::{Wire, ask, chat_request, post};
use support::engine::{self, CHAT, DONE, Engine, ROLE, STOP, TOKEN};

#[tokio::test]
async fn a_stream_is_passed_on_unchanged() {
    let engine = Engine::start(|_| engine::stream()).await;
    let gateway = Running::before(&[engine.address]).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(reply.text(), [ROLE, TOKEN, STOP, DONE].concat());
    assert!(reply.complete);
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_json_response_keeps_its_content_length() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    let reply = ask(gateway.address, &chat_request(false)).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, CHAT));
    assert_eq!(reply.header("content-length"), Some(CHAT.len().to_string().as_str()));
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn requests_of_one_connection_reuse_an_engine_connection() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    let before = engine.connections();
    let mut wire = Wire::open(gateway.address).await;
    for _ in 0..5 {
        assert_eq!(wire.ask(&chat_request(false)).await.status, 200);
    }
    assert_eq!(engine.seen().len(), 5);
    assert!(engine.connections() - before <= 3, "at most one for requests and two for scrapes");
    gateway.stop().await;
}

#[tokio::test]
async fn a_body_of_one_megabyte_is_passed_on() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway = Running::before(&[engine.address]).await;
    let prompt = "x".repeat(1 << 20);
    let body = format!(r#"{{"model":"m","prompt":"{prompt}"}}"#);
    assert_eq!(ask(gateway.address, &post("/v1/completions", &body)).await.status, 200);
    assert!(engine.seen()[0].body == body.as_bytes());
    gateway.idle().await;
    gateway.stop().await;
}
