//! The jobs of one run.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{BlockHash, Time};
use pointsman_random::mix;

use super::arrivals::{ArrivalTimes, TraceRows, time};
use super::draw::{Draw, Purpose};
use super::prefixes::{SharedPrefix, hashes};
use super::trace::{LoggedFields, Row, Trace};
use super::{Arrivals, Class, Lengths, OutputBound, Workload};
use crate::job::{Job, Jobs, Turn};

/// A job's number holds the turn's index in the bits from here on, the session or single job in those below.
const TURN_SHIFT: u32 = 40;

/// The jobs of a workload at one rate and seed.
#[derive(Clone, Debug)]
pub struct Generator {
    workload: Arc<Workload>,
    seed: u64,
    block_size: u32,
    /// Most tokens of prompt and output that engines accept.
    limit: u32,
    until: Time,
    times: ArrivalTimes,
    rows: Option<TraceRows>,
    next: u64,
    no_hashes: Arc<[BlockHash]>,
}

/// The part of a job that comes from its session, its trace row or its own draws.
struct Content {
    prompt: u32,
    output: u32,
    hashes: Arc<[BlockHash]>,
    adapter: Option<u32>,
}

impl Generator {
    /// Jobs that arrive before `until` at a mean `rate` per second, later turns of sessions included. `block_size` is
    /// the tokens per hashed block; a session ends before a turn with more than `limit` tokens.
    #[must_use]
    pub fn new(
        workload: Arc<Workload>,
        rate: f64,
        seed: u64,
        until: Time,
        (block_size, limit): (u32, u32),
    ) -> Self {
        let starts = rate / workload.jobs_per_start();
        let rows = workload.trace().map(|trace| TraceRows::new(trace, rate, seed));
        Self {
            times: ArrivalTimes::new(workload.arrivals, starts, seed),
            limit: workload.cut_at.unwrap_or(limit),
            workload,
            seed,
            block_size,
            until,
            rows,
            next: 0,
            no_hashes: Arc::from([]),
        }
    }

    fn draw(&self, purpose: Purpose, number: u64) -> Draw {
        Draw::of(self.seed, purpose, number)
    }

    /// Arrival of the next job, and the index of its trace row.
    fn advance(&mut self) -> Option<(Time, usize)> {
        let row = match (&mut self.rows, self.workload.trace()) {
            (Some(rows), Some(trace)) => Some(rows.advance(trace)?),
            _ => None,
        };
        let (place, at) = match (row, self.workload.arrivals) {
            (Some(row), Arrivals::Recorded) => row,
            (row, _) => (row.map_or(0, |row| row.0), self.times.advance()),
        };
        let at = time(at);
        (at < self.until).then_some((at, place))
    }

    /// The class of a session or single job.
    fn class_of(&self, number: u64) -> (usize, &Class) {
        let classes = &self.workload.classes;
        let last = classes.len().saturating_sub(1);
        let draw = || self.workload.mix.draw(&mut self.draw(Purpose::Class, number)) as usize;
        let place = if last == 0 { 0 } else { draw().min(last) };
        (place, &classes[place])
    }

    fn adapter(&self, class: &Class, number: u64) -> Option<u32> {
        let adapters = class.adapters.as_ref()?;
        let drawn = adapters.choice.draw(&mut self.draw(Purpose::Adapter, number));
        let is_base = adapters.with_base && drawn as usize + 1 == adapters.choice.count();
        (!is_base).then_some(adapters.first + drawn)
    }

    /// Prompt tokens that a job or turn adds, and its output tokens.
    fn lengths(&self, class: &Class, number: u64) -> (u32, u32) {
        let mut draw = self.draw(Purpose::Lengths, number);
        match &class.lengths {
            Lengths::Drawn { prompt, output } => {
                (prompt.tokens(&mut draw), output.tokens(&mut self.draw(Purpose::Output, number)))
            }
            Lengths::Pairs(pairs) => {
                let place = usize::try_from(draw.bits() % pairs.len().max(1) as u64).unwrap_or(0);
                pairs.get(place).copied().unwrap_or((1, 1))
            }
            Lengths::Rows(_) => (1, 1),
        }
    }

    /// Content of a single job or a session's first turn.
    fn first_content(&self, number: u64, place: usize, class: &Class) -> Content {
        let adapter = self.adapter(class, number);
        let (own, output) = self.lengths(class, number);
        let prefix = self.shared_prefix(class, place, number);
        let system = class.sessions.as_ref().and_then(|sessions| sessions.system_prompt.as_ref());
        let system = system.map_or(0, |system| system.tokens(&mut self.draw(Purpose::SystemPrompt, number)));
        let before = prefix.map_or(0, |prefix| prefix.tokens).saturating_add(system);
        let (prompt, output) = self.cut(before.saturating_add(own), output);
        // Only a session's next turn can reuse the blocks of the output.
        let reusable_output = if class.sessions.is_some() { output } else { 0 };
        let hashes = if prefix.is_some() || class.sessions.is_some() {
            self.hashes(prefix, adapter, number, u64::from(prompt) + u64::from(reusable_output))
        } else {
            Arc::clone(&self.no_hashes)
        };
        Content { prompt, output, hashes, adapter }
    }

    fn shared_prefix(&self, class: &Class, place: usize, number: u64) -> Option<SharedPrefix> {
        class.prefixes.as_ref().map(|groups| SharedPrefix::drawn(groups, self.seed, number, place as u64))
    }

    /// Hashes of the first `tokens` of a session or single job.
    fn hashes(
        &self,
        prefix: Option<SharedPrefix>,
        adapter: Option<u32>,
        number: u64,
        tokens: u64,
    ) -> Arc<[BlockHash]> {
        let prefix = prefix.unwrap_or(SharedPrefix::NONE).with_adapter(adapter);
        let own = mix(mix(self.seed, Purpose::Content as u64), number);
        hashes(prefix, own, tokens, self.block_size)
    }

    /// Truncates a job to the workload's `cut_at`.
    fn cut(&self, prompt: u32, output: u32) -> (u32, u32) {
        let Some(most) = self.workload.cut_at else { return (prompt, output) };
        let output = output.min(most.saturating_sub(1));
        (prompt.min(most - output).max(1), output)
    }

    fn recorded(&self, class: &Class, trace: &Trace, row: &Row, number: u64) -> Content {
        let (prompt, output) = self.cut(row.prompt, row.output);
        let hashed = row.blocks > 0;
        let hashes = hashed.then(|| trace.hashes(&Row { prompt, ..*row }, self.block_size));
        let adapter = row.logged.map_or_else(|| self.adapter(class, number), |logged| logged.adapter);
        Content { prompt, output, hashes: hashes.unwrap_or_else(|| Arc::clone(&self.no_hashes)), adapter }
    }

    /// Completes a job. `start` is the number of its session, or of itself for a single job.
    fn job(&self, class: &Class, content: Content, (number, start): (u64, u64), arrival: Time) -> Job {
        let Content { prompt, output, hashes, adapter } = content;
        let (values, choice) = &class.priorities;
        let place = if values.len() == 1 { 0 } else { choice.draw(&mut self.draw(Purpose::Priority, start)) };
        let is_below = |share: f64, purpose| share >= 1.0 || self.draw(purpose, number).unit() < share;
        let max_output_tokens = match class.max_output {
            OutputBound::Unset => None,
            OutputBound::Exact => Some(output),
            OutputBound::Value { tokens, share } => is_below(share, Purpose::Bound).then_some(tokens),
        };
        let connection = match self.workload.connections {
            Some(count) => self.draw(Purpose::Connection, start).bits() % u64::from(count.max(1)),
            None => start,
        };
        Job {
            number,
            arrival,
            prompt_tokens: prompt,
            output_tokens: output.min(max_output_tokens.unwrap_or(u32::MAX)),
            max_output_tokens,
            hashes,
            adapter,
            priority: values.get(place as usize).copied().unwrap_or(0),
            streamed: is_below(class.streamed, Purpose::Streamed),
            connection: u32::try_from(connection).unwrap_or(u32::MAX),
            turn: None,
        }
    }
}

impl Jobs for Generator {
    fn next_job(&mut self) -> Option<Job> {
        let (arrival, row) = self.advance()?;
        let number = self.next;
        self.next += 1;
        let (place, class) = self.class_of(number);
        if let Lengths::Rows(trace) = &class.lengths {
            let row = trace.rows.get(row)?;
            let content = self.recorded(class, trace, row, number);
            let job = self.job(class, content, (number, number), arrival);
            let Some(LoggedFields { priority, streamed, max_output_tokens, .. }) = row.logged else {
                return Some(job);
            };
            return Some(Job { priority, streamed, max_output_tokens, ..job });
        }
        let content = self.first_content(number, place, class);
        let mut job = self.job(class, content, (number, number), arrival);
        job.turn = class.sessions.as_ref().map(|_| Turn { session: number, index: 0 });
        Some(job)
    }

    fn follow_up(&mut self, ended: &Job, at: Time) -> Option<Job> {
        let turn = ended.turn?;
        let (place, class) = self.class_of(turn.session);
        let sessions = class.sessions.as_ref()?;
        let index = turn.index + 1;
        if index >= sessions.turns.tokens(&mut self.draw(Purpose::Turns, turn.session)) {
            return None;
        }
        let number = turn.session | u64::from(index) << TURN_SHIFT;
        let think = sessions.think_time.draw(&mut self.draw(Purpose::ThinkTime, number)).max(0.0);
        let (added, output) = self.lengths(class, number);
        let prompt = ended.prompt_tokens.saturating_add(ended.output_tokens).saturating_add(added);
        if u64::from(prompt) + u64::from(output) > u64::from(self.limit) {
            return None;
        }
        let prefix = self.shared_prefix(class, place, turn.session);
        let hashes = self.hashes(prefix, ended.adapter, turn.session, u64::from(prompt) + u64::from(output));
        let content = Content { prompt, output, hashes, adapter: ended.adapter };
        let arrival = at + Duration::from_secs_f64(think);
        let mut job = self.job(class, content, (number, turn.session), arrival);
        job.turn = Some(Turn { session: turn.session, index });
        Some(job)
    }
}
