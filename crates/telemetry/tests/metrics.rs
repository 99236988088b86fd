//! The metrics page as a scraper reads it: names, labels, buckets and bounds.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot read the page has failed")]

mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use page::Page;
use pointsman_core::{Completion, FailureCause, Usage};
use pointsman_telemetry::{
    BuildInfo, EndpointSample, Exposition, GatewaySample, Metrics, OTHER, Outcome, PoolSample, RequestRecord,
    UNDECLARED,
};

const POOL: &str = "default/llama";

fn metrics() -> Metrics {
    Metrics::new(&BuildInfo { version: "1.2.3", commit: "abc" })
}

fn record(outcome: Outcome, status: u16) -> RequestRecord {
    RequestRecord {
        outcome,
        status,
        duration: Duration::from_millis(2000),
        body_wait: Some(Duration::from_millis(3)),
        first_token: Some(Duration::from_millis(500)),
        request_bytes: 1000,
        response_bytes: 3000,
        usage: Usage { prompt_tokens: Some(300), cached_tokens: Some(100), output_tokens: Some(11) },
    }
}

fn sample() -> PoolSample {
    let endpoint = |address: &str, ready, waiting: Option<u32>, kv_use: Option<f64>| EndpointSample {
        endpoint: address.into(),
        ready,
        in_flight: 3,
        pending_tokens: 700,
        waiting,
        running: waiting.map(|_| 2),
        kv_use,
        metrics_age: waiting.map(|_| Duration::from_millis(50)),
        metrics_fresh: waiting.is_some(),
    };
    let endpoints = vec![
        endpoint("10.0.0.1:8000", true, Some(4), Some(0.25)),
        endpoint("10.0.0.2:8000", true, Some(1), Some(0.5)),
        endpoint("10.0.0.3:8000", true, None, None),
        endpoint("10.0.0.4:8000", false, Some(900), Some(1.0)),
    ];
    PoolSample { pool: POOL.into(), saturated: true, endpoints }
}

/// Metrics in which every family has at least one series.
fn full() -> Metrics {
    let metrics = metrics();
    let pool = metrics.pool(POOL);
    pool.declare([("llama", "llama-v1")]);
    let series = pool.request("llama", "llama-v1");
    drop(series.start());
    series.finish(&record(Outcome::Served(Completion::Complete), 200));
    series.finish(&record(Outcome::Rejected("saturated"), 429));
    pool.decided(Duration::from_micros(3));
    pool.retried(FailureCause::Lost);
    pool.retry_denied();
    drop(pool.stream());
    let endpoint = pool.endpoint("10.0.0.1:8000");
    endpoint.attempted();
    endpoint.failed(FailureCause::Stalled);
    endpoint.ejected(FailureCause::Connect);
    endpoint.scraped(false);
    metrics.refused("no_route");
    metrics.configuration(7, 2);
    metrics.certificate_reloaded(true);
    metrics.register_collector(Box::new(|| vec![sample()]));
    metrics.register_gateway(Box::new(|| GatewaySample { requests: 3, held_body_bytes: 1 << 20 }));
    metrics
}

fn page(metrics: &Metrics) -> Page {
    Page::parse(&metrics.render(Exposition::Prometheus))
}

type Families = BTreeMap<String, (String, BTreeSet<String>)>;

/// The metrics of `docs/metrics.md`: type and label names by metric name. The extension's request metrics have a second
/// name.
fn documented() -> Families {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md")).unwrap();
    let mut families = Families::new();
    let tables = page.split("## Logs").next().unwrap();
    for row in tables.lines().filter_map(|line| line.strip_prefix("| `")) {
        let [name, kind, labels, ..] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("a row of another table: {row}");
        };
        let name = name.strip_suffix('`').unwrap();
        let labels =
            labels.split(", ").map(|label| label.trim_matches('`')).filter(|label| !label.is_empty());
        let family = (kind.to_owned(), labels.map(str::to_owned).collect());
        if let Some(metric) = name.strip_prefix("inference_model_") {
            families.insert(format!("inference_objective_{metric}"), family.clone());
        }
        assert!(families.insert(name.to_owned(), family).is_none(), "{name} is documented twice");
    }
    families
}

#[test]
#[cfg(target_os = "linux")]
fn the_page_has_the_documented_metrics_and_no_others() {
    let page = page(&full());
    let found: Families = page
        .families()
        .map(|(name, kind, labels)| {
            (name.to_owned(), (kind.to_owned(), labels.into_iter().map(str::to_owned).collect()))
        })
        .collect();
    assert_eq!(found, documented());
}

#[test]
#[cfg(target_os = "linux")]
fn process_metrics_are_on_the_page() {
    let page = page(&metrics());
    let value = |name: &str| page.value(name).unwrap();
    assert!(value("process_resident_memory_bytes") > 100_000.0);
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_open_fds") >= 3.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = value("process_start_time_seconds");
    assert!(started <= now && started > 1.6e9, "{started}");
}

#[test]
fn the_extensions_histograms_have_its_buckets() {
    let page = page(&full());
    let check = |name: &str, expected: &str| {
        assert_eq!(page.buckets(name), expected.split_whitespace().collect::<Vec<_>>(), "{name}");
    };
    let durations = "0.005 0.025 0.05 0.1 0.2 0.4 0.6 0.8 1.0 1.25 1.5 2.0 3.0 4.0 5.0 6.0 8.0 10.0 15.0 20.0 30.0 45.0 \
                     60.0 120.0 180.0 240.0 300.0 360.0 480.0 600.0 900.0 1200.0 1800.0 2700.0 3600.0 +Inf";
    let sizes = "64.0 128.0 256.0 512.0 1024.0 2048.0 4096.0 8192.0 16384.0 32768.0 65536.0 131072.0 262144.0 524288.0 \
                 1048576.0 2097152.0 4194304.0 8388608.0 16777216.0 33554432.0 67108864.0 134217728.0 268435456.0 \
                 536870912.0 1073741824.0 +Inf";
    let to_16k = "1.0 8.0 16.0 32.0 64.0 128.0 256.0 512.0 1024.0 2048.0 4096.0 8192.0";
    for subject in ["inference_model", "inference_objective"] {
        check(&format!("{subject}_request_duration_seconds"), durations);
        check(&format!("{subject}_request_sizes"), sizes);
        check(&format!("{subject}_response_sizes"), &format!("{to_16k} 16384.0 32778.0 65536.0 +Inf"));
        check(
            &format!("{subject}_input_tokens"),
            &format!("{to_16k} 16384.0 32778.0 65536.0 131072.0 262144.0 524288.0 1048576.0 +Inf"),
        );
        check(&format!("{subject}_output_tokens"), &format!("{to_16k} +Inf"));
        check(
            &format!("{subject}_normalized_time_per_output_token_seconds"),
            "0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5 1.0 2.0 5.0 10.0 +Inf",
        );
    }
    check(
        "inference_extension_scheduler_e2e_duration_seconds",
        "0.0001 0.0002 0.0005 0.001 0.002 0.005 0.01 0.02 0.05 0.1 +Inf",
    );
}

#[test]
fn a_finished_request_is_recorded_once_in_each_metric() {
    let metrics = metrics();
    let pool = metrics.pool(POOL);
    pool.declare([("llama", "llama-v1")]);
    let series = metrics.request(POOL, "llama", "llama-v1");
    let running = series.start();
    let labels = r#"{model_name="llama",target_model_name="llama-v1",pool="default/llama"}"#;
    let model = r#"{model_name="llama",pool="default/llama"}"#;
    assert_eq!(page(&metrics).value(&format!("inference_model_running_requests{model}")), Some(1.0));
    series.finish(&record(Outcome::Served(Completion::Complete), 200));
    drop(running);
    let page = page(&metrics);
    let check = |series: &str, expected: f64| assert_eq!(page.value(series), Some(expected), "{series}");
    check(&format!("inference_model_running_requests{model}"), 0.0);
    check(&format!("inference_model_request_total{labels}"), 1.0);
    check(&format!("inference_objective_request_total{labels}"), 1.0);
    for (name, sum) in [
        ("inference_model_request_duration_seconds", 2.0),
        ("inference_model_request_sizes", 1000.0),
        ("inference_model_response_sizes", 3000.0),
        ("inference_model_input_tokens", 300.0),
        ("inference_model_output_tokens", 11.0),
        ("inference_model_normalized_time_per_output_token_seconds", 2.0 / 11.0),
        ("pointsman_time_to_first_token_seconds", 0.5),
        ("pointsman_time_per_output_token_seconds", 0.15),
    ] {
        check(&format!("{name}_sum{labels}"), sum);
        check(&format!("{name}_count{labels}"), 1.0);
    }
    check(&format!("pointsman_cached_prompt_tokens_total{labels}"), 100.0);
    check(r#"pointsman_requests_total{pool="default/llama",outcome="complete",reason=""}"#, 1.0);
    assert!(!page.has_metric("inference_model_request_error_total"));
}

#[test]
fn outcomes_map_to_the_extensions_error_codes() {
    let check = |outcome: Outcome, status: u16, labels: &str, code: Option<&str>| {
        let metrics = metrics();
        metrics.request(POOL, "a", "a").finish(&record(outcome, status));
        let page = page(&metrics);
        let requests = format!("pointsman_requests_total{{pool=\"default/llama\",{labels}}}");
        assert_eq!(page.value(&requests), Some(1.0), "{outcome:?} {status}");
        let errors = page.label_values("inference_model_request_error_total", "error_code");
        assert_eq!(errors, code.into_iter().collect::<BTreeSet<_>>(), "{outcome:?} {status}");
    };
    let broken = |cause| Outcome::Served(Completion::Broken(cause));
    let complete = Outcome::Served(Completion::Complete);
    check(complete, 200, r#"outcome="complete",reason="""#, None);
    check(complete, 404, r#"outcome="complete",reason="""#, Some("BadRequest"));
    check(complete, 500, r#"outcome="complete",reason="""#, Some("ModelServerError"));
    check(Outcome::Served(Completion::ClientGone), 200, r#"outcome="client_gone",reason="""#, None);
    check(
        broken(FailureCause::Stalled),
        200,
        r#"outcome="broken",reason="stalled""#,
        Some("ModelServerError"),
    );
    check(
        broken(FailureCause::Truncated),
        200,
        r#"outcome="broken",reason="truncated""#,
        Some("ModelServerError"),
    );
    let rejected = Outcome::Rejected;
    check(
        rejected("saturated"),
        429,
        r#"outcome="rejected",reason="saturated""#,
        Some("InferencePoolResourceExhausted"),
    );
    check(rejected("missing_model"), 400, r#"outcome="rejected",reason="missing_model""#, Some("BadRequest"));
    check(
        rejected("no_ready_endpoint"),
        503,
        r#"outcome="rejected",reason="no_ready_endpoint""#,
        Some("ServiceUnavailable"),
    );
    check(rejected("connect"), 502, r#"outcome="rejected",reason="connect""#, Some("ModelServerError"));
    check(rejected("stalled"), 504, r#"outcome="rejected",reason="stalled""#, Some("ModelServerError"));
}

#[test]
fn refusals_are_not_in_the_latency_histograms() {
    let metrics = metrics();
    metrics.request(POOL, "a", "a").finish(&record(Outcome::Rejected("saturated"), 429));
    let page = page(&metrics);
    let check = |name: &str, expected: f64| assert_eq!(page.metric_total(name), expected, "{name}");
    check("inference_model_request_total", 1.0);
    check("inference_model_request_sizes_count", 1.0);
    check("inference_model_request_duration_seconds_count", 0.0);
    check("inference_model_response_sizes_count", 0.0);
    check("inference_model_output_tokens_count", 0.0);
    check("pointsman_time_to_first_token_seconds_count", 0.0);
}

#[test]
fn truncated_responses_have_no_latency_per_token() {
    let metrics = metrics();
    let broken = Outcome::Served(Completion::Broken(FailureCause::Truncated));
    metrics.request(POOL, "a", "a").finish(&record(broken, 200));
    let page = page(&metrics);
    for name in [
        "inference_model_normalized_time_per_output_token_seconds",
        "pointsman_time_per_output_token_seconds",
    ] {
        assert_eq!(page.metric_total(&format!("{name}_count")), 0.0, "{name}");
    }
    assert_eq!(page.metric_total("pointsman_time_to_first_token_seconds_count"), 1.0);
}

#[test]
fn undeclared_models_share_one_label_value() {
    let metrics = metrics();
    let pool = metrics.pool(POOL);
    pool.declare([("llama", "llama-v1"), ("llama", "llama-v2")]);
    for number in 0..5000 {
        let made_up = format!("made-up-{number}");
        for (model, target) in
            [(made_up.as_str(), made_up.as_str()), ("llama", &made_up), (&made_up, "llama-v1")]
        {
            pool.request(model, target).finish(&record(Outcome::Served(Completion::Complete), 200));
        }
    }
    pool.request("llama", "llama-v1").finish(&record(Outcome::Served(Completion::Complete), 200));
    let page = page(&metrics);
    let models = page.label_values("inference_model_request_total", "model_name");
    assert_eq!(models, BTreeSet::from(["llama", UNDECLARED]));
    let targets = page.label_values("inference_model_request_total", "target_model_name");
    assert_eq!(targets, BTreeSet::from(["llama-v1", UNDECLARED]));
    assert_eq!(page.metric_total("inference_model_request_total"), 15_001.0);
    assert_eq!(pool.request("made-up", "made-up").model(), UNDECLARED);
}

#[test]
fn label_values_are_capped_whatever_is_configured() {
    let metrics = metrics();
    let pool = metrics.pool(POOL);
    let names: Vec<String> = (0..3000).map(|number| format!("name-{number}")).collect();
    pool.declare(names.iter().map(|name| (name.as_str(), name.as_str())));
    for name in &names {
        pool.request(name, name).finish(&record(Outcome::Served(Completion::Complete), 200));
        pool.endpoint(name).attempted();
        metrics.pool(name).retry_denied();
    }
    let page = page(&metrics);
    let check = |metric: &str, label: &str, cap: usize, total: f64| {
        assert_eq!(page.label_values(metric, label).len(), cap + 1, "{metric}");
        assert_eq!(page.metric_total(metric), total, "{metric}");
    };
    check("inference_model_request_total", "model_name", 512, 3000.0);
    check("pointsman_endpoint_requests_total", "endpoint", 2048, 3000.0);
    check("pointsman_retries_denied_total", "pool", 256, 3000.0);
    assert_eq!(pool.request("name-2999", "name-2999").model(), OTHER, "it is declared");
    assert_eq!(pool.request("made-up", "made-up").model(), UNDECLARED);
}

#[test]
fn series_are_dropped_with_their_pool_endpoint_or_model() {
    let metrics = full();
    let pool = metrics.pool(POOL);
    let mentions = |text: &str| metrics.render(Exposition::Prometheus).contains(text);
    pool.declare([("other", "other")]);
    assert!(!mentions("model_name=\"llama\""));
    assert!(mentions("pointsman_endpoint_requests_total{"));
    pool.remove_endpoint("10.0.0.1:8000");
    assert!(!mentions("pointsman_endpoint_requests_total{"));
    assert!(!mentions("pointsman_endpoint_failures_total{"));
    let unrelated = metrics.pool("default/unrelated");
    unrelated.endpoint("10.0.0.9:8000").attempted();
    metrics.remove_pool(POOL);
    let page = page(&metrics);
    for name in documented().keys().filter(|name| name.ends_with("_total")) {
        assert!(!page.label_values(name, "pool").contains(POOL), "{name}");
    }
    assert_eq!(page.metric_total("pointsman_endpoint_requests_total"), 1.0);
    metrics.remove_pool("never there");
}

#[test]
fn requests_that_outlive_their_pool_endpoint_or_model_bring_no_series_back() {
    let metrics = metrics();
    let pool = metrics.pool(POOL);
    pool.declare([("llama", "llama")]);
    let (endpoint, model) = (pool.endpoint("10.0.0.1:8000"), pool.request("llama", "llama"));
    let fail = || {
        endpoint.failed(FailureCause::Lost);
        endpoint.ejected(FailureCause::Lost);
        model.finish(&record(Outcome::Served(Completion::Broken(FailureCause::Lost)), 502));
        pool.retried(FailureCause::Lost);
    };
    let mentions = |text: &str| metrics.render(Exposition::Prometheus).contains(text);
    pool.remove_endpoint("10.0.0.1:8000");
    pool.declare([]);
    fail();
    assert!(!mentions("10.0.0.1:8000") && !mentions("llama\",target"), "the endpoint and the model are gone");
    assert!(mentions("pointsman_retries_total{"), "the pool is there");
    metrics.remove_pool(POOL);
    fail();
    pool.request("late", "late").finish(&record(Outcome::Served(Completion::Complete), 200));
    assert!(!mentions(POOL), "the pool is gone");
    let again = metrics.pool(POOL).endpoint("10.0.0.1:8000");
    again.failed(FailureCause::Lost);
    assert!(mentions("pointsman_endpoint_failures_total{"), "a new one counts anew");
}

#[test]
fn a_series_declared_again_starts_at_zero() {
    let metrics = metrics();
    let pool = metrics.pool(POOL);
    let total = || page(&metrics).metric_total("inference_model_request_total");
    for _ in 0..2 {
        pool.declare([("llama", "llama")]);
        pool.request("llama", "llama").finish(&record(Outcome::Served(Completion::Complete), 200));
        assert_eq!(total(), 1.0);
        pool.declare([]);
        assert_eq!(total(), 0.0);
    }
}

#[test]
fn pool_gauges_cover_ready_endpoints_with_fresh_metrics() {
    let metrics = metrics();
    metrics.register_collector(Box::new(|| vec![sample()]));
    let page = page(&metrics);
    let named = r#"{name="llama",pool="default/llama"}"#;
    let check = |series: &str, expected: f64| assert_eq!(page.value(series), Some(expected), "{series}");
    check(&format!("inference_pool_average_queue_size{named}"), 2.5);
    check(&format!("inference_pool_average_kv_cache_utilization{named}"), 0.375);
    check(&format!("inference_pool_ready_pods{named}"), 3.0);
    check(
        r#"inference_pool_per_pod_queue_size{name="llama",model_server_pod="10.0.0.1:8000",pool="default/llama"}"#,
        4.0,
    );
    check(r#"pointsman_pool_endpoints{pool="default/llama"}"#, 4.0);
    check(r#"pointsman_pool_saturated{pool="default/llama"}"#, 1.0);
    check(r#"pointsman_pool_metrics_blackout{pool="default/llama"}"#, 0.0);
    check(r#"pointsman_endpoint_metrics_age_seconds{endpoint="10.0.0.1:8000",pool="default/llama"}"#, 0.05);
    check(r#"pointsman_endpoint_ready{endpoint="10.0.0.4:8000",pool="default/llama"}"#, 0.0);
    let queues = page.label_values("inference_pool_per_pod_queue_size", "model_server_pod");
    assert!(!queues.contains("10.0.0.3:8000"), "an unknown queue is not an empty one");
}

#[test]
fn gateway_gauges_are_collected_at_each_scrape() {
    let (metrics, calls) = (metrics(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&calls);
    metrics.register_gateway(Box::new(move || {
        let call = count.fetch_add(1, Ordering::Relaxed);
        GatewaySample { requests: call, held_body_bytes: 1 << 20 }
    }));
    assert_eq!(page(&metrics).value("pointsman_requests_in_flight"), Some(0.0));
    let second = page(&metrics);
    assert_eq!(second.value("pointsman_requests_in_flight"), Some(1.0));
    assert_eq!(second.value("pointsman_held_body_bytes"), Some(1_048_576.0));
}

#[test]
fn the_blackout_gauge_is_set_when_metrics_were_read_and_none_are_fresh() {
    let blackout_of = |fresh: &[bool], age: Option<Duration>| {
        let mut pool = sample();
        pool.endpoints.truncate(fresh.len());
        for (endpoint, fresh) in pool.endpoints.iter_mut().zip(fresh) {
            endpoint.metrics_fresh = *fresh;
            endpoint.metrics_age = age;
        }
        let metrics = metrics();
        metrics.register_collector(Box::new(move || vec![pool.clone()]));
        page(&metrics).value(r#"pointsman_pool_metrics_blackout{pool="default/llama"}"#)
    };
    let blackout = |fresh| blackout_of(fresh, Some(Duration::from_secs(8)));
    assert_eq!(blackout(&[false, false]), Some(1.0));
    assert_eq!(blackout_of(&[false, false], None), Some(0.0), "no engine ever had a page");
    assert_eq!(blackout(&[false, true]), Some(0.0));
    assert_eq!(blackout(&[]), Some(0.0));
}

#[test]
fn label_values_are_escaped() {
    let metrics = metrics();
    let pool = metrics.pool("quote\"back\\slash\nline");
    pool.retry_denied();
    let pools = page(&metrics);
    assert!(
        pools.label_values("pointsman_retries_denied_total", "pool").contains("quote\"back\\slash\nline")
    );
}

#[test]
fn openmetrics_names_counters_without_total() {
    let page = full().render(Exposition::OpenMetrics);
    for line in [
        "# TYPE inference_model_request counter",
        "# TYPE pointsman_build info",
        r#"inference_model_request_total{model_name="llama",target_model_name="llama-v1",pool="default/llama"} 2"#,
        r#"pointsman_build_info{version="1.2.3",commit="abc"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line}");
    }
    assert!(page.ends_with("\n# EOF\n"));
    assert!(!page.contains("_total_total") && !page.contains("_info_info"));
}

#[test]
fn the_page_has_a_stable_order() {
    let page = |metrics: &Metrics| {
        let page = metrics.render(Exposition::Prometheus);
        let process = |line: &&str| !line.starts_with("process_");
        page.lines().filter(process).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(page(&full()), page(&full()));
}

#[test]
fn handles_of_the_same_series_are_shared() {
    let metrics = metrics();
    let clone = metrics.clone();
    assert!(Arc::ptr_eq(&metrics.pool(POOL), &clone.pool(POOL)));
    assert!(Arc::ptr_eq(&metrics.request(POOL, "a", "b"), &clone.request(POOL, "c", "d")));
    metrics.client_connections().inc_by(10);
    clone.client_connections().dec_by(4);
    assert_eq!(page(&metrics).value("pointsman_client_connections"), Some(6.0));
}
