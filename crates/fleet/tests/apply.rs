//! Changes of the configuration.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use pointsman_config::SourceText;
use pointsman_core::EndpointId;
use pointsman_fleet::Fleet;
use pointsman_telemetry::Exposition;
use support::engine::Engine;
use support::{facts, pool, start, until, world};

/// The endpoints of a pool by port.
fn ids(fleet: &Fleet, pool: usize) -> BTreeMap<u16, EndpointId> {
    let generation = fleet.current();
    generation.pools[pool].endpoints.iter().map(|endpoint| (endpoint.address.port, endpoint.id)).collect()
}

#[tokio::test]
async fn endpoints_that_stay_keep_their_id_and_load() {
    let fleet = start();
    let first = fleet.apply(world(&[("a", &[1, 2])]), 0).unwrap();
    let before = ids(&fleet, 0);
    let placed: Vec<_> = futures(&fleet, 0, 4).await;
    let second = fleet.apply(world(&[("a", &[2, 3])]), 2).unwrap();
    assert_eq!((first.number, second.number, second.problems), (1, 2, 2));
    let after = ids(&fleet, 0);
    assert_eq!(after[&2], before[&2]);
    assert!(after[&3] > before[&2], "a new endpoint has a new id");
    let generation = fleet.current();
    assert_eq!(generation.pools[0].endpoint(after[&2]).unwrap().activity.in_flight(), 2);
    drop(placed);
    assert_eq!(generation.pools[0].endpoint(after[&2]).unwrap().activity.in_flight(), 0);
}

async fn futures(fleet: &Fleet, pool: usize, count: usize) -> Vec<pointsman_fleet::Placed> {
    let mut placed = Vec::new();
    for _ in 0..count {
        placed.push(fleet.current().pools[pool].place(facts()).placed().await.unwrap());
    }
    placed
}

#[tokio::test]
async fn an_endpoint_selected_again_while_it_drains_keeps_its_id() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1])]), 0).unwrap();
    let before = ids(&fleet, 0);
    let placed = futures(&fleet, 0, 1).await;
    fleet.apply(world(&[("a", &[])]), 0).unwrap();
    assert_eq!(fleet.in_flight(), 1, "a request on a leaving endpoint is still in flight");
    fleet.apply(world(&[("a", &[1])]), 0).unwrap();
    assert_eq!(ids(&fleet, 0), before);
    drop(placed);
    assert_eq!(futures(&fleet, 0, 2).await.len(), 2, "its last old request does not take it away");
    fleet.apply(world(&[("a", &[])]), 0).unwrap();
    fleet.apply(world(&[("a", &[1])]), 0).unwrap();
    assert_ne!(ids(&fleet, 0), before, "after it is down it is a new endpoint");
}

#[tokio::test]
async fn more_pools_than_one_scheduler_can_hold_are_all_served() {
    let fleet = start();
    let names: Vec<_> = (0..70).map(|number| format!("pool-{number:02}")).collect();
    let pools: Vec<_> = names.iter().map(|name| (name.as_str(), &[1, 2][..])).collect();
    fleet.apply(world(&pools), 0).unwrap();
    for pool in 0..70 {
        assert_eq!(futures(&fleet, pool, 1).await.len(), 1);
    }
    assert_eq!(fleet.in_flight(), 0);
}

#[tokio::test]
async fn pools_that_share_endpoints_share_their_load() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1, 2]), ("b", &[2, 3]), ("c", &[9])]), 0).unwrap();
    assert_eq!(ids(&fleet, 0)[&2], ids(&fleet, 1)[&2]);
    let (a, b) = (fleet.current().pools[0].pool_id, fleet.current().pools[1].pool_id);
    assert_ne!(a, b);
    // Two requests of one pool occupy both of its endpoints, so the other pool's request goes to the idle one.
    let first = futures(&fleet, 0, 2).await;
    let second = futures(&fleet, 1, 1).await;
    assert_eq!(second[0].endpoint().address.port, 3);
    drop((first, second));
    assert_eq!(fleet.in_flight(), 0);
}

#[tokio::test]
async fn a_pool_reaches_only_its_own_endpoints() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1, 2]), ("b", &[2, 3])]), 0).unwrap();
    for (pool, ports) in [(0, [1, 2]), (1, [2, 3])] {
        for placed in futures(&fleet, pool, 20).await {
            assert!(ports.contains(&placed.endpoint().address.port));
        }
    }
}

#[tokio::test]
async fn pools_that_no_longer_share_endpoints_keep_their_state() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1, 2]), ("b", &[2, 3])]), 0).unwrap();
    let before = (ids(&fleet, 0), ids(&fleet, 1));
    fleet.apply(world(&[("a", &[1]), ("b", &[2, 3])]), 0).unwrap();
    assert_eq!(ids(&fleet, 0)[&1], before.0[&1]);
    assert_eq!(ids(&fleet, 1), before.1);
    for placed in futures(&fleet, 0, 5).await {
        assert_eq!(placed.endpoint().address.port, 1);
    }
}

#[tokio::test]
async fn pools_that_begin_to_share_endpoints_serve_at_once() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1, 2]), ("b", &[3])]), 0).unwrap();
    let held = futures(&fleet, 1, 1).await;
    fleet.apply(world(&[("a", &[1, 2, 3]), ("b", &[3])]), 0).unwrap();
    assert_eq!(ids(&fleet, 0)[&3], ids(&fleet, 1)[&3]);
    assert_eq!(futures(&fleet, 1, 1).await[0].endpoint().address.port, 3);
    drop(held);
    assert_eq!(fleet.in_flight(), 0);
}

#[tokio::test]
async fn an_endpoint_that_pools_begin_to_share_keeps_its_id_and_its_load() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1, 2]), ("b", &[3])]), 0).unwrap();
    let before = ids(&fleet, 1);
    let held = futures(&fleet, 1, 60).await;
    fleet.apply(world(&[("a", &[1, 2, 3]), ("b", &[3])]), 0).unwrap();
    assert_eq!(ids(&fleet, 0)[&3], before[&3]);
    let generation = fleet.current();
    assert_eq!(generation.pools[0].endpoint(before[&3]).unwrap().activity.in_flight(), 60);
    let placed = futures(&fleet, 0, 2).await;
    for placed in &placed {
        assert_ne!(placed.endpoint().address.port, 3, "it has the other pool's requests");
    }
    drop((held, placed));
    assert_eq!(fleet.in_flight(), 0);
    assert_eq!(generation.pools[0].endpoint(before[&3]).unwrap().activity.in_flight(), 0);
}

#[tokio::test]
async fn a_renamed_pool_keeps_its_endpoints() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1, 2])]), 0).unwrap();
    let before = ids(&fleet, 0);
    fleet.apply(world(&[("z", &[1, 2])]), 0).unwrap();
    assert_eq!(ids(&fleet, 0), before);
    assert_eq!(futures(&fleet, 0, 1).await.len(), 1);
}

#[tokio::test]
async fn a_removed_pool_still_answers_requests_of_its_generation() {
    let fleet = start();
    let generation = fleet.apply(world(&[("a", &[1])]), 0).unwrap();
    fleet.apply(world(&[]), 0).unwrap();
    let answer = generation.pools[0].place(facts()).placed().await;
    assert_eq!(answer.unwrap_err(), pointsman_core::Rejection::NoReadyEndpoint);
    fleet.apply(world(&[("a", &[1])]), 0).unwrap();
    assert_eq!(futures(&fleet, 0, 1).await.len(), 1);
}

#[tokio::test]
async fn new_timeouts_apply_to_endpoints_that_stay() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1])]), 0).unwrap();
    let mut changed = pool("a", &[1]);
    changed.timeouts.connect = std::time::Duration::from_secs(9);
    fleet.apply(pointsman_config::World { pools: vec![changed], ..Default::default() }, 0).unwrap();
    let placed = futures(&fleet, 0, 1).await;
    assert_eq!(placed[0].endpoint().timeouts.connect.as_secs(), 9);
}

#[tokio::test]
async fn a_configuration_with_unreadable_files_is_not_applied() {
    let fleet = start();
    fleet.apply(world(&[("a", &[1])]), 0).unwrap();
    let mut broken = pool("a", &[1]);
    broken.access.ca = Some("/nonexistent/ca.pem".into());
    let error =
        fleet.apply(pointsman_config::World { pools: vec![broken], ..Default::default() }, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pool default/a: /nonexistent/ca.pem: No such file or directory (os error 2)"
    );
    assert_eq!(fleet.current().number, 1);
}

const CANARY: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: a}
spec:
  selector: {matchLabels: {app: a}}
  targetPorts: [{number: 8000}]
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: m}
spec:
  poolRef: {name: a}
  modelName: chat
  targetModels: [{name: old, weight: 90}, {name: new, weight: 10}]
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: plain}
spec: {poolRef: {name: a}, modelName: plain}
";

#[tokio::test]
async fn metrics_have_labels_for_declared_and_served_models_only() {
    let engine = Engine::start("/metrics", "").await;
    engine.set_models(r#"{"data":[{"id":"old"}]}"#);
    let source = SourceText::new("canary.yaml", CANARY);
    let mut canary = pointsman_config::load(&[source], &pointsman_config::Options::default()).world;
    canary.pools[0].endpoints = world(&[("a", &[engine.port])]).pools[0].endpoints.clone();
    let fleet = start();
    fleet.apply(canary, 0).unwrap();
    let pool = fleet.current().pools[0].clone();
    until("the list", || !pool.endpoints[0].served.list().is_empty()).await;
    let asked = [
        ("chat", "old"),
        ("chat", "new"),
        ("plain", "plain"),
        ("old", "old"),
        ("chat", "plain"),
        ("plain", "new"),
        ("made-up", "made-up"),
    ];
    for (model, target) in asked {
        drop(pool.series.request(model, target).start());
    }
    let page = fleet.metrics().render(Exposition::Prometheus);
    let has = |model: &str, target: &str| {
        let labels = format!("model_name=\"{model}\",target_model_name=\"{target}\"");
        page.lines().any(|line| line.contains(&labels))
    };
    for (index, (model, target)) in asked.into_iter().enumerate() {
        assert_eq!(has(model, target), index < 4, "{model} {target}\n{page}");
    }
    assert!(has("undeclared", "undeclared"), "{page}");
}
