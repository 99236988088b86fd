//! Each placement rule against its publication.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;

use pointsman_core::{
    AdapterReport, BlockHash, Decision, Effect, EndpointId, LoadReport, ModelKey, Placement, Rejection,
    RequestFacts, Rng,
};
use support::{Driver, stream};

fn shares(driver: &mut Driver, requests: u32, facts: &RequestFacts) -> BTreeMap<u32, u32> {
    let mut shares = BTreeMap::new();
    for _ in 0..requests {
        let (request, endpoint) = driver.dispatch(facts.clone());
        *shares.entry(endpoint).or_default() += 1;
        driver.finish(request);
    }
    shares
}

fn gauge(waiting: u32, kv_use: f64) -> LoadReport {
    LoadReport { waiting: Some(waiting), running: Some(8), kv_use: Some(kv_use), ..LoadReport::default() }
}

#[test]
fn a_burst_of_equal_requests_is_spread_evenly() {
    for placement in [Placement::Pointsman, Placement::LeastRequest, Placement::RoundRobin] {
        for endpoints in [2, 3, 7, 10] {
            for prompt in [0, 1, 100, 100_000] {
                let mut driver = Driver::new(endpoints, placement);
                for _ in 0..100 {
                    driver.dispatch(stream(prompt));
                }
                let counts = driver.in_flight();
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(most - least <= 1, "{placement:?} {prompt}: {counts:?}");
            }
        }
    }
}

#[test]
fn round_robin_takes_each_in_turn_and_skips_gaps() {
    let mut driver = Driver::new(3, Placement::RoundRobin);
    let turns = |driver: &mut Driver, count: usize| -> Vec<u32> {
        (0..count).map(|_| driver.dispatch(stream(10)).1).collect()
    };
    assert_eq!(turns(&mut driver, 5), [0, 1, 2, 0, 1]);
    driver.tell(pointsman_core::Event::EndpointDraining { endpoint: EndpointId(2) });
    assert_eq!(turns(&mut driver, 3), [0, 1, 0]);
    driver.up(3);
    assert_eq!(turns(&mut driver, 4), [1, 3, 0, 1]);
}

#[test]
fn random_is_uniform() {
    let mut driver = Driver::new(4, Placement::Random);
    for (endpoint, share) in shares(&mut driver, 4_000, &stream(10)) {
        assert!((900..1_100).contains(&share), "{endpoint}: {share}");
    }
}

#[test]
fn least_request_takes_the_fewest_in_flight() {
    let mut driver = Driver::new(3, Placement::LeastRequest);
    let first: Vec<_> = (0..6).map(|_| driver.dispatch(stream(10))).collect();
    let (request, endpoint) = first[4];
    driver.finish(request);
    assert_eq!(driver.dispatch(stream(10)).1, endpoint);
}

#[test]
fn two_choices_never_takes_the_most_loaded_and_is_random_among_equals() {
    let mut driver = Driver::new(3, Placement::TwoChoices);
    let (_, loaded) = driver.dispatch(stream(10));
    let shares = shares(&mut driver, 3_000, &stream(10));
    assert_eq!(shares.get(&loaded), None, "of any two, the other one has fewer");
    assert!(shares.values().all(|share| (1_350..1_650).contains(share)), "{shares:?}");
}

/// A prompt of twenty blocks of a group and one of its own.
fn grouped(group: u64, own: u64) -> RequestFacts {
    let block = |number: u64| BlockHash(Rng::seeded(number).next_u64());
    let blocks = (0..20).map(|index| block(group << 32 | index)).chain([block(1 << 60 | group << 32 | own)]);
    RequestFacts { blocks: blocks.collect(), block_tokens: 64, ..stream(21 * 64) }
}

/// Number of a hundred sequential requests in ten groups that go to the first endpoint of their group.
fn returns(placement: Placement) -> u32 {
    let mut driver = Driver::new(4, placement);
    let mut homes = BTreeMap::new();
    let mut returned = 0;
    for number in 0..100 {
        let group = number % 10;
        let (request, endpoint) = driver.dispatch(grouped(group, number));
        driver.tell(pointsman_core::Event::FirstToken { request });
        driver.finish(request);
        returned += u32::from(*homes.entry(group).or_insert(endpoint) == endpoint);
    }
    returned
}

#[test]
fn cache_aware_rules_return_to_the_holder_and_others_do_not() {
    for placement in Placement::ALL {
        let looks = match placement {
            Placement::Pointsman
            | Placement::Blend(_)
            | Placement::StickyUntilSaturated(_)
            | Placement::SglangCacheAware(_)
            | Placement::DynamoCost(_)
            | Placement::Lpwl
            | Placement::Lmetric
            | Placement::BoundedLoadHash(_) => true,
            Placement::RoundRobin
            | Placement::Random
            | Placement::LeastRequest
            | Placement::TwoChoices
            | Placement::FilterTree => false,
        };
        assert_eq!(returns(placement) == 100, looks, "{}: {}", placement.as_str(), returns(placement));
    }
}

#[test]
fn every_rule_gives_other_endpoints_as_fallbacks() {
    for placement in Placement::ALL {
        let mut driver = Driver::new(6, placement);
        let (_, chosen) = driver.dispatch(stream(10));
        let Some(Effect::Dispatch { fallbacks, .. }) = driver.effects.first() else { panic!("dispatched") };
        let mut named: Vec<_> = fallbacks.as_slice().iter().map(|endpoint| endpoint.0).collect();
        assert_eq!(named.len(), 3, "{placement:?}");
        named.push(chosen);
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), 4, "{placement:?}: all different");
    }
}

fn decision(driver: &Driver) -> &Decision {
    let decision = driver.effects.iter().find_map(|effect| {
        if let Effect::Dispatch { decision, .. } = effect { decision.as_deref() } else { None }
    });
    decision.expect("a dispatch with its decision")
}

#[test]
fn a_decision_lists_the_candidates_with_their_costs() {
    let mut driver = Driver::new(3, Placement::Pointsman);
    driver.dispatch(stream(1_000));
    let (_, chosen) = driver.dispatch(stream(10));
    let decision = decision(&driver);
    assert_eq!(decision.chosen.0, chosen);
    let ids: Vec<_> = decision.candidates.iter().map(|candidate| candidate.endpoint.0).collect();
    assert_eq!(ids, [0, 1, 2]);
    let least = decision.candidates.iter().map(|candidate| candidate.cost).fold(f64::MAX, f64::min);
    assert_eq!(decision.candidates[chosen as usize].cost, least);
    assert_eq!(decision.candidates.iter().map(|candidate| candidate.pending_tokens).sum::<u64>(), 1_000);
}

#[test]
fn the_terms_of_the_default_rule_add_up_to_the_cost_and_other_rules_have_none() {
    for placement in Placement::ALL {
        let mut driver = Driver::new(3, placement);
        for number in 0..40 {
            driver.dispatch(grouped(number % 3, number));
            for candidate in &decision(&driver).candidates {
                let sum: f64 = candidate.terms.iter().map(|term| term.seconds).sum();
                let expected = if placement == Placement::Pointsman { candidate.cost } else { 0.0 };
                assert!((sum - expected).abs() <= 1e-12 * expected.abs(), "{placement:?}: {candidate:?}");
            }
        }
    }
}

/// Gauges per endpoint (waiting, KV use), priority, and the endpoints that the tree may take.
#[track_caller]
fn tree(gauges: &[(u32, f64)], priority: i32, expected: &[u32]) {
    let mut driver = Driver::new(u32::try_from(gauges.len()).unwrap(), Placement::FilterTree);
    for (endpoint, (waiting, kv_use)) in (0..).zip(gauges) {
        driver.load(endpoint, gauge(*waiting, *kv_use));
    }
    let facts = RequestFacts { priority, ..stream(10) };
    let taken: Vec<_> = shares(&mut driver, 200, &facts).into_keys().collect();
    assert_eq!(taken, expected);
}

#[test]
fn the_tree_takes_the_first_part_of_the_queues_then_of_the_kv_use() {
    // Range 0..=9 in three parts: up to 3. Of those, KV 0.1..=0.5 in two parts: up to 0.3.
    tree(&[(0, 0.5), (3, 0.1), (9, 0.0)], 1, &[1]);
    tree(&[(0, 0.1), (3, 0.1), (4, 0.0)], 1, &[0]);
    tree(&[(0, 0.2), (0, 0.2), (0, 0.2)], 1, &[0, 1, 2]);
}

#[test]
fn the_tree_takes_critical_requests_even_where_all_queues_are_long() {
    tree(&[(200, 0.9), (500, 0.1)], 1, &[0]);
    tree(&[(200, 0.9), (127, 0.99)], 1, &[1]);
}

#[test]
fn the_tree_takes_others_only_where_there_is_capacity() {
    tree(&[(6, 0.1), (5, 0.8)], 0, &[1]);
    tree(&[(0, 0.81), (5, 0.8)], -1, &[1]);
    tree(&[(6, 0.1), (7, 0.1)], 0, &[0]);
}

#[test]
fn the_tree_drops_sheddable_requests_without_capacity() {
    let mut driver = Driver::new(2, Placement::FilterTree);
    // Gauges that are too old for the pool's saturation limits count in the tree.
    driver.load(0, gauge(6, 0.1));
    driver.load(1, gauge(0, 0.81));
    driver.pass(60_000);
    let (_, answer) = driver.arrive(RequestFacts { priority: -1, ..stream(10) });
    assert!(matches!(answer, Err(Rejection::Saturated { .. })), "{answer:?}");
    assert!(driver.arrive(stream(10)).1.is_ok());
}

#[test]
fn the_tree_prefers_the_loaded_adapter_with_high_probability() {
    let adapter = ModelKey::of("tuned");
    let mut driver = Driver::new(3, Placement::FilterTree);
    for (endpoint, active, max_adapters) in
        [(0, vec![adapter], 1), (1, vec![], 1), (2, vec![ModelKey::of("other")], 1)]
    {
        let adapters = Some(AdapterReport { max_adapters, active });
        driver.load(endpoint, LoadReport { adapters, ..gauge(0, 0.1) });
    }
    let facts = RequestFacts { target: Some(adapter), priority: 1, ..stream(10) };
    let shares = shares(&mut driver, 10_000, &facts);
    assert!((1..30).contains(shares.get(&1).unwrap_or(&0)), "about one in a thousand: {shares:?}");
    assert_eq!(shares.get(&2), None);
}
