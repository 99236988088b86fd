//! Greedy clairvoyant placement with true state and true output lengths: each engine's future is projected with and
//! without the request, and the engine where it adds least to the sum of all completion times gets it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use pointsman_core::seconds;
use pointsman_workload::Job;

use crate::engine::{Batch, Engine, EngineProfile, Outlook};
use crate::outcome::End;
use crate::simulate::Action;
use crate::simulate::active_jobs::ActiveJob;
use crate::simulate::event_queue::EngineIndex;
use crate::simulate::servers::{Server, State};

/// Most waiting requests that a projection includes, which bounds its cost.
const PROJECTED_WAITING: usize = 64;

/// The engines that may be chosen.
#[derive(Debug)]
pub(in crate::simulate) struct Clairvoyant {
    open: Vec<bool>,
}

impl Clairvoyant {
    pub(in crate::simulate) fn new(members: usize) -> Self {
        Self { open: vec![false; members] }
    }

    pub(in crate::simulate) fn set_open(&mut self, engine: EngineIndex, open: bool) {
        if let Some(place) = self.open.get_mut(engine as usize) {
            *place = open;
        }
    }

    pub(in crate::simulate) fn arrived(
        &self,
        job: &ActiveJob,
        servers: &[Server],
        actions: &mut Vec<Action>,
    ) {
        let request = job.id;
        let up = servers.iter().zip(&self.open).zip(0..);
        let up = up.filter(|((server, open), _)| **open && server.state == State::Up);
        let costs = up.map(|((server, _), engine)| (added_delay(server, &job.spec), engine));
        actions.push(match costs.min_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((_, to)) => Action::Send { request, to },
            None => Action::End { request, end: End::Failed },
        });
    }
}

/// Seconds that a job adds to the sum of completion times at an engine, its own included.
fn added_delay(server: &Server, job: &Job) -> f64 {
    let own = Outlook {
        context: 0,
        to_prefill: job
            .prompt_tokens
            .saturating_sub(server.engine.cached_tokens(&job.hashes, job.prompt_tokens)),
        to_generate: job.output_tokens,
    };
    let (without, with) =
        (Projection::new(&server.engine, None).finish(), Projection::new(&server.engine, Some(own)).finish());
    (with - without) * server.slowness
}

/// A projection of an engine without further arrivals, from one completion to the next. Sequences decode in lockstep, so
/// the time between two completions is one sum however many steps it has. Prompts are assumed to prefill in one step.
struct Projection<'a> {
    profile: &'a EngineProfile,
    waiting: VecDeque<Outlook>,
    /// Steps so far, and their time in seconds.
    steps: u64,
    time: f64,
    /// Running sequences by the step of their completion, with their context minus their first step.
    running: BinaryHeap<Reverse<(u64, i64)>>,
    context: u64,
    /// Sum of completion times.
    completions: f64,
}

impl<'a> Projection<'a> {
    fn new(engine: &'a Engine, own: Option<Outlook>) -> Self {
        let mut projection = Self {
            profile: engine.profile(),
            waiting: engine.outlook_waiting().take(PROJECTED_WAITING).chain(own).collect(),
            steps: 0,
            time: 0.0,
            running: BinaryHeap::new(),
            context: 0,
            completions: 0.0,
        };
        engine.outlook_running().for_each(|sequence| projection.start(sequence));
        projection
    }

    fn finish(mut self) -> f64 {
        loop {
            while let Some(next) = self.waiting.front().copied()
                && self.fits(&next)
            {
                self.waiting.pop_front();
                self.start(next);
            }
            let Some(Reverse((end, _))) = self.running.peek().copied() else { return self.completions };
            self.advance(end);
            while let Some(Reverse((due, base))) = self.running.peek().copied()
                && due == end
            {
                self.running.pop();
                self.context -= u64::try_from(base + i64::try_from(end).unwrap_or(i64::MAX)).unwrap_or(0);
                self.completions += self.time;
            }
        }
    }

    fn fits(&self, next: &Outlook) -> bool {
        let tokens = u64::from(self.profile.blocks) * u64::from(self.profile.block_size);
        let slots = self.profile.max_sequences as usize;
        let needed = self.context + u64::from(next.context) + u64::from(next.to_prefill);
        self.running.is_empty() || (self.running.len() < slots && needed <= tokens)
    }

    fn batch(&self) -> Batch {
        let sequences = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        Batch { tokens: sequences, context: self.context, pairs: 0.0, sequences }
    }

    fn start(&mut self, sequence: Outlook) {
        if sequence.to_prefill > 0 {
            let without = self.batch();
            let mut with = without;
            with.add_prefill(sequence.context, sequence.to_prefill);
            self.time += self.step(&with) - self.step(&without);
        }
        let context = u64::from(sequence.context) + u64::from(sequence.to_prefill);
        let end = self.steps + u64::from(sequence.to_generate.max(1));
        let base = i64::try_from(context).unwrap_or(i64::MAX) - i64::try_from(self.steps).unwrap_or(i64::MAX);
        self.running.push(Reverse((end, base)));
        self.context += context;
    }

    /// Advances to step `end`; the context grows by one token per sequence and step.
    fn advance(&mut self, end: u64) {
        let count = end - self.steps;
        let batch = self.batch();
        let growth = u64::from(batch.sequences) * count;
        let last = Batch { context: batch.context + growth, ..batch };
        self.time += count as f64 * f64::midpoint(self.step(&batch), self.step(&last));
        self.steps = end;
        self.context += growth;
    }

    fn step(&self, batch: &Batch) -> f64 {
        seconds(self.profile.step.of(batch))
    }
}
