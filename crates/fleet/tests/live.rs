//! The fleet against test engines on loopback: scrapes, probes, model lists, metrics.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::Version;
use pointsman_config::{AppProtocol, EndpointAddress, MetricsPage, World};
use pointsman_core::{FailureCause, ModelKey, ProbePace, RequestFacts, ResponsePhase, Time};
use pointsman_fleet::{Fleet, FleetOptions, MonitorSettings, PoolHandle};
use pointsman_telemetry::{EndpointSample, Exposition};
use support::engine::Engine;
use support::{facts, fast, metrics, start, until, world};

const PAGE: &str = include_str!("fixtures/vllm-0.32-loaded.txt");
const TRTLLM: &str = include_str!("fixtures/trtllm-serve.txt");

fn sample(fleet: &Fleet, port: u16) -> EndpointSample {
    let name = format!("127.0.0.1:{port}");
    fleet.endpoint_samples().into_iter().find(|sample| *sample.endpoint == *name).unwrap()
}

fn in_front_of(engines: &[&Engine]) -> World {
    let ports: Vec<_> = engines.iter().map(|engine| engine.port).collect();
    world(&[("a", &ports)])
}

#[tokio::test]
async fn gauges_reach_the_core() {
    let engine = Engine::start("/metrics", PAGE).await;
    let fleet = start();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    until("the gauge", || sample(&fleet, engine.port).waiting == Some(16)).await;
    let seen = sample(&fleet, engine.port);
    assert_eq!(
        (seen.running, seen.kv_use, seen.metrics_fresh),
        (Some(8), Some(0.140_900_195_694_716_23), true)
    );
    engine.set_page("vllm:num_requests_waiting 3\n");
    until("the change", || sample(&fleet, engine.port).waiting == Some(3)).await;
    fleet.stop().await;
    let scrapes = engine.state.scrapes.load(Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(engine.state.scrapes.load(Relaxed), scrapes, "a stopped fleet scrapes no engine");
}

#[tokio::test]
async fn a_metrics_page_at_the_second_path_is_found() {
    let engine = Engine::start("/prometheus/metrics", TRTLLM).await;
    // An idle engine is scraped again after a minute only: the path is found at once.
    let minute = Duration::from_secs(60);
    let monitor = MonitorSettings { scrape_shortest: minute, scrape_longest: minute, ..fast() };
    let fleet = Fleet::start(FleetOptions { monitor, ..FleetOptions::default() }, metrics()).unwrap();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    until("the gauge", || sample(&fleet, engine.port).waiting == Some(2)).await;
}

#[tokio::test]
async fn engines_with_http2_in_clear_text_are_scraped_over_http2() {
    let engine = Engine::start_as(Version::HTTP_2, "/metrics", PAGE).await;
    let fleet = start();
    let mut world = in_front_of(&[&engine]);
    world.pools[0].endpoints[0].protocol = AppProtocol::H2c;
    fleet.apply(world, 0).unwrap();
    until("the gauge", || sample(&fleet, engine.port).waiting == Some(16)).await;
    until("scrapes", || engine.state.scrapes.load(Relaxed) > 10).await;
    assert_eq!(engine.state.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn a_connection_is_kept_between_questions() {
    let engine = Engine::start("/metrics", PAGE).await;
    let fleet = start();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    until("scrapes", || engine.state.scrapes.load(Relaxed) > 10).await;
    assert_eq!(engine.state.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn of_a_page_beyond_the_limit_the_start_counts() {
    let rest = format!("{}vllm:num_requests_waiting 9\n", "go_gc_duration_seconds 0\n".repeat(100_000));
    let engine = Engine::start("/metrics", format!("vllm:num_requests_running 3\n{rest}")).await;
    let fleet = start();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    until("the start", || sample(&fleet, engine.port).running == Some(3)).await;
    until("scrapes", || engine.state.scrapes.load(Relaxed) > 2).await;
    assert_eq!(sample(&fleet, engine.port).waiting, None, "behind the limit");
    assert!(
        engine.state.connections.load(Relaxed) > 1,
        "the connection is closed before the end of the page"
    );
}

#[tokio::test]
async fn a_redirect_to_another_path_of_the_engine_is_followed() {
    for location in ["/metrics/", "http://127.0.0.1:{port}/metrics/"] {
        let engine = Engine::start("/metrics/", PAGE).await;
        engine.redirect("/metrics", &location.replace("{port}", &engine.port.to_string()));
        let fleet = start();
        fleet.apply(in_front_of(&[&engine]), 0).unwrap();
        until("the gauge", || sample(&fleet, engine.port).waiting == Some(16)).await;
        until("scrapes", || engine.state.scrapes.load(Relaxed) > 5).await;
        assert_eq!(engine.state.redirects.load(Relaxed), 1, "the target is kept");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_not_followed() {
    let other = Engine::start("/metrics", PAGE).await;
    let engine = Engine::start("/nothing", "").await;
    engine.redirect("/metrics", &format!("http://127.0.0.1:{}/metrics", other.port));
    let fleet = start();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    until("redirects", || engine.state.redirects.load(Relaxed) > 2).await;
    assert_eq!(sample(&fleet, engine.port).metrics_age, None);
    assert_eq!(other.state.scrapes.load(Relaxed), 0);
}

#[tokio::test]
async fn a_metrics_page_at_another_port_and_path_is_read() {
    let page = Engine::start("/stats", PAGE).await;
    let engine = Engine::start("/nothing", "").await;
    engine.set_models(BASE);
    let place = |path: Option<&str>| MetricsPage {
        port: Some(page.port),
        path: path.map(Into::into),
        protocol: None,
    };
    // By the configuration of the endpoint, or by the process's.
    let mut world = in_front_of(&[&engine]);
    world.pools[0].endpoints[0].metrics = place(Some("/stats"));
    let monitor =
        MonitorSettings { metrics: MetricsPage { path: Some("/stats".into()), ..place(None) }, ..fast() };
    let defaults = Fleet::start(FleetOptions { monitor, ..FleetOptions::default() }, metrics()).unwrap();
    for (fleet, world) in [(start(), world), (defaults, in_front_of(&[&engine]))] {
        fleet.apply(world, 0).unwrap();
        until("the gauge", || sample(&fleet, engine.port).waiting == Some(16)).await;
        let models = || fleet.current().pools[0].endpoints[0].served.list().len();
        until("the models of the endpoint itself", || models() == 1).await;
        fleet.stop().await;
    }
}

#[tokio::test]
async fn endpoints_that_do_not_answer_do_not_delay_the_scrapes_of_others() {
    let hung = Engine::start("/metrics", PAGE).await;
    hung.state.hangs.store(true, Relaxed);
    // More names of one hung engine than bodies are read at one time.
    let names = (1..=100).map(|host| format!("127.0.1.{host}"));
    let healthy = Engine::start("/metrics", PAGE).await;
    let mut world = in_front_of(&[&healthy]);
    let template = world.pools[0].endpoints[0].clone();
    world.pools[0].endpoints.extend(names.map(|host| EndpointAddress {
        host: host.into(),
        port: hung.port,
        ..template.clone()
    }));
    let monitor = MonitorSettings { scrape_budget: Duration::from_secs(60), ..fast() };
    let fleet = Fleet::start(FleetOptions { monitor, ..FleetOptions::default() }, metrics()).unwrap();
    fleet.apply(world, 0).unwrap();
    until("connections", || hung.state.connections.load(Relaxed) >= 100).await;
    let scrapes = healthy.state.scrapes.load(Relaxed);
    until("further scrapes", || healthy.state.scrapes.load(Relaxed) > scrapes + 5).await;
}

#[tokio::test]
async fn without_fresh_metrics_the_blackout_gauge_is_set_and_placement_continues() {
    let engine = Engine::start("/nothing", "").await;
    let metrics = metrics();
    let options = FleetOptions { monitor: fast(), ..FleetOptions::default() };
    let fleet = Fleet::start(options, metrics.clone()).unwrap();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    let gauge = |value: &str| {
        let line = format!("pointsman_pool_metrics_blackout{{pool=\"default/a\"}} {value}");
        metrics.render(Exposition::Prometheus).lines().any(|found| found == line)
    };
    let address = format!("127.0.0.1:{}", engine.port);
    until("failed scrapes", || {
        let page = metrics.render(Exposition::Prometheus);
        page.lines().any(|line| {
            line.starts_with("pointsman_endpoint_scrape_failures_total")
                && line.contains(&address)
                && !line.ends_with(" 0")
        })
    })
    .await;
    assert!(gauge("0.0"), "an engine that never had a page is no blackout");
    for _ in 0..10 {
        assert!(fleet.current().pools[0].place(facts()).placed().await.is_ok());
    }
    *engine.state.page.lock().unwrap() = ("/metrics", PAGE.into());
    until("a reading", || sample(&fleet, engine.port).metrics_fresh).await;
    *engine.state.page.lock().unwrap() = ("/nothing", PAGE.into());
    until("the reading to be stale", || gauge("1.0")).await;
    assert!(fleet.current().pools[0].place(facts()).placed().await.is_ok());
}

#[tokio::test]
async fn models_and_adapters_are_read() {
    let (one, other) = (Engine::start("/metrics", PAGE).await, Engine::start("/metrics", PAGE).await);
    one.set_models(r#"{"data":[{"id":"tiny"},{"id":"tiny-lora","parent":"tiny"}]}"#);
    other.set_models(r#"{"data":[{"id":"tiny"},{"id":"big"}]}"#);
    let fleet = start();
    fleet.apply(in_front_of(&[&one, &other]), 0).unwrap();
    until("the union", || fleet.current().pools[0].served_models().len() == 3).await;
    let models = fleet.current().pools[0].served_models();
    let names: Vec<_> = models.iter().map(|model| (&*model.id, model.parent.as_deref())).collect();
    assert_eq!(names, [("big", None), ("tiny", None), ("tiny-lora", Some("tiny"))]);
    one.set_models("<html>");
    other.set_models(r#"{"data":[]}"#);
    until("the change", || fleet.current().pools[0].served_models().len() == 2).await;
}

#[tokio::test]
async fn a_suspect_endpoint_is_probed_until_it_answers() {
    let engine = Engine::start("/metrics", PAGE).await;
    engine.state.hangs.store(true, Relaxed);
    let probes = ProbePace { timeout: Duration::from_millis(20), ..fast().probes };
    let options = FleetOptions { monitor: MonitorSettings { probes, ..fast() }, ..FleetOptions::default() };
    let fleet = Fleet::start(options, metrics()).unwrap();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    let activity = fleet.current().pools[0].endpoints[0].activity.clone();
    assert_eq!(engine.state.probes.load(Relaxed), 0);
    activity.suspect();
    until("two failed probes", || activity.evidence.failed_probes() >= 2).await;
    engine.state.hangs.store(false, Relaxed);
    until("an answered probe", || activity.evidence.failed_probes() == 0).await;
    let probes = engine.state.probes.load(Relaxed);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(engine.state.probes.load(Relaxed), probes, "a healthy endpoint is not probed");
}

/// An engine with its health page at `path`, which says whether it is `healthy`: its suspect endpoint is taken for alive.
async fn check_alive(path: &'static str, healthy: bool, expected_probes: usize) {
    let engine = Engine::start("/metrics", PAGE).await;
    *engine.state.health_path.lock().unwrap() = path;
    engine.state.healthy.store(healthy, Relaxed);
    let fleet = start();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    let activity = fleet.current().pools[0].endpoints[0].activity.clone();
    activity.suspect();
    until("an answered probe", || !activity.evidence.wants_probe()).await;
    assert_eq!(activity.evidence.failed_probes(), 0, "{path}");
    assert_eq!(engine.state.probes.load(Relaxed), expected_probes, "{path}");
    let liveness = fleet.current().pools[0].endpoints[0].timeouts.liveness();
    let long_prefill = ResponsePhase::AwaitingFirstByte { sent: Time::ZERO };
    let later = Time::ZERO + liveness.idle * 10;
    assert!(
        activity.check(later, long_prefill, &liveness).is_some(),
        "{path}: a silent request is not ended"
    );
}

#[tokio::test]
async fn an_answered_probe_is_a_sign_of_life_whatever_its_status() {
    check_alive("/health", true, 1).await;
    check_alive("/health", false, 1).await;
    check_alive("/health/ready", true, 1).await;
    check_alive("/v2/health/ready", true, 1).await;
    check_alive("/none", true, 0).await;
}

#[tokio::test]
async fn a_health_page_at_another_path_shows_when_an_engine_is_ready_again() {
    let (one, other) = (Engine::start("/metrics", PAGE).await, Engine::start("/metrics", PAGE).await);
    *one.state.health_path.lock().unwrap() = "/health/ready";
    one.state.healthy.store(false, Relaxed);
    let fleet = start();
    fleet.apply(in_front_of(&[&one, &other]), 0).unwrap();
    let pool = fleet.current().pools[0].clone();
    while sample(&fleet, one.port).ready {
        let placed = pool.place(facts()).placed().await.unwrap();
        if placed.endpoint().address.port == one.port {
            drop(placed.failed(FailureCause::Connect, true));
        }
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!sample(&fleet, one.port).ready, "it says that it is not ready");
    one.state.healthy.store(true, Relaxed);
    until("its return", || sample(&fleet, one.port).ready).await;
}

#[tokio::test]
async fn an_endpoint_that_only_a_gateways_own_answer_speaks_of_is_judged_by_probes() {
    let engine = Engine::start("/metrics", PAGE).await;
    let fleet = start();
    fleet.apply(world(&[("a", &[engine.port, 1])]), 0).unwrap();
    let pool = fleet.current().pools[0].clone();
    // A gateway that finds none of the hosts it was given answers each request like this.
    for _ in 0..50 {
        pool.place(facts()).placed().await.unwrap().unserved();
    }
    until("the ejection of the endpoint that is down", || !sample(&fleet, 1).ready).await;
    assert!(sample(&fleet, engine.port).ready, "the other endpoint answers probes");
    assert!(engine.state.probes.load(Relaxed) > 0);
    let gone = |placed: &pointsman_fleet::Placed| placed.endpoint().address.port == 1;
    for _ in 0..20 {
        assert!(!gone(&pool.place(facts()).placed().await.unwrap()));
    }
}

#[tokio::test]
async fn an_engine_that_hangs_under_load_is_probed() {
    let engine = Engine::start("/metrics", PAGE).await;
    let monitor = MonitorSettings {
        scrape_budget: Duration::from_millis(50),
        probes: ProbePace { timeout: Duration::from_millis(50), ..fast().probes },
        ..fast()
    };
    let fleet = Fleet::start(FleetOptions { monitor, ..FleetOptions::default() }, metrics()).unwrap();
    fleet.apply(in_front_of(&[&engine]), 0).unwrap();
    let placed = fleet.current().pools[0].place(facts()).placed().await.unwrap();
    let activity = placed.endpoint().activity.clone();
    engine.state.hangs.store(true, Relaxed);
    until("two failed probes", || activity.evidence.failed_probes() >= 2).await;
    // A stream that was silent there for the idle timeout stalled, whatever other streams do.
    let liveness = placed.endpoint().timeouts.liveness();
    let now = Time::ZERO + liveness.idle + Duration::from_secs(1);
    activity.evidence.on_bytes(now);
    let stream = ResponsePhase::Streaming { last_byte: Time::ZERO };
    assert_eq!(activity.check(now, stream, &liveness), None);
}

#[tokio::test]
async fn an_ejected_endpoint_returns_after_a_probe() {
    let (one, other) = (Engine::start("/metrics", PAGE).await, Engine::start("/metrics", PAGE).await);
    let fleet = start();
    fleet.apply(in_front_of(&[&one, &other]), 0).unwrap();
    let pool = fleet.current().pools[0].clone();
    // Repeated connect errors eject an endpoint.
    for _ in 0..50 {
        let placed = pool.place(facts()).placed().await.unwrap();
        if placed.endpoint().address.port == one.port {
            drop(placed.failed(FailureCause::Connect, true));
        }
        if !sample(&fleet, one.port).ready {
            break;
        }
    }
    assert!(!sample(&fleet, one.port).ready, "the endpoint is ejected");
    until("a probe", || one.state.probes.load(Relaxed) > 0).await;
    until("its return", || sample(&fleet, one.port).ready).await;
    assert_eq!(other.state.probes.load(Relaxed), 0, "only the ejected endpoint is probed");
}

/// The ports of ten concurrent requests for a model.
async fn ports(pool: &PoolHandle, facts: &RequestFacts) -> std::collections::BTreeSet<u16> {
    let mut placed = Vec::new();
    for _ in 0..10 {
        placed.push(pool.place(facts.clone()).placed().await.unwrap());
    }
    placed.iter().map(|placed| placed.endpoint().address.port).collect()
}

fn asking(model: &str) -> RequestFacts {
    RequestFacts { target: Some(ModelKey::of(model)), ..facts() }
}

const BASE: &str = r#"{"data":[{"id":"tiny"}]}"#;
const WITH_LORA: &str = r#"{"data":[{"id":"tiny"},{"id":"lora","parent":"tiny"}]}"#;

#[tokio::test]
async fn requests_go_to_engines_that_list_their_model() {
    let (one, other) = (Engine::start("/metrics", PAGE).await, Engine::start("/metrics", PAGE).await);
    one.set_models(WITH_LORA);
    other.set_models(BASE);
    let fleet = start();
    fleet.apply(in_front_of(&[&one, &other]), 0).unwrap();
    let pool = fleet.current().pools[0].clone();
    let all = [one.port, other.port].into();
    let length = |port| {
        let endpoint = pool.endpoints.iter().find(|endpoint| endpoint.address.port == port);
        endpoint.unwrap().served.list().len()
    };
    let listed = |counts| [length(one.port), length(other.port)] == counts;
    until("the lists", || listed([2, 1])).await;
    assert_eq!(ports(&pool, &asking("lora")).await, [one.port].into());
    assert_eq!(ports(&pool, &asking("tiny")).await, all, "all engines list it");
    assert_eq!(ports(&pool, &asking("unlisted")).await, all, "no engine lists it");
    assert_eq!(ports(&pool, &facts()).await, all, "no model is known");
    let elsewhere = pool.endpoints.iter().find(|endpoint| endpoint.address.port == other.port).unwrap().id;
    let limited = RequestFacts { subset: Some([elsewhere].into()), ..asking("lora") };
    assert_eq!(ports(&pool, &limited).await, [other.port].into(), "the door's own limit stands");
    one.set_models("<html>");
    other.set_models(WITH_LORA);
    until("the other's list", || listed([2, 2])).await;
    assert_eq!(ports(&pool, &asking("lora")).await, all, "a list that cannot be read stays as it was");
    one.set_models(BASE);
    until("the one's list", || listed([1, 2])).await;
    assert_eq!(ports(&pool, &asking("lora")).await, [other.port].into());
    // The model index applies to requests of the previous generation, too.
    fleet.apply(in_front_of(&[&one]), 0).unwrap();
    assert_eq!(ports(&pool, &asking("lora")).await, [one.port].into(), "no remaining engine lists it");
}

#[tokio::test]
async fn an_ejected_engine_is_the_last_resort_for_the_model_that_it_alone_lists() {
    let (one, other) = (Engine::start("/metrics", PAGE).await, Engine::start("/metrics", PAGE).await);
    one.set_models(WITH_LORA);
    other.set_models(BASE);
    one.state.healthy.store(false, Relaxed);
    let fleet = start();
    fleet.apply(in_front_of(&[&one, &other]), 0).unwrap();
    let pool = fleet.current().pools[0].clone();
    until("the lists", || pool.endpoints.iter().all(|endpoint| !endpoint.served.list().is_empty())).await;
    for _ in 0..50 {
        let placed = pool.place(asking("lora")).placed().await.unwrap();
        drop(placed.failed(FailureCause::Connect, false));
        if !sample(&fleet, one.port).ready {
            break;
        }
    }
    assert!(!sample(&fleet, one.port).ready, "the endpoint is ejected");
    assert_eq!(ports(&pool, &asking("lora")).await, [one.port].into());
}
