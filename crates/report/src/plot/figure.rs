//! The figures that plots show, and how each is written.

use super::curve::{CurvePoint, Reference};
use super::mark::Mark;
use crate::sweep::{Sweep, SweepRow};
use crate::{Interval, Level, Measure, Statistic, millis, per_second, percent};

/// What one plot shows of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    Latency(Statistic),
    Completed,
    /// A latency over the baseline's.
    AgainstBaseline(Statistic),
    HitRate,
    Lost,
}

/// What values are multiplied by for the axis, and the name of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub(crate) factor: f64,
    name: &'static str,
}

/// From so many milliseconds on an axis is in seconds.
pub(crate) const SECONDS_FROM: f64 = 2_000.0;

/// Beyond this ratio an axis around one would show nothing near one.
const WIDE_RATIO: f64 = 5.0;

const fn latency(measure: Measure, level: Level) -> Figure {
    Figure::Latency(Statistic { measure, level })
}

/// In the order of a report.
const ALL: [Figure; 10] = [
    latency(Measure::E2e, Level::P90),
    Figure::Completed,
    latency(Measure::Ntpot, Level::P90),
    latency(Measure::Ttft, Level::P90),
    Figure::AgainstBaseline(Statistic { measure: Measure::E2e, level: Level::P90 }),
    Figure::AgainstBaseline(Statistic { measure: Measure::Ttft, level: Level::P90 }),
    latency(Measure::E2e, Level::P50),
    latency(Measure::E2e, Level::P99),
    Figure::HitRate,
    Figure::Lost,
];

impl Figure {
    /// The figures that a sweep has data for.
    pub(crate) fn all(sweep: &Sweep) -> impl Iterator<Item = Self> {
        let has_data = |figure: &Self| match figure {
            Self::Lost => sweep.rows.iter().any(|row| row.lost() > 0.0),
            Self::Latency(_) | Self::Completed | Self::AgainstBaseline(_) | Self::HitRate => {
                sweep.rows.iter().any(|row| figure.value(row).is_some_and(f64::is_finite))
            }
        };
        ALL.into_iter().filter(has_data)
    }

    pub(crate) fn value(self, row: &SweepRow) -> Option<f64> {
        match self {
            Self::Latency(statistic) => row.value(statistic),
            Self::Completed => Some(row.completed_rps),
            Self::AgainstBaseline(statistic) => row.against_baseline.get(&statistic).map(|found| found.ratio),
            Self::HitRate => row.hit_rate,
            Self::Lost => Some(row.lost()),
        }
    }

    fn own_interval(self, row: &SweepRow) -> Option<Interval> {
        match self {
            Self::Latency(statistic) => row.interval95.latency.get(statistic),
            Self::Completed => row.interval95.completed_rps,
            Self::AgainstBaseline(statistic) => row.against_baseline.get(&statistic)?.interval95,
            Self::HitRate => row.interval95.hit_rate,
            Self::Lost => None,
        }
    }

    pub(crate) fn has_interval(self, row: &SweepRow) -> bool {
        self.own_interval(row).is_some()
    }

    /// The interval in the axis' unit.
    pub(crate) fn interval(self, row: &SweepRow, unit: Unit) -> Option<Interval> {
        let found = self.own_interval(row)?;
        Some(Interval { low: found.low * unit.factor, high: found.high * unit.factor })
    }

    pub(crate) fn unit<'a>(self, rows: impl Iterator<Item = &'a SweepRow>) -> Unit {
        match self {
            Self::Latency(_) => {
                let finite = rows.filter_map(|row| self.value(row)).filter(|value| value.is_finite());
                if finite.fold(0.0, f64::max) >= SECONDS_FROM {
                    Unit { factor: 1e-3, name: "s" }
                } else {
                    Unit { factor: 1.0, name: "ms" }
                }
            }
            Self::Completed => Unit { factor: 1.0, name: "requests per second" },
            Self::AgainstBaseline(_) => Unit { factor: 1.0, name: "" },
            Self::HitRate | Self::Lost => Unit { factor: 100.0, name: "%" },
        }
    }

    pub(crate) fn name(self) -> String {
        let of = |statistic: Statistic| {
            format!("{}-{}", statistic.measure.label().to_lowercase(), statistic.level.key())
        };
        match self {
            Self::Latency(statistic) => of(statistic),
            Self::Completed => "throughput".to_owned(),
            Self::AgainstBaseline(statistic) => format!("{}-ratio", of(statistic)),
            Self::HitRate => "hit-rate".to_owned(),
            Self::Lost => "lost".to_owned(),
        }
    }

    pub(crate) fn title(self, sweep: &Sweep) -> String {
        let baseline = sweep.experiment.baseline.as_deref().unwrap_or("the baseline");
        match self {
            Self::Latency(statistic) => what(statistic),
            Self::Completed => "Throughput".to_owned(),
            Self::AgainstBaseline(statistic) => format!("{} over that of {baseline}", what(statistic)),
            Self::HitRate => "Prompt tokens found in prefix caches".to_owned(),
            Self::Lost => "Requests without a whole answer".to_owned(),
        }
    }

    pub(crate) fn axis(self, unit: Unit) -> String {
        let name = match self {
            Self::Latency(statistic) => {
                let per = if statistic.measure == Measure::Ntpot { " per output token" } else { "" };
                return format!(
                    "{} {} ({}{per})",
                    statistic.measure.label(),
                    statistic.level.key(),
                    unit.name
                );
            }
            Self::Completed => "completed",
            Self::AgainstBaseline(_) => return "ratio".to_owned(),
            Self::HitRate => "hit rate",
            Self::Lost => "lost",
        };
        format!("{name} ({})", unit.name)
    }

    pub(crate) const fn less_is_better(self) -> Option<bool> {
        match self {
            Self::Latency(_) | Self::AgainstBaseline(_) | Self::Lost => Some(true),
            Self::Completed | Self::HitRate => Some(false),
        }
    }

    pub(crate) fn reference(self, sweep: &Sweep) -> Reference {
        match self {
            Self::Completed => {
                let mut arrived: Vec<(f64, f64)> =
                    sweep.rows.iter().map(|row| (row.rate, row.offered_rps)).collect();
                arrived.dedup_by_key(|(rate, _)| *rate);
                Reference::Offered(arrived)
            }
            Self::AgainstBaseline(_) => Reference::One,
            Self::Latency(_) | Self::HitRate | Self::Lost => Reference::None,
        }
    }

    /// The value axis where zero has no meaning: ratios stand around one.
    pub(crate) fn bounds(self, lines: &[(Mark, Vec<CurvePoint>)]) -> Option<(f64, f64)> {
        if !matches!(self, Self::AgainstBaseline(_)) {
            return None;
        }
        let (mut low, mut high) = (0.95_f64, 1.05_f64);
        for point in lines.iter().flat_map(|(_, points)| points).filter(|point| point.value.is_finite()) {
            let interval = point.interval.unwrap_or(Interval { low: point.value, high: point.value });
            low = low.min(interval.low);
            high = high.max(interval.high);
        }
        if high > WIDE_RATIO {
            return None;
        }
        let room = 0.06 * (high - low);
        Some(((low - room).max(0.0), high + room))
    }

    /// The value with its unit, for people.
    pub(crate) fn label(self, row: &SweepRow) -> String {
        self.written(self.value(row))
    }

    fn written(self, value: Option<f64>) -> String {
        match self {
            Self::Latency(_) => millis(value),
            Self::Completed => per_second(value),
            Self::AgainstBaseline(_) => value.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}×")),
            Self::HitRate | Self::Lost => percent(value),
        }
    }

    /// What a point says when asked.
    pub(crate) fn says(self, row: &SweepRow) -> String {
        let interval = self.own_interval(row).map_or_else(String::new, |interval| {
            let [low, high] = [interval.low, interval.high].map(|end| self.written(Some(end)));
            format!(", 95 % interval {low} to {high}")
        });
        let (policy, rate) = (&row.policy, per_second(Some(row.rate)));
        format!("{policy} at {rate}: {}{interval} ({})", self.label(row), row.state.label())
    }

    /// A sentence for those who cannot see the plot.
    pub(crate) fn summary(self, sweep: &Sweep) -> String {
        let policies = sweep.policies().len();
        let rates = sweep.rates();
        let span = match (rates.first(), rates.last()) {
            (Some(first), Some(last)) if rates.len() > 1 => {
                format!("from {} to {} offered", per_second(Some(*first)), per_second(Some(*last)))
            }
            (Some(only), _) => format!("at {} offered", per_second(Some(*only))),
            (None, _) => String::new(),
        };
        format!(
            "{} of {policies} policies {span}. The tables of this report hold the figures.",
            self.title(sweep)
        )
    }
}

fn what(statistic: Statistic) -> String {
    format!("{}, {}", words(statistic.measure), statistic.level.key())
}

/// A measure's name in full.
pub(crate) const fn words(measure: Measure) -> &'static str {
    match measure {
        Measure::Ttft => "Time to first token",
        Measure::Tpot => "Time per output token after the first",
        Measure::Ntpot => "Normalised time per output token",
        Measure::E2e => "End-to-end latency",
        Measure::Itl => "Inter-token latency",
    }
}
