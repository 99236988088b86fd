//! Whether a fleet keeps up with a rate.

use serde::Serialize;

/// Share of the offered rate below which the fleet is overloaded.
const MIN_COMPLETED_SHARE: f64 = 0.95;

/// Share of the offered rate below which a fleet does not keep up, overloaded or not. Rates are below the offered one only
/// where a backlog grew or requests failed, so there is no noise to leave room for.
const KEEPS_UP_SHARE: f64 = 0.98;

/// Growth of latency from the middle to the last third of the arrivals above which a backlog builds up.
const MAX_LATENCY_GROWTH: f64 = 1.25;

/// Whether the fleet keeps up with a rate, in the terms of BLIS (inference-sim).
///
/// Only figures of stable rows describe a policy; those of others depend on the length of the run,
/// because a backlog keeps growing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// At least 98 % of the offered rate was completed and latency did not grow.
    Stable,
    /// At least 95 % was completed, but less than 98 %, or latency grew by more than a quarter from the
    /// middle third of the arrivals to the last, as a mean over runs.
    Backlogged,
    /// Less than 95 % was completed; the rest waited, failed or was rejected.
    Overloaded,
}

impl State {
    pub(super) fn new(offered_rps: f64, completed_rps: f64, growth: Option<f64>) -> Self {
        if completed_rps < MIN_COMPLETED_SHARE * offered_rps {
            Self::Overloaded
        } else if completed_rps < KEEPS_UP_SHARE * offered_rps
            || growth.is_some_and(|growth| growth > MAX_LATENCY_GROWTH)
        {
            Self::Backlogged
        } else {
            Self::Stable
        }
    }

    /// The name in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Backlogged => "backlogged",
            Self::Overloaded => "overloaded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(offered: f64, completed: f64, growth: Option<f64>, expect: State) {
        assert_eq!(State::new(offered, completed, growth), expect, "{offered} {completed} {growth:?}");
    }

    #[test]
    fn states_follow_completion_and_growth() {
        check(100.0, 100.0, None, State::Stable);
        check(100.0, 99.0, Some(1.2), State::Stable);
        check(100.0, 99.0, Some(1.4), State::Backlogged);
        check(250.0, 243.0, Some(1.0), State::Backlogged);
        check(100.0, 94.0, Some(1.0), State::Overloaded);
        check(0.0, 0.0, None, State::Stable);
    }
}
