//! A fleet so large that a decision compares a sample of the engines and those that have the prompt's prefix.

use pointsman_core::Placement;
use pointsman_sim::{Information, Outcome, simulate};
use pointsman_workload::Jobs;

use crate::support::{Poisson, e2e, ends, grouped, job, pool, profile, scenario};

/// Runs jobs in a fleet near its limit, with a sample and with all engines compared.
fn compare<J: Jobs>(jobs: impl Fn() -> J) -> [Outcome; 2] {
    // Few slots, so that few jobs load the fleet.
    let mut profile = profile("llama-3-8b-h100");
    profile.max_sequences = 2;
    let mut scenario = scenario(600, profile, 2);
    scenario.information = Information { scrape_every: None, ..Information::default() };
    [false, true].map(|compare_all| {
        scenario.compare_all = compare_all;
        let outcome = simulate(&scenario, &pool(Placement::Pointsman), &mut jobs(), 1).unwrap();
        assert_eq!(ends(&outcome)[1..], [0, 0, 0]);
        outcome
    })
}

#[test]
fn to_compare_a_sample_costs_less_than_one_percent_of_p90() {
    let [sample, all] = compare(|| {
        Poisson::new(1_000.0, 3, |_, rng| {
            job(200 + u32::try_from(rng.below(600)).unwrap(), 60 + u32::try_from(rng.below(180)).unwrap())
        })
    });
    let p90 = |outcome| {
        let all = e2e(outcome);
        all[all.len() * 9 / 10]
    };
    assert!(p90(&sample) < 1.01 * p90(&all), "{} ms of {} ms", p90(&sample), p90(&all));
}

#[test]
fn to_compare_a_sample_finds_the_same_prefixes() {
    // The p90 of so few jobs with few lengths varies by two percent from seed to seed.
    let [sample, all] = compare(|| {
        Poisson::new(1_000.0, 3, |number, rng| grouped(rng.below(1_000) as u64, 125, number, 300, 120))
    });
    let hits = |outcome: &Outcome| outcome.cached_tokens as f64 / outcome.prompt_tokens as f64;
    let mean = |outcome| e2e(outcome).iter().map(|took| f64::from(*took)).sum::<f64>();
    assert!(hits(&sample) > 0.99 * hits(&all), "{} of {}", hits(&sample), hits(&all));
    assert!(mean(&sample) < 1.01 * mean(&all), "{} of {}", mean(&sample), mean(&all));
}
