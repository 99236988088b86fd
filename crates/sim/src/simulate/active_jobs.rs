//! Jobs between their arrival and their end.

use std::time::Duration;

use pointsman_core::{RequestId, Time};
use pointsman_workload::Job;

use super::event_queue::{Attempt, EngineIndex, ResponseUpdate};
use crate::engine::SequenceId;

/// A job between its arrival and its end.
#[derive(Clone, Debug)]
pub(super) struct ActiveJob {
    pub(super) id: RequestId,
    pub(super) spec: Job,
    /// The router that it arrived at.
    pub(super) router: u32,
    /// Number of the current attempt, from 1; 0 before the first.
    pub(super) attempt: u16,
    /// The engine of the current attempt.
    pub(super) engine: Option<EngineIndex>,
    /// The engine's sequence for the current attempt, once the request was delivered.
    pub(super) sequence: Option<SequenceId>,
    /// When the router saw the current attempt's first token.
    pub(super) first_token: Option<Time>,
    /// Output tokens of the current attempt that the router received.
    pub(super) tokens: u32,
    /// When the router sent the current attempt, or last received a part of its response.
    pub(super) last_activity: Time,
}

impl ActiveJob {
    /// The current attempt.
    pub(super) const fn attempt(&self) -> Attempt {
        Attempt { request: self.id, number: self.attempt }
    }

    /// The router received a part of the response. Returns the mean gap between the tokens since the part before:
    /// progress reports are coalesced, while a live router sees every token.
    pub(super) fn receive(&mut self, now: Time, update: ResponseUpdate) -> Option<Duration> {
        let tokens = match update {
            ResponseUpdate::FirstToken => {
                self.first_token = Some(now);
                1
            }
            ResponseUpdate::Progress(tokens) => tokens,
            ResponseUpdate::Finished { .. } => self.spec.output_tokens,
            ResponseUpdate::Failed(_) => 0,
        };
        let new = tokens.saturating_sub(self.tokens);
        let gap = (self.tokens > 0 && new > 0).then(|| now.since(self.last_activity) / new);
        self.tokens += new;
        self.last_activity = now;
        gap
    }
}

/// All active jobs. Each is boxed, so growth copies pointers only, and a request's number contains its index, so a
/// lookup needs no search.
#[derive(Debug, Default)]
pub(super) struct ActiveJobs {
    all: Vec<Option<Box<ActiveJob>>>,
    vacant: Vec<u32>,
    opened: u64,
}

impl ActiveJobs {
    pub(super) fn is_empty(&self) -> bool {
        self.all.len() == self.vacant.len()
    }

    /// Adds a job that arrives at a router.
    pub(super) fn open(&mut self, spec: Job, router: u32) -> RequestId {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.all.push(None);
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        });
        self.opened += 1;
        let id = RequestId(self.opened << 32 | u64::from(index));
        self.all[index as usize] = Some(Box::new(ActiveJob {
            id,
            router,
            attempt: 0,
            engine: None,
            sequence: None,
            first_token: None,
            tokens: 0,
            last_activity: spec.arrival,
            spec,
        }));
        id
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&ActiveJob> {
        self.all.get(index(id))?.as_deref().filter(|job| job.id == id)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut ActiveJob> {
        self.all.get_mut(index(id))?.as_deref_mut().filter(|job| job.id == id)
    }

    /// The job of an attempt, if it is the job's current one.
    pub(super) fn current(&mut self, attempt: Attempt) -> Option<&mut ActiveJob> {
        self.get_mut(attempt.request).filter(|job| job.attempt == attempt.number)
    }

    /// Removes a job that ended.
    pub(super) fn close(&mut self, id: RequestId) -> Option<ActiveJob> {
        let entry = self.all.get_mut(index(id))?;
        let job = entry.take_if(|job| job.id == id)?;
        self.vacant.push(u32::try_from(index(id)).unwrap_or(u32::MAX));
        Some(*job)
    }

    /// The jobs in order of their index.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ActiveJob> {
        self.all.iter().flatten().map(Box::as_ref)
    }
}

const fn index(id: RequestId) -> usize {
    (id.0 & 0xffff_ffff) as usize
}
