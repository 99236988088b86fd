//! The `placement` of a PoolPolicy.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::time::Duration;

use pointsman_core::{
    ActiveRequestScore, Affinity, Blend, BlendWeights, BoundedLoad, CacheAware, DynamoCost, Picker,
    Placement, PrefixScore,
};
use support::{GATEWAY, check_problems, pool, world};

fn policy(placement: &str) -> String {
    format!(
        "apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {{name: p}}\nspec:\n  \
         poolRef: {{name: p}}\n  placement: {placement}\n---\n"
    )
}

#[track_caller]
fn check(placement: &str, expected: Placement) {
    let world = world(&format!("{GATEWAY}{}{}", pool("p", 8000), policy(placement)));
    assert_eq!(world.pools[0].policy.placement, expected, "{placement}");
}

#[track_caller]
fn check_problem(placement: &str, problem: &str) {
    let problem = format!("f.yaml:6:{problem}");
    check_problems(&policy(placement), &[&problem]);
}

#[test]
fn a_name_alone_has_the_published_parameters() {
    for placement in Placement::ALL {
        check(placement.as_str(), placement);
        check(&format!("{{name: {}}}", placement.as_str()), placement);
    }
}

#[test]
fn parameters_are_fields_beside_the_name() {
    let affinity = Affinity {
        threshold: 0.5,
        max_ttft_penalty: Duration::from_millis(2_500),
        peak_prefill_throughput: 45_000.0,
        exploration_probability: 0.01,
    };
    check(
        "{name: sticky-until-saturated, affinityThreshold: 0.5, maxTTFTPenalty: 2s500ms, \
         peakPrefillThroughput: 45000, explorationProbability: 0.01}",
        Placement::StickyUntilSaturated(affinity),
    );
    let peak = Affinity { peak_prefill_throughput: 45_000.0, ..Affinity::LLM_D };
    check(
        "{name: sticky-until-saturated, peakPrefillThroughput: 45e3}",
        Placement::StickyUntilSaturated(peak),
    );
    check(
        "{name: sglang-cache-aware, cacheThreshold: 0.5, balanceAbsThreshold: 32, balanceRelThreshold: 1.1}",
        Placement::SglangCacheAware(CacheAware {
            cache_threshold: 0.5,
            balance_abs_threshold: 32,
            balance_rel_threshold: 1.1,
        }),
    );
    check(
        "{name: dynamo-cost, prefillLoadScale: 2}",
        Placement::DynamoCost(DynamoCost { prefill_load_scale: 2.0 }),
    );
    check(
        "{name: bounded-load-hash, loadFactor: 2, prefixTokens: 256}",
        Placement::BoundedLoadHash(BoundedLoad { load_factor: 2.0, prefix_tokens: 256 }),
    );
}

#[test]
fn a_blend_has_the_scorers_with_a_weight() {
    let weights = BlendWeights { queue: 1.0, active_request: 0.5, prefix_cache: 3.0, ..BlendWeights::NONE };
    let blend = Blend {
        weights,
        prefix: PrefixScore { match_length_weight: 0.3, match_length_scale_tokens: 4_096 },
        active_request: ActiveRequestScore { idle_threshold: 2, max_busy_score: 0.8 },
        affinity: Some(Affinity { threshold: 0.99, ..Affinity::LLM_D }),
        picker: Picker::WeightedRandom,
        ..Blend::EMPTY
    };
    check(
        "{name: llm-d-blend, weights: {queue: 1, activeRequest: 0.5, prefixCache: 3}, \
         prefix: {matchLengthWeight: 0.3, matchLengthScaleTokens: 4096}, \
         activeRequest: {idleThreshold: 2, maxBusyScore: 0.8}, affinity: {affinityThreshold: 0.99}, \
         picker: weighted-random}",
        Placement::Blend(blend),
    );
    let weights = BlendWeights { load_aware: 1.0, token_load: 1.0, no_hit_lru: 1.0, ..BlendWeights::NONE };
    let blend = Blend { weights, load_aware_threshold: 64, token_load_threshold: 1_000_000, ..Blend::EMPTY };
    check(
        "{name: llm-d-blend, weights: {loadAware: 1, tokenLoad: 1, noHitLru: 1}, loadAwareThreshold: 64, tokenLoadThreshold: 1M}",
        Placement::Blend(blend),
    );
    check(
        "{name: llm-d-blend, picker: random}",
        Placement::Blend(Blend { picker: Picker::Random, ..Blend::EMPTY }),
    );
}

#[test]
fn parameters_without_effect_are_errors() {
    check_problem(
        "{name: llm-d-blend, weights: {queue: 1}, tokenLoadThreshold: 5}",
        "75: error: PoolPolicy default/p: spec.placement.tokenLoadThreshold: has no effect: its scorer has no weight \
         (fix: give the scorer a weight, or remove it)",
    );
    check_problem(
        "{name: llm-d-blend, weights: {}}",
        "43: error: PoolPolicy default/p: spec.placement.weights: gives no scorer a weight (fix: give at least one scorer a weight above 0)",
    );
    check_problem(
        "{name: llm-d-blend, picker: random, weights: {queue: 1}}",
        "59: error: PoolPolicy default/p: spec.placement.weights: has no effect with picker random (fix: remove the weights or the picker)",
    );
    check_problem(
        "{name: lpwl, loadFactor: 2}",
        "27: error: PoolPolicy default/p: spec.placement.loadFactor: is not a known field (fix: remove it; known fields are name)",
    );
}

#[test]
fn mistakes_are_reported_with_position_and_fix() {
    check_problem(
        "{name: bounded-load-hash, loadFactor: 0.9}",
        "52: error: PoolPolicy default/p: spec.placement.loadFactor: is 0.9, outside 1 to 1000000 \
         (fix: write a number from 1 to 1000000)",
    );
    check_problem(
        "{name: dynamo-costs, prefillLoadScale: 2}",
        "21: error: PoolPolicy default/p: spec.placement.name: \"dynamo-costs\" is not one of pointsman, round-robin, \
         random, least-request, two-choices, filter-tree, llm-d-blend, sticky-until-saturated, sglang-cache-aware, \
         dynamo-cost, lpwl, lmetric, bounded-load-hash (fix: did you mean dynamo-cost?)",
    );
    check_problem(
        "{prefillLoadScale: 2}",
        "14: error: PoolPolicy default/p: spec.placement.name: is missing (fix: write the name of a placement rule)",
    );
}
