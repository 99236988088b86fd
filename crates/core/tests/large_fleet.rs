//! Fleets of thousands of endpoints, of which one decision compares a sample and those that have the prompt's prefix.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{
    BlockHash, Completion, Effect, EndpointId, EndpointSpec, Event, LoadReport, PoolId, PoolSet,
    RequestFacts, RequestId, Rng, Scheduler, SchedulerConfig, SnapshotInSteps, Time, Usage,
};

const POOL: PoolId = PoolId(0);

struct Fleet {
    pool: Scheduler,
    now: Time,
    next: u64,
}

impl Fleet {
    fn new(endpoints: u32) -> Self {
        let pool = Scheduler::new(SchedulerConfig { seed: 5, decisions: false });
        let mut fleet = Self { pool, now: Time::ZERO + Duration::from_secs(10), next: 0 };
        for endpoint in (0..endpoints).map(EndpointId) {
            fleet.tell(Event::EndpointUp { endpoint, spec: EndpointSpec { pools: PoolSet::of(POOL) } });
        }
        fleet
    }

    fn tell(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.pool.handle(self.now, event, &mut effects);
        effects
    }

    fn place(&mut self, facts: RequestFacts) -> (RequestId, u32) {
        let request = RequestId(self.next);
        self.next += 1;
        let effects = self.tell(Event::Arrived { request, facts });
        let to = effects.iter().find_map(|effect| {
            let Effect::Dispatch { endpoint, .. } = effect else { return None };
            Some(endpoint.0)
        });
        (request, to.unwrap_or_else(|| panic!("{effects:?}")))
    }

    fn finish(&mut self, request: RequestId, output: u32) {
        let usage = Usage { prompt_tokens: Some(200), output_tokens: Some(output), ..Usage::default() };
        self.tell(Event::Finished { request, completion: Completion::Complete, usage });
    }
}

fn stream(prompt_tokens: u32) -> RequestFacts {
    RequestFacts { prompt_tokens, observes_tokens: true, ..RequestFacts::unknown(POOL) }
}

/// A prompt of 100 blocks, 90 of which it shares with the others of its stem.
fn prompt(stem: u64, own: u64) -> RequestFacts {
    let hash = |block: u64| {
        let seed = if block < 90 { stem << 32 } else { (own + 1) << 40 };
        BlockHash(Rng::seeded(seed | block).next_u64())
    };
    let blocks: Arc<[BlockHash]> = (0..100).map(hash).collect();
    RequestFacts { blocks, block_tokens: 64, ..stream(6_400) }
}

#[test]
fn a_prompt_goes_to_the_endpoint_that_has_its_prefix_among_thousands() {
    let mut fleet = Fleet::new(3_000);
    let mut homes = Vec::new();
    for stem in 0..50 {
        let (request, home) = fleet.place(prompt(stem, stem));
        fleet.tell(Event::FirstToken { request });
        fleet.finish(request, 10);
        homes.push(home);
    }
    for (stem, home) in homes.into_iter().enumerate() {
        let (request, to) = fleet.place(prompt(stem as u64, 1_000 + stem as u64));
        assert_eq!(to, home);
        fleet.finish(request, 10);
    }
    fleet.pool.check_invariants().unwrap();
}

#[test]
fn where_a_sample_has_too_few_ready_endpoints_all_are_compared() {
    let mut fleet = Fleet::new(2_000);
    for endpoint in (0..2_000).filter(|endpoint| endpoint % 400 != 7).map(EndpointId) {
        fleet.tell(Event::EndpointDraining { endpoint });
    }
    for _ in 0..20 {
        let (_, to) = fleet.place(stream(100));
        assert_eq!(to % 400, 7);
    }
}

#[test]
fn a_snapshot_in_steps_is_the_whole_snapshot() {
    let mut fleet = Fleet::new(2_000);
    for _ in 0..3_000 {
        fleet.place(stream(100));
    }
    for endpoint in (0..2_000).step_by(3).map(EndpointId) {
        let report = LoadReport {
            taken: fleet.now,
            waiting: Some(endpoint.0),
            kv_use: Some(f64::from(endpoint.0) / 2_000.0),
            ..LoadReport::default()
        };
        fleet.tell(Event::Load { endpoint, report });
    }
    let mut steps = SnapshotInSteps::default();
    let mut count = 0;
    while !steps.is_complete() {
        fleet.pool.snapshot_step(fleet.now, &mut steps, 128);
        count += 1;
    }
    assert_eq!(count, 16);
    let (in_steps, whole) = (steps.finish().unwrap(), fleet.pool.snapshot(fleet.now));
    assert_eq!(in_steps, whole);
    assert_eq!(whole.pools[0].gauges, fleet.pool.gauges(fleet.now, POOL));
    assert_eq!((whole.pools[0].gauges.ready_endpoints, whole.pools[0].gauges.in_flight), (2_000, 3_000));
    assert_eq!(SnapshotInSteps::default().finish(), None);
}

/// The p90 of the seconds from arrival to end of the later half of requests, where each endpoint serves one at a time, in
/// order, for a time that is drawn for each request. With `all` every endpoint is compared.
fn p90(endpoints: u32, load: f64, requests: u64, all: bool) -> f64 {
    let mut fleet = Fleet::new(endpoints);
    if all {
        fleet.pool = fleet.pool.comparing_all();
    }
    let mut rng = Rng::seeded(3);
    let mut free = vec![0.0_f64; endpoints as usize];
    let mut events: BinaryHeap<Reverse<(u64, bool, u64)>> = BinaryHeap::new();
    let (mut now, mut took) = (0.0_f64, Vec::new());
    let nanos = |seconds: f64| Duration::from_secs_f64(seconds).as_nanos() as u64;
    for number in 0..requests {
        now += -(1.0 - rng.unit()).ln() / (load * f64::from(endpoints));
        let service = -(1.0 - rng.unit()).ln();
        while let Some(Reverse((at, ends, request))) = events.peek().copied() {
            if at > nanos(now) {
                break;
            }
            events.pop();
            fleet.now = Time::ZERO + Duration::from_secs(10) + Duration::from_nanos(at);
            if ends {
                fleet.finish(RequestId(request), 150);
            } else {
                fleet.tell(Event::FirstToken { request: RequestId(request) });
            }
        }
        fleet.now = Time::ZERO + Duration::from_secs(10) + Duration::from_nanos(nanos(now));
        let (_, to) = fleet.place(stream(200));
        let start = free[to as usize].max(now);
        free[to as usize] = start + service;
        events.push(Reverse((nanos(start + 0.05 * service), false, number)));
        events.push(Reverse((nanos(start + service), true, number)));
        if number > requests / 2 {
            took.push(start + service - now);
        }
    }
    took.sort_unstable_by(f64::total_cmp);
    took[took.len() * 9 / 10]
}

#[test]
fn to_compare_a_sample_costs_less_than_one_percent_of_p90() {
    let (sampled, all) = (p90(1_500, 0.95, 6_000, false), p90(1_500, 0.95, 6_000, true));
    assert!(sampled < 1.01 * all, "{sampled} s instead of {all} s");
}
