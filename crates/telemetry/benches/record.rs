//! Cost of telemetry per request; recording a finished one should take at most 1 µs.

#![allow(missing_docs, reason = "a bench is run, not called")]

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use pointsman_core::{Completion, FailureCause, Usage};
use pointsman_telemetry::trace::{SpanName, TraceContext, Tracer};
use pointsman_telemetry::{BuildInfo, Exposition, Metrics, Outcome, RequestRecord, RequestSeries};

fn main() {
    divan::main();
}

fn metrics() -> (Metrics, Arc<RequestSeries>) {
    let metrics = Metrics::new(&BuildInfo { version: "0.0.0", commit: "" });
    let pool = metrics.pool("default/llama");
    pool.declare([("llama", "llama-v1")]);
    let series = pool.request("llama", "llama-v1");
    (metrics, series)
}

fn record(outcome: Outcome, status: u16) -> RequestRecord {
    RequestRecord {
        outcome,
        status,
        duration: Duration::from_secs(12),
        body_wait: Some(Duration::from_millis(3)),
        first_token: Some(Duration::from_millis(300)),
        request_bytes: 4000,
        response_bytes: 60_000,
        usage: Usage { prompt_tokens: Some(900), cached_tokens: Some(100), output_tokens: Some(300) },
    }
}

#[divan::bench(threads = [1, 2])]
fn finish(bencher: Bencher<'_, '_>) {
    let (_metrics, series) = metrics();
    let record = record(Outcome::Served(Completion::Complete), 200);
    bencher.bench(|| {
        let running = series.start();
        series.finish(black_box(&record));
        drop(running);
    });
}

#[divan::bench]
fn finish_broken(bencher: Bencher<'_, '_>) {
    let (_metrics, series) = metrics();
    let record = record(Outcome::Served(Completion::Broken(FailureCause::Stalled)), 200);
    bencher.bench(|| series.finish(black_box(&record)));
}

#[divan::bench]
fn look_up(bencher: Bencher<'_, '_>) {
    let (metrics, _series) = metrics();
    let pool = metrics.pool("default/llama");
    bencher.bench(|| pool.request(black_box("llama"), black_box("llama-v1")));
}

#[divan::bench]
fn untraced_request(bencher: Bencher<'_, '_>) {
    let tracer = Tracer::disabled();
    let parent = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    bencher.bench(|| {
        let span = tracer.start(black_box(parent), SpanName::Request);
        span.child(SpanName::Attempt).traceparent()
    });
}

#[divan::bench]
fn render(bencher: Bencher<'_, '_>) {
    let (metrics, series) = metrics();
    series.finish(&record(Outcome::Served(Completion::Complete), 200));
    bencher.bench(|| metrics.render(Exposition::Prometheus));
}
