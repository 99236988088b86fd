//! A sweep of which every figure can be worked out by hand.
#![allow(dead_code, reason = "each test program uses a part")]

use std::time::Duration;

use pointsman_report::sweep::{EndpointPoint, EndpointSeries, LatencySummary, Origin, Role};
use pointsman_report::{Experiment, Latencies, Rng, SeedResult, Sweep, Timing};

/// A run of 1,000 requests whose end-to-end latencies are 1 to 1,000 times `step` microseconds.
pub(crate) fn run(policy: &str, rate: f64, seed: u64, step: u64) -> SeedResult {
    let timing = |index: u64| Timing::Answered {
        ttft: Some(Duration::from_micros(index * step / 10)),
        e2e: Duration::from_micros(index * step),
        output_tokens: 11,
    };
    SeedResult {
        policy: policy.to_owned(),
        role: Role::Policy,
        rate,
        seed,
        offered: 1_000,
        completed: 1_000,
        rejected: 0,
        failed: 0,
        unfinished: 0,
        arrival_seconds: 1_000.0 / rate,
        seconds: 1_010.0 / rate,
        completed_rps: rate,
        latency_growth: Some(1.0),
        hit_tokens: None,
        prompt_tokens: 100_000,
        output_tokens: 11_000,
        latencies: LatencySummary::new(&Latencies::from_timings((1..=1_000).map(timing))),
        endpoints: Vec::new(),
    }
}

/// The same with `failed` requests in place of the slowest.
pub(crate) fn failing(mut result: SeedResult, failed: u64, step: u64) -> SeedResult {
    let timing = |index: u64| {
        if index > 1_000 - failed {
            return Timing::Failed;
        }
        Timing::Answered { ttft: None, e2e: Duration::from_micros(index * step), output_tokens: 11 }
    };
    result.failed = failed;
    result.completed -= failed;
    result.latencies = LatencySummary::new(&Latencies::from_timings((1..=1_000).map(timing)));
    result
}

/// Load of `count` endpoints that rises and falls.
pub(crate) fn endpoints(count: usize, points: usize) -> Vec<EndpointSeries> {
    let series = |endpoint: usize| EndpointSeries {
        name: format!("endpoint-{endpoint}"),
        points: (0..points)
            .map(|index| {
                let at = index as f64;
                let wave = ((at + 5.0 * endpoint as f64) / 9.0).sin();
                EndpointPoint {
                    seconds: at,
                    in_flight: (20.0 + 10.0 * wave).round(),
                    kv_use: 0.5 + 0.3 * wave,
                }
            })
            .collect(),
    };
    (0..count).map(series).collect()
}

pub(crate) fn experiment() -> Experiment {
    Experiment {
        origin: Origin::Simulated,
        title: "Ten <replicas> & one question".to_owned(),
        description: "First paragraph.\n\nSecond paragraph.".to_owned(),
        model: "llama-2-7b".to_owned(),
        baseline: Some("round-robin".to_owned()),
        facts: vec![("replicas".to_owned(), "10".to_owned())],
        source: Some("fleet: {replicas: 10}\n".to_owned()),
        command: "pointsman simulate experiments/ten.yaml --seeds 6".to_owned(),
        version: "0.1.0".to_owned(),
    }
}

/// Two policies and a bound at two rates over six seeds. `pointsman` takes four fifths of the time of
/// `round-robin`; seed `s` adds `s` percent to both.
pub(crate) fn sweep() -> Sweep {
    Sweep::new(experiment(), &results(), &mut Rng::seeded(1))
}

pub(crate) fn results() -> Vec<SeedResult> {
    let mut results = Vec::new();
    for (rate, base) in [(50.0, 1_000), (100.0, 2_000)] {
        for seed in 1..=6 {
            let step = base + base * seed / 100;
            let mut baseline = run("round-robin", rate, seed, step);
            let mut candidate = run("pointsman", rate, seed, step * 4 / 5);
            let mut bound = run("infinite-cache", rate, seed, step / 2);
            bound.role = Role::Bound;
            if rate == 100.0 {
                baseline.completed_rps = 80.0;
                baseline.latency_growth = Some(2.0);
            }
            baseline.endpoints = endpoints(3, 100);
            candidate.endpoints = endpoints(3, 100);
            candidate.hit_tokens = Some(50_000);
            baseline.hit_tokens = Some(25_000);
            bound.hit_tokens = Some(90_000);
            results.extend([baseline, candidate, bound]);
        }
    }
    results
}
