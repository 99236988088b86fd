//! Failures of engines, and what the client receives.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::ProbePace;
use pointsman_fleet::MonitorSettings;
use support::client::{Reply, Wire, ask, chat_request, post};
use support::engine::{self, CHAT, DONE, ERROR, Engine, ROLE, STOP, Step, TOKEN, events, full_response};
use support::{Running, world};

/// Sends a request to two engines whose first response is `bad` and whose later ones are `good`. Returns the client's
/// response and the number of requests that the engines read.
async fn ask_with_bad_first_engine(
    bad: impl Fn() -> Vec<Step> + Clone + Send + Sync + 'static,
    request: &[u8],
) -> (Reply, usize, Running) {
    let first = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let script = move |_: usize| match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
        true => bad(),
        false => engine::chat(),
    };
    let one = Engine::start(script.clone()).await;
    let two = Engine::start(script).await;
    let gateway = Running::before(&[one.address, two.address]).await;
    let reply = ask(gateway.address, request).await;
    gateway.idle().await;
    let seen = one.seen().len() + two.seen().len();
    (reply, seen, gateway)
}

#[track_caller]
fn assert_retried(name: &str, reply: &Reply, seen: usize) {
    assert_eq!((reply.status, reply.text().as_str()), (200, CHAT), "{name}");
    assert_eq!(seen, 2, "{name}: the request was retried once");
}

const STORED: &str = r#"{"model":"m","input":"hi"}"#;

#[tokio::test]
async fn a_failure_before_the_first_byte_is_retried_at_another_engine() {
    type Script = fn() -> Vec<Step>;
    let cases: [(&str, Script); 10] = [
        ("nothing", || full_response("200 OK", "application/json", "")),
        ("an empty stream", || [events(&[]), vec![engine::end()]].concat()),
        ("trailers alone", || {
            [events(&[]), vec![Step::Send(b"0\r\nx-error: died\r\n\r\n".to_vec())]].concat()
        }),
        ("closed without a byte", || vec![Step::Close]),
        ("reset without a byte", || vec![Step::Reset]),
        ("503", || full_response("503 Service Unavailable", "application/json", r#"{"error":"x"}"#)),
        ("502", || full_response("502 Bad Gateway", "text/html", "<html>")),
        ("an error event before the first token", || {
            let mut steps = events(&[ERROR, DONE]);
            steps.push(engine::end());
            steps
        }),
        ("a head and then the end", || {
            let mut steps = events(&[]);
            steps.push(Step::Close);
            steps
        }),
        ("half a head", || vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-ty".to_vec()), Step::Close]),
    ];
    for (name, bad) in cases {
        let (reply, seen, gateway) = ask_with_bad_first_engine(bad, &chat_request(true)).await;
        assert_retried(name, &reply, seen);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn an_engine_that_refuses_connections_fails_no_request() {
    let engine = Engine::start(|_| engine::chat()).await;
    let gateway =
        Running::before(&[Engine::unused_address(), Engine::unused_address(), engine.address]).await;
    for request in [chat_request(false), post("/v1/responses", STORED)] {
        assert_eq!(
            ask(gateway.address, &request).await.status,
            200,
            "nothing was written, so anything may be repeated"
        );
    }
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_stateful_call_is_not_retried_after_it_was_written() {
    let (reply, seen, gateway) =
        ask_with_bad_first_engine(|| vec![Step::Close], &post("/v1/responses", STORED)).await;
    assert_eq!((reply.status, reply.reason(), seen), (502, "lost", 1));
    assert_eq!(reply.header("x-should-retry"), None, "a later attempt may succeed");
    gateway.stop().await;
    let unavailable = || full_response("503 Service Unavailable", "application/json", r#"{"error":"busy"}"#);
    let (reply, seen, gateway) = ask_with_bad_first_engine(unavailable, &post("/v1/responses", STORED)).await;
    assert_eq!(
        (reply.status, reply.text().as_str(), seen),
        (503, r#"{"error":"busy"}"#, 1),
        "the engine's own words"
    );
    gateway.stop().await;
    let (reply, seen, gateway) = ask_with_bad_first_engine(
        || vec![Step::Close],
        &post("/v1/responses", r#"{"model":"m","input":"hi","store":false}"#),
    )
    .await;
    assert_retried("not stored", &reply, seen);
    gateway.stop().await;
}

#[tokio::test]
async fn the_client_receives_the_cause_when_all_engines_fail() {
    let unavailable =
        |_| full_response("503 Service Unavailable", "application/json", r#"{"error":"asleep"}"#);
    let (one, two) = (Engine::start(unavailable).await, Engine::start(unavailable).await);
    let gateway = Running::before(&[one.address, two.address]).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (503, r#"{"error":"asleep"}"#),
        "the last engine's own words"
    );
    gateway.idle().await;
    gateway.stop().await;

    let gateway = Running::before(&[Engine::unused_address()]).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert!([502, 503].contains(&reply.status), "{}", reply.head);
    assert!(reply.text().contains(r#""error""#));
    gateway.idle().await;
    gateway.stop().await;

    let gateway = Running::before(&[]).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert_eq!((reply.status, reply.reason()), (503, "no_ready_endpoint"));
    gateway.stop().await;
}

#[tokio::test]
async fn other_error_responses_are_passed_on() {
    for status in ["400 Bad Request", "404 Not Found", "429 Too Many Requests", "500 Internal Server Error"] {
        let (reply, seen, gateway) = ask_with_bad_first_engine(
            move || full_response(status, "application/json", "{}"),
            &chat_request(true),
        )
        .await;
        assert_eq!((reply.status.to_string().as_str(), seen), (&status[..3], 1));
        assert_eq!(reply.reason(), "");
        gateway.stop().await;
    }
}

fn event_stream_head() -> Vec<Step> {
    events(&[])
}

#[tokio::test]
async fn the_head_of_a_stream_is_passed_on_before_a_long_prefill_ends() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let waits = Arc::clone(&gate);
    let script = move |_| {
        let output = events(&[ROLE, TOKEN, STOP, DONE]).split_off(1);
        [event_stream_head(), vec![Step::Wait(Arc::clone(&waits))], output, vec![engine::end()]].concat()
    };
    let engine = Engine::start(script).await;
    let mut world = world(&[engine.address]);
    // The engine is silent on every stream for much longer than this, and answers probes.
    world.pools[0].timeouts.idle = Duration::from_millis(60);
    world.pools[0].timeouts.idle_limit = Duration::from_millis(200);
    let gateway = Running::start(world).await;
    let mut wire = Wire::open(gateway.address).await;
    wire.send(&chat_request(true)).await;
    let head = tokio::time::timeout(Duration::from_secs(10), wire.read_until(b"\r\n\r\n"));
    head.await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.notify_one();
    wire.read_until(DONE.as_bytes()).await;
    gateway.idle().await;
    assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 0.0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_whose_output_never_begins_is_ended_at_the_first_byte_timeout() {
    let engine = Engine::start(|_| [event_stream_head(), vec![Step::AwaitClose]].concat()).await;
    let mut world = world(&[engine.address]);
    world.pools[0].timeouts.first_byte = Duration::from_millis(1_500);
    let gateway = Running::start(world).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert_eq!((reply.status, reply.complete), (200, false));
    assert!(reply.text().contains("first_byte_timeout"), "{}", reply.text());
    engine.closed_by_peer().await;
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_silent_stream_gets_comments_between_events_where_they_are_asked_for() {
    let gates = [(); 3].map(|()| Arc::new(tokio::sync::Notify::new()));
    let waits = gates.clone();
    let (start, rest) = TOKEN.split_at(20);
    let script = move |_| {
        let pause = |gate: usize| vec![Step::Wait(Arc::clone(&waits[gate]))];
        let part = |text: &str| events(&[text]).split_off(1);
        let end = [part(STOP), part(DONE), vec![engine::end()]].concat();
        [event_stream_head(), pause(0), part(start), pause(1), part(rest), pause(2), end].concat()
    };
    let engine = Engine::start(script).await;
    let mut world = world(&[engine.address]);
    world.pools[0].timeouts.heartbeat = Some(Duration::from_millis(50));
    let gateway = Running::start(world).await;
    let mut wire = Wire::open(gateway.address).await;
    wire.send(&chat_request(true)).await;
    wire.read_until(b": heartbeat\n\n").await;
    gates[0].notify_one();
    wire.read_until(start.as_bytes()).await;
    // Within an event there is none.
    tokio::time::sleep(Duration::from_millis(300)).await;
    gates[1].notify_one();
    wire.read_until(rest.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    gates[2].notify_one();
    let text = wire.read_until(DONE.as_bytes()).await;
    let comments = |from: &str, to: &str| {
        text[text.find(from).unwrap()..text.find(to).unwrap()].matches(": heartbeat").count()
    };
    assert_eq!(comments(start, rest), 0, "{text}");
    assert!(comments(rest, STOP) > 1, "{text}");
    gateway.idle().await;
    gateway.stop().await;
}

/// Sends 60 requests to three engines, of which the first answers like this. Returns the clients' replies and the number of
/// requests that the first engine read.
async fn ask_beside(bad: fn() -> Vec<Step>, others: fn() -> Vec<Step>) -> (Vec<Reply>, usize, Running) {
    let one = Engine::start(move |_| bad()).await;
    let (two, three) = (Engine::start(move |_| others()).await, Engine::start(move |_| others()).await);
    let gateway = Running::before(&[one.address, two.address, three.address]).await;
    let mut replies = Vec::new();
    for n in 0..60 {
        replies.push(ask(gateway.address, &chat_request(n % 2 == 0)).await);
    }
    gateway.idle().await;
    (replies, one.seen().len(), gateway)
}

fn no_such_model() -> Vec<Step> {
    full_response("404 Not Found", "application/json", r#"{"error":{"message":"no such model","code":404}}"#)
}

fn no_key() -> Vec<Step> {
    full_response("401 Unauthorized", "text/plain", "no")
}

fn server_error() -> Vec<Step> {
    full_response("500 Internal Server Error", "application/json", "{}")
}

/// SGLang's `/generate`, like other engines now and then, refuses within a stream, and without a code.
fn refuses_in_a_stream() -> Vec<Step> {
    let mut steps = events(&["data: {\"error\":{\"message\":\"no\"}}\n\n", DONE]);
    steps.push(engine::end());
    steps
}

fn declines_in_a_stream() -> Vec<Step> {
    let mut steps = events(&["data: {\"error\":{\"message\":\"no\",\"code\":400}}\n\n", DONE]);
    steps.push(engine::end());
    steps
}

#[tokio::test]
async fn an_engine_that_declines_what_its_neighbours_serve_does_not_attract_requests() {
    for bad in [no_such_model, no_key, server_error, declines_in_a_stream] {
        let (replies, seen, gateway) = ask_beside(bad, engine::chat).await;
        let served = replies.iter().filter(|reply| reply.text() == CHAT).count();
        assert!(served >= 54 && seen < 15, "{served} served, {seen} sent to the engine that declines");
        let ready = gateway.metric("pointsman_endpoint_ready");
        assert_eq!(ready, 2.0);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn requests_that_every_engine_declines_eject_nobody() {
    for bad in [no_such_model, no_key, server_error, declines_in_a_stream, refuses_in_a_stream] {
        let (replies, seen, gateway) = ask_beside(bad, bad).await;
        assert_eq!(gateway.metric("pointsman_endpoint_ready"), 3.0);
        assert_eq!(gateway.metric("pointsman_endpoint_ejections_total"), 0.0);
        assert!(seen > 0);
        assert!(
            replies.iter().all(|reply| reply.complete && reply.reason().is_empty()),
            "the engines' words"
        );
        gateway.stop().await;
    }
}

#[tokio::test]
async fn an_invalid_response_is_a_502() {
    let endless = || {
        let line = format!("x-filler: {}\r\n", "y".repeat(1000));
        let mut steps = vec![Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec())];
        steps.extend((0..200).map(|_| Step::Send(line.clone().into_bytes())));
        steps
    };
    type Script = Box<dyn Fn() -> Vec<Step> + Send + Sync>;
    let cases: [(&str, Script); 3] = [
        ("no HTTP", Box::new(|| vec![Step::Send(b"\x00\x01\x02 what is this\r\n\r\n".to_vec()), Step::Hang])),
        ("an endless head", Box::new(endless)),
        (
            "two lengths",
            Box::new(|| {
                vec![Step::Send(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec(),
                )]
            }),
        ),
    ];
    for (name, bad) in cases {
        let bad = Arc::new(bad);
        let (reply, seen, gateway) = ask_with_bad_first_engine(move || bad(), &chat_request(false)).await;
        assert_eq!((reply.status, reply.reason(), seen), (502, "garbage", 1), "{name}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_broken_stream_ends_with_one_error_event_and_an_aborted_connection() {
    type Script = fn() -> Vec<Step>;
    let begun = [ROLE, TOKEN].concat();
    let cases: [(&str, Script); 3] = [
        ("closed", || vec![Step::Close]),
        ("reset", || vec![Step::Reset]),
        ("a clean end without its marks", || vec![engine::end()]),
    ];
    for (name, rest) in cases {
        let script = move |_| [events(&[ROLE, TOKEN]), rest()].concat();
        let engine = Engine::start(script).await;
        let gateway = Running::before(&[engine.address]).await;
        let reply = ask(gateway.address, &chat_request(true)).await;
        assert_eq!(reply.status, 200, "{name}");
        assert!(!reply.complete, "{name}: the client must see an incomplete response");
        let text = reply.text();
        assert!(text.starts_with(&begun), "{name}: {text}");
        let events: Vec<&str> = text.matches("\"error\"").collect();
        assert_eq!(events.len(), 1, "{name}: {text}");
        gateway.idle().await;
        assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 1.0, "{name}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_stream_with_either_end_mark_is_complete_and_nothing_follows_done() {
    type Script = fn() -> Vec<Step>;
    let cases: [(&str, &[&str], Script); 6] = [
        ("no finish reason", &[ROLE, TOKEN, DONE], || vec![engine::end()]),
        ("no end mark", &[ROLE, TOKEN, STOP], || vec![engine::end()]),
        ("closed after the end mark", &[ROLE, TOKEN, STOP, DONE], || vec![Step::Close]),
        ("reset after the end mark", &[ROLE, TOKEN, STOP, DONE], || vec![Step::Reset]),
        ("open after the end mark", &[ROLE, TOKEN, STOP, DONE], || vec![Step::AwaitClose]),
        ("trailers", &[ROLE, TOKEN, STOP, DONE], || vec![Step::Send(b"0\r\nx-tokens: 1\r\n\r\n".to_vec())]),
    ];
    for (name, parts, rest) in cases {
        let parts: Vec<&'static str> = parts.to_vec();
        let text = parts.concat();
        let engine = Engine::start(move |_| [events(&parts), rest()].concat()).await;
        let gateway = Running::before(&[engine.address]).await;
        let reply = ask(gateway.address, &chat_request(true)).await;
        assert_eq!((reply.text(), reply.complete), (text, true), "{name}");
        gateway.idle().await;
        assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 0.0, "{name}");
        let complete = r#"pointsman_requests_total{pool="default/pool",outcome="complete""#;
        assert_eq!(gateway.metric(complete), 1.0, "{name}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn trailers_reach_a_client_that_wants_them_and_hide_no_broken_stream() {
    for (events, is_complete) in [(&[ROLE, TOKEN, STOP, DONE][..], true), (&[ROLE, TOKEN], false)] {
        let engine = Engine::start(move |_| {
            let mut steps = vec![Step::Send(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntrailer: x-tokens\r\n\
                transfer-encoding: chunked\r\n\r\n"
                    .to_vec(),
            )];
            steps.extend(engine::events(events).split_off(1));
            steps.push(Step::Send(b"0\r\nx-tokens: 1\r\n\r\n".to_vec()));
            steps
        })
        .await;
        let gateway = Running::before(&[engine.address]).await;
        let mut request = String::from_utf8(chat_request(true)).unwrap();
        request = request.replacen("\r\n", "\r\nte: trailers\r\nconnection: te\r\n", 1);
        let mut wire = Wire::open(gateway.address).await;
        wire.send(request.as_bytes()).await;
        if is_complete {
            wire.read_until(b"0\r\nx-tokens: 1\r\n\r\n").await;
        } else {
            assert!(!wire.reply().await.complete, "{events:?}");
        }
        gateway.idle().await;
        let complete = r#"pointsman_requests_total{pool="default/pool",outcome="complete""#;
        assert_eq!(gateway.metric(complete), f64::from(u8::from(is_complete)), "{events:?}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn an_encoded_stream_passes_unchanged_and_counts_for_its_engine() {
    let bytes = b"\x1f\x8b\x08\x00 not an event";
    let script = move |_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes[..], b"\r\n"].concat();
        vec![Step::Send(head.into()), Step::Send(chunk), engine::end()]
    };
    let engine = Engine::start(script).await;
    let gateway = Running::before(&[engine.address]).await;
    for _ in 0..4 {
        let reply = ask(gateway.address, &chat_request(true)).await;
        assert_eq!((reply.status, reply.complete, &reply.body[..]), (200, true, &bytes[..]));
    }
    gateway.idle().await;
    assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 0.0);
    gateway.stop().await;
}

#[tokio::test]
async fn an_error_event_is_passed_on_and_counted() {
    let script = |_| [events(&[ROLE, TOKEN, ERROR, DONE]), vec![engine::end()]].concat();
    let engine = Engine::start(script).await;
    let gateway = Running::before(&[engine.address]).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert_eq!(reply.text(), [ROLE, TOKEN, ERROR, DONE].concat(), "unchanged, and no event of the gateway");
    gateway.idle().await;
    assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 1.0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_truncated_json_response_is_aborted() {
    let script = |_| {
        vec![
            Step::Send(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"a\":"
                    .to_vec(),
            ),
            Step::Close,
        ]
    };
    let engine = Engine::start(script).await;
    let gateway = Running::before(&[engine.address]).await;
    let reply = ask(gateway.address, &chat_request(false)).await;
    assert_eq!((reply.status, reply.complete, reply.text().as_str()), (200, false, "{\"a\":"));
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_stalled_stream_is_ended_and_counts_against_its_engine() {
    let script = |_| [events(&[ROLE, TOKEN]), vec![Step::Hang]].concat();
    let engine = Engine::start(script).await;
    let mut world = world(&[engine.address]);
    world.pools[0].timeouts.idle = Duration::from_millis(60);
    world.pools[0].timeouts.idle_limit = Duration::from_millis(200);
    let gateway = Running::start(world).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert!(!reply.complete && reply.text().contains("\"error\""), "{}", reply.text());
    gateway.idle().await;
    assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 1.0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_first_byte_timeout_is_a_504() {
    let engine = Engine::start(|_| vec![Step::AwaitClose]).await;
    let mut world = world(&[engine.address]);
    world.pools[0].timeouts.first_byte = Duration::from_millis(50);
    let gateway = Running::start(world).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert_eq!((reply.status, reply.reason()), (504, "first_byte_timeout"));
    engine.closed_by_peer().await;
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_reused_connection_that_the_engine_closed_is_no_failure() {
    // One response per connection, which the engine then closes without notice.
    let engine = Engine::start(|_| [engine::chat(), vec![Step::Close]].concat()).await;
    let gateway = Running::before(&[engine.address]).await;
    let mut wire = Wire::open(gateway.address).await;
    for _ in 0..10 {
        // At once, so that the close often crosses the request, which may be repeated.
        assert_eq!(wire.ask(&chat_request(false)).await.status, 200);
        assert_eq!(wire.ask(&chat_request(false)).await.status, 200);
        // Later, so that the close is known before anything of a request is written that may not be.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(wire.ask(&post("/v1/responses", STORED)).await.status, 200);
    }
    gateway.idle().await;
    assert_eq!(gateway.metric("pointsman_endpoint_failures_total"), 0.0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_disconnected_client_frees_the_engine() {
    // Before the head, and during a stream.
    for begun in [vec![], events(&[ROLE, TOKEN])] {
        let streams = !begun.is_empty();
        let engine = Engine::start(move |_| [begun.clone(), vec![Step::AwaitClose]].concat()).await;
        let gateway = Running::before(&[engine.address]).await;
        let mut wire = Wire::open(gateway.address).await;
        wire.send(&chat_request(true)).await;
        engine.got(1).await;
        if streams {
            wire.read_until(TOKEN.as_bytes()).await;
        }
        drop(wire);
        engine.closed_by_peer().await;
        gateway.idle().await;
        assert_eq!(
            gateway.metric("pointsman_endpoint_failures_total"),
            0.0,
            "not counted against the engine"
        );
        gateway.stop().await;
    }
}

#[tokio::test]
async fn all_counts_return_to_zero_after_any_mix_of_failures() {
    let script = |n: usize| match n % 9 {
        0 => engine::stream(),
        1 => vec![Step::Close],
        2 => vec![Step::Reset],
        3 => [events(&[ROLE, TOKEN]), vec![Step::Reset]].concat(),
        4 => full_response("503 Service Unavailable", "text/plain", "no"),
        5 => [events(&[ROLE]), vec![Step::AwaitClose]].concat(),
        6 => vec![Step::Send(b"nonsense\r\n\r\n".to_vec())],
        7 => [events(&[ERROR, DONE]), vec![engine::end()]].concat(),
        _ => engine::chat(),
    };
    let engines = [Engine::start(script).await, Engine::start(script).await, Engine::start(script).await];
    let addresses = engines.each_ref().map(|engine| engine.address);
    let gateway = Running::before(&addresses).await;
    let mut clients = tokio::task::JoinSet::new();
    for n in 0_u64..60 {
        let address = gateway.address;
        clients.spawn(async move {
            let mut wire = Wire::open(address).await;
            let request = if n % 3 == 0 { post("/v1/responses", STORED) } else { chat_request(n % 2 == 0) };
            wire.send(&request).await;
            // Some leave early; the others leave those that never end.
            let client_timeout =
                if n % 4 == 0 { Duration::from_millis(n) } else { Duration::from_millis(400) };
            let _ = tokio::time::timeout(client_timeout, wire.reply()).await;
        });
    }
    while clients.join_next().await.is_some() {}
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn requests_at_a_hanging_engine_are_retried_before_the_first_byte() {
    // It accepts connections and answers nothing, not even probes.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let engine = Engine::start(|_| engine::chat()).await;
    let mut world = world(&[frozen.local_addr().unwrap(), engine.address]);
    world.pools[0].timeouts.idle = Duration::from_millis(80);
    let soon = Duration::from_millis(20);
    let monitor =
        MonitorSettings { probes: ProbePace { interval: soon, timeout: soon }, ..MonitorSettings::default() };
    let gateway = Running::start_with(world, monitor).await;
    let all = (0..10).map(|_| async { ask(gateway.address, &chat_request(false)).await });
    for reply in futures_util::future::join_all(all).await {
        assert_eq!(reply.status, 200);
    }
    gateway.idle().await;
    gateway.stop().await;
}

#[tokio::test]
async fn one_request_ejects_an_engine_that_answers_neither_it_nor_probes() {
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut world = world(&[frozen.local_addr().unwrap()]);
    world.pools[0].timeouts.idle = Duration::from_millis(80);
    let soon = Duration::from_millis(20);
    let monitor =
        MonitorSettings { probes: ProbePace { interval: soon, timeout: soon }, ..MonitorSettings::default() };
    let gateway = Running::start_with(world, monitor).await;
    let reply = ask(gateway.address, &post("/v1/responses", STORED)).await;
    assert_eq!((reply.status, reply.reason()), (504, "stalled"));
    let ejected = gateway.metric("pointsman_endpoint_ejections_total");
    assert!(ejected >= 1.0, "{ejected}");
    gateway.stop().await;
}

#[tokio::test]
async fn an_error_event_does_not_fill_a_stated_length() {
    let engine = Engine::start(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 200\r\n\r\n";
        vec![Step::Send([head, ROLE, TOKEN].concat().into()), Step::Close]
    })
    .await;
    let gateway = Running::before(&[engine.address]).await;
    let reply = ask(gateway.address, &chat_request(true)).await;
    assert_eq!((reply.text(), reply.complete), ([ROLE, TOKEN].concat(), false));
    gateway.idle().await;
    gateway.stop().await;
}
