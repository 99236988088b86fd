//! Knees: the rates at which rules stop keeping up.

use serde::Serialize;

use super::row::SweepRow;
use super::state::State;

/// The knee of a policy: the rate at which it stops keeping up lies between two rates, in requests
/// per second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Knee {
    /// The policy.
    pub policy: String,
    /// The highest rate such that it and all lower ones were stable; `None` if the lowest was not.
    pub stable: Option<f64>,
    /// The lowest rate that was not stable; `None` if all were.
    pub unstable: Option<f64>,
}

/// The knees between the rates of rows, which are ascending by rate.
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
