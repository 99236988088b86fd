//! Overload.

use pointsman_core::{Placement, Rng};
use pointsman_sim::Outcome;

use crate::support::{Poisson, e2e, ends, job, pool, profile, run, scenario};

/// Four Llama-2-7B engines at about twice their capacity; a third of the prompts is thirty times as long as the others.
fn outcome(placement: Placement) -> Outcome {
    let scenario = scenario(4, profile("llama-2-7b-h100"), 40);
    let make = |_: u64, rng: &mut Rng| {
        let prompt = if rng.below(3) == 0 { 900 } else { 30 };
        job(prompt, 50 + u32::try_from(rng.below(400)).unwrap())
    };
    let outcome = run(&scenario, &pool(placement), &mut Poisson::new(200.0, 5, make), 1);
    assert_eq!(ends(&outcome)[1..], [0, 0, 0]);
    outcome
}

#[test]
fn the_default_does_not_sort_prompts_by_length_in_overload() {
    let [default, random] = [Placement::Pointsman, Placement::Random].map(|placement| {
        let outcome = outcome(placement);
        let all = e2e(&outcome);
        all[all.len() * 9 / 10]
    });
    assert!(default < random * 1.1, "p90 of {default} ms against {random} ms by chance");
}
