//! Runs against closed-form results.

use pointsman_core::Placement;
use pointsman_sim::engine::EngineProfile;
use pointsman_sim::{End, Routing};

use crate::support::{Poisson, e2e, job, pool, profile, run, scenario};

/// An engine that serves one request at a time with constant service time: a step of a millisecond and ten microseconds for
/// the prompt and its only token.
fn one_at_a_time() -> EngineProfile {
    let mut profile = profile("tiny");
    profile.max_sequences = 1;
    (profile.step.context_ns, profile.step.attention_ns, profile.step.sequence_ns) = (0.0, 0.0, 0.0);
    for piece in &mut profile.step.linear {
        (piece.fixed_ns, piece.per_token_ns) = (0.0, 0.0);
    }
    profile
}

const SERVICE_MS: f64 = 1.0;
/// Network round trip.
const NETWORK_MS: f64 = 0.5;

#[track_caller]
fn check(utilisation: f64) {
    let mut jobs = Poisson::new(utilisation * 1_000.0, 11, |_, _| job(8, 1));
    let outcome = run(&scenario(1, one_at_a_time(), 40), &pool(Placement::Pointsman), &mut jobs, 1);
    let all = e2e(&outcome);
    let mean = all.iter().map(|took| f64::from(*took)).sum::<f64>() / all.len() as f64;
    // Pollaczek-Khinchine for constant service.
    let expected = SERVICE_MS * (1.0 + utilisation / (2.0 * (1.0 - utilisation))) + NETWORK_MS;
    assert!((mean / expected - 1.0).abs() < 0.04, "{mean} is not about {expected} at {utilisation}");
}

#[test]
fn one_engine_waits_as_an_m_d_1_queue() {
    check(0.2);
    check(0.5);
    check(0.8);
}

#[test]
fn in_overload_an_engine_serves_its_capacity() {
    let mut jobs = Poisson::new(3_000.0, 11, |_, _| job(8, 1));
    let outcome = run(&scenario(2, one_at_a_time(), 2), &Routing::ServicePerRequest, &mut jobs, 1);
    let rate = outcome.jobs.len() as f64 / outcome.seconds;
    assert!((1_900.0..=2_000.0).contains(&rate), "{rate}");
}

#[test]
fn a_single_job_takes_its_steps_and_a_round_trip() {
    // One step for the prompt and the first token, then one for each further token.
    let mut jobs = Poisson::new(1.0, 3, |_, _| job(8, 10));
    let outcome = run(&scenario(3, one_at_a_time(), 5), &pool(Placement::RoundRobin), &mut jobs, 1);
    for (_, end) in &outcome.jobs {
        let expected = End::Answered { ttft_ms: 1.5, e2e_ms: 10.5, output_tokens: 10 };
        assert_eq!(*end, expected);
    }
    assert!(!outcome.jobs.is_empty());
}
