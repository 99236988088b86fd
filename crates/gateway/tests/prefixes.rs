//! Placement by cached prefixes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::Running;
use support::client::{ask, post};
use support::engine::{Engine, Step, full_response};
use tokio::sync::Notify;

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;

/// An engine that answers its first request after `first` is notified, and the others at once.
async fn engine_held_until(first: &Arc<Notify>) -> Engine {
    let first = Arc::clone(first);
    Engine::start(move |request| {
        let mut steps = full_response("200 OK", "application/json", ANSWER);
        if request == 0 {
            steps.insert(0, Step::Wait(Arc::clone(&first)));
        }
        steps
    })
    .await
}

/// A conversation about `topic`; its first two kilobytes are the same for all questions.
fn conversation(topic: &str, question: usize) -> Vec<u8> {
    let system = format!("You know everything about {topic}. ").repeat(80);
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"Question {question}?"}}]}}"#
    );
    post("/v1/chat/completions", &body)
}

#[tokio::test]
async fn a_conversation_is_placed_where_its_prefix_is_cached() {
    let go_on = Arc::new(Notify::new());
    let engines = [engine_held_until(&go_on).await, engine_held_until(&go_on).await];
    let gateway = Running::before(&[engines[0].address, engines[1].address]).await;
    // The second request finds the other engine idle.
    let mut asked = Vec::new();
    for topic in ["trains", "switches"] {
        let (address, first) = (gateway.address, conversation(topic, 0));
        asked.push(tokio::spawn(async move { ask(address, &first).await.status }));
        while engines.iter().map(|engine| engine.seen().len()).sum::<usize>() < asked.len() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert_eq!(engines.each_ref().map(|engine| engine.seen().len()), [1, 1]);
    for request in asked {
        go_on.notify_one();
        go_on.notify_one();
        assert_eq!(request.await.unwrap(), 200);
    }
    for question in 1..=6 {
        for topic in ["switches", "trains"] {
            gateway.idle().await;
            assert_eq!(ask(gateway.address, &conversation(topic, question)).await.status, 200);
        }
    }
    for engine in &engines {
        let seen = engine.seen();
        let known =
            if String::from_utf8_lossy(&seen[0].body).contains("trains") { "trains" } else { "switches" };
        assert_eq!(seen.len(), 7, "six more of each topic");
        assert!(seen.iter().all(|request| String::from_utf8_lossy(&request.body).contains(known)));
    }
    gateway.stop().await;
}
