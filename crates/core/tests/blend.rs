//! llm-d's weighted scorers against hand-computed scores.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use pointsman_core::{
    ActiveRequestScore, AdapterReport, Blend, BlendWeights, Effect, LoadReport, ModelKey, Picker, Placement,
    PoolPolicy, RequestFacts,
};
use support::{Driver, stream};

fn gauge(waiting: u32, running: u32, kv_use: f64) -> LoadReport {
    LoadReport {
        waiting: Some(waiting),
        running: Some(running),
        kv_use: Some(kv_use),
        ..LoadReport::default()
    }
}

fn driver(blend: Blend, gauges: &[Option<LoadReport>]) -> Driver {
    let endpoints = u32::try_from(gauges.len()).unwrap();
    let mut driver = Driver::new(endpoints, Placement::Blend(blend));
    for (endpoint, gauge) in (0..).zip(gauges) {
        if let Some(gauge) = gauge {
            driver.load(endpoint, gauge.clone());
        }
    }
    driver
}

fn only(weights: BlendWeights) -> Blend {
    Blend { weights, ..Blend::EMPTY }
}

/// The score of each endpoint in the next decision.
#[track_caller]
fn check(driver: &mut Driver, facts: RequestFacts, scores: &[f64]) {
    driver.dispatch(facts);
    let Some(Effect::Dispatch { decision: Some(decision), .. }) = driver.effects.first() else {
        panic!("a decision")
    };
    let found: Vec<f64> = decision.candidates.iter().map(|candidate| -candidate.cost).collect();
    assert_eq!(found.len(), scores.len());
    let close = found.iter().zip(scores).all(|(found, score)| (found - score).abs() < 1e-12);
    assert!(close, "{found:?} for {scores:?}");
    let chosen = scores[decision.chosen.0 as usize];
    assert!(scores.iter().all(|score| *score <= chosen), "the highest score wins");
}

#[test]
fn the_default_weights_are_two_for_the_queue_and_two_for_the_free_cache() {
    // Queues 0, 3, 4: 1, 1/4, 0, each twice; free cache 0.1, 0.8, 1, each twice.
    let gauges = [gauge(0, 8, 0.9), gauge(3, 8, 0.2), gauge(4, 8, 0.0)].map(Some);
    check(&mut driver(Blend::LLM_D, &gauges), stream(10), &[2.2, 2.1, 2.0]);
}

#[test]
fn a_difference_of_one_in_queues_counts_in_full() {
    let gauges = [gauge(0, 8, 0.9), gauge(1, 8, 0.0)].map(Some);
    check(&mut driver(Blend::LLM_D, &gauges), stream(10), &[2.2, 2.0]);
    let equal = [gauge(7, 8, 0.9), gauge(7, 8, 0.0)].map(Some);
    check(&mut driver(Blend::LLM_D, &equal), stream(10), &[2.2, 4.0]);
}

#[test]
fn an_endpoint_that_was_never_scraped_counts_as_idle() {
    let gauges = [Some(gauge(3, 8, 0.5)), None, Some(gauge(4, 8, 0.5))];
    check(&mut driver(Blend::LLM_D, &gauges), stream(10), &[1.5, 4.0, 1.0]);
}

#[test]
fn old_gauges_count_like_new_ones() {
    let gauges = [gauge(0, 8, 0.9), gauge(1, 8, 0.0)].map(Some);
    let mut driver = driver(Blend::LLM_D, &gauges);
    driver.pass(3_600_000);
    check(&mut driver, stream(10), &[2.2, 2.0]);
}

#[test]
fn running_requests_are_compared_like_queues() {
    let weights = BlendWeights { running_requests: 1.0, ..BlendWeights::NONE };
    let gauges = [gauge(0, 10, 0.0), gauge(0, 4, 0.0), gauge(0, 2, 0.0)].map(Some);
    check(&mut driver(only(weights), &gauges), stream(10), &[0.0, 0.75, 1.0]);
}

#[test]
fn the_load_aware_scorer_falls_from_a_half_to_zero_at_its_threshold() {
    let weights = BlendWeights { load_aware: 1.0, ..BlendWeights::NONE };
    let gauges = [gauge(0, 0, 0.0), gauge(64, 0, 0.0), gauge(128, 0, 0.0), gauge(500, 0, 0.0)].map(Some);
    check(&mut driver(only(weights), &gauges), stream(10), &[0.5, 0.25, 0.0, 0.0]);
    let low = Blend { load_aware_threshold: 100, ..only(weights) };
    check(&mut driver(low, &[gauge(50, 0, 0.0), gauge(99, 0, 0.0)].map(Some)), stream(10), &[0.25, 0.005]);
}

#[test]
fn the_adapter_scorer_prefers_a_loaded_adapter_then_a_free_slot() {
    let (tuned, other) = (ModelKey::of("tuned"), ModelKey::of("other"));
    let with = |active: &[ModelKey], max_adapters| {
        let adapters = Some(AdapterReport { max_adapters, active: active.to_vec() });
        Some(LoadReport { adapters, ..gauge(0, 0, 0.0) })
    };
    let weights = BlendWeights { lora_affinity: 1.0, ..BlendWeights::NONE };
    let gauges = [with(&[tuned], 1), with(&[other], 2), with(&[other], 1), Some(gauge(0, 0, 0.0))];
    let facts = RequestFacts { target: Some(tuned), ..stream(10) };
    check(&mut driver(only(weights), &gauges), facts, &[1.0, 0.8, 0.0, 0.0]);
}

/// Puts requests in flight at each endpoint by limiting them to it.
fn occupy(driver: &mut Driver, counts: &[u32], prompt: u32) {
    for (endpoint, count) in (0..).zip(counts) {
        for _ in 0..*count {
            let subset = Some([pointsman_core::EndpointId(endpoint)].into());
            driver.dispatch(RequestFacts { subset, ..stream(prompt) });
        }
    }
}

#[test]
fn the_active_request_scorer_counts_this_routers_requests_in_flight() {
    let weights = BlendWeights { active_request: 1.0, ..BlendWeights::NONE };
    let mut plain = driver(only(weights), &[None, None, None]);
    occupy(&mut plain, &[4, 1, 0], 10);
    check(&mut plain, stream(10), &[0.0, 0.75, 1.0]);
    let idle = ActiveRequestScore { idle_threshold: 1, max_busy_score: 0.5 };
    let mut with_idle = driver(Blend { active_request: idle, ..only(weights) }, &[None, None, None]);
    occupy(&mut with_idle, &[4, 2, 1], 10);
    check(&mut with_idle, stream(10), &[0.0, 0.25, 1.0]);
}

#[test]
fn the_token_load_scorer_counts_uncached_tokens_with_this_request() {
    let weights = BlendWeights { token_load: 1.0, ..BlendWeights::NONE };
    let blend = Blend { token_load_threshold: 1_000, ..only(weights) };
    let mut driver = driver(blend, &[None, None, None]);
    occupy(&mut driver, &[3, 1, 0], 300);
    check(&mut driver, stream(100), &[0.0, 0.6, 0.9]);
}

#[test]
fn ties_are_broken_at_random_whatever_is_in_flight() {
    let mut driver = driver(Blend::LLM_D, &[Some(gauge(0, 0, 0.0)), Some(gauge(0, 0, 0.0))]);
    occupy(&mut driver, &[9, 0], 10);
    let first = (0..1_000).filter(|_| driver.dispatch(stream(10)).1 == 0).count();
    assert!((430..570).contains(&first), "{first} of 1000");
}

fn shares(picker: Picker, gauges: &[Option<LoadReport>]) -> Vec<u32> {
    let weights = BlendWeights { kv_cache_utilization: 2.0, ..BlendWeights::NONE };
    let mut driver = driver(Blend { picker, ..only(weights) }, gauges);
    let mut shares = vec![0; gauges.len()];
    for _ in 0..10_000 {
        let (request, endpoint) = driver.dispatch(stream(10));
        shares[endpoint as usize] += 1;
        driver.finish(request);
    }
    shares
}

#[test]
fn the_weighted_random_picker_draws_in_proportion_to_the_score() {
    // Scores 1.2, 0.6, 0.2 and 0.
    let gauges = [gauge(0, 0, 0.4), gauge(0, 0, 0.7), gauge(0, 0, 0.9), gauge(0, 0, 1.0)].map(Some);
    let found = shares(Picker::WeightedRandom, &gauges);
    for (found, expected) in found.iter().zip([6_000_u32, 3_000, 1_000]) {
        assert!(found.abs_diff(expected) < 200, "{found} for {expected}");
    }
    assert_eq!(found[3], 0, "without score, never drawn");
}

#[test]
fn the_weighted_random_picker_draws_uniformly_where_all_scores_are_zero() {
    let found = shares(Picker::WeightedRandom, &[gauge(0, 0, 1.0), gauge(0, 0, 1.0)].map(Some));
    assert!(found.iter().all(|found| found.abs_diff(5_000) < 200), "{found:?}");
}

#[test]
fn the_random_picker_ignores_the_score() {
    let found = shares(Picker::Random, &[gauge(0, 0, 0.0), gauge(0, 0, 1.0)].map(Some));
    assert!(found.iter().all(|found| found.abs_diff(5_000) < 200), "{found:?}");
}

#[test]
fn a_blend_survives_serialization() {
    let policy = PoolPolicy { placement: Placement::Blend(Blend::LLM_D), ..PoolPolicy::default() };
    let text = serde_json::to_string(&policy).unwrap();
    assert!(text.contains("llm-d-blend"), "{text}");
    assert_eq!(serde_json::from_str::<PoolPolicy>(&text).unwrap(), policy);
    assert_eq!(policy.placement.as_str(), "llm-d-blend");
}
