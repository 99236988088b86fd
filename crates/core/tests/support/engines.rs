//! A few engines in virtual time, to learn rates from: continuous batching, prompts in order under a token budget,
//! one token per request and step.

use std::collections::VecDeque;
use std::time::Duration;

use pointsman_core::{
    Completion, EndpointId, EngineTotals, Event, LoadReport, Placement, RequestFacts, RequestId, Rng, Time,
    Usage, seconds,
};

use super::{Driver, stream};

const BUDGET: u32 = 2_048;

struct Job {
    request: RequestId,
    arrived: Time,
    prompt: u32,
    prefilled: u32,
    output: u32,
    wanted: u32,
    told: Time,
}

struct Engine {
    slowness: f64,
    jobs: VecDeque<Job>,
    step_ends: Option<Time>,
    totals: (f64, f64, f64),
}

/// How much the scheduler observes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// First tokens and progress of each stream.
    Streams,
    /// Only the ends of non-streaming responses.
    Replies,
    /// Ends without counts, and the engines' metrics pages.
    Scrapes,
}

pub(crate) struct Engines {
    pub(crate) driver: Driver,
    engines: Vec<Engine>,
    sight: Sight,
    rng: Rng,
    /// For each request that ended: its arrival, its endpoint, and its end-to-end seconds.
    pub(crate) done: Vec<(Time, u32, f64)>,
}

impl Engines {
    pub(crate) fn new(placement: Placement, slowness: &[f64], sight: Sight) -> Self {
        let count = u32::try_from(slowness.len()).unwrap();
        let engine = |slowness: &f64| Engine {
            slowness: *slowness,
            jobs: VecDeque::new(),
            step_ends: None,
            totals: (0.0, 0.0, 0.0),
        };
        Self {
            driver: Driver::new(count, placement),
            engines: slowness.iter().map(engine).collect(),
            sight,
            rng: Rng::seeded(11),
            done: Vec::new(),
        }
    }

    pub(crate) fn set_slowness(&mut self, endpoint: usize, slowness: f64) {
        self.engines[endpoint].slowness = slowness;
    }

    /// Poisson arrivals at a mean rate for some seconds; prompts of about 200, outputs of about 150 tokens.
    pub(crate) fn run(&mut self, rate: f64, for_seconds: u64) {
        let end = self.driver.now + Duration::from_secs(for_seconds);
        let mut next = self.driver.now;
        let mut scrape = self.driver.now;
        while self.driver.now < end {
            let step = self
                .engines
                .iter()
                .enumerate()
                .filter_map(|(index, engine)| Some((engine.step_ends?, index)));
            let step = step.min();
            if scrape <= next && step.is_none_or(|(time, _)| scrape <= time) {
                self.driver.now = scrape;
                scrape = scrape + Duration::from_secs(1);
                self.scrape();
            } else if step.is_none_or(|(time, _)| next <= time) {
                self.driver.now = next;
                self.arrive();
                let uniform = (1 + self.rng.below(1 << 30)) as f64 / f64::from(1 << 30);
                next = next + Duration::from_secs_f64(-uniform.ln() / rate);
            } else if let Some((time, index)) = step {
                self.driver.now = time;
                self.step(index);
            }
        }
    }

    fn arrive(&mut self) {
        let prompt = 50 + u32::try_from(self.rng.below(300)).unwrap();
        let wanted = 20 + u32::try_from(self.rng.below(260)).unwrap();
        let facts = RequestFacts { observes_tokens: self.sight == Sight::Streams, ..stream(prompt) };
        let (request, endpoint) = self.driver.dispatch(facts);
        let now = self.driver.now;
        let engine = &mut self.engines[endpoint as usize];
        engine.jobs.push_back(Job {
            request,
            arrived: now,
            prompt,
            prefilled: 0,
            output: 0,
            wanted,
            told: now,
        });
        if engine.step_ends.is_none() {
            self.start(endpoint as usize);
        }
    }

    fn start(&mut self, index: usize) {
        let engine = &mut self.engines[index];
        if engine.jobs.is_empty() {
            engine.step_ends = None;
            return;
        }
        let (mut budget, mut prompt, mut context, mut decoding) = (BUDGET, 0_u32, 0_u32, 0_u32);
        for job in &mut engine.jobs {
            if job.prefilled == job.prompt {
                decoding += 1;
                context += job.prompt + job.output;
            } else {
                let chunk = budget.min(job.prompt - job.prefilled);
                (job.prefilled, budget, prompt) = (job.prefilled + chunk, budget - chunk, prompt + chunk);
            }
        }
        let line =
            8e-3 + 40e-6 * f64::from(decoding) + 0.12e-6 * f64::from(context) + 25e-6 * f64::from(prompt);
        let length = Duration::from_secs_f64(line * engine.slowness);
        engine.totals.0 += f64::from(prompt);
        engine.totals.1 += seconds(length) * f64::from(decoding);
        engine.totals.2 += f64::from(decoding);
        engine.step_ends = Some(self.driver.now + length);
    }

    fn step(&mut self, index: usize) {
        let now = self.driver.now;
        let mut jobs = std::mem::take(&mut self.engines[index].jobs);
        jobs.retain_mut(|job| {
            if job.prefilled < job.prompt {
                return true;
            }
            job.output += 1;
            if self.sight == Sight::Streams {
                if job.output == 1 {
                    job.told = now;
                    self.driver.tell(Event::FirstToken { request: job.request });
                } else if now.since(job.told) >= Duration::from_millis(100) {
                    job.told = now;
                    self.driver.tell(Event::Progress { request: job.request, output_tokens: job.output });
                }
            }
            if job.output < job.wanted {
                return true;
            }
            let counted = self.sight != Sight::Scrapes;
            let usage = Usage {
                prompt_tokens: counted.then_some(job.prompt),
                output_tokens: counted.then_some(job.output),
                cached_tokens: None,
            };
            self.driver.tell(Event::Finished {
                request: job.request,
                completion: Completion::Complete,
                usage,
            });
            let endpoint = u32::try_from(index).unwrap();
            self.done.push((job.arrived, endpoint, seconds(now.since(job.arrived))));
            false
        });
        self.engines[index].jobs = jobs;
        self.start(index);
    }

    fn scrape(&mut self) {
        if self.sight != Sight::Scrapes {
            return;
        }
        for (endpoint, engine) in (0..).zip(&self.engines) {
            let (prompt_tokens, inter_token_seconds, inter_token_count) = engine.totals;
            let totals = EngineTotals {
                prompt_tokens: Some(prompt_tokens),
                inter_token_seconds: Some(inter_token_seconds),
                inter_token_count: Some(inter_token_count),
                ..EngineTotals::default()
            };
            let running = u32::try_from(engine.jobs.len()).ok();
            let report = LoadReport {
                taken: self.driver.now,
                running,
                waiting: Some(0),
                totals,
                ..LoadReport::default()
            };
            self.driver.tell(Event::Load { endpoint: EndpointId(endpoint), report });
        }
    }

    /// Learned decode slowness of each endpoint, as a factor on the fleet's.
    pub(crate) fn learned(&self) -> Vec<f64> {
        let snapshot = self.driver.pool.snapshot(self.driver.now);
        snapshot.endpoints.iter().map(|endpoint| endpoint.step_seconds.slowness).collect()
    }

    fn recent(&self, last_seconds: u64) -> impl Iterator<Item = &(Time, u32, f64)> {
        let last = Duration::from_secs(last_seconds);
        self.done.iter().filter(move |(arrived, ..)| self.driver.now.since(*arrived) <= last)
    }

    /// The 90th percentile of the end-to-end seconds of requests that arrived in the last `last_seconds`.
    pub(crate) fn p90(&self, last_seconds: u64) -> f64 {
        let mut took: Vec<f64> = self.recent(last_seconds).map(|(_, _, took)| *took).collect();
        took.sort_unstable_by(f64::total_cmp);
        took[took.len() * 9 / 10]
    }

    /// The fraction of the requests of the last `last_seconds` that an endpoint served.
    pub(crate) fn share(&self, endpoint: u32, last_seconds: u64) -> f64 {
        let there = self.recent(last_seconds).filter(|(_, there, _)| *there == endpoint).count();
        there as f64 / self.recent(last_seconds).count() as f64
    }

    /// The mean end-to-end seconds of all requests.
    pub(crate) fn mean(&self) -> f64 {
        self.done.iter().map(|(_, _, took)| *took).sum::<f64>() / self.done.len() as f64
    }
}
