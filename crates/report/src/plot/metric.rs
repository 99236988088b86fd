//! The metrics that plots show.

use super::lines::{LinePoint, Reference};
use super::style::Style;
use crate::sweep::{Sweep, SweepRow};
use crate::{Interval, Level, Measure, Statistic, millis, per_second, percent};

/// The metric of a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Latency(Statistic),
    Completed,
    /// Ratio of a latency to the baseline's.
    AgainstBaseline(Statistic),
    HitRate,
    Incomplete,
}

/// The unit of an axis: its name and the factor that values are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub(crate) factor: f64,
    name: &'static str,
}

/// Milliseconds from which an axis is in seconds.
pub(crate) const SECONDS_FROM: f64 = 2_000.0;

/// Ratio above which the axis is not centred on one.
const MAX_CENTRED_RATIO: f64 = 5.0;

const fn latency(measure: Measure, level: Level) -> Metric {
    Metric::Latency(Statistic { measure, level })
}

/// All metrics in the order of a report. The ratios come first: latencies of an overloaded fleet hide the others.
const ALL: [Metric; 10] = [
    Metric::AgainstBaseline(Statistic { measure: Measure::E2e, level: Level::P90 }),
    Metric::AgainstBaseline(Statistic { measure: Measure::Ttft, level: Level::P90 }),
    latency(Measure::E2e, Level::P90),
    latency(Measure::Ttft, Level::P90),
    latency(Measure::Ntpot, Level::P90),
    Metric::Completed,
    latency(Measure::E2e, Level::P50),
    latency(Measure::E2e, Level::P99),
    Metric::HitRate,
    Metric::Incomplete,
];

impl Metric {
    /// The metrics that a sweep has data for.
    pub(crate) fn all(sweep: &Sweep) -> impl Iterator<Item = Self> {
        let has_data = |metric: &Self| match metric {
            Self::Incomplete => sweep.rows.iter().any(|row| row.incomplete_share() > 0.0),
            Self::Latency(_) | Self::Completed | Self::AgainstBaseline(_) | Self::HitRate => {
                sweep.rows.iter().any(|row| metric.value(row).is_some_and(f64::is_finite))
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
            Self::Incomplete => Some(row.incomplete_share()),
        }
    }

    fn row_interval(self, row: &SweepRow) -> Option<Interval> {
        match self {
            Self::Latency(statistic) => row.interval95.latency.get(statistic),
            Self::Completed => row.interval95.completed_rps,
            Self::AgainstBaseline(statistic) => row.against_baseline.get(&statistic)?.interval95,
            Self::HitRate => row.interval95.hit_rate,
            Self::Incomplete => None,
        }
    }

    pub(crate) fn has_interval(self, row: &SweepRow) -> bool {
        self.row_interval(row).is_some()
    }

    /// The interval in the unit of the axis.
    pub(crate) fn interval(self, row: &SweepRow, unit: Unit) -> Option<Interval> {
        let found = self.row_interval(row)?;
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
            Self::HitRate | Self::Incomplete => Unit { factor: 100.0, name: "%" },
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
            Self::Incomplete => "lost".to_owned(),
        }
    }

    pub(crate) fn title(self, sweep: &Sweep) -> String {
        let baseline = sweep.experiment.baseline.as_deref().unwrap_or("the baseline");
        match self {
            Self::Latency(statistic) => statistic_title(statistic),
            Self::Completed => "Throughput".to_owned(),
            Self::AgainstBaseline(statistic) => {
                format!("{} over that of {baseline}", statistic_title(statistic))
            }
            Self::HitRate => "Prefix cache hit rate".to_owned(),
            Self::Incomplete => "Requests without a complete response".to_owned(),
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
            Self::Incomplete => "lost",
        };
        format!("{name} ({})", unit.name)
    }

    pub(crate) const fn less_is_better(self) -> Option<bool> {
        match self {
            Self::Latency(_) | Self::AgainstBaseline(_) | Self::Incomplete => Some(true),
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
            Self::Latency(_) | Self::HitRate | Self::Incomplete => Reference::None,
        }
    }

    /// Ends of the value axis of ratios, which is centred on one.
    pub(crate) fn bounds(self, lines: &[(Style, Vec<LinePoint>)]) -> Option<(f64, f64)> {
        if !matches!(self, Self::AgainstBaseline(_)) {
            return None;
        }
        let (mut low, mut high) = (0.95_f64, 1.05_f64);
        for point in lines.iter().flat_map(|(_, points)| points).filter(|point| point.value.is_finite()) {
            let interval = point.interval.unwrap_or(Interval { low: point.value, high: point.value });
            low = low.min(interval.low);
            high = high.max(interval.high);
        }
        if high > MAX_CENTRED_RATIO {
            return None;
        }
        let room = 0.06 * (high - low);
        Some(((low - room).max(0.0), high + room))
    }

    /// The value with its unit.
    pub(crate) fn label(self, row: &SweepRow) -> String {
        self.format(self.value(row))
    }

    fn format(self, value: Option<f64>) -> String {
        match self {
            Self::Latency(_) => millis(value),
            Self::Completed => per_second(value),
            Self::AgainstBaseline(_) => value.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}×")),
            Self::HitRate | Self::Incomplete => percent(value),
        }
    }

    /// The tooltip of a point.
    pub(crate) fn tooltip(self, row: &SweepRow) -> String {
        let interval = self.row_interval(row).map_or_else(String::new, |interval| {
            let [low, high] = [interval.low, interval.high].map(|end| self.format(Some(end)));
            format!(", 95 % interval {low} to {high}")
        });
        let (policy, rate) = (&row.policy, per_second(Some(row.rate)));
        format!("{policy} at {rate}: {}{interval} ({})", self.label(row), row.state.label())
    }

    /// An alternative text.
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
            "{} of {policies} policies {span}. The tables of this report have the values.",
            self.title(sweep)
        )
    }
}

fn statistic_title(statistic: Statistic) -> String {
    format!("{}, {}", full_name(statistic.measure), statistic.level.key())
}

/// The full name of a measure.
pub(crate) const fn full_name(measure: Measure) -> &'static str {
    match measure {
        Measure::Ttft => "Time to first token",
        Measure::Tpot => "Time per output token after the first",
        Measure::Ntpot => "Normalised time per output token",
        Measure::E2e => "End-to-end latency",
        Measure::Itl => "Inter-token latency",
    }
}
