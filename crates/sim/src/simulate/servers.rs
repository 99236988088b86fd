//! The engines of a run, and what their connections show.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{AdapterReport, EngineTotals, FailureCause, LoadReport, ModelKey, Time, seconds};

use super::agenda::{Agenda, Attempt, Member, News, Notice};
use super::flights::Flight;
use crate::engine::{AdapterId, Detail, Engine, Request, SequenceId, Totals};
use crate::scenario::{self, Change};

/// One engine.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) engine: Engine,
    state: State,
    /// Its gauges claim that it is idle.
    lies: bool,
    slowness: f64,
    /// When the step under way ends.
    step_ends: Option<Time>,
    /// What is left of the step that it hangs in.
    paused: Option<Duration>,
    step_began: Time,
    /// By index of sequence.
    seats: Vec<Option<Seat>>,
    /// Streams by the time of the last sight of their tokens. All are looked at again after the same time, so the
    /// first is the next that is due.
    streams: VecDeque<(Time, SequenceId)>,
    totals: Observed,
    /// Counted before its last death.
    past: Totals,
}

/// Whether an engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// Connections are refused.
    Dead,
    /// Connections are taken, and nothing comes.
    Hung,
}

/// What a sequence is to the other end of its connection.
#[derive(Clone, Copy, Debug)]
struct Seat {
    id: SequenceId,
    attempt: Attempt,
    streamed: bool,
}

/// What an engine's histograms add up.
#[derive(Clone, Copy, Debug, Default)]
struct Observed {
    prefill_seconds: f64,
    inter_token_seconds: f64,
    inter_token_count: f64,
}

/// All engines.
#[derive(Debug)]
pub(super) struct Servers {
    all: Vec<Server>,
    /// Between two sights of a stream's output; `None` where they make no difference to the router.
    progress_every: Option<Duration>,
}

impl Servers {
    pub(super) fn new(fleet: &[scenario::Member], progress_every: Option<Duration>) -> Self {
        let server = |member: &scenario::Member| Server {
            engine: Engine::new(Arc::clone(&member.profile), Detail::Milestones),
            state: State::Up,
            lies: false,
            slowness: member.slowness,
            step_ends: None,
            paused: None,
            past: Totals::default(),
            step_began: Time::ZERO,
            seats: Vec::new(),
            streams: VecDeque::new(),
            totals: Observed::default(),
        };
        Self { all: fleet.iter().map(server).collect(), progress_every }
    }

    pub(super) fn all(&self) -> &[Server] {
        &self.all
    }

    /// A request reaches an engine, with the KV of so many tokens of its prompt.
    pub(super) fn submit(
        &mut self,
        now: Time,
        to: Member,
        flight: &mut Flight,
        fetched: u32,
        agenda: &mut Agenda,
    ) {
        let Some(server) = self.all.get_mut(to as usize) else { return };
        let job = &flight.job;
        let request = Request {
            prompt_tokens: job.prompt_tokens,
            output_tokens: job.output_tokens,
            hashes: Arc::clone(&job.hashes),
            adapter: job.adapter.map(AdapterId),
        };
        let attempt = flight.attempt();
        let failed = |cause| Notice { attempt, news: News::Failed(cause) };
        if server.state == State::Dead {
            agenda.tell(now, failed(FailureCause::Connect));
            return;
        }
        match server.engine.submit_fetched(request, fetched) {
            Ok(id) => {
                flight.sequence = Some(id);
                server.seat(Seat { id, attempt, streamed: job.streamed });
            }
            Err(_) => agenda.tell(now, failed(FailureCause::EngineError)),
        }
        server.start_step(now, to, agenda);
    }

    /// Nobody waits for a sequence any more.
    pub(super) fn hang_up(&mut self, at: Member, sequence: SequenceId, attempt: Attempt) {
        let Some(server) = self.all.get_mut(at as usize) else { return };
        let Some(place) = server.seats.get_mut(sequence.index()) else { return };
        if place.is_some_and(|seat| seat.attempt == attempt) {
            *place = None;
            server.engine.abort(sequence);
        }
    }

    /// Something happens to an engine.
    pub(super) fn change(&mut self, now: Time, of: Member, change: Change, agenda: &mut Agenda) {
        let Some(server) = self.all.get_mut(of as usize) else { return };
        match change {
            Change::Slowness(slowness) => server.slowness = slowness,
            Change::Dies => server.die(now, agenda),
            Change::Restarts => {
                server.die(now, agenda);
                server.state = State::Up;
            }
            Change::Hangs if server.state == State::Up => {
                server.state = State::Hung;
                server.paused = server.step_ends.take().map(|ends| ends.since(now));
            }
            Change::Resumes if server.state == State::Hung => server.resume(now, of, agenda),
            Change::Lies => server.lies = true,
            // What is dead cannot hang, and what is drained is the routers' affair.
            Change::Hangs | Change::Resumes | Change::Drains => {}
        }
    }

    /// The end of an engine's step, unless the engine has left it behind.
    pub(super) fn end_step(&mut self, now: Time, of: Member, agenda: &mut Agenda) {
        let Some(server) = self.all.get_mut(of as usize) else { return };
        if server.step_ends != Some(now) {
            return;
        }
        server.end_step(now, self.progress_every, agenda);
        server.start_step(now, of, agenda);
    }
}

impl Server {
    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// Factor on the time of its steps.
    pub(super) const fn slowness(&self) -> f64 {
        self.slowness
    }

    /// Counted since the start, over all its lives.
    pub(super) fn lifetime_totals(&self) -> (u64, u64) {
        let now = self.engine.totals();
        (self.past.preemptions + now.preemptions, self.past.adapter_loads + now.adapter_loads)
    }

    /// All that it runs fails, and its cache is gone.
    fn die(&mut self, now: Time, agenda: &mut Agenda) {
        for seat in self.seats.drain(..).flatten() {
            let news = News::Failed(FailureCause::Lost);
            agenda.tell(now, Notice { attempt: seat.attempt, news });
        }
        let totals = self.engine.totals();
        self.past.preemptions += totals.preemptions;
        self.past.adapter_loads += totals.adapter_loads;
        self.engine = Engine::new(Arc::new(self.engine.profile().clone()), Detail::Milestones);
        self.streams.clear();
        self.totals = Observed::default();
        (self.state, self.step_ends, self.paused) = (State::Dead, None, None);
    }

    fn resume(&mut self, now: Time, member: Member, agenda: &mut Agenda) {
        self.state = State::Up;
        match self.paused.take() {
            Some(left) => {
                self.step_ends = Some(now + left);
                agenda.step(now + left, member);
            }
            None => self.start_step(now, member, agenda),
        }
    }

    fn seat(&mut self, seat: Seat) {
        let index = seat.id.index();
        if self.seats.len() <= index {
            self.seats.resize(index + 1, None);
        }
        self.seats[index] = Some(seat);
    }

    fn start_step(&mut self, now: Time, member: Member, agenda: &mut Agenda) {
        if self.state == State::Up
            && let Some(step) = self.engine.start_step(now)
        {
            let ends = now + step.ends_at.since(now).mul_f64(self.slowness);
            (self.step_began, self.step_ends) = (now, Some(ends));
            agenda.step(ends, member);
        }
    }

    fn end_step(&mut self, now: Time, progress_every: Option<Duration>, agenda: &mut Agenda) {
        self.step_ends = None;
        let before = self.engine.totals().generated_tokens;
        let mut firsts = 0;
        for output in self.engine.finish_step() {
            let Some(seat) = self.seats.get(output.id.index()).copied().flatten() else { continue };
            if seat.id != output.id {
                continue;
            }
            let attempt = seat.attempt;
            if output.first {
                firsts += 1;
                self.totals.prefill_seconds += seconds(now.since(output.admitted));
                if seat.streamed {
                    agenda.tell(now, Notice { attempt, news: News::FirstToken });
                    if progress_every.is_some() && !output.finished {
                        self.streams.push_back((now, output.id));
                    }
                }
            }
            if output.finished {
                self.seats[output.id.index()] = None;
                let news = News::Finished { cached: output.cached_tokens };
                agenda.tell(now, Notice { attempt, news });
            }
        }
        self.note_decoding(now, before, firsts);
        if let Some(every) = progress_every {
            self.show_streams(now, every, agenda);
        }
    }

    /// Each token but a first one came a step after the one before.
    #[expect(clippy::cast_precision_loss, reason = "tokens of one step")]
    fn note_decoding(&mut self, now: Time, generated_before: u64, firsts: u64) {
        let tokens = (self.engine.totals().generated_tokens - generated_before).saturating_sub(firsts) as f64;
        self.totals.inter_token_count += tokens;
        self.totals.inter_token_seconds += tokens * seconds(now.since(self.step_began));
    }

    /// The streams whose output was last seen long enough ago.
    fn show_streams(&mut self, now: Time, every: Duration, agenda: &mut Agenda) {
        while let Some(&(seen, id)) = self.streams.front()
            && now.since(seen) >= every
        {
            self.streams.pop_front();
            let Some(generated) = self.engine.generated(id) else { continue };
            let Some(seat) = self.seats.get(id.index()).copied().flatten() else { continue };
            agenda.tell(now, Notice { attempt: seat.attempt, news: News::Progress(generated) });
            self.streams.push_back((now, id));
        }
    }

    /// The page of metrics at this moment, as a vLLM shows it.
    #[expect(clippy::cast_precision_loss, reason = "token counts stay far below 2^52")]
    pub(super) fn report(&self, now: Time, adapters: bool) -> LoadReport {
        let gauges = self.engine.gauges();
        let profile = self.engine.profile();
        let totals = gauges.totals;
        let active = gauges.adapters.iter().map(|adapter| adapter_key(adapter.0)).collect();
        let truth = |gauge| if self.lies { 0 } else { gauge };
        LoadReport {
            taken: now,
            running: Some(truth(gauges.running)),
            waiting: Some(truth(gauges.waiting)),
            deferred: Some(truth(gauges.deferred)),
            kv_use: Some(if self.lies { 0.0 } else { gauges.kv_usage }),
            kv_blocks: Some(profile.blocks),
            block_size: Some(profile.block_size),
            max_running: None,
            adapters: adapters.then_some(AdapterReport { max_adapters: profile.max_adapters, active }),
            totals: EngineTotals {
                prompt_tokens: Some(totals.prompt_tokens as f64),
                cached_tokens: Some(totals.prefix_hits as f64),
                prefill_seconds: Some(self.totals.prefill_seconds),
                inter_token_seconds: Some(self.totals.inter_token_seconds),
                inter_token_count: Some(self.totals.inter_token_count),
                output_tokens: Some(totals.generated_tokens as f64),
                preemptions: Some(totals.preemptions as f64),
            },
        }
    }
}

/// The name of an adapter of the workload, as the core compares it.
pub(super) const fn adapter_key(adapter: u32) -> ModelKey {
    // 0 is kept for no adapter.
    ModelKey(adapter as u64 + 1)
}

/// Draws that depend on a seed and a name, not on what was drawn before: the same under every policy.
pub(super) const fn draw(seed: u64, salt: u64, name: u64) -> u64 {
    let mut rng =
        pointsman_core::Rng::seeded(seed ^ salt.rotate_left(32) ^ name.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rng.next_u64()
}
