//! Engines with prefix caches in virtual time, behind one or several routers: the least engine model that reproduces
//! the failures.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::Scheduler;
use crate::endpoint::{EndpointSpec, LoadReport};
use crate::event::{Effect, Event};
use crate::ids::{BlockHash, EndpointId, PoolId, PoolSet, RequestId};
use crate::placement::{Failure, Rule};
use crate::request::{Completion, RequestFacts, Usage};
use crate::scheduler::SchedulerConfig;
use crate::time::{Time, seconds};
use pointsman_random::Rng;

/// Most prompt tokens in one step.
const BUDGET: u32 = 2_048;
/// Tokens per block.
pub(super) const BLOCK: u32 = 16;
/// Interval at which each router reads each engine's gauges.
const SCRAPE: Duration = Duration::from_secs(1);

/// A future request.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at: Duration,
    pub(super) facts: RequestFacts,
    pub(super) output: u32,
}

/// A request that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) endpoint: u32,
    pub(super) seconds: f64,
    pub(super) prompt: u32,
    pub(super) cached: u32,
}

struct Job {
    request: RequestId,
    router: usize,
    arrived: Time,
    facts: RequestFacts,
    cached: u32,
    prefilled: u32,
    output: u32,
    wanted: u32,
}

#[derive(Default)]
struct Engine {
    slowness: f64,
    jobs: VecDeque<Job>,
    step_ends: Option<Time>,
    /// Cached blocks with the time of their last use, and the capacity in blocks.
    cache: BTreeMap<BlockHash, Time>,
    room: usize,
}

impl Engine {
    /// Tokens of a prompt's longest cached prefix.
    fn cached(&self, facts: &RequestFacts) -> u32 {
        let blocks = facts.blocks.iter().take_while(|block| self.cache.contains_key(block)).count();
        u32::try_from(blocks).unwrap() * BLOCK
    }

    /// Caches a prompt, and evicts the least recently used blocks.
    fn keep(&mut self, now: Time, facts: &RequestFacts) {
        self.cache.extend(facts.blocks.iter().map(|block| (*block, now)));
        if self.cache.len() > self.room {
            let mut used: Vec<_> = self.cache.iter().map(|(block, used)| (*used, *block)).collect();
            used.sort_unstable();
            for (_, block) in used.iter().take(self.cache.len() - self.room) {
                self.cache.remove(block);
            }
        }
    }

    /// Seconds of the next step, by the same linear model as in the other tests of the core.
    fn step(&mut self) -> f64 {
        let (mut budget, mut prompt, mut context, mut decoding) = (BUDGET, 0, 0, 0_u32);
        for job in &mut self.jobs {
            if job.prefilled == job.facts.prompt_tokens {
                decoding += 1;
                context += job.facts.prompt_tokens + job.output;
            } else {
                let chunk = budget.min(job.facts.prompt_tokens - job.prefilled);
                (job.prefilled, budget, prompt) = (job.prefilled + chunk, budget - chunk, prompt + chunk);
            }
        }
        let line =
            8e-3 + 40e-6 * f64::from(decoding) + 0.12e-6 * f64::from(context) + 25e-6 * f64::from(prompt);
        line * self.slowness
    }
}

pub(super) struct Fleet {
    pub(super) routers: Vec<Scheduler>,
    engines: Vec<Engine>,
    now: Time,
    effects: Vec<Effect>,
    next: u64,
    scraped: Time,
    rng: Rng,
    pub(super) done: Vec<Done>,
}

impl Fleet {
    /// One engine for each factor on the step time, with a cache of `room` blocks; every router has the failure.
    pub(super) fn new(routers: usize, slowness: &[f64], room: usize, failure: Option<Failure>) -> Self {
        let now = Time::ZERO + Duration::from_secs(1_000);
        let engine = |slowness: &f64| Engine { slowness: *slowness, room, ..Engine::default() };
        let mut fleet = Self {
            routers: Vec::new(),
            engines: slowness.iter().map(engine).collect(),
            now,
            effects: Vec::new(),
            next: 0,
            scraped: now,
            rng: Rng::seeded(3),
            done: Vec::new(),
        };
        for router in 0..routers {
            let mut pool =
                Scheduler::new(SchedulerConfig { seed: u64::try_from(router).unwrap(), decisions: false });
            pool.pool_mut(PoolId(0)).rule = Rule::with(failure);
            fleet.routers.push(pool);
            for endpoint in 0..u32::try_from(slowness.len()).unwrap() {
                let spec = EndpointSpec { pools: PoolSet::of(PoolId(0)) };
                fleet.tell(router, Event::EndpointUp { endpoint: EndpointId(endpoint), spec });
            }
        }
        fleet.scrape();
        fleet
    }

    fn tell(&mut self, router: usize, event: Event) {
        self.effects.clear();
        self.routers[router].handle(self.now, event, &mut self.effects);
    }

    /// Lets the requests arrive, each at a random router, and runs until the last one has ended.
    pub(super) fn run(&mut self, arrivals: &[Arrival]) {
        let start = self.now;
        let mut arrivals = arrivals.iter().peekable();
        loop {
            let arrival = arrivals.peek().map(|arrival| start + arrival.at);
            let steps = self.engines.iter().enumerate();
            let step = steps.filter_map(|(index, engine)| Some((engine.step_ends?, index))).min();
            let next = match (arrival, step) {
                (None, None) => return,
                (arrival, step) => arrival.into_iter().chain(step.map(|(time, _)| time)).min().unwrap(),
            };
            if self.scraped + SCRAPE <= next {
                self.now = self.scraped + SCRAPE;
                self.scrape();
            } else if arrival.is_some_and(|time| time <= next) {
                self.now = next;
                let arrival = arrivals.next().unwrap();
                self.arrive(arrival);
            } else if let Some((time, index)) = step {
                self.now = time;
                self.end_step(index);
            }
        }
    }

    fn arrive(&mut self, arrival: &Arrival) {
        let request = RequestId(self.next);
        self.next += 1;
        let router = self.rng.below(self.routers.len());
        self.tell(router, Event::Arrived { request, facts: arrival.facts.clone() });
        let Some(Effect::Dispatch { endpoint, .. }) = self.effects.first() else { panic!("dispatched") };
        let engine = &mut self.engines[endpoint.0 as usize];
        // The last token is always computed.
        let cached = engine.cached(&arrival.facts).min(arrival.facts.prompt_tokens - 1);
        engine.jobs.push_back(Job {
            request,
            router,
            arrived: self.now,
            facts: arrival.facts.clone(),
            cached,
            prefilled: cached,
            output: 0,
            wanted: arrival.output,
        });
        let index = endpoint.0 as usize;
        if self.engines[index].step_ends.is_none() {
            self.start_step(index);
        }
    }

    fn start_step(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        let length = Duration::from_secs_f64(engine.step());
        engine.step_ends = (!engine.jobs.is_empty()).then(|| self.now + length);
    }

    fn end_step(&mut self, index: usize) {
        let mut jobs = std::mem::take(&mut self.engines[index].jobs);
        jobs.retain_mut(|job| {
            if job.prefilled < job.facts.prompt_tokens {
                return true;
            }
            job.output += 1;
            if job.output == 1 {
                self.engines[index].keep(self.now, &job.facts);
                self.tell(job.router, Event::FirstToken { request: job.request });
            } else if job.output % 10 == 0 {
                let event = Event::Progress { request: job.request, output_tokens: job.output };
                self.tell(job.router, event);
            }
            if job.output < job.wanted {
                return true;
            }
            let usage = Usage {
                prompt_tokens: Some(job.facts.prompt_tokens),
                cached_tokens: Some(job.cached),
                output_tokens: Some(job.output),
            };
            let (request, completion) = (job.request, Completion::Complete);
            self.tell(job.router, Event::Finished { request, completion, usage });
            self.done.push(Done {
                endpoint: u32::try_from(index).unwrap(),
                seconds: seconds(self.now.since(job.arrived)),
                prompt: job.facts.prompt_tokens,
                cached: job.cached,
            });
            false
        });
        self.engines[index].jobs = jobs;
        self.start_step(index);
    }

    fn scrape(&mut self) {
        self.scraped = self.now;
        for index in 0..self.engines.len() {
            let report = LoadReport {
                taken: self.now,
                running: u32::try_from(self.engines[index].jobs.len()).ok(),
                waiting: Some(0),
                kv_blocks: u32::try_from(self.engines[index].room).ok(),
                block_size: Some(BLOCK),
                ..LoadReport::default()
            };
            let endpoint = EndpointId(u32::try_from(index).unwrap());
            for router in 0..self.routers.len() {
                self.tell(router, Event::Load { endpoint, report: report.clone() });
            }
        }
    }

    /// The 90th percentile of the end-to-end seconds.
    pub(super) fn p90(&self) -> f64 {
        let mut took: Vec<f64> = self.done.iter().map(|done| done.seconds).collect();
        took.sort_unstable_by(f64::total_cmp);
        took[took.len() * 9 / 10]
    }

    /// Number of requests that each endpoint served.
    pub(super) fn served(&self) -> Vec<usize> {
        let by = |endpoint| self.done.iter().filter(|done| done.endpoint == endpoint).count();
        (0..u32::try_from(self.engines.len()).unwrap()).map(by).collect()
    }

    /// The fraction of prompt tokens that were cached.
    pub(super) fn hit_rate(&self) -> f64 {
        let sum =
            |tokens: fn(&Done) -> u32| self.done.iter().map(|done| f64::from(tokens(done))).sum::<f64>();
        sum(|done| done.cached) / sum(|done| done.prompt)
    }
}
