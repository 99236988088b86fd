use std::str::FromStr;
use std::time::Duration;

use pointsman_report::Random;

use super::WorkloadError;

/// When requests arrive. Written `poisson:12.5` or `constant:12.5`, in requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Independent users: exponential gaps.
    Poisson {
        /// Requests per second.
        rate: f64,
    },
    /// Equal gaps.
    Constant {
        /// Requests per second.
        rate: f64,
    },
}

impl Arrivals {
    /// Requests per second.
    #[must_use]
    pub const fn rate(self) -> f64 {
        match self {
            Self::Poisson { rate } | Self::Constant { rate } => rate,
        }
    }

    pub(super) fn times(
        self,
        duration: Duration,
        random: &mut Random,
        limit: usize,
    ) -> Result<Vec<Duration>, WorkloadError> {
        let rate = self.rate();
        if !(rate.is_finite() && rate > 0.0) {
            return Err(WorkloadError::Rate);
        }
        let end = duration.as_secs_f64();
        let mut times = Vec::new();
        let mut at = self.gap(random);
        while at < end {
            if times.len() == limit {
                return Err(WorkloadError::TooManyRequests);
            }
            times.push(Duration::from_secs_f64(at));
            at += self.gap(random);
        }
        Ok(times)
    }

    fn gap(self, random: &mut Random) -> f64 {
        match self {
            Self::Poisson { rate } => -(1.0 - random.unit()).ln() / rate,
            Self::Constant { rate } => 1.0 / rate,
        }
    }
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("expected poisson:RATE or constant:RATE, not `{text}`");
        let (kind, rate) = text.split_once(':').ok_or_else(expected)?;
        let rate: f64 = rate.parse().map_err(|_| expected())?;
        if !(rate.is_finite() && rate > 0.0) {
            return Err(WorkloadError::Rate.to_string());
        }
        match kind {
            "poisson" => Ok(Self::Poisson { rate }),
            "constant" => Ok(Self::Constant { rate }),
            _ => Err(expected()),
        }
    }
}
