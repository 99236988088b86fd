//! Lengths of prompts and outputs, as the command line writes them.

use std::fmt;
use std::str::FromStr;

use pointsman_workload::{Distribution, LengthTable};

/// A distribution of lengths in tokens, in the notation of the command line: `constant:N`, `uniform:LOW:HIGH`,
/// `exponential:MEAN:MAX`, `lognormal:MEDIAN:SIGMA:MAX`, `quantiles:0=4,0.5=109,1=1024`, `sharegpt-prompt` or
/// `sharegpt-output`.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLengths {
    text: String,
    distribution: Distribution,
}

impl TokenLengths {
    /// The distribution.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        self.distribution.clone()
    }
}

impl fmt::Display for TokenLengths {
    /// Writes the text that it was parsed from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TokenLengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let distribution = parse(text).ok_or_else(|| {
            format!(
                "expected constant:N, uniform:LOW:HIGH, exponential:MEAN:MAX, lognormal:MEDIAN:SIGMA:MAX, \
                 quantiles:SHARE=LENGTH,…, sharegpt-prompt or sharegpt-output, not `{text}`"
            )
        })?;
        validate(&distribution)?;
        Ok(Self { text: text.to_owned(), distribution })
    }
}

fn parse(text: &str) -> Option<Distribution> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let parts: Vec<&str> = rest.split(':').collect();
    let tokens = |text: &str| text.parse::<u32>().ok().map(f64::from);
    match (kind, parts.as_slice()) {
        ("sharegpt-prompt", [""]) => Some(LengthTable::ShareGpt.prompt()),
        ("sharegpt-output", [""]) => Some(LengthTable::ShareGpt.output()),
        ("constant", [length]) => Some(Distribution::Fixed(tokens(length)?)),
        ("uniform", [low, high]) => Some(Distribution::Uniform { low: tokens(low)?, high: tokens(high)? }),
        ("exponential", [mean, max]) => {
            Some(Distribution::Exponential { mean: mean.parse().ok()?, max: tokens(max)? })
        }
        ("lognormal", [median, sigma, max]) => {
            Some(log_normal(median.parse().ok()?, sigma.parse().ok()?, tokens(max)?))
        }
        ("quantiles", [points]) => {
            let point = |pair: &str| {
                let (share, length) = pair.split_once('=')?;
                Some((share.parse().ok()?, length.parse().ok()?))
            };
            Some(Distribution::Quantiles(points.split(',').map(point).collect::<Option<_>>()?))
        }
        _ => None,
    }
}

/// The log-normal distribution of this median and standard deviation of the logarithm; NaN where they make none.
fn log_normal(median: f64, sigma: f64, max: f64) -> Distribution {
    let variance = sigma * sigma;
    let mean = median * (variance / 2.0).exp();
    let deviation = if sigma < 0.0 { f64::NAN } else { mean * variance.exp_m1().sqrt() };
    Distribution::LogNormal { mean, deviation, max }
}

fn validate(distribution: &Distribution) -> Result<(), &'static str> {
    let positive = |value: f64| value.is_finite() && value > 0.0;
    match distribution {
        Distribution::Fixed(length) if *length < 1.0 => Err("must be at least 1"),
        Distribution::Uniform { low, high } if *low < 1.0 || low > high => {
            Err("LOW must be at least 1 and not above HIGH")
        }
        Distribution::Exponential { mean, max } if !positive(*mean) || *max < 1.0 => {
            Err("MEAN and MAX must be positive")
        }
        Distribution::LogNormal { mean, deviation, max }
            if !positive(*mean) || !deviation.is_finite() || *max < 1.0 =>
        {
            Err("MEDIAN and MAX must be positive, SIGMA not negative")
        }
        Distribution::Quantiles(points) => validate_points(points),
        Distribution::Fixed(_)
        | Distribution::Uniform { .. }
        | Distribution::Exponential { .. }
        | Distribution::LogNormal { .. } => Ok(()),
    }
}

fn validate_points(points: &[(f64, f64)]) -> Result<(), &'static str> {
    let from_0_to_1 =
        points.first().is_some_and(|first| first.0 == 0.0) && points.last().is_some_and(|last| last.0 == 1.0);
    let rising = points.is_sorted_by(|left, right| left.0 < right.0 && left.1 <= right.1);
    let in_range = points.iter().all(|point| (1.0..=f64::from(u32::MAX)).contains(&point.1));
    if from_0_to_1 && rising && in_range {
        Ok(())
    } else {
        Err("quantiles need shares rising from 0 to 1 and lengths of at least 1 that never fall")
    }
}
