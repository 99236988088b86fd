use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use pointsman_report::Random;

/// A distribution of lengths in tokens. Every drawn length is at least 1.
///
/// Written `constant:N`, `uniform:LOW:HIGH`, `exponential:MEAN:MAX`, `lognormal:MEDIAN:SIGMA:MAX`,
/// `quantiles:0=4,0.5=109,1=1024`, `sharegpt-prompt` or `sharegpt-output`.
#[derive(Debug, Clone, PartialEq)]
pub enum Lengths {
    /// Always the same.
    Constant(u32),
    /// Each length from `low` to `high` equally often.
    Uniform {
        /// The least.
        low: u32,
        /// The greatest.
        high: u32,
    },
    /// Exponential, cut off at `max`.
    Exponential {
        /// The mean before the cut.
        mean: f64,
        /// The greatest.
        max: u32,
    },
    /// Log-normal, cut off at `max`.
    LogNormal {
        /// The median.
        median: f64,
        /// The standard deviation of the logarithm.
        sigma: f64,
        /// The greatest.
        max: u32,
    },
    /// Straight lines between known quantiles: shares from 0 to 1 and lengths, both rising.
    Quantiles(Cow<'static, [(f64, f64)]>),
}

/// Prompt lengths of ShareGPT as the `inference-benchmark` load generator filters it: first two turns,
/// at least 4 tokens, at most 1,024. Published: mean 251.5, p50 109, p90 714, p99 987. The point at 0.75
/// is not published; it is placed so that the mean is met.
const SHAREGPT_PROMPT: &[(f64, f64)] =
    &[(0.0, 4.0), (0.5, 109.0), (0.75, 350.0), (0.9, 714.0), (0.99, 987.0), (1.0, 1_024.0)];

/// Output lengths of the same: mean 225.3, p50 144, p90 564, p99 948; the point at 0.75 as above.
const SHAREGPT_OUTPUT: &[(f64, f64)] =
    &[(0.0, 4.0), (0.5, 144.0), (0.75, 250.0), (0.9, 564.0), (0.99, 948.0), (1.0, 1_024.0)];

impl Lengths {
    /// ShareGPT's prompt lengths. Prompt and output are drawn independently of each other.
    #[must_use]
    pub const fn sharegpt_prompt() -> Self {
        Self::Quantiles(Cow::Borrowed(SHAREGPT_PROMPT))
    }

    /// ShareGPT's output lengths.
    #[must_use]
    pub const fn sharegpt_output() -> Self {
        Self::Quantiles(Cow::Borrowed(SHAREGPT_OUTPUT))
    }

    /// Checks that the distribution makes sense.
    ///
    /// # Errors
    /// One sentence that says what is wrong.
    pub fn validate(&self) -> Result<(), &'static str> {
        match self {
            Self::Constant(0) => Err("must be at least 1"),
            Self::Uniform { low, high } if *low == 0 || low > high => {
                Err("LOW must be at least 1 and not above HIGH")
            }
            Self::Exponential { mean, max } if !positive(*mean) || *max == 0 => {
                Err("MEAN and MAX must be positive")
            }
            Self::LogNormal { median, sigma, max }
                if !positive(*median) || !sigma.is_finite() || *sigma < 0.0 || *max == 0 =>
            {
                Err("MEDIAN and MAX must be positive, SIGMA not negative")
            }
            Self::Quantiles(points) => validate_points(points),
            Self::Constant(_) | Self::Uniform { .. } | Self::Exponential { .. } | Self::LogNormal { .. } => {
                Ok(())
            }
        }
    }

    /// Draws one length.
    pub fn draw(&self, random: &mut Random) -> u32 {
        match self {
            Self::Constant(length) => *length,
            Self::Uniform { low, high } => {
                let width = usize::try_from(high.saturating_sub(*low)).unwrap_or(0) + 1;
                low.saturating_add(u32::try_from(random.below(width)).unwrap_or(0))
            }
            Self::Exponential { mean, max } => whole(-(1.0 - random.unit()).ln() * mean).min(*max),
            Self::LogNormal { median, sigma, max } => {
                whole(median * (sigma * standard_normal(random)).exp()).min(*max)
            }
            Self::Quantiles(points) => whole(interpolate(points, random.unit())),
        }
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn validate_points(points: &[(f64, f64)]) -> Result<(), &'static str> {
    let from_0_to_1 =
        points.first().is_some_and(|first| first.0 == 0.0) && points.last().is_some_and(|last| last.0 == 1.0);
    let rising = points.windows(2).all(|pair| match pair {
        [left, right] => left.0 < right.0 && left.1 <= right.1,
        _ => true,
    });
    let in_range = points.iter().all(|point| (1.0..=f64::from(u32::MAX)).contains(&point.1));
    if from_0_to_1 && rising && in_range {
        Ok(())
    } else {
        Err("quantiles need shares rising from 0 to 1 and lengths of at least 1 that never fall")
    }
}

fn interpolate(points: &[(f64, f64)], share: f64) -> f64 {
    let mut below = points.first().copied().unwrap_or((0.0, 1.0));
    for &(right, length) in points {
        if share < right {
            return below.1 + (length - below.1) * (share - below.0) / (right - below.0);
        }
        below = (right, length);
    }
    below.1
}

/// Box and Muller's method, one of its two values.
fn standard_normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * random.unit()).cos()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of u32")]
fn whole(length: f64) -> u32 {
    length.round().clamp(1.0, f64::from(u32::MAX)) as u32
}

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lengths = parse(text).ok_or_else(|| {
            format!(
                "expected constant:N, uniform:LOW:HIGH, exponential:MEAN:MAX, lognormal:MEDIAN:SIGMA:MAX, \
                 quantiles:SHARE=LENGTH,…, sharegpt-prompt or sharegpt-output, not `{text}`"
            )
        })?;
        lengths.validate()?;
        Ok(lengths)
    }
}

impl fmt::Display for Lengths {
    /// Writes what [`FromStr`] reads.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(length) => write!(formatter, "constant:{length}"),
            Self::Uniform { low, high } => write!(formatter, "uniform:{low}:{high}"),
            Self::Exponential { mean, max } => write!(formatter, "exponential:{mean}:{max}"),
            Self::LogNormal { median, sigma, max } => write!(formatter, "lognormal:{median}:{sigma}:{max}"),
            Self::Quantiles(points) if points.as_ref() == SHAREGPT_PROMPT => {
                formatter.write_str("sharegpt-prompt")
            }
            Self::Quantiles(points) if points.as_ref() == SHAREGPT_OUTPUT => {
                formatter.write_str("sharegpt-output")
            }
            Self::Quantiles(points) => {
                let points: Vec<String> =
                    points.iter().map(|(share, length)| format!("{share}={length}")).collect();
                write!(formatter, "quantiles:{}", points.join(","))
            }
        }
    }
}

fn parse(text: &str) -> Option<Lengths> {
    let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
    let parts: Vec<&str> = rest.split(':').collect();
    match (kind, parts.as_slice()) {
        ("sharegpt-prompt", [""]) => Some(Lengths::sharegpt_prompt()),
        ("sharegpt-output", [""]) => Some(Lengths::sharegpt_output()),
        ("constant", [length]) => Some(Lengths::Constant(length.parse().ok()?)),
        ("uniform", [low, high]) => {
            Some(Lengths::Uniform { low: low.parse().ok()?, high: high.parse().ok()? })
        }
        ("exponential", [mean, max]) => {
            Some(Lengths::Exponential { mean: mean.parse().ok()?, max: max.parse().ok()? })
        }
        ("lognormal", [median, sigma, max]) => Some(Lengths::LogNormal {
            median: median.parse().ok()?,
            sigma: sigma.parse().ok()?,
            max: max.parse().ok()?,
        }),
        ("quantiles", [points]) => {
            let point = |pair: &str| {
                let (share, length) = pair.split_once('=')?;
                Some((share.parse().ok()?, length.parse().ok()?))
            };
            Some(Lengths::Quantiles(points.split(',').map(point).collect::<Option<Vec<_>>>()?.into()))
        }
        _ => None,
    }
}
