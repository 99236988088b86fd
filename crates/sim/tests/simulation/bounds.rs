//! Bounds are better than all placements.

use pointsman_core::Placement;
use pointsman_sim::{Bound, Outcome, Routing, Scenario};

use crate::support::{Poisson, e2e, ends, grouped, job, pool, profile, run, scenario};

/// Llama engines with a KV cache that fills before the sequence slots.
fn llama(engines: usize, seconds: u64) -> Scenario {
    let mut profile = profile("llama-2-7b-h100");
    profile.blocks = 600;
    scenario(engines, profile, seconds)
}

fn mean(outcome: &Outcome) -> f64 {
    let all = e2e(outcome);
    all.iter().map(|took| f64::from(*took)).sum::<f64>() / all.len() as f64
}

fn lengths(scenario: &Scenario, rate: f64, routing: &Routing) -> Outcome {
    let make = |_: u64, rng: &mut pointsman_core::Rng| {
        job(20 + u32::try_from(rng.below(400)).unwrap(), 1 + u32::try_from(rng.below(300)).unwrap())
    };
    let outcome = run(scenario, routing, &mut Poisson::new(rate, 5, make), 1);
    assert_eq!(ends(&outcome)[1..], [0, 0, 0], "{}", routing.name());
    outcome
}

#[test]
fn in_overload_late_binding_beats_every_early_binding() {
    let late = Routing::Bound(Bound::CentralLateBinding);
    let late = lengths(&llama(4, 20), 150.0, &late);
    for placement in [Placement::Random, Placement::RoundRobin, Placement::LeastRequest] {
        let early = lengths(&llama(4, 20), 150.0, &pool(placement));
        assert!(mean(&late) < mean(&early), "{placement:?} {} {}", mean(&late), mean(&early));
        assert!(late.preemptions * 3 < early.preemptions, "{} {}", late.preemptions, early.preemptions);
    }
}

#[test]
fn a_pooled_server_beats_every_placement_at_every_load() {
    for rate in [4.0, 20.0, 60.0] {
        let bound = mean(&lengths(&llama(4, 20), rate, &Routing::Bound(Bound::PooledServer)));
        for routing in [
            pool(Placement::Pointsman),
            Routing::Bound(Bound::CentralLateBinding),
            Routing::Bound(Bound::GreedyClairvoyant),
        ] {
            let other = mean(&lengths(&llama(4, 20), rate, &routing));
            assert!(bound <= other, "{} at {rate}: {bound} {other}", routing.name());
        }
    }
}

#[test]
fn clairvoyance_beats_random_and_request_counts() {
    for rate in [10.0, 30.0] {
        let bound = mean(&lengths(&llama(4, 30), rate, &Routing::Bound(Bound::GreedyClairvoyant)));
        for placement in [Placement::Random, Placement::RoundRobin, Placement::LeastRequest] {
            let other = mean(&lengths(&llama(4, 30), rate, &pool(placement)));
            assert!(bound < other * 1.005, "{placement:?} at {rate}: {bound} {other}");
        }
    }
}

#[test]
fn clairvoyance_sees_that_an_engine_is_slow() {
    let mut scenario = llama(4, 30);
    scenario.fleet[2].slowness = 3.0;
    let bound = mean(&lengths(&scenario, 15.0, &Routing::Bound(Bound::GreedyClairvoyant)));
    let counting = mean(&lengths(&scenario, 15.0, &pool(Placement::LeastRequest)));
    assert!(bound < counting, "{bound} {counting}");
}

#[test]
fn shared_caches_bound_what_affinity_can_find() {
    // Sixty prefixes of 40 blocks; one engine holds ten of them beside its requests.
    let hits = |routing: &Routing| {
        let make =
            |number: u64, rng: &mut pointsman_core::Rng| grouped(rng.below(60) as u64, 40, number, 50, 10);
        let outcome = run(&llama(4, 40), routing, &mut Poisson::new(20.0, 5, make), 1);
        outcome.cached_tokens as f64 / outcome.prompt_tokens as f64
    };
    let infinite = hits(&Routing::Bound(Bound::InfiniteCache));
    let pooled = hits(&Routing::Bound(Bound::PooledCache));
    let best = [Placement::Pointsman, Placement::RoundRobin].map(|placement| hits(&pool(placement)));
    assert!(infinite > pooled && pooled > 0.1, "{infinite} {pooled}");
    assert!(best.iter().all(|hits| *hits < infinite), "{infinite} {best:?}");
    // Each prefix misses once; of 690 tokens, 640 are shared.
    assert!((0.80..0.93).contains(&infinite), "{infinite}");
}
