//! Engines behind a random balancer, open loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::Time;
use pointsman_sim::engine::{Detail, Engine, EngineProfile, Request, SequenceId};

use pointsman_workload::{Draw, Purpose};

use crate::lengths::lengths;

/// Results of a run: latencies of all requests in the order of their ends.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) e2e_s: Vec<f64>,
    pub(crate) ntpot_ms: Vec<f64>,
    pub(crate) output_tokens: u64,
    pub(crate) preemptions: u64,
    /// From the first arrival to the last end.
    pub(crate) seconds: f64,
}

struct Arrival {
    at: Time,
    prompt: u32,
    output: u32,
}

struct Busy {
    engine: Engine,
    until: Option<Time>,
    arrived: BTreeMap<SequenceId, (Time, u32)>,
}

/// Runs Poisson arrivals on randomly chosen engines until all have ended.
pub(crate) fn run(profile: &EngineProfile, engines: usize, rate: f64, requests: usize, seed: u64) -> Run {
    let mut draw = Draw::of(seed, Purpose::Arrivals, 0);
    let profile = Arc::new(profile.clone());
    let mut fleet: Vec<Busy> = (0..engines)
        .map(|_| Busy {
            engine: Engine::new(Arc::clone(&profile), Detail::Milestones),
            until: None,
            arrived: BTreeMap::new(),
        })
        .collect();
    let mut run = Run::default();
    let mut now = Time::ZERO;
    for _ in 0..requests {
        let gap = draw.exponential() / rate;
        let (prompt, output) = lengths(&mut draw);
        now = now + Duration::from_secs_f64(gap);
        let engine = usize::try_from(draw.bits() % engines as u64).unwrap();
        let arrival = Arrival { at: now, prompt, output };
        advance(&mut fleet[engine], Some(now), &mut run);
        submit(&mut fleet[engine], &arrival);
    }
    for engine in &mut fleet {
        advance(engine, None, &mut run);
        run.preemptions += engine.engine.gauges().totals.preemptions;
    }
    run
}

fn submit(busy: &mut Busy, arrival: &Arrival) {
    let request = Request {
        prompt_tokens: arrival.prompt,
        output_tokens: arrival.output,
        hashes: Arc::from([]),
        adapter: None,
    };
    let id = busy.engine.submit(request).unwrap();
    busy.arrived.insert(id, (arrival.at, arrival.output));
    if busy.until.is_none() {
        busy.until = busy.engine.start_step(arrival.at).map(|step| step.ends_at);
    }
}

/// Runs an engine up to a time, or until it is idle.
fn advance(busy: &mut Busy, to: Option<Time>, run: &mut Run) {
    while let Some(end) = busy.until.filter(|end| to.is_none_or(|to| *end <= to)) {
        for output in busy.engine.finish_step() {
            if output.finished {
                let (arrived, tokens) = busy.arrived.remove(&output.id).unwrap();
                let e2e = end.since(arrived).as_secs_f64();
                run.e2e_s.push(e2e);
                run.ntpot_ms.push(e2e * 1e3 / f64::from(tokens));
                run.output_tokens += u64::from(tokens);
                run.seconds = run.seconds.max(end.since(Time::ZERO).as_secs_f64());
            }
        }
        busy.until = busy.engine.start_step(end).map(|step| step.ends_at);
    }
}

/// The nearest-rank quantile.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "ranks"
)]
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1]
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
