//! The jobs under way.

use pointsman_core::{RequestId, Time};

use super::agenda::{Attempt, Member};
use crate::engine::SequenceId;
use crate::job::Job;

/// A job from its arrival to its end.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) id: RequestId,
    pub(super) job: Job,
    /// The router it came through.
    pub(super) router: u32,
    /// Counts the attempts.
    pub(super) attempt: u16,
    /// Where the present attempt goes, and what it is there.
    pub(super) member: Option<Member>,
    pub(super) sequence: Option<SequenceId>,
    /// When the router saw the present attempt's first token.
    pub(super) first_token: Option<Time>,
    /// When it was sent, or anything last came of it.
    pub(super) seen: Time,
}

impl Flight {
    /// The present attempt.
    pub(super) const fn attempt(&self) -> Attempt {
        Attempt { request: self.id, number: self.attempt }
    }
}

/// All of them, each in its own place: a hundred thousand more are no copy. A request's number holds its place, so that
/// finding it takes no search.
#[derive(Debug, Default)]
pub(super) struct Flights {
    all: Vec<Option<Box<Flight>>>,
    vacant: Vec<u32>,
    opened: u64,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.all.len() == self.vacant.len()
    }

    /// A job that arrives.
    pub(super) fn open(&mut self, job: Job, router: u32) -> RequestId {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.all.push(None);
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        });
        self.opened += 1;
        let id = RequestId(self.opened << 32 | u64::from(place));
        let seen = job.arrival;
        let flight =
            Flight { id, job, router, attempt: 0, member: None, sequence: None, first_token: None, seen };
        self.all[place as usize] = Some(Box::new(flight));
        id
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&Flight> {
        self.all.get(place(id))?.as_deref().filter(|flight| flight.id == id)
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut Flight> {
        self.all.get_mut(place(id))?.as_deref_mut().filter(|flight| flight.id == id)
    }

    /// The flight, where this is its present attempt.
    pub(super) fn on(&mut self, attempt: Attempt) -> Option<&mut Flight> {
        self.get_mut(attempt.request).filter(|flight| flight.attempt == attempt.number)
    }

    /// A job that came to its end.
    pub(super) fn close(&mut self, id: RequestId) -> Option<Flight> {
        let slot = self.all.get_mut(place(id))?;
        let flight = slot.take_if(|flight| flight.id == id)?;
        self.vacant.push(u32::try_from(place(id)).unwrap_or(u32::MAX));
        Some(*flight)
    }

    /// Those that have not ended.
    pub(super) fn left(&self) -> impl Iterator<Item = &Flight> {
        self.all.iter().flatten().map(Box::as_ref)
    }
}

const fn place(id: RequestId) -> usize {
    (id.0 & 0xffff_ffff) as usize
}
