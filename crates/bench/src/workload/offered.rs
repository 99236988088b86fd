//! The offered load.

use std::str::FromStr;

use pointsman_workload::Arrivals;

use super::WorkloadError;

/// An offered load: an arrival process and its mean rate. Written `poisson:12.5` or `constant:12.5`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OfferedLoad {
    /// The arrival process.
    pub arrivals: Arrivals,
    /// Requests per second.
    pub rate: f64,
}

impl OfferedLoad {
    /// Poisson arrivals.
    #[must_use]
    pub const fn poisson(rate: f64) -> Self {
        Self { arrivals: Arrivals::Poisson, rate }
    }

    /// Equally spaced arrivals.
    #[must_use]
    pub const fn constant(rate: f64) -> Self {
        Self { arrivals: Arrivals::Constant, rate }
    }

    pub(super) fn validate(self) -> Result<(), WorkloadError> {
        if self.rate.is_finite() && self.rate > 0.0 { Ok(()) } else { Err(WorkloadError::Rate) }
    }
}

impl FromStr for OfferedLoad {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("expected poisson:RATE or constant:RATE, not `{text}`");
        let (kind, rate) = text.split_once(':').ok_or_else(expected)?;
        let rate = rate.parse().map_err(|_| expected())?;
        let offered = match kind {
            "poisson" => Self::poisson(rate),
            "constant" => Self::constant(rate),
            _ => return Err(expected()),
        };
        offered.validate().map_err(|error| error.to_string())?;
        Ok(offered)
    }
}
