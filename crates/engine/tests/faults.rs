//! Fault injection: clients observe each fault as the failure of a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::json;
use support::{Server, body, config, events, request_bytes, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const COMPLETIONS: &str = "/v1/completions";

fn request(stream: bool) -> String {
    json!({"prompt": "Hi", "max_tokens": 8, "ignore_eos": true, "stream": stream}).to_string()
}

/// Sends one request with a fault in its header.
async fn post_with_fault(server: &Server, fault: &str, stream: bool) -> (String, std::io::Result<()>) {
    server.post_with(COMPLETIONS, &format!("x-pointsman-fault: {fault}\r\n"), &request(stream)).await
}

#[tokio::test]
async fn an_error_event_ends_a_200_stream_with_done() {
    let server = start(config()).await;
    let (response, end) = post_with_fault(&server, "error-event,after-tokens=3", true).await;
    end.unwrap();
    assert!(response.starts_with("HTTP/1.1 200"));
    let events = events(&response);
    assert_eq!(events.len(), 5);
    assert!(events[3].starts_with("{\"error\":{") && events[3].contains("\"code\":500"), "{}", events[3]);
    assert_eq!(events[4], "[DONE]");
    let (whole, _) = post_with_fault(&server, "error-event", false).await;
    assert!(whole.starts_with("HTTP/1.1 500"));
    assert_eq!(body(&whole)["error"]["type"], "InternalServerError");
}

#[tokio::test]
async fn an_abort_sets_the_finish_reason() {
    let server = start(config()).await;
    let (response, end) = post_with_fault(&server, "abort,after-tokens=2", true).await;
    end.unwrap();
    let events = events(&response);
    assert_eq!(events.len(), 4);
    assert!(events[2].contains("\"finish_reason\":\"abort\""), "{}", events[2]);
    let (whole, _) = post_with_fault(&server, "abort", false).await;
    assert_eq!(body(&whole)["choices"][0]["finish_reason"], "abort");
}

#[tokio::test]
async fn a_truncated_stream_ends_cleanly_without_done() {
    let server = start(config()).await;
    let (response, end) = post_with_fault(&server, "truncate,after-tokens=4", true).await;
    end.unwrap();
    assert_eq!(events(&response).len(), 4);
    assert!(!response.contains("[DONE]"));
    let (whole, end) = post_with_fault(&server, "truncate", false).await;
    end.unwrap();
    assert_eq!(whole, "", "the connection closes without a byte");
}

#[tokio::test]
async fn a_reset_ends_the_connection_within_the_response() {
    let server = start(config()).await;
    for stream in [true, false] {
        let (response, end) = post_with_fault(&server, "reset,after-tokens=4", stream).await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        // A reset may discard bytes that were sent before it.
        assert!(events(&response).len() <= 4);
        assert!(!response.contains("[DONE]"));
    }
}

#[tokio::test]
async fn silence_and_hang_stall_without_closing() {
    let server = start(config()).await;
    for (fault, tokens) in [("silence,after-tokens=2", 2), ("hang", 0)] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let header = format!("x-pointsman-fault: {fault}\r\n");
        client.write_all(&request_bytes("POST", COMPLETIONS, &header, &request(true))).await.unwrap();
        let mut seen = Vec::new();
        // The end of an event's chunk.
        while String::from_utf8_lossy(&seen).matches("\n\n\r\n").count() < tokens {
            assert!(client.read_buf(&mut seen).await.unwrap() > 0);
        }
        // While another request is answered, this one receives neither bytes nor a close.
        server.post(COMPLETIONS, &request(false)).await;
        let more = tokio::time::timeout(Duration::from_millis(50), client.read_buf(&mut seen)).await;
        assert!(more.is_err(), "{fault}: {more:?}");
        assert_eq!(events(&String::from_utf8_lossy(&seen)).len(), tokens);
        drop(client);
        server.until("vllm:num_requests_running", |running| running == 0.0).await;
    }
}

#[tokio::test]
async fn injected_statuses_end_after_their_count() {
    let server = start(config()).await;
    let injected = server.post("/fault", "status,code=502,count=2").await;
    assert!(injected.starts_with("HTTP/1.1 200"), "{injected}");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let response = server.post(COMPLETIONS, &request(false)).await;
        seen.push(response[9..12].to_owned());
    }
    assert_eq!(seen, ["502", "502", "200"]);
    assert!(
        server.get("/health").await.starts_with("HTTP/1.1 200"),
        "faults strike inference requests alone"
    );
}

#[tokio::test]
async fn delete_ends_every_fault() {
    let server = start(config()).await;
    server.post("/fault", "status,code=503").await;
    server.post("/fault", "slow,factor=1000").await;
    assert!(server.post(COMPLETIONS, &request(false)).await.starts_with("HTTP/1.1 503"));
    server.exchange(&request_bytes("DELETE", "/fault", "", "")).await.1.unwrap();
    assert!(server.post(COMPLETIONS, &request(false)).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn slow_multiplies_the_step_times() {
    // Metrics count engine time, which is exact on a busy machine.
    let inference_time = |factor: &'static str| async move {
        let mut settings = config();
        settings.injected_faults = vec![format!("slow,factor={factor}").parse().unwrap()];
        let server = start(settings).await;
        server.post(COMPLETIONS, &request(false)).await;
        server.metric("vllm:request_inference_time_seconds_sum").await
    };
    let (normal, slow) = (inference_time("1").await, inference_time("3").await);
    assert!((slow / normal - 3.0).abs() < 1e-4, "{slow} against {normal}");
}

#[tokio::test]
async fn refuse_closes_the_port_for_its_time() {
    let server = start(config()).await;
    let mut open = TcpStream::connect(server.address).await.unwrap();
    open.write_all(b"GET /health HTTP/1.1\r\nhost: tiny\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(open.read_buf(&mut head).await.unwrap() > 0);
    }
    server.post("/fault", "refuse,milliseconds=200").await;
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let _ = open.write_all(b"GET /health HTTP/1.1\r\nhost: tiny\r\n\r\n").await;
    head.clear();
    let read = open.read_buf(&mut head).await;
    assert!(
        !matches!(read, Ok(1..)),
        "open connections are cut off as well: {}",
        String::from_utf8_lossy(&head)
    );
    while TcpStream::connect(server.address).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.until("vllm:num_requests_running", |running| running == 0.0).await;
}

#[tokio::test]
async fn faults_are_ignored_unless_allowed() {
    let mut settings = config();
    settings.faults = false;
    let server = start(settings).await;
    assert!(server.post("/fault", "hang").await.starts_with("HTTP/1.1 404"));
    let (response, _) = post_with_fault(&server, "status", false).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[tokio::test]
async fn an_invalid_injection_is_answered_with_the_reason() {
    let server = start(config()).await;
    let response = server.post("/fault", "explode").await;
    assert!(response.starts_with("HTTP/1.1 400"), "{response}");
    assert!(body(&response)["error"]["message"].as_str().unwrap().contains("error-event"));
    let (response, _) = post_with_fault(&server, "refuse", false).await;
    assert!(response.starts_with("HTTP/1.1 400"), "a request cannot close the port: {response}");
}
