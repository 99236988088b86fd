//! The jobs of a workload in order of arrival, later turns of sessions included.

use std::collections::BTreeMap;
use std::fmt;

use pointsman_core::Time;
use pointsman_workload::{Job, Jobs};

/// Merges independent jobs and follow-ups by arrival time.
pub(super) struct Arrivals<'a> {
    jobs: &'a mut dyn Jobs,
    /// The next independent job.
    next: Option<Job>,
    /// By arrival, then by number.
    follow_ups: BTreeMap<(Time, u64), Job>,
    /// End of arrivals; later jobs are dropped.
    until: Time,
}

impl fmt::Debug for Arrivals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("follow_ups", &self.follow_ups.len()).finish_non_exhaustive()
    }
}

impl<'a> Arrivals<'a> {
    pub(super) fn new(jobs: &'a mut dyn Jobs, until: Time) -> Self {
        let mut arrivals = Self { jobs, next: None, follow_ups: BTreeMap::new(), until };
        arrivals.advance();
        arrivals
    }

    fn advance(&mut self) {
        self.next = self.jobs.next_job().filter(|job| job.arrival < self.until);
    }

    /// Arrival time of the next job.
    pub(super) fn due(&self) -> Option<Time> {
        let follow_up = self.follow_ups.first_key_value().map(|((arrival, _), _)| *arrival);
        let next = self.next.as_ref().map(|job| job.arrival);
        next.into_iter().chain(follow_up).min()
    }

    /// Removes and returns the next job.
    pub(super) fn take(&mut self) -> Option<Job> {
        let own = self.next.as_ref().map(|job| (job.arrival, job.number));
        let follow_up = self.follow_ups.first_key_value().map(|(key, _)| *key);
        if follow_up.is_some_and(|follow_up| own.is_none_or(|own| follow_up < own)) {
            return self.follow_ups.pop_first().map(|(_, job)| job);
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
                self.follow_ups.insert((next.arrival, next.number), next);
            }
        }
    }
}
