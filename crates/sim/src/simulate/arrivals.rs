//! The jobs of a workload in order of arrival, later turns of sessions included.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;

use pointsman_core::Time;

use pointsman_workload::{Job, Jobs};

/// Merges independent jobs and follow-ups by arrival time.
pub(super) struct Arrivals<'a> {
    jobs: &'a mut dyn Jobs,
    /// The next independent job.
    next: Option<Job>,
    follow_ups: BinaryHeap<Reverse<FollowUp>>,
    /// End of arrivals; later jobs are dropped.
    until: Time,
}

impl fmt::Debug for Arrivals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("follow_ups", &self.follow_ups.len()).finish_non_exhaustive()
    }
}

/// A follow-up job, ordered by arrival and then by number.
#[derive(Debug)]
struct FollowUp(Job);

impl FollowUp {
    const fn key(&self) -> (Time, u64) {
        (self.0.arrival, self.0.number)
    }
}

impl PartialEq for FollowUp {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for FollowUp {}

impl PartialOrd for FollowUp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FollowUp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<'a> Arrivals<'a> {
    pub(super) fn new(jobs: &'a mut dyn Jobs, until: Time) -> Self {
        let mut arrivals = Self { jobs, next: None, follow_ups: BinaryHeap::new(), until };
        arrivals.advance();
        arrivals
    }

    fn advance(&mut self) {
        self.next = self.jobs.next_job().filter(|job| job.arrival < self.until);
    }

    /// Arrival time of the next job.
    pub(super) fn due(&self) -> Option<Time> {
        let follow_up = self.follow_ups.peek().map(|Reverse(job)| job.0.arrival);
        let next = self.next.as_ref().map(|job| job.arrival);
        match (next, follow_up) {
            (Some(next), Some(follow_up)) => Some(next.min(follow_up)),
            (next, follow_up) => next.or(follow_up),
        }
    }

    /// Removes and returns the next job.
    pub(super) fn take(&mut self) -> Option<Job> {
        let own = self.next.as_ref().map(|job| (job.arrival, job.number));
        let follow_up = self.follow_ups.peek().map(|Reverse(job)| job.key());
        if follow_up.is_some_and(|follow_up| own.is_none_or(|own| follow_up < own)) {
            return self.follow_ups.pop().map(|Reverse(job)| job.0);
        }
        let job = self.next.take();
        self.advance();
        job
    }

    /// A job was answered; its session may continue.
    pub(super) fn answered(&mut self, now: Time, job: &Job) {
        if job.turn.is_some()
            && let Some(mut next) = self.jobs.follow_up(job, now)
        {
            next.arrival = next.arrival.max(now);
            if next.arrival < self.until {
                self.follow_ups.push(Reverse(FollowUp(next)));
            }
        }
    }
}
