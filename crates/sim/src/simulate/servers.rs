//! The simulated engines and their connections.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{AdapterReport, EngineTotals, FailureCause, LoadReport, ModelKey, Time, seconds};

use super::active_jobs::ActiveJob;
use super::event_queue::{Attempt, EngineIndex, EventQueue, ResponseEvent, ResponseUpdate};
use crate::engine::{AdapterId, Detail, Engine, Request, SequenceId, Totals};
use crate::scenario::{self, Change};

/// One simulated engine.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) engine: Engine,
    pub(super) state: State,
    /// Whether its gauges report an idle engine.
    lies: bool,
    /// Factor on its step times.
    pub(super) slowness: f64,
    /// End of the current step.
    step_ends: Option<Time>,
    /// Rest of the step in which the engine hung.
    remaining_step: Option<Duration>,
    step_began: Time,
    /// By sequence index.
    connections: Vec<Option<Connection>>,
    /// Streams in order of their last progress report. The interval is the same for all, so the first is due next.
    streams: VecDeque<(Time, SequenceId)>,
    histograms: Histograms,
    /// Counters from before its last restart.
    earlier: Totals,
}

/// Whether an engine responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// Connections are refused.
    Dead,
    /// Connections are accepted, and nothing is sent.
    Hung,
}

/// The connection of a sequence.
#[derive(Clone, Copy, Debug)]
struct Connection {
    id: SequenceId,
    attempt: Attempt,
    streamed: bool,
}

/// Sums and counts of an engine's histograms.
#[derive(Clone, Copy, Debug, Default)]
struct Histograms {
    prefill_seconds: f64,
    inter_token_seconds: f64,
    inter_token_count: f64,
}

/// All simulated engines.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) all: Vec<Server>,
    /// Interval between progress reports of a stream; `None` where no router uses them.
    progress_every: Option<Duration>,
}

impl Servers {
    pub(super) fn new(fleet: &[scenario::EngineSpec], progress_every: Option<Duration>) -> Self {
        let server = |spec: &scenario::EngineSpec| Server {
            engine: Engine::new(Arc::clone(&spec.profile), Detail::Milestones),
            state: State::Up,
            lies: false,
            slowness: spec.slowness,
            step_ends: None,
            remaining_step: None,
            earlier: Totals::default(),
            step_began: Time::ZERO,
            connections: Vec::new(),
            streams: VecDeque::new(),
            histograms: Histograms::default(),
        };
        Self { all: fleet.iter().map(server).collect(), progress_every }
    }

    /// A request reaches an engine, which fetches the KV of so many prompt tokens from a shared cache.
    pub(super) fn submit(
        &mut self,
        now: Time,
        to: EngineIndex,
        job: &mut ActiveJob,
        fetched: u32,
        queue: &mut EventQueue,
    ) {
        let Some(server) = self.all.get_mut(to as usize) else { return };
        let request = Request {
            prompt_tokens: job.spec.prompt_tokens,
            output_tokens: job.spec.output_tokens,
            hashes: Arc::clone(&job.spec.hashes),
            adapter: job.spec.adapter.map(AdapterId),
        };
        let attempt = job.attempt();
        let failed = |cause| ResponseEvent { attempt, update: ResponseUpdate::Failed(cause) };
        if server.state == State::Dead {
            queue.respond(now, failed(FailureCause::Connect));
            return;
        }
        match server.engine.submit_fetched(request, fetched) {
            Ok(id) => {
                job.sequence = Some(id);
                server.connect(Connection { id, attempt, streamed: job.spec.streamed });
            }
            Err(_) => queue.respond(now, failed(FailureCause::EngineError)),
        }
        server.start_step(now, to, queue);
    }

    /// A client or router closed the connection of a sequence.
    pub(super) fn hang_up(&mut self, at: EngineIndex, sequence: SequenceId, attempt: Attempt) {
        let Some(server) = self.all.get_mut(at as usize) else { return };
        let Some(entry) = server.connections.get_mut(sequence.index()) else { return };
        if entry.is_some_and(|connection| connection.attempt == attempt) {
            *entry = None;
            server.engine.abort(sequence);
        }
    }

    /// Applies a change of the scenario.
    pub(super) fn change(&mut self, now: Time, engine: EngineIndex, change: Change, queue: &mut EventQueue) {
        let Some(server) = self.all.get_mut(engine as usize) else { return };
        match change {
            Change::Slowness(slowness) => server.slowness = slowness,
            Change::Dies => server.die(now, queue),
            Change::Restarts => {
                server.die(now, queue);
                server.state = State::Up;
            }
            Change::Hangs if server.state == State::Up => {
                server.state = State::Hung;
                server.remaining_step = server.step_ends.take().map(|ends| ends.since(now));
            }
            Change::Resumes if server.state == State::Hung => server.resume(now, engine, queue),
            Change::Lies => server.lies = true,
            // A dead engine cannot hang, and routers drain.
            Change::Hangs | Change::Resumes | Change::Drains => {}
        }
    }

    /// Ends an engine's step, unless the engine hung or died in between.
    pub(super) fn end_step(&mut self, now: Time, engine: EngineIndex, queue: &mut EventQueue) {
        let Some(server) = self.all.get_mut(engine as usize) else { return };
        if server.step_ends != Some(now) {
            return;
        }
        server.end_step(now, self.progress_every, queue);
        server.start_step(now, engine, queue);
    }
}

impl Server {
    /// Preemptions and adapter loads since the start, over all restarts.
    pub(super) fn lifetime_totals(&self) -> (u64, u64) {
        let now = self.engine.totals();
        (self.earlier.preemptions + now.preemptions, self.earlier.adapter_loads + now.adapter_loads)
    }

    /// All its requests fail, and its cache is lost.
    fn die(&mut self, now: Time, queue: &mut EventQueue) {
        for connection in self.connections.drain(..).flatten() {
            let update = ResponseUpdate::Failed(FailureCause::Lost);
            queue.respond(now, ResponseEvent { attempt: connection.attempt, update });
        }
        let totals = self.engine.totals();
        self.earlier.preemptions += totals.preemptions;
        self.earlier.adapter_loads += totals.adapter_loads;
        self.engine = Engine::new(Arc::new(self.engine.profile().clone()), Detail::Milestones);
        self.streams.clear();
        self.histograms = Histograms::default();
        (self.state, self.step_ends, self.remaining_step) = (State::Dead, None, None);
    }

    fn resume(&mut self, now: Time, index: EngineIndex, queue: &mut EventQueue) {
        self.state = State::Up;
        match self.remaining_step.take() {
            Some(left) => {
                self.step_ends = Some(now + left);
                queue.step_ends(now + left, index);
            }
            None => self.start_step(now, index, queue),
        }
    }

    fn connect(&mut self, connection: Connection) {
        let index = connection.id.index();
        if self.connections.len() <= index {
            self.connections.resize(index + 1, None);
        }
        self.connections[index] = Some(connection);
    }

    fn start_step(&mut self, now: Time, index: EngineIndex, queue: &mut EventQueue) {
        if self.state == State::Up
            && let Some(step) = self.engine.start_step(now)
        {
            let ends = now + step.ends_at.since(now).mul_f64(self.slowness);
            (self.step_began, self.step_ends) = (now, Some(ends));
            queue.step_ends(ends, index);
        }
    }

    fn end_step(&mut self, now: Time, progress_every: Option<Duration>, queue: &mut EventQueue) {
        self.step_ends = None;
        let before = self.engine.totals().generated_tokens;
        let mut firsts = 0;
        for output in self.engine.finish_step() {
            let Some(connection) = self.connections.get(output.id.index()).copied().flatten() else {
                continue;
            };
            if connection.id != output.id {
                continue;
            }
            let attempt = connection.attempt;
            if output.first {
                firsts += 1;
                self.histograms.prefill_seconds += seconds(now.since(output.admitted));
                if connection.streamed {
                    queue.respond(now, ResponseEvent { attempt, update: ResponseUpdate::FirstToken });
                    if progress_every.is_some() && !output.finished {
                        self.streams.push_back((now, output.id));
                    }
                }
            }
            if output.finished {
                self.connections[output.id.index()] = None;
                let update = ResponseUpdate::Finished { cached: output.cached_tokens };
                queue.respond(now, ResponseEvent { attempt, update });
            }
        }
        self.note_decoding(now, before, firsts);
        if let Some(every) = progress_every {
            self.report_progress(now, every, queue);
        }
    }

    /// Every token but a first one came one step after the one before.
    fn note_decoding(&mut self, now: Time, generated_before: u64, firsts: u64) {
        let tokens = (self.engine.totals().generated_tokens - generated_before).saturating_sub(firsts) as f64;
        self.histograms.inter_token_count += tokens;
        self.histograms.inter_token_seconds += tokens * seconds(now.since(self.step_began));
    }

    /// Reports the progress of the streams that are due.
    fn report_progress(&mut self, now: Time, every: Duration, queue: &mut EventQueue) {
        while let Some(&(seen, id)) = self.streams.front()
            && now.since(seen) >= every
        {
            self.streams.pop_front();
            let Some(generated) = self.engine.generated(id) else { continue };
            let Some(connection) = self.connections.get(id.index()).copied().flatten() else { continue };
            queue.respond(
                now,
                ResponseEvent { attempt: connection.attempt, update: ResponseUpdate::Progress(generated) },
            );
            self.streams.push_back((now, id));
        }
    }

    /// The gauges and counters of the metrics page, as vLLM exposes them.
    pub(super) fn report(&self, now: Time, adapters: bool) -> LoadReport {
        let gauges = self.engine.gauges();
        let profile = self.engine.profile();
        let totals = gauges.totals;
        let active = gauges.adapters.iter().map(|adapter| adapter_key(adapter.0)).collect();
        let shown = |gauge| if self.lies { 0 } else { gauge };
        LoadReport {
            taken: now,
            running: Some(shown(gauges.running)),
            waiting: Some(shown(gauges.waiting)),
            deferred: Some(shown(gauges.deferred)),
            kv_use: Some(if self.lies { 0.0 } else { gauges.kv_usage }),
            kv_blocks: Some(profile.blocks),
            block_size: Some(profile.block_size),
            kv_tokens: None,
            max_running: None,
            adapters: adapters.then_some(AdapterReport { max_adapters: profile.max_adapters, active }),
            totals: EngineTotals {
                prompt_tokens: Some(totals.prompt_tokens as f64),
                cached_tokens: Some(totals.prefix_hits as f64),
                prefill_seconds: Some(self.histograms.prefill_seconds),
                inter_token_seconds: Some(self.histograms.inter_token_seconds),
                inter_token_count: Some(self.histograms.inter_token_count),
                output_tokens: Some(totals.generated_tokens as f64),
                preemptions: Some(totals.preemptions as f64),
            },
        }
    }
}

/// The core's key of an adapter of the workload.
pub(super) const fn adapter_key(adapter: u32) -> ModelKey {
    // 0 is reserved for the base model.
    ModelKey(adapter as u64 + 1)
}

/// A draw that depends on a seed and a name alone, not on earlier draws: the same under every placement.
pub(super) const fn draw(seed: u64, salt: u64, name: u64) -> u64 {
    let mut rng =
        pointsman_core::Rng::seeded(seed ^ salt.rotate_left(32) ^ name.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rng.next_u64()
}
