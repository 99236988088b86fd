//! Simulated requests per second of CPU time: ten replicas of Llama-2-7B, ShareGPT lengths, below and above the knee.
//! Prints a table; arguments are rates in requests per second.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench measures time and takes arguments"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman_core::{BlockHash, Placement, PoolPolicy, Rng, Time};
use pointsman_sim::engine::EngineProfile;
use pointsman_sim::{End, EngineSpec, Information, Routing, Scenario, simulate};
use pointsman_workload::{Job, Jobs};

/// Lengths at these shares of all requests, straight lines between: prompt and output as in the sample report of the
/// Gateway API Inference Extension's benchmark.
const SHARES: [f64; 6] = [0.0, 0.25, 0.5, 0.9, 0.99, 1.0];
const PROMPTS: [f64; 6] = [4.0, 30.0, 109.0, 714.0, 987.0, 1_024.0];
const OUTPUTS: [f64; 6] = [4.0, 40.0, 144.0, 564.0, 948.0, 1_024.0];

struct Poisson {
    rng: Rng,
    rate: f64,
    at: f64,
    number: u64,
    none: Arc<[BlockHash]>,
}

impl Poisson {
    fn share(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn length(&mut self, table: &[f64; 6]) -> u32 {
        let share = self.share();
        let piece = (1..5).find(|piece| share < SHARES[*piece]).unwrap_or(5);
        let part = (share - SHARES[piece - 1]) / (SHARES[piece] - SHARES[piece - 1]);
        (table[piece - 1] + part * (table[piece] - table[piece - 1])) as u32
    }
}

impl Jobs for Poisson {
    fn next_job(&mut self) -> Option<Job> {
        self.at -= (1.0 - self.share()).ln() / self.rate;
        self.number += 1;
        Some(Job {
            number: self.number,
            arrival: Time::from_nanos((self.at * 1e9) as u64),
            prompt_tokens: self.length(&PROMPTS),
            output_tokens: self.length(&OUTPUTS),
            max_output_tokens: None,
            hashes: Arc::clone(&self.none),
            adapter: None,
            priority: 0,
            streamed: true,
            connection: (self.number % 64) as u32,
            turn: None,
        })
    }

    fn follow_up(&mut self, _ended: &Job, _at: Time) -> Option<Job> {
        None
    }
}

fn scenario() -> Scenario {
    let profile = Arc::new(EngineProfile::named("llama-2-7b-h100").unwrap());
    let member = EngineSpec { profile, slowness: 1.0, joins: Time::ZERO, changes: Vec::new() };
    Scenario {
        fleet: vec![member; 10],
        information: Information::default(),
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(120),
        drain: Duration::from_secs(3_600),
        compare_all: false,
    }
}

fn main() {
    let numbers: Vec<f64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    // `cargo bench` passes --bench; a test run executes one short case only.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let rates = match (numbers.is_empty(), measured) {
        (true, true) => vec![100.0, 250.0, 500.0, 1_000.0],
        (true, false) => vec![10.0],
        (false, _) => numbers,
    };
    println!(
        "{:<24} {:>6} {:>9} {:>10} {:>8} {:>9} {:>9} {:>9}",
        "policy", "rate", "requests", "req/s cpu", "µs", "ttft p90", "e2e p50", "e2e p90"
    );
    let routings =
        Placement::ALL.map(|placement| Routing::Pool(PoolPolicy { placement, ..PoolPolicy::default() }));
    for routing in [Routing::ServicePerConnection].into_iter().chain(routings) {
        for rate in &rates {
            measure(&routing, *rate);
        }
    }
}

fn measure(routing: &Routing, rate: f64) {
    let mut jobs = Poisson { rng: Rng::seeded(1), rate, at: 0.0, number: 0, none: Arc::from([]) };
    let (start, cpu) = (Instant::now(), processor_time());
    let outcome = simulate(&scenario(), routing, &mut jobs, 1).unwrap();
    let wall = start.elapsed().as_secs_f64();
    let cpu = processor_time().map_or(wall, |now| now - cpu.unwrap_or(0.0)).max(0.01);
    let answered = outcome.jobs.iter().filter_map(|(_, end)| match end {
        End::Answered { ttft_ms, e2e_ms, .. } => Some((*ttft_ms, *e2e_ms)),
        End::Rejected | End::Failed | End::Unfinished => None,
    });
    let (mut ttft, mut e2e): (Vec<f32>, Vec<f32>) = answered.unzip();
    ttft.sort_unstable_by(f32::total_cmp);
    e2e.sort_unstable_by(f32::total_cmp);
    let count = outcome.jobs.len();
    println!(
        "{:<24} {rate:>6} {count:>9} {:>10.0} {:>8.2} {:>9.1} {:>9.0} {:>9.0}",
        routing.name(),
        count as f64 / cpu,
        cpu * 1e6 / count as f64,
        ttft[ttft.len() * 9 / 10],
        e2e[e2e.len() / 2],
        e2e[e2e.len() * 9 / 10],
    );
}

/// CPU seconds of this process, which are independent of other load; Linux only.
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / 100.0)
}
