//! The jobs of one run.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{BlockHash, Time};

use super::arrivals::{Clock, Rows, time};
use super::draw::{Draw, Purpose, mix};
use super::prefixes::{Head, hashes};
use super::trace::Row;
use super::{Arrivals, Class, Lengths, OutputBound, Workload};
use crate::job::{Job, Jobs, Turn};

/// Turns are numbered in the upper bits of a job's number, sessions and single jobs in the lower.
const TURN_SHIFT: u32 = 40;

/// The jobs of one workload at one rate, from one seed.
#[derive(Clone, Debug)]
pub struct Generator {
    workload: Arc<Workload>,
    seed: u64,
    block_size: u32,
    /// The longest that engines take.
    limit: u32,
    until: Time,
    clock: Clock,
    rows: Option<Rows>,
    next: u64,
    none: Arc<[BlockHash]>,
}

/// What a job is given by its session's beginning, its row or its own draws.
struct Content {
    prompt: u32,
    output: u32,
    hashes: Arc<[BlockHash]>,
    adapter: Option<u32>,
}

impl Generator {
    /// Jobs that arrive before `until`, `rate` of them per second in the mean, sessions' later turns included. Their
    /// hashes are of blocks of `block_size` tokens; sessions end where a turn would come to more than `limit` tokens.
    #[must_use]
    pub fn new(
        workload: Arc<Workload>,
        rate: f64,
        seed: u64,
        until: Time,
        (block_size, limit): (u32, u32),
    ) -> Self {
        let starts = rate / workload.jobs_per_start();
        let rows = workload.trace().map(|trace| Rows::new(trace, rate, seed));
        Self {
            clock: Clock::new(workload.arrivals, starts, seed),
            limit: workload.cut_at.unwrap_or(limit),
            workload,
            seed,
            block_size,
            until,
            rows,
            next: 0,
            none: Arc::from([]),
        }
    }

    fn draw(&self, purpose: Purpose, number: u64) -> Draw {
        Draw::of(self.seed, purpose, number)
    }

    /// When the next job comes, and its row where there are rows.
    fn advance(&mut self) -> Option<(Time, usize)> {
        let row = match (&mut self.rows, self.workload.trace()) {
            (Some(rows), Some(trace)) => Some(rows.advance(trace)?),
            _ => None,
        };
        let (place, at) = match (row, self.workload.arrivals) {
            (Some(row), Arrivals::Recorded) => row,
            (row, _) => (row.map_or(0, |row| row.0), self.clock.advance()),
        };
        let at = time(at);
        (at < self.until).then_some((at, place))
    }

    /// The class of a session or single job.
    fn class_of(&self, number: u64) -> (usize, &Class) {
        let classes = &self.workload.classes;
        let drawn = match classes.len() {
            1 => 0,
            _ => self.workload.mix.draw(&mut self.draw(Purpose::Class, number)) as usize,
        };
        let place = drawn.min(classes.len().saturating_sub(1));
        (place, &classes[place])
    }

    fn adapter(&self, class: &Class, number: u64) -> Option<u32> {
        let adapters = class.adapters.as_ref()?;
        let drawn = adapters.choice.draw(&mut self.draw(Purpose::Adapter, number));
        let is_base = adapters.with_base && drawn as usize + 1 == adapters.choice.count();
        (!is_base).then_some(adapters.first + drawn)
    }

    /// Tokens that a job, or a turn of a session, adds and is answered with.
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

    /// What a job is that begins a session or stands alone.
    fn beginning(&self, number: u64, place: usize, class: &Class) -> Content {
        let adapter = self.adapter(class, number);
        let (own, output) = self.lengths(class, number);
        let head =
            class.prefixes.as_ref().map(|prefixes| Head::of(prefixes, self.seed, number, place as u64));
        let system = class.sessions.as_ref().and_then(|sessions| sessions.system_prompt.as_ref());
        let system = system.map_or(0, |system| system.tokens(&mut self.draw(Purpose::SystemPrompt, number)));
        let before = head.map_or(0, |head| head.tokens).saturating_add(system);
        let (prompt, output) = self.cut(before.saturating_add(own), output);
        let is_shared = head.is_some() || class.sessions.is_some();
        let head = head.unwrap_or(Head::NONE).under(adapter);
        // The answer can be found again by the next turn alone.
        let told = if class.sessions.is_some() { output } else { 0 };
        let hashes = if is_shared { self.hashes(head, number, prompt, told) } else { Arc::clone(&self.none) };
        Content { prompt, output, hashes, adapter }
    }

    fn hashes(&self, head: Head, number: u64, prompt: u32, answer: u32) -> Arc<[BlockHash]> {
        let own = mix(mix(self.seed, Purpose::Content as u64), number);
        hashes(head, own, u64::from(prompt) + u64::from(answer), self.block_size)
    }

    fn cut(&self, prompt: u32, output: u32) -> (u32, u32) {
        let Some(most) = self.workload.cut_at else { return (prompt, output) };
        let output = output.min(most.saturating_sub(1));
        (prompt.min(most - output).max(1), output)
    }

    fn recorded(&self, class: &Class, row: &Row, number: u64) -> Content {
        let (prompt, output) = self.cut(row.prompt, row.output);
        let hashes = match &class.lengths {
            Lengths::Rows(trace) if row.blocks > 0 => trace.hashes(&Row { prompt, ..*row }, self.block_size),
            Lengths::Drawn { .. } | Lengths::Pairs(_) | Lengths::Rows(_) => Arc::clone(&self.none),
        };
        let adapter = match row.marks {
            Some(marks) => marks.adapter,
            None => self.adapter(class, number),
        };
        Content { prompt, output, hashes, adapter }
    }

    /// The job of a content. `number` is its own, `start` that of its session or itself.
    fn job(&self, class: &Class, content: Content, (number, start): (u64, u64), arrival: Time) -> Job {
        let Content { prompt, output, hashes, adapter } = content;
        let (values, choice) = &class.priorities;
        let priority = match values.as_slice() {
            [only] => *only,
            _ => {
                let place = choice.draw(&mut self.draw(Purpose::Priority, start));
                values.get(place as usize).copied().unwrap_or(0)
            }
        };
        let is_below = |share: f64, purpose| share >= 1.0 || self.draw(purpose, number).unit() < share;
        let (output_tokens, max_output_tokens) = match class.max_output {
            OutputBound::Unset => (output, None),
            OutputBound::Exact => (output, Some(output)),
            OutputBound::Value { tokens, share } if is_below(share, Purpose::Bound) => {
                (output.min(tokens), Some(tokens))
            }
            OutputBound::Value { .. } => (output, None),
        };
        let connection = match self.workload.connections {
            Some(count) => self.draw(Purpose::Connection, start).bits() % u64::from(count.max(1)),
            None => start,
        };
        Job {
            number,
            arrival,
            prompt_tokens: prompt,
            output_tokens,
            max_output_tokens,
            hashes,
            adapter,
            priority,
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
            let job = self.job(class, self.recorded(class, row, number), (number, number), arrival);
            return Some(match row.marks {
                Some(marks) => Job {
                    priority: marks.priority,
                    streamed: marks.streamed,
                    max_output_tokens: marks.max_output_tokens,
                    ..job
                },
                None => job,
            });
        }
        let content = self.beginning(number, place, class);
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
        let head =
            class.prefixes.as_ref().map(|prefixes| Head::of(prefixes, self.seed, turn.session, place as u64));
        let head = head.unwrap_or(Head::NONE).under(ended.adapter);
        let hashes = self.hashes(head, turn.session, prompt, output);
        let content = Content { prompt, output, hashes, adapter: ended.adapter };
        let arrival = at + Duration::from_secs_f64(think);
        let mut job = self.job(class, content, (number, turn.session), arrival);
        job.turn = Some(Turn { session: turn.session, index });
        Some(job)
    }
}
