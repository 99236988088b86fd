//! The value of a router's knowledge of prefix caches.

use pointsman_core::Placement;
use pointsman_sim::{Information, Outcome, PrefixKnowledge};

use crate::support::{Poisson, e2e, ends, grouped, pool, profile, run, scenario};

/// Groups of prompts with a shared prefix of 512 tokens, on engines with this number of blocks.
fn outcome(prefixes: PrefixKnowledge, blocks: u32, groups: usize, rate: f64) -> Outcome {
    let mut profile = profile("llama-3-8b-h100");
    profile.blocks = blocks;
    let mut scenario = scenario(4, profile, 30);
    scenario.information = Information { prefixes, ..Information::default() };
    let make =
        |number: u64, rng: &mut pointsman_core::Rng| grouped(rng.below(groups) as u64, 32, number, 40, 30);
    let outcome = run(&scenario, &pool(Placement::Pointsman), &mut Poisson::new(rate, 5, make), 1);
    assert_eq!(ends(&outcome)[1..], [0, 0, 0]);
    outcome
}

fn hit_rate(outcome: &Outcome) -> f64 {
    outcome.cached_tokens as f64 / outcome.prompt_tokens as f64
}

fn mean(outcome: &Outcome) -> f64 {
    let all = e2e(outcome);
    all.iter().map(|took| f64::from(*took)).sum::<f64>() / all.len() as f64
}

#[test]
fn where_nothing_is_evicted_an_approximate_index_is_as_good_as_an_exact_one() {
    let [approximate, exact] = [PrefixKnowledge::Approximate, PrefixKnowledge::Exact]
        .map(|prefixes| outcome(prefixes, 20_000, 20, 20.0));
    let (hits, truth) = (hit_rate(&approximate), hit_rate(&exact));
    assert!((hits / truth - 1.0).abs() < 0.02, "{hits} {truth}");
    assert!((mean(&approximate) / mean(&exact) - 1.0).abs() < 0.02);
}

#[test]
fn prefix_knowledge_hits_more_than_random_placement() {
    let unknown = outcome(PrefixKnowledge::Unknown, 600, 60, 20.0);
    for prefixes in [PrefixKnowledge::Approximate, PrefixKnowledge::Exact] {
        let known = outcome(prefixes, 600, 60, 20.0);
        assert!(hit_rate(&known) > hit_rate(&unknown) + 0.1, "{prefixes:?} {}", hit_rate(&known));
        assert!(mean(&known) < mean(&unknown), "{prefixes:?}");
    }
}

#[test]
fn without_shared_prefixes_knowledge_makes_no_difference() {
    let [unknown, approximate, exact] =
        [PrefixKnowledge::Unknown, PrefixKnowledge::Approximate, PrefixKnowledge::Exact].map(|prefixes| {
            let mut scenario = scenario(4, profile("tiny"), 5);
            scenario.information = Information { prefixes, ..Information::default() };
            let mut jobs = Poisson::new(200.0, 5, |_, _| crate::support::job(100, 20));
            format!("{:?}", run(&scenario, &pool(Placement::Pointsman), &mut jobs, 1))
        });
    assert!(unknown == approximate && approximate == exact);
}
