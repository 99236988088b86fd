//! Passive ejection (outlier detection): an endpoint that fails takes no requests for a while.
//!
//! One failure suffices where nothing can be served (no connection, no TLS) and after a stall, which took long to
//! detect. Other failures may be caused by one request. They eject after three in a row, or when they are half of at
//! least five outcomes in ten seconds. A failure that a probe can detect (the process or its network is gone) is over
//! when a probe is answered. After others an answered `/health` is no proof, and the endpoint returns by serving one
//! request (half-open, as a circuit breaker).

use std::time::Duration;

use crate::endpoint::{Ejection, Health};
use crate::ids::RequestId;
use crate::request::FailureCause;
use crate::time::Time;
use crate::window::RecentCount;
use pointsman_random::Rng;

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
/// Number of consecutive failures that eject.
const CONSECUTIVE_FAILURES: u32 = 3;
/// Number of failures in ten seconds that eject where they are at least half of the outcomes.
const FAILURES: f64 = 5.0;

/// While probes fail, no request is risked for this long after the back-off. Then one is: an engine may have no health page.
const TRIAL_WITHOUT_PROBE: Duration = Duration::from_secs(60);

/// An endpoint's health, with the outcomes that it follows from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HealthState {
    stage: Stage,
    /// When the stage began. Outcomes of requests sent before do not count.
    since: Time,
    /// The back-off of the latest ejection; zero once a request succeeded after it.
    back_off: Duration,
    consecutive_failures: u32,
    failures: RecentCount,
    successes: RecentCount,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Ready,
    /// `probe` is the result of the latest active probe in this stage.
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
    /// Yes, and the request becomes its trial.
    TrialDue,
    /// Only as a last resort; with the time at which it may return.
    Out(Time),
}

impl HealthState {
    /// As drivers see it.
    pub(crate) const fn health(&self) -> Health {
        match self.stage {
            Stage::Ready => Health::Ready,
            Stage::Ejected { ejection, .. } => Health::Ejected(ejection),
            Stage::OnTrial { .. } => Health::OnTrial,
        }
    }

    pub(crate) fn availability(&self, now: Time) -> Availability {
        match self.stage {
            Stage::Ready => Availability::Ready,
            Stage::Ejected { ejection, probe } if now >= ejection.until => {
                let due = match probe {
                    // Where a probe detects the cause, the endpoint returns by the timer, without a trial.
                    Some(true) => !detected_by_probe(ejection.cause),
                    Some(false) => now.since(ejection.until) >= TRIAL_WITHOUT_PROBE,
                    None => true,
                };
                if due { Availability::TrialDue } else { Availability::Out(ejection.until) }
            }
            Stage::Ejected { ejection, .. } | Stage::OnTrial { ejection, .. } => {
                Availability::Out(ejection.until)
            }
        }
    }

    /// A request was sent there. Returns whether it became the trial.
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
            // It was tried as the last resort.
            Stage::Ejected { .. } => sent >= self.since,
            Stage::Ready if sent < self.since => false,
            Stage::Ready => {
                self.failures.add(now);
                self.consecutive_failures += 1;
                let failures = self.failures.count(now);
                ejects_at_once(cause)
                    || !self.back_off.is_zero()
                    || self.consecutive_failures >= CONSECUTIVE_FAILURES
                    || (failures >= FAILURES && failures >= self.successes.count(now))
            }
        };
        if ejects {
            self.eject(now, cause, None, rng);
        }
        ejects
    }

    /// Probes find nothing at the endpoint's address. Returns whether the health changed.
    pub(crate) fn unreachable(&mut self, now: Time, rng: &mut Rng) -> bool {
        let is_ready = self.stage == Stage::Ready;
        if is_ready {
            self.eject(now, FailureCause::Connect, Some(false), rng);
        }
        is_ready
    }

    fn eject(&mut self, now: Time, cause: FailureCause, probe: Option<bool>, rng: &mut Rng) {
        // A failure as the last resort, before the back-off is over, does not double it: a short outage of all
        // endpoints must not eject them for a minute.
        let early = matches!(self.stage, Stage::Ejected { ejection, .. } if now < ejection.until);
        let factor = if early { 1 } else { 2 };
        self.back_off = (self.back_off * factor).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF);
        let until = now + jittered(self.back_off, rng);
        let ejection = Ejection { cause, until, back_off: self.back_off };
        self.enter(now, Stage::Ejected { ejection, probe });
    }

    /// A request that was sent at `sent` was served. Returns whether the health changed.
    pub(crate) fn succeeded(&mut self, now: Time, (request, sent): (RequestId, Time)) -> bool {
        match self.stage {
            Stage::OnTrial { request: trial, .. } if trial != request => return false,
            Stage::Ready | Stage::Ejected { .. } if sent < self.since => return false,
            Stage::Ready => self.successes.add(now),
            Stage::OnTrial { .. } | Stage::Ejected { .. } => {}
        }
        self.consecutive_failures = 0;
        self.back_off = Duration::ZERO;
        let changed = self.stage != Stage::Ready;
        if changed {
            self.enter(now, Stage::Ready);
        }
        changed
    }

    /// A request's first output came. Returns whether it was the trial, which ends with it: a stream may go on for long. The
    /// back-off stays until a request is served to its end, so that one more failure, the trial's own included, ejects again.
    pub(crate) fn first_output(&mut self, request: RequestId) -> bool {
        let is_trial = matches!(self.stage, Stage::OnTrial { request: trial, .. } if trial == request);
        if is_trial {
            self.enter(self.since, Stage::Ready);
        }
        is_trial
    }

    /// A request ended without showing whether the endpoint works. Returns whether it was the trial, for which the next
    /// request is taken then.
    pub(crate) fn inconclusive(&mut self, now: Time, request: RequestId) -> bool {
        let Stage::OnTrial { ejection, request: trial } = self.stage else { return false };
        if trial == request {
            self.enter(now, Stage::Ejected { ejection, probe: None });
        }
        trial == request
    }

    /// An active probe ended. Returns whether the health changed.
    pub(crate) fn probed(&mut self, now: Time, healthy: bool) -> bool {
        if let Stage::Ejected { probe, .. } = &mut self.stage {
            *probe = Some(healthy);
        }
        self.timer(now)
    }

    /// Ends an ejection whose time has come. Returns whether the health changed.
    pub(crate) fn timer(&mut self, now: Time) -> bool {
        let Stage::Ejected { ejection, probe: Some(true) } = self.stage else { return false };
        let returns = detected_by_probe(ejection.cause) && now >= ejection.until;
        if returns {
            self.enter(now, Stage::Ready);
        }
        returns
    }

    fn enter(&mut self, now: Time, stage: Stage) {
        self.stage = stage;
        self.since = now;
        self.consecutive_failures = 0;
        self.failures = RecentCount::default();
        self.successes = RecentCount::default();
    }
}

/// Whether a single failure with this cause ejects.
const fn ejects_at_once(cause: FailureCause) -> bool {
    match cause {
        FailureCause::Connect | FailureCause::Tls | FailureCause::Stalled => true,
        FailureCause::Refused
        | FailureCause::Lost
        | FailureCause::FirstByteTimeout
        | FailureCause::Unavailable
        | FailureCause::EngineError
        | FailureCause::Truncated
        | FailureCause::Garbage => false,
    }
}

/// Whether an answered probe shows that the cause is gone.
const fn detected_by_probe(cause: FailureCause) -> bool {
    match cause {
        FailureCause::Connect
        | FailureCause::Tls
        | FailureCause::Refused
        | FailureCause::Lost
        | FailureCause::Unavailable => true,
        FailureCause::FirstByteTimeout
        | FailureCause::EngineError
        | FailureCause::Truncated
        | FailureCause::Stalled
        | FailureCause::Garbage => false,
    }
}

/// Up to a quarter longer, so that endpoints that failed together do not return together.
fn jittered(back_off: Duration, rng: &mut Rng) -> Duration {
    let quarter = u32::try_from(rng.below(256)).unwrap_or(0);
    back_off + back_off * quarter / 1024
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
