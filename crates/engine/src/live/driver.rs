//! The task that runs the engine step by step, and the handles of the requests that join and leave in between.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Context;
use std::time::Duration;

use pointsman_core::Time;
use pointsman_sim::engine::{AdapterId, EngineProfile, Gauges, SequenceId, SubmitError};
use tokio::sync::Notify;

use super::clock::Clock;
use super::progress::RequestProgress;
use super::sequences::{SequenceRequest, Sequences};
use super::stats::EngineStats;
use crate::lock::locked;

/// Wall-clock lag above which the driver stops catching up: after a suspension of the process steps continue from
/// now, while a busy machine keeps the model's pace.
const MAX_LAG: Duration = Duration::from_millis(250);

/// The engine model, shared by its driver task and the requests.
#[derive(Debug)]
pub(crate) struct LiveEngine {
    sequences: Mutex<Sequences>,
    clock: Clock,
    /// Notified when an idle engine gets work.
    work: Notify,
}

impl LiveEngine {
    pub(crate) fn new(profile: EngineProfile, speed: f64) -> Self {
        let sequences = Mutex::new(Sequences::new(profile));
        Self { sequences, clock: Clock::start(speed), work: Notify::new() }
    }

    /// The engine and its sequences.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Sequences> {
        locked(&self.sequences)
    }

    /// Runs the engine until the task is dropped.
    pub(crate) async fn drive(&self) {
        let mut advanced = Vec::new();
        loop {
            let work = self.work.notified();
            let next = self.advance(&mut advanced);
            for progress in advanced.drain(..) {
                progress.wake();
            }
            match next {
                Some(time) => tokio::time::sleep_until(self.clock.instant_of(time)).await,
                None => work.await,
            }
        }
    }

    /// Finishes every step that is due and starts the next one. Returns the end of that one, or `None` when idle. A
    /// step starts at the end of the one before, even where the timer fired late.
    fn advance(&self, advanced: &mut Vec<Arc<RequestProgress>>) -> Option<Time> {
        let mut sequences = self.lock();
        let now = self.clock.now();
        let mut start = now;
        loop {
            if let Some(end) = sequences.step_ends {
                if end > now {
                    return Some(end);
                }
                sequences.finish_step(end, &self.clock, advanced);
                start = if self.clock.real(now.since(end)) > MAX_LAG { now } else { end };
            }
            let step = sequences.engine.start_step(start);
            let slowdown = sequences.slowdown;
            sequences.step_ends = step.map(|step| start + step.ends_at.since(start).mul_f64(slowdown));
            sequences.record_adapter_change();
            sequences.step_ends?;
        }
    }

    /// Queues the sequences of one request: all of them, or none where the engine refuses one.
    pub(crate) fn submit(
        self: &Arc<Self>,
        requests: Vec<SequenceRequest>,
    ) -> Result<RequestHandle, SubmitError> {
        let progress = Arc::new(RequestProgress::new(requests.len()));
        let choices = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let mut handle = RequestHandle { engine: Arc::clone(self), ids: Vec::new(), progress };
        let now = self.clock.now();
        let submitted = {
            let mut sequences = self.lock();
            requests.into_iter().enumerate().try_for_each(|(index, request)| {
                let id = sequences.submit(request, &handle.progress, (index, choices), now)?;
                handle.ids.push(id);
                Ok(())
            })
        };
        // The lock is free here: on an error the handle is dropped, which aborts the sequences already queued.
        submitted?;
        self.work.notify_one();
        Ok(handle)
    }

    /// The current gauges and statistics.
    pub(crate) fn stats(&self) -> (Gauges, EngineStats) {
        let mut sequences = self.lock();
        if !sequences.stats.adapter_sets.is_empty() {
            sequences.record_running_adapters();
        }
        (sequences.engine.gauges(), sequences.stats.clone())
    }

    /// The id of an adapter name. A name has the same id for the lifetime of the server.
    pub(crate) fn adapter_id(&self, name: &str) -> AdapterId {
        let names = &mut self.lock().adapter_names;
        let position = names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        AdapterId(u32::try_from(position).unwrap_or(u32::MAX))
    }
}

/// The sequences of one request in the engine. Dropping it aborts those that are not finished.
#[derive(Debug)]
pub(crate) struct RequestHandle {
    engine: Arc<LiveEngine>,
    ids: Vec<SequenceId>,
    pub(crate) progress: Arc<RequestProgress>,
}

impl RequestHandle {
    /// Waits until every sequence is finished.
    pub(crate) async fn finished(&self) {
        std::future::poll_fn(|context: &mut Context<'_>| self.progress.poll_finished(context)).await;
    }
}

impl Drop for RequestHandle {
    fn drop(&mut self) {
        if (0..self.ids.len()).all(|index| self.progress.sequence(index).finished) {
            return;
        }
        let mut sequences = self.engine.lock();
        for id in &self.ids {
            sequences.abort(*id);
        }
    }
}
