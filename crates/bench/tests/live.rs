//! The load generator against servers in the same process: counts, order of events, outcomes. No test depends on durations.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod scripted;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pointsman_bench::client::{Client, Connections, ServerAddress, Target};
use pointsman_bench::run::{LoadOptions, LoadResult, Progress, run_plan};
use pointsman_bench::slices::{Arm, SliceEvent, SliceOptions, run_slices};
use pointsman_bench::stub::Stubs;
use pointsman_bench::workload::{GenerationApi, OfferedLoad, Plan, Source, WeightedModel, Workload};
use pointsman_bench::{Outcome, bare_proxy};
use pointsman_report::Measure;
use pointsman_workload::Distribution;
use scripted::{Scripted, Seen};
use tokio::net::TcpListener;

fn plan(requests: u32, stream: bool) -> Plan {
    let workload = Workload {
        offered: OfferedLoad::constant(f64::from(requests) * 10.0),
        duration: Duration::from_millis(100),
        source: Source::Generated {
            prompt: Distribution::Fixed(20.0),
            output: Distribution::Fixed(6.0),
            shared_prefix: None,
        },
        models: vec![WeightedModel { name: "stub".into(), weight: 1.0 }],
        stream_share: if stream { 1.0 } else { 0.0 },
        api: GenerationApi::ChatCompletions,
        ignore_eos: false,
    };
    workload.plan(1).unwrap()
}

async fn stubs(count: u16) -> Vec<SocketAddr> {
    let stubs = Stubs::bind(([127, 0, 0, 1], 0).into(), count, Duration::from_millis(1)).await.unwrap();
    let addresses = stubs.addresses().unwrap();
    tokio::spawn(stubs.serve());
    addresses
}

fn target(addresses: &[SocketAddr], connections: Connections) -> Target {
    Target { endpoints: addresses.iter().copied().map(ServerAddress::from).collect(), connections }
}

async fn run(plan: Plan, addresses: &[SocketAddr], options: LoadOptions) -> LoadResult {
    let client = Client::new(&target(addresses, Connections::Pool));
    run_plan(&Arc::new(plan), &client, options, &Arc::default()).await.unwrap()
}

/// Runs ten requests against a scripted server and expects the same outcome of all.
async fn check_outcome(script: Scripted, stream: bool, expect: Outcome) {
    let (address, _seen) = script.serve().await;
    let options = LoadOptions { timeout: Duration::from_millis(300), ..LoadOptions::default() };
    let result = run(plan(10, stream), &[address], options).await;
    let tally: Vec<(Outcome, u64)> = result.outcome_counts().into_iter().collect();
    assert_eq!(tally, [(expect, 10)], "{script:?}");
}

#[tokio::test]
async fn streams_are_read_to_their_end() {
    let options = LoadOptions { record_gaps: true, ..LoadOptions::default() };
    let result = run(plan(30, true), &stubs(2).await, options).await;
    assert_eq!(result.outcome_counts().into_iter().collect::<Vec<_>>(), [(Outcome::Ok, 30)]);
    for record in &result.records {
        let first_token = record.first_token.unwrap();
        assert!(record.intended <= record.sent && record.sent <= first_token && first_token <= record.end);
        assert_eq!((record.output_tokens, record.gaps.len()), (6, 5));
    }
    let slice = result.slice();
    assert_eq!((slice.completed, slice.errors, slice.rejected), (30, 0, 0));
    for measure in Measure::PER_REQUEST {
        assert_eq!(slice.latencies.samples(measure).sorted().len(), 30, "{measure:?}");
    }
    assert_eq!(slice.latencies.samples(Measure::Itl).sorted().len(), 150);
}

#[tokio::test]
async fn whole_answers_have_no_first_token() {
    let result = run(plan(20, false), &stubs(1).await, LoadOptions::default()).await;
    assert!(result.records.iter().all(|record| record.first_token.is_none() && record.output_tokens == 12));
    let report = result.report("direct");
    assert_eq!(report.latency.ttft_ms.p50, None);
    assert!(report.latency.ntpot_ms.p50.is_some());
}

#[tokio::test]
async fn the_bare_proxy_passes_everything_on_in_turn() {
    let (first, first_seen) = Scripted::Stream.serve().await;
    let (second, second_seen) = Scripted::Stream.serve().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let endpoints = [first, second].map(ServerAddress::from);
    tokio::spawn(bare_proxy::serve(listener, endpoints.to_vec()));
    let result = run(plan(20, true), &[proxy], LoadOptions::default()).await;
    assert_eq!(result.outcome_counts().into_iter().collect::<Vec<_>>(), [(Outcome::Ok, 20)]);
    assert_eq!((first_seen.requests(), second_seen.requests()), (10, 10));
}

#[tokio::test]
async fn every_failure_has_its_outcome() {
    check_outcome(Scripted::Stream, true, Outcome::Ok).await;
    check_outcome(Scripted::Status(429), true, Outcome::Rejected).await;
    check_outcome(Scripted::Status(503), false, Outcome::HttpError(503)).await;
    check_outcome(Scripted::StreamWithoutEnd, true, Outcome::BrokenResponse).await;
    check_outcome(Scripted::StreamWithError, true, Outcome::BrokenResponse).await;
    check_outcome(Scripted::StreamCutOff, true, Outcome::BrokenResponse).await;
    check_outcome(Scripted::HalfAnswer, false, Outcome::BrokenResponse).await;
    check_outcome(Scripted::Silence, true, Outcome::Timeout).await;
    check_outcome(Scripted::HangUp, true, Outcome::ConnectionFailed).await;
}

#[tokio::test]
async fn nobody_listening_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let result = run(plan(5, true), &[address], LoadOptions::default()).await;
    assert_eq!(result.outcome_counts()[&Outcome::ConnectionFailed], 5);
    assert_eq!(result.slice().errors, 5);
}

#[tokio::test]
async fn requests_over_the_limit_are_errors_and_are_not_waited_for() {
    let (address, seen) = Scripted::Silence.serve().await;
    let options =
        LoadOptions { max_in_flight: 3, timeout: Duration::from_millis(500), ..LoadOptions::default() };
    let result = run(plan(10, true), &[address], options).await;
    assert_eq!(
        result.outcome_counts().into_iter().collect::<Vec<_>>(),
        [(Outcome::Timeout, 3), (Outcome::NotSent, 7)]
    );
    assert_eq!((result.slice().errors, seen.requests()), (10, 3));
}

#[tokio::test]
async fn pinned_connections_stay_with_their_engine() {
    let mut servers: Vec<(SocketAddr, Arc<Seen>)> = Vec::new();
    for _ in 0..4 {
        servers.push(Scripted::Stream.serve().await);
    }
    let addresses: Vec<SocketAddr> = servers.iter().map(|(address, _)| *address).collect();
    let client = Client::new(&target(&addresses, Connections::Pinned { count: 6, seed: 3 }));
    for _ in 0..60 {
        let mut answer = client.post("/v1/chat/completions", "{}".into()).await.unwrap();
        while answer.chunk().await.is_some() {}
        answer.finish();
    }
    let connections: usize = servers.iter().map(|(_, seen)| seen.connections()).sum();
    let requests: usize = servers.iter().map(|(_, seen)| seen.requests()).sum();
    assert_eq!((connections, requests), (6, 60));
}

#[tokio::test]
async fn a_busy_set_of_pinned_connections_opens_one_more() {
    let (address, seen) = Scripted::Stream.serve().await;
    let client = Client::new(&target(&[address], Connections::Pinned { count: 2, seed: 3 }));
    for _ in 0..2 {
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(client.post("/v1/chat/completions", "{}".into()).await.unwrap());
        }
        for mut answer in held {
            while answer.chunk().await.is_some() {}
            answer.finish();
        }
    }
    // Two kept ones serve both rounds; the third is new in each.
    assert_eq!(seen.connections(), 4);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let (address, seen) = Scripted::StreamThenClose.serve().await;
    let client = Client::new(&target(&[address], Connections::Pool));
    for _ in 0..5 {
        let mut answer = client.post("/v1/chat/completions", "{}".into()).await.unwrap();
        while answer.chunk().await.is_some() {}
        answer.finish();
    }
    assert_eq!((seen.connections(), seen.requests()), (5, 5));
}

#[tokio::test]
async fn both_arms_get_the_same_requests_with_different_words() {
    let (first, first_seen) = Scripted::Stream.serve().await;
    let (second, second_seen) = Scripted::Stream.serve().await;
    let arm =
        |name: &str, address| Arm { name: name.to_owned(), target: target(&[address], Connections::Pool) };
    let arms = [arm("kubernetes-service", first), arm("pointsman", second)];
    let options = SliceOptions {
        slices: 6,
        warm_up: true,
        settle: Duration::ZERO,
        load: LoadOptions { salt: 9, ..LoadOptions::default() },
    };
    let progress = Arc::<Progress>::default();
    let mut started = Vec::new();
    let plan = plan(60, true);
    let mut completed = [0; 2];
    let result = run_slices(&arms, &plan, options, &progress, |event| match event {
        SliceEvent::Started { arm, slice } => started.push((arm, slice)),
        SliceEvent::Finished { arm, slice, result } => {
            assert_eq!(started.last(), Some(&(arm, Some(slice))));
            completed[arm] += result.completed;
        }
    })
    .await
    .unwrap();

    let order: Vec<usize> = started.iter().map(|&(arm, _)| arm).skip(2).take(4).collect();
    assert_eq!(order, [0, 1, 1, 0]);
    assert_eq!(completed, [60, 60]);
    assert_eq!(started.len(), 14);
    let [service, pointsman] = result.runs(1);
    assert_eq!((service.errors, pointsman.errors), (0, 0));
    assert_ne!(pointsman.interval95, pointsman_report::Intervals::default());
    assert_eq!(result.pairs.changes().len(), 12);
    let sent = progress.finished.get();
    assert_eq!((sent, progress.planned.get(), progress.failed.get()), (progress.sent.get(), sent, 0));

    let (first_bodies, second_bodies) = (first_seen.bodies(), second_seen.bodies());
    let lengths = |bodies: &[Vec<u8>]| bodies.iter().map(Vec::len).collect::<BTreeSet<_>>();
    assert_eq!(first_bodies.len(), second_bodies.len());
    assert_eq!(lengths(&first_bodies), lengths(&second_bodies));
    let all: BTreeSet<&Vec<u8>> = first_bodies.iter().chain(&second_bodies).collect();
    assert_eq!(all.len(), first_bodies.len() + second_bodies.len(), "no body is sent twice");
}
