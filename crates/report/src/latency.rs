//! Latencies of requests.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::measure::Measure;
use crate::quantile::{Level, Quantiles, Samples};

/// The times of one request, from the intended send time, so that a slow load generator does not hide delays
/// (coordinated omission).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// The response was complete.
    Answered {
        /// Time to the first token; `None` for a non-streaming response.
        ttft: Option<Duration>,
        /// Time to the last byte.
        e2e: Duration,
        /// Generated tokens; 0 when unknown.
        output_tokens: u32,
    },
    /// Rejected, broken, timed out or never sent; infinite in every measure.
    Failed,
}

/// A quantile of a measure, written `e2e_ms.p90`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Statistic {
    /// Measure.
    pub measure: Measure,
    /// Quantile.
    pub level: Level,
}

impl Statistic {
    /// The statistics of every report: four measures at three levels.
    pub fn all() -> impl Iterator<Item = Self> {
        Measure::PER_REQUEST
            .into_iter()
            .flat_map(|measure| Level::ALL.into_iter().map(move |level| Self { measure, level }))
    }

    /// The name in tables: `E2E p90`.
    #[must_use]
    pub fn label(self) -> String {
        format!("{} {}", self.measure.label(), self.level.key())
    }
}

impl Serialize for Statistic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.measure.key(), self.level.key())
    }
}

/// The latencies of a run or slice, by measure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latencies {
    ttft: Samples,
    tpot: Samples,
    ntpot: Samples,
    e2e: Samples,
    itl: Samples,
}

impl Latencies {
    /// Computes every measure.
    ///
    /// TPOT needs a first token and at least two output tokens, NTPOT at least one; requests without them have no
    /// value. A failure is infinite in all four measures.
    #[must_use]
    pub fn from_timings(timings: impl IntoIterator<Item = Timing>) -> Self {
        let (mut ttfts, mut tpots, mut ntpots, mut e2es) = (vec![], vec![], vec![], vec![]);
        for timing in timings {
            match timing {
                Timing::Answered { ttft, e2e, output_tokens } => {
                    e2es.push(in_millis(e2e));
                    if output_tokens > 0 {
                        ntpots.push(in_millis(e2e) / f64::from(output_tokens));
                    }
                    if let Some(ttft) = ttft {
                        ttfts.push(in_millis(ttft));
                        if output_tokens > 1 {
                            tpots.push(in_millis(e2e.saturating_sub(ttft)) / f64::from(output_tokens - 1));
                        }
                    }
                }
                Timing::Failed => {
                    for values in [&mut ttfts, &mut tpots, &mut ntpots, &mut e2es] {
                        values.push(f64::INFINITY);
                    }
                }
            }
        }
        Self {
            ttft: Samples::new(ttfts),
            tpot: Samples::new(tpots),
            ntpot: Samples::new(ntpots),
            e2e: Samples::new(e2es),
            itl: Samples::default(),
        }
    }

    /// Adds inter-token latencies, pooled over all requests.
    #[must_use]
    pub fn with_gaps(mut self, gaps: impl IntoIterator<Item = Duration>) -> Self {
        self.itl = Samples::new(gaps.into_iter().map(in_millis).collect());
        self
    }

    /// The values of several slices.
    #[must_use]
    pub fn merge(parts: &[&Self]) -> Self {
        let pool = |measure: Measure| {
            Samples::new(parts.iter().flat_map(|part| part.samples(measure).sorted()).copied().collect())
        };
        Self {
            ttft: pool(Measure::Ttft),
            tpot: pool(Measure::Tpot),
            ntpot: pool(Measure::Ntpot),
            e2e: pool(Measure::E2e),
            itl: pool(Measure::Itl),
        }
    }

    /// The values of one measure.
    #[must_use]
    pub const fn samples(&self, measure: Measure) -> &Samples {
        match measure {
            Measure::Ttft => &self.ttft,
            Measure::Tpot => &self.tpot,
            Measure::Ntpot => &self.ntpot,
            Measure::E2e => &self.e2e,
            Measure::Itl => &self.itl,
        }
    }

    /// The quantiles of one measure.
    #[must_use]
    pub fn quantiles(&self, measure: Measure) -> Quantiles {
        self.samples(measure).quantiles()
    }
}

fn in_millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(ttft: Option<u64>, e2e: u64, output_tokens: u32) -> Timing {
        Timing::Answered {
            ttft: ttft.map(Duration::from_millis),
            e2e: Duration::from_millis(e2e),
            output_tokens,
        }
    }

    fn check(timing: Timing, expect: [&[f64]; 4]) {
        let latencies = Latencies::from_timings([timing]);
        for (measure, expect) in Measure::PER_REQUEST.into_iter().zip(expect) {
            assert_eq!(latencies.samples(measure).sorted(), expect, "{measure:?} of {timing:?}");
        }
    }

    #[test]
    fn measures_follow_their_definitions() {
        check(answered(Some(100), 1_000, 10), [&[100.0], &[100.0], &[100.0], &[1_000.0]]);
        check(answered(Some(40), 40, 1), [&[40.0], &[], &[40.0], &[40.0]]);
        check(answered(None, 500, 5), [&[], &[], &[100.0], &[500.0]]);
        check(answered(None, 500, 0), [&[], &[], &[], &[500.0]]);
        let never: &[f64] = &[f64::INFINITY];
        check(Timing::Failed, [never; 4]);
    }

    #[test]
    fn gaps_are_pooled() {
        let gaps = [3, 1, 2].map(Duration::from_millis);
        let latencies = Latencies::default().with_gaps(gaps);
        assert_eq!(latencies.samples(Measure::Itl).sorted(), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn statistics_have_stable_names() {
        let names: Vec<String> = Statistic::all().map(|statistic| statistic.to_string()).collect();
        assert_eq!(names.len(), 12);
        assert_eq!(names[0], "ttft_ms.p50");
        assert_eq!(names[10], "e2e_ms.p90");
    }
}
