use serde::Serialize;

use super::row::SweepRow;

/// Below this share of the offered rate the servers did not keep up.
const KEPT_UP: f64 = 0.95;

/// Beyond this growth of latency from the middle to the last third of the arrivals a backlog builds.
const GROWS: f64 = 1.25;

/// Whether the servers kept up with a rate. The words are those of BLIS (inference-sim).
///
/// Only figures of stable rows describe a policy; those of the others depend on how long the run
/// was, because a backlog grows for as long as it is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// At least 95 % of the offered rate was completed and latency did not grow.
    Stable,
    /// It was completed, but latency grew by more than a quarter from the middle third of the arrivals
    /// to the last, in the mean over runs.
    Backlogged,
    /// Less was completed, whether the rest waited, failed or was refused.
    Overloaded,
}

impl State {
    pub(super) fn new(offered_rps: f64, completed_rps: f64, growth: Option<f64>) -> Self {
        if completed_rps < KEPT_UP * offered_rps {
            Self::Overloaded
        } else if growth.is_some_and(|growth| growth > GROWS) {
            Self::Backlogged
        } else {
            Self::Stable
        }
    }

    /// What tables print.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Backlogged => "backlogged",
            Self::Overloaded => "overloaded",
        }
    }
}

/// Where a policy stops keeping up: the knee lies between two rates, in requests per second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Knee {
    /// The policy.
    pub policy: String,
    /// The highest rate at which it and all lower ones were stable; `None` if not even the lowest was.
    pub stable: Option<f64>,
    /// The next rate, which was not stable; `None` if all were.
    pub unstable: Option<f64>,
}

/// The knees that the swept rates show. `rows` are ascending by rate.
pub(super) fn knees(rows: &[SweepRow]) -> Vec<Knee> {
    let mut knees: Vec<Knee> = Vec::new();
    for row in rows {
        let index = knees.iter().position(|knee| knee.policy == row.policy).unwrap_or_else(|| {
            knees.push(Knee { policy: row.policy.clone(), stable: None, unstable: None });
            knees.len() - 1
        });
        if let Some(knee) = knees.get_mut(index).filter(|knee| knee.unstable.is_none()) {
            match row.state {
                State::Stable => knee.stable = Some(row.rate),
                State::Backlogged | State::Overloaded => knee.unstable = Some(row.rate),
            }
        }
    }
    knees
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
        check(100.0, 96.0, Some(1.2), State::Stable);
        check(100.0, 96.0, Some(1.4), State::Backlogged);
        check(100.0, 94.0, Some(1.0), State::Overloaded);
        check(0.0, 0.0, None, State::Stable);
    }
}
