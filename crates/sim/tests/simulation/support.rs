//! Small fleets and simple workloads.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{BlockHash, Placement, PoolPolicy, Rng, Time};
use pointsman_sim::engine::EngineProfile;
use pointsman_sim::{Bound, End, EngineSpec, Information, Outcome, Routing, Scenario, simulate_checked};
use pointsman_workload::{Job, Jobs};

pub(crate) fn at(seconds: f64) -> Time {
    Time::ZERO + Duration::from_secs_f64(seconds)
}

pub(crate) fn profile(name: &str) -> EngineProfile {
    EngineProfile::named(name).unwrap()
}

/// A fleet of equal engines with the default information, and this many seconds of arrivals.
pub(crate) fn scenario(engines: usize, profile: EngineProfile, seconds: u64) -> Scenario {
    let profile = Arc::new(profile);
    let member = EngineSpec { profile, slowness: 1.0, joins: Time::ZERO, changes: Vec::new() };
    Scenario {
        fleet: vec![member; engines],
        information: Information::default(),
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(seconds),
        drain: Duration::from_secs(3_600),
        compare_all: false,
    }
}

pub(crate) fn pool(placement: Placement) -> Routing {
    Routing::Pool(PoolPolicy { placement, ..PoolPolicy::default() })
}

/// Every routing except bounds.
pub(crate) fn routings() -> Vec<Routing> {
    let services = [Routing::ServicePerConnection, Routing::ServicePerRequest];
    Placement::ALL.map(pool).into_iter().chain(services).collect()
}

/// Every routing.
pub(crate) fn routings_and_bounds() -> Vec<Routing> {
    routings().into_iter().chain(Bound::ALL.map(Routing::Bound)).collect()
}

/// Poisson arrivals of jobs that a function makes from their number and a generator.
pub(crate) struct Poisson<F> {
    rng: Rng,
    rate: f64,
    at: f64,
    number: u64,
    make: F,
}

impl<F: FnMut(u64, &mut Rng) -> Job> Poisson<F> {
    pub(crate) fn new(rate: f64, seed: u64, make: F) -> Self {
        Self { rng: Rng::seeded(seed), rate, at: 0.0, number: 0, make }
    }
}

impl<F: FnMut(u64, &mut Rng) -> Job> Jobs for Poisson<F> {
    fn next_job(&mut self) -> Option<Job> {
        self.at -= (1.0 - self.rng.unit()).ln() / self.rate;
        self.number += 1;
        let job = (self.make)(self.number, &mut self.rng);
        Some(Job { number: self.number, arrival: at(self.at), ..job })
    }

    fn follow_up(&mut self, _ended: &Job, _at: Time) -> Option<Job> {
        None
    }
}

/// A streamed job of these lengths without a shared prefix.
pub(crate) fn job(prompt_tokens: u32, output_tokens: u32) -> Job {
    Job {
        number: 0,
        arrival: Time::ZERO,
        prompt_tokens,
        output_tokens,
        max_output_tokens: None,
        hashes: Arc::from([]),
        adapter: None,
        priority: 0,
        streamed: true,
        connection: 0,
        turn: None,
    }
}

/// A job whose prompt has a group's prefix of `shared` blocks of 16 tokens, and private tokens.
pub(crate) fn grouped(group: u64, shared: u64, number: u64, own: u32, output: u32) -> Job {
    let prompt_tokens = u32::try_from(shared).unwrap() * 16 + own;
    let blocks = u64::from((prompt_tokens + output) / 16);
    let name = |block: u64| if block < shared { group << 20 | block } else { 1 << 50 | number << 20 | block };
    Job { hashes: (0..blocks).map(|block| BlockHash(name(block))).collect(), ..job(prompt_tokens, output) }
}

/// Jobs of many lengths, some with adapters, priorities or non-streaming responses.
pub(crate) fn mixed(number: u64, rng: &mut Rng) -> Job {
    let length = |rng: &mut Rng, most: usize| 1 + u32::try_from(rng.below(most)).unwrap();
    let prompt = length(rng, 400);
    let plain = job(prompt, length(rng, 60));
    match number % 8 {
        0 => Job { streamed: false, ..plain },
        1 => Job { adapter: Some(u32::try_from(rng.below(3)).unwrap()), ..plain },
        2 => Job { priority: -1, ..plain },
        3 | 4 => grouped(number % 5, 8, number, prompt, 20),
        _ => Job { connection: u32::try_from(number % 16).unwrap(), ..plain },
    }
}

/// Runs with a check of the core's invariants after every event, or after every 17th of long runs.
#[track_caller]
pub(crate) fn run(scenario: &Scenario, routing: &Routing, jobs: &mut impl Jobs, seed: u64) -> Outcome {
    let every = if scenario.duration <= Duration::from_secs(5) { 1 } else { 17 };
    match simulate_checked(scenario, routing, jobs, seed, every) {
        Ok(outcome) => outcome,
        Err(error) => panic!("{error}"),
    }
}

/// End-to-end latencies of the answered jobs in milliseconds, ascending.
pub(crate) fn e2e(outcome: &Outcome) -> Vec<f32> {
    let answered = |(_, end): &(Time, End)| match end {
        End::Answered { e2e_ms, .. } => Some(*e2e_ms),
        End::Rejected | End::Failed | End::Unfinished => None,
    };
    let mut all: Vec<f32> = outcome.jobs.iter().filter_map(answered).collect();
    all.sort_unstable_by(f32::total_cmp);
    all
}

/// Numbers of answered, rejected, failed and unfinished jobs.
pub(crate) fn ends(outcome: &Outcome) -> [usize; 4] {
    let mut counts = [0; 4];
    for (_, end) in &outcome.jobs {
        counts[match end {
            End::Answered { .. } => 0,
            End::Rejected => 1,
            End::Failed => 2,
            End::Unfinished => 3,
        }] += 1;
    }
    counts
}
