//! Confidence intervals.

use serde::{Deserialize, Serialize};

/// A two-sided 95 % interval; `[low, high]` in JSON, where an infinite end is `null`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "[Option<f64>; 2]", from = "[Option<f64>; 2]")]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl From<Interval> for [Option<f64>; 2] {
    fn from(interval: Interval) -> Self {
        [interval.low, interval.high].map(|end| end.is_finite().then_some(end))
    }
}

impl From<[Option<f64>; 2]> for Interval {
    fn from([low, high]: [Option<f64>; 2]) -> Self {
        Self { low: low.unwrap_or(f64::NEG_INFINITY), high: high.unwrap_or(f64::INFINITY) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_pair_in_json() {
        let json = serde_json::to_string(&Interval { low: -1.5, high: f64::INFINITY }).unwrap();
        assert_eq!(json, "[-1.5,null]");
        let back: Interval = serde_json::from_str(&json).unwrap();
        assert_eq!(back, Interval { low: -1.5, high: f64::INFINITY });
    }
}
