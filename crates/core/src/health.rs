//! Passive ejection: an endpoint that fails is left alone for a while.
//!
//! One failure suffices where nothing can be served (no connection, no TLS) and after silence, which took long to
//! establish. Other failures may be one request's own, so they eject three in a row, or when they are half of at
//! least five outcomes in ten seconds. A failure that a probe can see (the process or its network is gone) is over
//! when a probe says so; after others `/health` is no proof, and the endpoint returns by serving one request.

use std::time::Duration;

use crate::endpoint::{Ejection, Health};
use crate::ids::RequestId;
use crate::request::FailureCause;
use crate::rng::Rng;
use crate::time::Time;
use crate::window::RecentCount;

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
/// So many failures without a success between them eject.
const IN_A_ROW: u32 = 3;
/// So many failures in ten seconds eject where they are at least half of the outcomes.
const FAILURES: f64 = 5.0;

/// While probes fail no request is risked, but an engine may have no health page: after this a request finds out.
const UNPROBED: Duration = Duration::from_secs(60);

/// What is known of an endpoint's health.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HealthState {
    stage: Stage,
    /// When the stage began: outcomes of requests sent before say nothing about it.
    since: Time,
    /// Zero once a request succeeded after the last return.
    back_off: Duration,
    failures_in_a_row: u32,
    failures: RecentCount,
    successes: RecentCount,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Ready,
    /// `probe`: the latest answer to an active probe in this stage.
    Ejected {
        ejection: Ejection,
        probe: Option<bool>,
    },
    OnTrial {
        ejection: Ejection,
        request: RequestId,
    },
}

/// Whether an endpoint may be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// Yes.
    Ready,
    /// Yes, and the request is its trial.
    TrialDue,
    /// Only where nothing else is left; the time at which it may return.
    Out(Time),
}

impl HealthState {
    /// As the outside sees it.
    pub(crate) const fn health(&self) -> Health {
        match self.stage {
            Stage::Ready => Health::Ready,
            Stage::Ejected { ejection, .. } => Health::Ejected(ejection),
            Stage::OnTrial { .. } => Health::OnTrial,
        }
    }

    /// Whether it may be chosen.
    pub(crate) fn availability(&self, now: Time) -> Availability {
        match self.stage {
            Stage::Ready => Availability::Ready,
            Stage::Ejected { ejection, probe } if now >= ejection.until => {
                let due = match probe {
                    // `timer` returns it, unless a probe does not see the cause.
                    Some(true) => !seen_by_probe(ejection.cause),
                    Some(false) => now.since(ejection.until) >= UNPROBED,
                    None => true,
                };
                if due { Availability::TrialDue } else { Availability::Out(ejection.until) }
            }
            Stage::Ejected { ejection, .. } | Stage::OnTrial { ejection, .. } => {
                Availability::Out(ejection.until)
            }
        }
    }

    /// A request was sent there. Where a trial is due it becomes the trial; returns whether it did.
    pub(crate) fn sent(&mut self, now: Time, request: RequestId) -> bool {
        let Stage::Ejected { ejection, .. } = self.stage else { return false };
        let trial = self.availability(now) == Availability::TrialDue;
        if trial {
            self.enter(now, Stage::OnTrial { ejection, request });
        }
        trial
    }

    /// A request that was sent at `sent` failed. Returns whether the health changed.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        (request, sent): (RequestId, Time),
        cause: FailureCause,
        rng: &mut Rng,
    ) -> bool {
        let ejects = match self.stage {
            Stage::OnTrial { request: trial, .. } => trial == request,
            // It was tried because nothing else was left.
            Stage::Ejected { .. } => sent >= self.since,
            Stage::Ready if sent < self.since => false,
            Stage::Ready => {
                self.failures.add(now);
                self.failures_in_a_row += 1;
                let failures = self.failures.count(now);
                at_once(cause)
                    || !self.back_off.is_zero()
                    || self.failures_in_a_row >= IN_A_ROW
                    || (failures >= FAILURES && failures >= self.successes.count(now))
            }
        };
        if ejects {
            // What is tried only because nothing else is left says nothing new: it must not keep the endpoint out for
            // a minute after a short outage of all.
            let early = matches!(self.stage, Stage::Ejected { ejection, .. } if now < ejection.until);
            let factor = if early { 1 } else { 2 };
            self.back_off = (self.back_off * factor).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF);
            let until = now + jittered(self.back_off, rng);
            let ejection = Ejection { cause, until, back_off: self.back_off };
            self.enter(now, Stage::Ejected { ejection, probe: None });
        }
        ejects
    }

    /// A request that was sent at `sent` was served. Returns whether the health changed.
    pub(crate) fn succeeded(&mut self, now: Time, (request, sent): (RequestId, Time)) -> bool {
        match self.stage {
            Stage::OnTrial { request: trial, .. } if trial != request => return false,
            Stage::Ready | Stage::Ejected { .. } if sent < self.since => return false,
            Stage::Ready => self.successes.add(now),
            Stage::OnTrial { .. } | Stage::Ejected { .. } => {}
        }
        self.failures_in_a_row = 0;
        self.back_off = Duration::ZERO;
        let changed = self.stage != Stage::Ready;
        if changed {
            self.enter(now, Stage::Ready);
        }
        changed
    }

    /// A request ended there without saying whether the endpoint works. Where it was the trial, the next one is due.
    pub(crate) fn inconclusive(&mut self, now: Time, request: RequestId) -> bool {
        match self.stage {
            Stage::OnTrial { ejection, request: trial } if trial == request => {
                self.enter(now, Stage::Ejected { ejection, probe: None });
                true
            }
            Stage::OnTrial { .. } | Stage::Ejected { .. } | Stage::Ready => false,
        }
    }

    /// An active probe was answered, or not. Returns whether the health changed.
    pub(crate) fn probed(&mut self, now: Time, healthy: bool) -> bool {
        if let Stage::Ejected { probe, .. } = &mut self.stage {
            *probe = Some(healthy);
        }
        self.timer(now)
    }

    /// Time has passed. Returns whether the health changed.
    pub(crate) fn timer(&mut self, now: Time) -> bool {
        let returns = match self.stage {
            Stage::Ejected { ejection, probe: Some(true) } => {
                seen_by_probe(ejection.cause) && now >= ejection.until
            }
            Stage::Ejected { .. } | Stage::OnTrial { .. } | Stage::Ready => false,
        };
        if returns {
            self.enter(now, Stage::Ready);
        }
        returns
    }

    fn enter(&mut self, now: Time, stage: Stage) {
        self.stage = stage;
        self.since = now;
        self.failures_in_a_row = 0;
        self.failures = RecentCount::default();
        self.successes = RecentCount::default();
    }
}

/// Whether one failure of this kind ejects.
const fn at_once(cause: FailureCause) -> bool {
    match cause {
        FailureCause::Connect | FailureCause::Tls | FailureCause::Silent => true,
        FailureCause::Refused
        | FailureCause::Lost
        | FailureCause::FirstByteTimeout
        | FailureCause::Unavailable
        | FailureCause::EngineError
        | FailureCause::Truncated
        | FailureCause::Garbage => false,
    }
}

/// Whether an active probe tells that the cause is gone.
const fn seen_by_probe(cause: FailureCause) -> bool {
    match cause {
        FailureCause::Connect
        | FailureCause::Tls
        | FailureCause::Refused
        | FailureCause::Lost
        | FailureCause::Unavailable => true,
        FailureCause::FirstByteTimeout
        | FailureCause::EngineError
        | FailureCause::Truncated
        | FailureCause::Silent
        | FailureCause::Garbage => false,
    }
}

/// Up to a quarter longer, so that endpoints that fell together do not return together.
fn jittered(back_off: Duration, rng: &mut Rng) -> Duration {
    let quarter = u32::try_from(rng.below(256)).unwrap_or(0);
    back_off + back_off * quarter / 1024
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
