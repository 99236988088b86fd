//! Greedy clairvoyance: true state and true output lengths; each engine is rolled forward with the request and without
//! it, and the one where it adds the least to the sum of all ends gets it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use pointsman_core::seconds;

use crate::engine::{Batch, Engine, EngineProfile, Outlook};
use crate::job::Job;
use crate::simulate::Order;
use crate::simulate::agenda::Member;
use crate::simulate::flights::Flight;
use crate::simulate::servers::{Server, State};

/// So many of the requests that wait in an engine are rolled forward one by one; those behind them only put off the one
/// that would come last, by the time that their work takes in a full batch.
const ROLLED: usize = 64;

/// The engines that it may choose.
#[derive(Debug)]
pub(in crate::simulate) struct Clairvoyant {
    open: Vec<bool>,
}

impl Clairvoyant {
    pub(in crate::simulate) fn new(members: usize) -> Self {
        Self { open: vec![false; members] }
    }

    pub(in crate::simulate) fn set_open(&mut self, of: Member, open: bool) {
        if let Some(place) = self.open.get_mut(of as usize) {
            *place = open;
        }
    }

    pub(in crate::simulate) fn arrived(&self, flight: &Flight, servers: &[Server], orders: &mut Vec<Order>) {
        let request = flight.id;
        let up = servers.iter().zip(&self.open).zip(0..);
        let up = up.filter(|((server, open), _)| **open && server.state() == State::Up);
        let costs = up.map(|((server, _), of)| (added_delay(server, &flight.job), of));
        orders.push(match costs.min_by(|(a, _), (b, _)| a.total_cmp(b)) {
            Some((_, to)) => Order::Send { request, to },
            None => Order::Fail { request },
        });
    }
}

/// Seconds by which a job would put off all ends at an engine, its own time included.
fn added_delay(server: &Server, job: &Job) -> f64 {
    let own = Outlook {
        context: 0,
        to_prefill: job
            .prompt_tokens
            .saturating_sub(server.engine.cached_tokens(&job.hashes, job.prompt_tokens)),
        to_generate: job.output_tokens,
    };
    let (without, with) =
        (Roll::new(&server.engine, None).finish(), Roll::new(&server.engine, Some(own)).finish());
    (with - without) * server.slowness()
}

/// An engine's future without arrivals, from one end of a sequence to the next. Sequences decode in lockstep, so a
/// stretch without an end costs one sum however many steps it has. Prompts are taken to be prefilled at once.
struct Roll<'a> {
    profile: &'a EngineProfile,
    waiting: VecDeque<Outlook>,
    /// Steps done, and the seconds they took.
    steps: u64,
    time: f64,
    /// By the step at which each ends: its context if it had run from the first step on.
    running: BinaryHeap<Reverse<(u64, i64)>>,
    context: u64,
    /// The sum of the times of all ends.
    ends: f64,
}

impl<'a> Roll<'a> {
    fn new(engine: &'a Engine, own: Option<Outlook>) -> Self {
        let mut roll = Self {
            profile: engine.profile(),
            waiting: engine.outlook_waiting().take(ROLLED).chain(own).collect(),
            steps: 0,
            time: 0.0,
            running: BinaryHeap::new(),
            context: 0,
            ends: 0.0,
        };
        engine.outlook_running().for_each(|sequence| roll.start(sequence));
        roll
    }

    fn finish(mut self) -> f64 {
        loop {
            while let Some(next) = self.waiting.front().copied()
                && self.fits(&next)
            {
                self.waiting.pop_front();
                self.start(next);
            }
            let Some(Reverse((end, _))) = self.running.peek().copied() else { return self.ends };
            self.pass(end);
            while let Some(Reverse((due, base))) = self.running.peek().copied()
                && due == end
            {
                self.running.pop();
                self.context -= u64::try_from(base + i64::try_from(end).unwrap_or(i64::MAX)).unwrap_or(0);
                self.ends += self.time;
            }
        }
    }

    fn fits(&self, next: &Outlook) -> bool {
        let tokens = u64::from(self.profile.blocks) * u64::from(self.profile.block_size);
        let seats = self.profile.max_sequences as usize;
        let needed = self.context + u64::from(next.context) + u64::from(next.to_prefill);
        self.running.is_empty() || (self.running.len() < seats && needed <= tokens)
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

    /// The steps up to `end`, in which the context grows by a token for each sequence and step.
    #[expect(clippy::cast_precision_loss, reason = "steps and sequences of one engine")]
    fn pass(&mut self, end: u64) {
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
