//! Every job ends exactly once under every balancer, and equal seeds give equal runs.

use std::time::Duration;

use pointsman_sim::{Outcome, Routing};

use crate::support::{Poisson, ends, mixed, profile, routings_and_bounds, run, scenario};

/// A mixed workload at half the capacity of four tiny engines, with a part at twice the capacity.
fn outcome(routing: &Routing, rate: f64, seed: u64) -> (u64, Outcome) {
    let mut made = 0;
    let mut jobs = Poisson::new(rate, 5, |number, rng| {
        made = number;
        mixed(number, rng)
    });
    let outcome = run(&scenario(4, profile("tiny"), 5), routing, &mut jobs, seed);
    (made, outcome)
}

#[test]
fn every_job_ends_exactly_once_under_every_placement() {
    for routing in routings_and_bounds() {
        for rate in [100.0, 700.0] {
            let (made, outcome) = outcome(&routing, rate, 3);
            // The last generated job arrives after the end.
            assert_eq!(outcome.jobs.len() as u64, made - 1, "{} at {rate}", routing.name());
            let [answered, rejected, failed, unfinished] = ends(&outcome);
            assert_eq!((failed, unfinished), (0, 0), "{} at {rate}", routing.name());
            assert!(answered > 0 && (rejected == 0 || rate > 100.0), "{} at {rate}", routing.name());
        }
    }
}

#[test]
fn equal_seeds_give_equal_runs_bit_for_bit() {
    for routing in routings_and_bounds() {
        let [first, again] = [3, 3].map(|seed| format!("{:?}", outcome(&routing, 300.0, seed)));
        assert_eq!(first, again, "{}", routing.name());
    }
}

#[test]
fn jobs_that_cannot_end_in_time_are_unfinished() {
    for routing in routings_and_bounds() {
        let mut jobs = Poisson::new(2_000.0, 5, mixed);
        let mut scenario = scenario(1, profile("tiny"), 1);
        scenario.drain = Duration::from_millis(100);
        let [.., unfinished] = ends(&run(&scenario, &routing, &mut jobs, 1));
        assert!(unfinished > 100, "{}: {unfinished}", routing.name());
    }
}

#[test]
fn what_comes_in_the_warm_up_is_simulated_and_not_counted() {
    for routing in routings_and_bounds() {
        let mut scenario = scenario(2, profile("tiny"), 2);
        scenario.warm_up = Duration::from_secs(1);
        let outcome = run(&scenario, &routing, &mut Poisson::new(100.0, 5, mixed), 1);
        assert!((60..140).contains(&outcome.jobs.len()), "{}", outcome.jobs.len());
        assert!(outcome.jobs.iter().all(|(arrival, _)| arrival.as_nanos() >= 1_000_000_000));
        assert!((0.8..2.0).contains(&outcome.seconds), "{}", outcome.seconds);
    }
}
