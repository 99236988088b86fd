//! The lifecycle of streams and of the picker.

use std::time::Duration;

use pointsman_config::{ObjectName, World};
use pointsman_extproc::{Picker, PickerError, PickerOptions};
use pointsman_fleet::{Fleet, FleetOptions};
use pointsman_telemetry::{BuildInfo, Metrics};

use crate::running::*;

const ASK: &str = r#"{"model":"m","prompt":"hello"}"#;
const REPLY: &str = r#"{"id":"c","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#;

#[tokio::test]
async fn a_request_goes_through_and_is_counted_out() {
    let picker = Running::start(world(&[1, 2])).await;
    let mut call = picker.client().await.process().await;
    call.send(&post());
    call.send(&ask(ASK));
    let said = call.take(2).await;
    assert!(destination(&said[0]).unwrap().starts_with("127.0.0.1:"), "{said:?}");
    assert_eq!(bytes(&said[1]), ASK);
    assert_eq!(picker.fleet.in_flight(), 1);
    call.send(&answer("200", "application/json", false));
    call.send(&answer_part(REPLY, true));
    assert_eq!(bytes(&call.take(2).await[1]), REPLY);
    assert_eq!(picker.fleet.in_flight(), 0);
    call.half_close();
    assert_eq!(call.next().await, None);
    assert_eq!(call.status(), "0");
    let page = picker.page();
    assert!(page.contains(r#"outcome="complete""#), "{page}");
    assert!(page.contains("pointsman_requests_in_flight 0"), "{page}");
}

#[tokio::test]
async fn the_forwarded_body_has_the_target_model() {
    let picker = Running::start(world(&[1])).await;
    let mut client = picker.client().await;
    let mut call = client.process().await;
    call.send(&post());
    call.send(&ask(r#"{"prompt":"hello","model":"public"}"#));
    assert_eq!(bytes(&call.take(2).await[1]), r#"{"prompt":"hello","model":"a-much-longer-target"}"#);
    let mut call = client.process().await;
    call.send(&buffered(post()));
    call.send(&ask(r#"{"prompt":"hello","model":"public"}"#));
    let said = call.take(2).await;
    assert_eq!(bytes(&said[1]), r#"{"prompt":"hello","model":"a-much-longer-target"}"#);
    assert!(format!("{:?}", said[1]).contains("content-length, 2 bytes"), "{said:?}");
}

#[tokio::test]
async fn a_stream_that_is_reset_counts_its_request_out() {
    let picker = Running::start(world(&[1])).await;
    let mut client = picker.client().await;
    for halt in 0..4 {
        let mut call = client.process().await;
        call.send(&post());
        if halt > 0 {
            call.send(&ask(ASK));
            call.take(2).await;
        }
        let streams = |count: u32| {
            let gauge = format!("pointsman_streams_in_flight{{pool=\"default/pool\"}} {count}\n");
            assert!(picker.page().contains(&gauge), "{gauge}{}", picker.page());
        };
        streams(0);
        if halt > 1 {
            call.send(&answer("200", "text/event-stream", false));
            call.take(1).await;
            streams(1);
        }
        if halt > 2 {
            call.send(&answer_part("data: {}\n\n", false));
            call.take(1).await;
        }
        drop(call);
        picker.settle().await;
    }
}

#[tokio::test]
async fn refusals_are_immediate_responses_and_end_the_stream() {
    let picker = Running::start(world(&[1])).await;
    let mut client = picker.client().await;
    for (body, expected) in [("{", (400, "invalid_body")), ("{}", (400, "missing_model"))] {
        let mut call = client.process().await;
        call.send(&post());
        call.send(&ask(body));
        let refusal = refused(&call.next().await.unwrap()).unwrap();
        assert_eq!((refusal.0, refusal.1.as_str()), expected);
        assert_eq!(call.next().await, None);
        assert_eq!(call.status(), "0");
    }
    assert!(picker.page().contains(r#"reason="missing_model""#));
}

#[tokio::test]
async fn a_pool_without_endpoints_refuses() {
    let picker = Running::start(world(&[])).await;
    let mut call = picker.client().await.process().await;
    call.send(&get("/v1/models"));
    assert_eq!(refused(&call.next().await.unwrap()), Some((503, "no_ready_endpoint".into())));
}

#[tokio::test]
async fn a_subset_is_respected() {
    let picker = Running::start(world(&[1, 2, 3])).await;
    let mut client = picker.client().await;
    let cases = [(["127.0.0.1:2"].as_slice(), Some("127.0.0.1:2")), (&["127.0.0.1:9"], None), (&[], None)];
    for (subset, expected) in cases {
        let mut call = client.process().await;
        call.send(&within(post(), subset));
        call.send(&ask(ASK));
        let said = call.next().await.unwrap();
        assert_eq!(destination(&said).as_deref(), expected);
        assert_eq!(refused(&said), expected.is_none().then(|| (503, "empty_subset".into())));
    }
}

#[tokio::test]
async fn a_pause_in_the_body_ends_the_request() {
    let mut world = world(&[1]);
    world.gateway.client_timeouts.body_idle = Duration::from_millis(20);
    let picker = Running::start(world).await;
    let mut call = picker.client().await.process().await;
    call.send(&post());
    call.send(&part("{", false));
    assert_eq!(refused(&call.next().await.unwrap()), Some((408, "body_timeout".into())));
}

#[tokio::test]
async fn a_body_that_drips_is_limited_in_total() {
    let mut world = world(&[1]);
    world.gateway.client_timeouts.body = Duration::from_millis(100);
    let picker = Running::start(world).await;
    let mut call = picker.client().await.process().await;
    call.send(&post());
    let drip = async {
        loop {
            call.send(&part(" ", false));
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Ok(said) = tokio::time::timeout(Duration::from_millis(1), call.next()).await {
                return said.unwrap();
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(10), drip).await.unwrap();
    assert_eq!(refused(&said), Some((408, "body_timeout".into())));
}

#[tokio::test]
async fn buffered_bodies_and_streams_are_limited() {
    let mut world = world(&[1]);
    world.gateway.max_held_bytes = 10;
    world.gateway.max_requests = 1;
    let picker = Running::start(world).await;
    let mut client = picker.client().await;
    let mut first = client.process().await;
    first.send(&post());
    first.send(&part("{", false));
    let mut second = client.process().await;
    // The first message may not have arrived.
    second.send(&post());
    second.send(&part(ASK, true));
    assert_eq!(refused(&second.next().await.unwrap()), Some((429, "busy".into())));
    first.send(&part("0123456789", false));
    assert_eq!(refused(&first.next().await.unwrap()), Some((429, "busy".into())));
}

#[tokio::test]
async fn bodies_that_are_only_announced_hold_nothing() {
    let mut world = world(&[1]);
    world.gateway.max_held_bytes = 64 << 20;
    let picker = Running::start(world).await;
    let mut client = picker.client().await;
    let mut announced = Vec::new();
    for _ in 0..32 {
        let call = client.process().await;
        call.send(&post_of(32 << 20));
        call.send(&part("{", false));
        announced.push(call);
    }
    let mut honest = client.process().await;
    honest.send(&post());
    honest.send(&part(ASK, true));
    let answer = honest.next().await.unwrap();
    assert_eq!(refused(&answer), None, "it is placed");
}

#[tokio::test]
async fn messages_out_of_order_fail_the_call() {
    let picker = Running::start(world(&[1])).await;
    let mut call = picker.client().await.process().await;
    call.send(&ask("{}"));
    assert_eq!(call.next().await, None);
    assert_eq!(call.status(), "9", "FAILED_PRECONDITION");
}

#[tokio::test]
async fn health_has_all_service_names_that_gateways_use() {
    let picker = Running::start(world(&[1])).await;
    let mut grpc = picker.client().await;
    let mut health = crate::client::Client::connect(picker.health).await;
    for service in
        ["", "liveness", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"]
    {
        assert_eq!(health.health(service).await, Ok(1), "{service}");
        assert_eq!(grpc.health(service).await, Ok(1), "{service}");
    }
    assert_eq!(health.health("other").await, Err("5".to_owned()), "NOT_FOUND");
    let call = health.call(crate::client::PROCESS).await.unwrap();
    assert_eq!(call.status(), "12", "UNIMPLEMENTED");
    picker.fleet.apply(World::default(), 0).unwrap();
    assert_eq!(health.health("readiness").await, Ok(2), "the pool is gone");
    assert_eq!(health.health("liveness").await, Ok(1));
}

#[tokio::test]
async fn a_stream_in_progress_ends_before_the_picker() {
    let picker = Running::start(world(&[1])).await;
    let mut call = picker.client().await.process().await;
    let mut health = crate::client::Client::connect(picker.health).await;
    call.send(&get("/v1/models"));
    call.take(1).await;
    picker.stop.cancel();
    while health.health("readiness").await != Ok(2) {
        tokio::task::yield_now().await;
    }
    assert!(!picker.task.is_finished());
    call.send(&answer("200", "application/json", true));
    call.take(1).await;
    call.half_close();
    assert_eq!(call.next().await, None);
    picker.task.await.unwrap();
    assert!(tokio::net::TcpStream::connect(picker.grpc).await.is_err());
}

#[tokio::test]
async fn a_draining_picker_accepts_streams_until_its_gateways_disconnect() {
    let options = PickerOptions { handover: Duration::from_secs(3_600), ..options() };
    let picker = Running::with(world(&[1]), options).await;
    let mut gateway = picker.client().await;
    let mut health = crate::client::Client::connect(picker.health).await;
    picker.stop.cancel();
    while health.health("readiness").await != Ok(2) {
        tokio::task::yield_now().await;
    }
    for gateway in [&mut gateway, &mut picker.client().await] {
        let mut call = gateway.process().await;
        call.send(&get("/v1/models"));
        assert!(destination(&call.take(1).await[0]).is_some());
        call.send(&answer("200", "application/json", true));
        call.take(1).await;
        call.half_close();
        assert_eq!(call.next().await, None);
    }
    drop(gateway);
    picker.task.await.unwrap();
}

#[tokio::test]
async fn a_picker_needs_a_pool() {
    let bind = |world: World, pool: Option<&str>| {
        let metrics = Metrics::new(&BuildInfo { version: "0", commit: "test" });
        let fleet = Fleet::start(FleetOptions::default(), metrics.clone()).unwrap();
        fleet.apply(world, 0).unwrap();
        let pool = pool.map(|name| ObjectName { namespace: "default".into(), name: name.into() });
        Picker::bind(PickerOptions { pool, ..options() }, fleet, metrics)
            .map(|picker| picker.pool().to_string())
    };
    assert_eq!(bind(world(&[1]), None).unwrap(), "default/pool");
    assert_eq!(bind(world(&[1]), Some("pool")).unwrap(), "default/pool");
    let unknown = bind(world(&[1]), Some("other")).unwrap_err();
    assert_eq!(unknown.to_string(), "no pool default/other; the configuration has default/pool");
    assert!(matches!(bind(World::default(), None), Err(PickerError::PoolNotNamed { .. })));
}
