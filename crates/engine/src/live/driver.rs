//! One task moves the engine from step to step; requests join and leave in between.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pointsman_core::Time;
use pointsman_sim::engine::{
    AdapterId, Detail, Engine, EngineProfile, Gauges, Request, SequenceId, SubmitError,
};
use tokio::sync::Notify;

use super::clock::Clock;
use super::delivery::{Delivery, Part};
use super::observations::{Observations, Served, Track};

/// How far the driver may lag before it gives up catching up: a machine that was stopped goes on from now, one that
/// was merely busy keeps the pace.
const LAG: Duration = Duration::from_millis(250);

/// A sequence to run, and what the counters want to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    pub(crate) request: Request,
    pub(crate) max_tokens: u32,
    pub(crate) served: Served,
}

/// A sequence in the engine and where its tokens go.
#[derive(Debug)]
struct Seat {
    id: SequenceId,
    delivery: Arc<Delivery>,
    part: usize,
    track: Track,
}

#[derive(Debug)]
struct State {
    engine: Engine,
    /// By index of sequence.
    seats: Vec<Option<Seat>>,
    step_ends: Option<Time>,
    /// How many times as long as the profile says steps take.
    slowness: f64,
    observations: Observations,
    /// Names of adapters by id; empty until one is loaded.
    adapter_names: Vec<String>,
    running_adapters: Vec<AdapterId>,
}

/// The engine, shared between its driver and the requests.
#[derive(Debug)]
pub(crate) struct Live {
    state: Mutex<State>,
    clock: Clock,
    work: Notify,
}

impl Live {
    pub(crate) fn new(profile: EngineProfile, speed: f64) -> Self {
        let max_model_len = profile.max_model_len;
        let state = State {
            engine: Engine::new(Arc::new(profile), Detail::EveryToken),
            seats: Vec::new(),
            step_ends: None,
            slowness: 1.0,
            observations: Observations::new(max_model_len),
            adapter_names: Vec::new(),
            running_adapters: Vec::new(),
        };
        Self { state: Mutex::new(state), clock: Clock::start(speed), work: Notify::new() }
    }

    /// No code under this lock can panic half way, so a poisoned one is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the engine until the task is dropped.
    pub(crate) async fn drive(&self) {
        let mut ready = Vec::new();
        loop {
            let work = self.work.notified();
            let next = self.advance(&mut ready);
            for delivery in ready.drain(..) {
                Arc::<Delivery>::as_ref(&delivery).wake();
            }
            match next {
                Some(time) => tokio::time::sleep_until(self.clock.instant_of(time)).await,
                None => work.await,
            }
        }
    }

    /// Ends every step that is due and starts the next; returns when that one ends, or nothing when idle. Steps
    /// follow each other without a gap even where the timer came late.
    fn advance(&self, ready: &mut Vec<Arc<Delivery>>) -> Option<Time> {
        let mut state = self.state();
        let now = self.clock.now();
        let mut start = now;
        loop {
            if let Some(end) = state.step_ends {
                if end > now {
                    return Some(end);
                }
                state.finish_step(end, &self.clock, ready);
                start = if self.clock.real(now.since(end)) > LAG { now } else { end };
            }
            let step = state.engine.start_step(start);
            let slowness = state.slowness;
            state.step_ends = step.map(|step| start + step.ends_at.since(start).mul_f64(slowness));
            state.note_adapters();
            state.step_ends?;
        }
    }

    /// Queues the sequences of one request.
    pub(crate) fn submit(self: &Arc<Self>, submissions: Vec<Submission>) -> Result<Ticket, SubmitError> {
        let delivery = Arc::new(Delivery::new(submissions.len()));
        let mut ticket =
            Ticket { live: Arc::clone(self), ids: Vec::with_capacity(submissions.len()), delivery };
        let choices = u32::try_from(submissions.len()).unwrap_or(u32::MAX);
        let arrived = self.clock.now();
        let mut refused = None;
        {
            let mut state = self.state();
            for (part, submission) in submissions.into_iter().enumerate() {
                let track = Track {
                    adapter: submission.request.adapter,
                    prompt_tokens: submission.request.prompt_tokens,
                    max_tokens: submission.max_tokens,
                    choices,
                    served: submission.served,
                    arrived,
                    admitted: arrived,
                    first_token: arrived,
                    last_token: arrived,
                };
                match state.engine.submit(submission.request) {
                    Ok(id) => {
                        ticket.ids.push(id);
                        let delivery = Arc::clone(&ticket.delivery);
                        state.take_seat(Seat { id, delivery, part, track });
                    }
                    Err(error) => refused = Some(error),
                }
            }
        }
        // The lock is free again: a refused request drops its ticket, which takes back those already queued.
        if let Some(error) = refused {
            return Err(error);
        }
        self.work.notify_one();
        Ok(ticket)
    }

    /// Makes steps take `factor` times as long from the next one on.
    pub(crate) fn slow_down(&self, factor: f64) {
        self.state().slowness = factor;
    }

    pub(crate) fn gauges(&self) -> Gauges {
        self.state().engine.gauges()
    }

    /// The adapter's name.
    pub(crate) fn adapter_name(&self, adapter: AdapterId) -> String {
        self.state().adapter_names.get(adapter.0 as usize).cloned().unwrap_or_default()
    }

    /// The counters, with the sets of running adapters up to now.
    pub(crate) fn observations(&self) -> (Gauges, Observations) {
        let mut state = self.state();
        if !state.observations.adapter_sets.is_empty() {
            let names = state.names_of_running();
            state.observations.saw_adapters(names, unix_now());
        }
        (state.engine.gauges(), state.observations.clone())
    }

    pub(crate) fn reset_prefix_cache(&self) -> bool {
        self.state().engine.reset_prefix_cache()
    }

    /// A number for a new adapter.
    pub(crate) fn name_adapter(&self, name: &str) -> AdapterId {
        let mut state = self.state();
        let position = state.adapter_names.iter().position(|known| known == name).unwrap_or_else(|| {
            state.adapter_names.push(name.to_owned());
            state.adapter_names.len() - 1
        });
        AdapterId(u32::try_from(position).unwrap_or(u32::MAX))
    }

    /// How many names were given numbers so far.
    pub(crate) fn adapters_named(&self) -> usize {
        self.state().adapter_names.len()
    }

    pub(crate) fn unload_adapter(&self, adapter: AdapterId) {
        self.state().engine.unload_adapter(adapter);
    }
}

impl State {
    fn take_seat(&mut self, seat: Seat) {
        let index = seat.id.index();
        if self.seats.len() <= index {
            self.seats.resize_with(index + 1, || None);
        }
        self.seats[index] = Some(seat);
    }

    fn finish_step(&mut self, end: Time, clock: &Clock, ready: &mut Vec<Arc<Delivery>>) {
        for output in self.engine.finish_step() {
            let Some(place) = self.seats.get_mut(output.id.index()) else { continue };
            let Some(seat) = place.as_mut().filter(|seat| seat.id == output.id) else { continue };
            if output.first {
                seat.track.admitted = output.admitted;
                seat.track.first_token = end;
                self.observations.first_token(clock.real(end.since(seat.track.arrived)));
            } else if output.generated > 0 {
                self.observations.next_token(clock.real(end.since(seat.track.last_token)));
            } else {
                seat.track.admitted = output.admitted;
                seat.track.first_token = end;
            }
            seat.track.last_token = end;
            let (generated, cached) = (output.generated, output.cached_tokens);
            seat.delivery.put(seat.part, Part { generated, cached, finished: output.finished });
            ready.push(Arc::clone(&seat.delivery));
            if output.finished {
                self.observations.served(&seat.track, output.generated, |span| clock.real(span));
                *place = None;
            }
        }
    }

    /// Dates the set of running adapters whenever it changes.
    fn note_adapters(&mut self) {
        if self.adapter_names.is_empty() {
            return;
        }
        let running = self.engine.running_adapters();
        if running != self.running_adapters {
            if !self.running_adapters.is_empty() {
                let names = self.names_of_running();
                self.observations.saw_adapters(names, unix_now());
            }
            self.running_adapters = running;
            let names = self.names_of_running();
            self.observations.saw_adapters(names, unix_now());
        }
    }

    fn names_of_running(&self) -> String {
        let name =
            |adapter: &AdapterId| self.adapter_names.get(adapter.0 as usize).map_or("", String::as_str);
        self.running_adapters.iter().map(name).collect::<Vec<_>>().join(",")
    }
}

/// The Unix time in seconds, as the adapter gauge carries it.
pub(crate) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A request's hold on the engine: dropping it takes the request out at once.
#[derive(Debug)]
pub(crate) struct Ticket {
    live: Arc<Live>,
    ids: Vec<SequenceId>,
    delivery: Arc<Delivery>,
}

impl Ticket {
    pub(crate) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Waits until every sequence has all its tokens.
    pub(crate) async fn finished(&self) {
        std::future::poll_fn(|context: &mut Context<'_>| self.delivery.poll_finished(context)).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let unfinished = |part: usize| !self.delivery.part(part).finished;
        if (0..self.ids.len()).all(|part| !unfinished(part)) {
            return;
        }
        let mut state = self.live.state();
        for id in &self.ids {
            if state.engine.abort(*id)
                && let Some(place) = state.seats.get_mut(id.index())
            {
                *place = None;
            }
        }
    }
}
