//! Passive ejection (outlier detection): an endpoint that fails takes no requests for a while.
//!
//! One failure suffices where nothing can be served (no connection, no TLS) and after a stall, which took long to
//! detect. Other failures may be caused by one request. They eject after three in a row, or more where so many happen by
//! chance at the endpoint's rate of failures, or when they are half of at least five outcomes in ten seconds; never where
//! too many endpoints are out already (`scheduler/blame.rs`).
//!
//! A failure that a probe can detect (the process or its network is gone) is over when a probe is answered. After others an
//! answered `/health` is no proof, and the endpoint returns by serving one request (half-open, as a circuit breaker).

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
/// The probability below which consecutive failures are no chance: three at an endpoint that had none before.
const CHANCE: f64 = 2e-6;
/// The prior of an endpoint's rate of failures: this many failures among so many outcomes.
const RATE_PRIOR: (f64, f64) = (0.1, 10.0);
/// Number of consecutive client errors after which the next requests get a second opinion elsewhere.
const DOUBTFUL_DECLINES: u32 = 3;
/// The same for server errors.
const DOUBTFUL_FAILURES: u32 = 2;
/// Number of consecutive client errors that are compared with the answers of other endpoints.
const SUSPICIOUS_DECLINES: u32 = 8;

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
    /// The rate of failures before those in a row, and the probability of so many in a row at that rate.
    rate: f64,
    chance: f64,
    failures: RecentCount,
    successes: RecentCount,
    consecutive_declines: u32,
    declines: RecentCount,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Ready,
    /// `probe` is the result of the latest active probe in this stage. `surplus` is how many of the failures behind the
    /// ejection undo it once they turn out to be their requests' fault.
    Ejected {
        ejection: Ejection,
        probe: Option<bool>,
        surplus: u32,
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
            Stage::Ejected { ejection, probe, .. } if now >= ejection.until => {
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

    /// A request that was sent at `sent` failed. Without `may_eject` a ready endpoint stays ready. Returns whether the health
    /// changed.
    pub(crate) fn failed(
        &mut self,
        now: Time,
        (request, sent): (RequestId, Time),
        cause: FailureCause,
        may_eject: bool,
        rng: &mut Rng,
    ) -> bool {
        let ejects = match self.stage {
            Stage::OnTrial { request: trial, .. } => trial == request,
            // It was tried as the last resort.
            Stage::Ejected { .. } => sent >= self.since,
            Stage::Ready if sent < self.since => false,
            Stage::Ready => {
                self.count_failure(now);
                let failures = self.failures.count(now);
                let in_a_row = self.consecutive_failures >= CONSECUTIVE_FAILURES && self.chance <= CHANCE;
                let often = failures >= FAILURES && failures >= self.successes.count(now);
                may_eject && (ejects_at_once(cause) || !self.back_off.is_zero() || in_a_row || often)
            }
        };
        if ejects {
            let surplus = self.consecutive_failures.saturating_sub(CONSECUTIVE_FAILURES - 1).max(1);
            self.eject(now, cause, (None, surplus), rng);
        }
        ejects
    }

    /// Probes find nothing at the endpoint's address. Returns whether the health changed.
    pub(crate) fn unreachable(&mut self, now: Time, rng: &mut Rng) -> bool {
        let is_ready = self.stage == Stage::Ready;
        if is_ready {
            self.eject(now, FailureCause::Connect, (Some(false), u32::MAX), rng);
        }
        is_ready
    }

    fn count_failure(&mut self, now: Time) {
        if self.consecutive_failures == 0 {
            let (failures, successes) = (self.failures.count(now), self.successes.count(now));
            self.rate = (failures + RATE_PRIOR.0) / (failures + successes + RATE_PRIOR.1);
            self.chance = 1.0;
        }
        self.chance *= self.rate;
        self.failures.add(now);
        self.consecutive_failures += 1;
    }

    /// Whether the next request that ends like this is to be tried at another endpoint as well.
    pub(crate) fn wants_second_opinion(&self, cause: FailureCause) -> bool {
        match (self.stage, cause) {
            (Stage::OnTrial { .. }, _) => true,
            (Stage::Ejected { .. }, _) => false,
            (Stage::Ready, FailureCause::Declined) => self.consecutive_declines >= DOUBTFUL_DECLINES,
            (Stage::Ready, _) => self.consecutive_failures >= DOUBTFUL_FAILURES,
        }
    }

    /// A request that was sent at `sent` was answered with a client error. Returns whether there were so many in a row that
    /// the answers of other endpoints decide whether they are the endpoint's fault.
    pub(crate) fn declined(&mut self, now: Time, (request, sent): (RequestId, Time)) -> bool {
        match self.stage {
            Stage::Ready if sent >= self.since => {
                self.declines.add(now);
                self.consecutive_declines += 1;
                self.consecutive_declines >= SUSPICIOUS_DECLINES
            }
            Stage::OnTrial { request: trial, ejection } => {
                trial == request && ejection.cause == FailureCause::Declined
            }
            Stage::Ready | Stage::Ejected { .. } => false,
        }
    }

    /// Other endpoints serve what this one declines. Returns whether the health changed.
    pub(crate) fn declines_all(&mut self, now: Time, request: RequestId, rng: &mut Rng) -> bool {
        let changes = match self.stage {
            Stage::Ready => true,
            Stage::OnTrial { request: trial, .. } => trial == request,
            Stage::Ejected { .. } => false,
        };
        if changes {
            self.eject(now, FailureCause::Declined, (None, u32::MAX), rng);
        }
        changes
    }

    /// A request failed alike at other endpoints, so it is to blame. Where the failure was counted, it is taken back. Returns
    /// whether the health changed.
    pub(crate) fn cleared(&mut self, now: Time, cause: FailureCause, counted: bool) -> bool {
        self.consecutive_declines = 0;
        match &mut self.stage {
            Stage::Ready => {
                // So the failures before it in a row are in doubt as well.
                (0..self.consecutive_failures).for_each(|_| self.failures.take_back());
                self.consecutive_failures = 0;
                false
            }
            Stage::Ejected { ejection, surplus, .. } if counted && ejection.cause == cause => {
                *surplus -= 1;
                let undone = *surplus == 0;
                if undone {
                    let before = self.back_off / 2;
                    self.back_off = if before < FIRST_BACK_OFF { Duration::ZERO } else { before };
                    self.enter(now, Stage::Ready);
                }
                undone
            }
            Stage::Ejected { .. } | Stage::OnTrial { .. } => false,
        }
    }

    /// The numbers of requests that were served and that were answered with a client error in about the last ten seconds.
    pub(crate) fn recently(&self, now: Time) -> (f64, f64) {
        (self.successes.count(now), self.declines.count(now))
    }

    fn eject(
        &mut self,
        now: Time,
        cause: FailureCause,
        (probe, surplus): (Option<bool>, u32),
        rng: &mut Rng,
    ) {
        // A failure as the last resort, before the back-off is over, does not double it: a short outage of all
        // endpoints must not eject them for a minute.
        let early = matches!(self.stage, Stage::Ejected { ejection, .. } if now < ejection.until);
        let factor = if early { 1 } else { 2 };
        self.back_off = (self.back_off * factor).clamp(FIRST_BACK_OFF, LONGEST_BACK_OFF);
        let until = now + jittered(self.back_off, rng);
        let ejection = Ejection { cause, until, back_off: self.back_off };
        self.enter(now, Stage::Ejected { ejection, probe, surplus });
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
        self.consecutive_declines = 0;
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
            self.enter(now, Stage::Ejected { ejection, probe: None, surplus: u32::MAX });
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
        let Stage::Ejected { ejection, probe: Some(true), .. } = self.stage else { return false };
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
        self.consecutive_declines = 0;
        self.declines = RecentCount::default();
    }
}

/// Whether a single failure with this cause ejects.
const fn ejects_at_once(cause: FailureCause) -> bool {
    match cause {
        FailureCause::Connect | FailureCause::Tls | FailureCause::Stalled => true,
        FailureCause::Refused
        | FailureCause::Lost
        | FailureCause::StaleConnection
        | FailureCause::FirstByteTimeout
        | FailureCause::Unavailable
        | FailureCause::EngineError
        | FailureCause::Truncated
        | FailureCause::Garbage
        | FailureCause::Declined => false,
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
        FailureCause::StaleConnection
        | FailureCause::FirstByteTimeout
        | FailureCause::EngineError
        | FailureCause::Truncated
        | FailureCause::Stalled
        | FailureCause::Garbage
        | FailureCause::Declined => false,
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
