//! Several routers with shared and private state.

use pointsman_core::{Blend, Placement};
use pointsman_sim::{Information, Outcome, Scenario};

use crate::support::{Poisson, e2e, grouped, job, pool, profile, run, scenario};

/// Four routers in front of some engines.
fn four_routers(engines: usize, seconds: u64, shared_state: bool) -> Scenario {
    let mut scenario = scenario(engines, profile("llama-3-8b-h100"), seconds);
    scenario.information = Information { routers: 4, shared_state, ..scenario.information };
    scenario
}

fn hit_rate(outcome: &Outcome) -> f64 {
    outcome.cached_tokens as f64 / outcome.prompt_tokens as f64
}

/// A known failure of active-active routers: each learns from its own dispatches only, and sends a prefix elsewhere than the
/// others do (llm-d-router's operations guide advises against it; smg pull request 2438 measured follow-up hits
/// of 0.873 with shared state and 0.727 without).
#[test]
fn routers_that_share_no_state_miss_prefixes_that_routers_with_one_state_hit() {
    let hits = |shared_state| {
        let mut jobs = Poisson::new(12.0, 3, |number, rng| {
            grouped(u64::try_from(rng.below(60)).unwrap(), 200, number, 100, 40)
        });
        let scenario = four_routers(4, 60, shared_state);
        hit_rate(&run(&scenario, &pool(Placement::Pointsman), &mut jobs, 3))
    };
    let (shared, private) = (hits(true), hits(false));
    assert!(shared > 0.8, "{shared}");
    assert!(private < shared - 0.1, "{private} of {shared}");
}

/// A known failure of several routers: all send to the engine with the best latest gauges (Dynamo issues 589 and 7836).
/// Without shared prefixes, own dispatches together with gauges suffice; gauges alone do not.
#[test]
fn routers_that_share_no_state_do_not_herd() {
    let p90 = |placement, shared_state| {
        let mut jobs = Poisson::new(100.0, 3, |_, rng| {
            job(200 + u32::try_from(rng.below(600)).unwrap(), 50 + u32::try_from(rng.below(200)).unwrap())
        });
        let outcome = run(&four_routers(5, 30, shared_state), &pool(placement), &mut jobs, 3);
        let all = e2e(&outcome);
        all[all.len() * 9 / 10]
    };
    let shared = p90(Placement::Pointsman, true);
    let private = p90(Placement::Pointsman, false);
    assert!(private < 1.05 * shared, "{private} ms of {shared} ms");
    let by_gauges = p90(Placement::Blend(Blend::LLM_D), false);
    assert!(by_gauges > 1.1 * shared, "{by_gauges} ms of {shared} ms");
}
