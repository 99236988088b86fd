//! What the demo shows: figures of both arms, the running slice, the engines.

use pointsman_report::{Interval, Latencies, Level, Measure, Slice, Statistic};
use serde_json::Value;

/// The statistic of the headline.
pub(super) const HEADLINE: Statistic = Statistic { measure: Measure::Ttft, level: Level::P90 };

/// One latency statistic of both arms.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) statistic: Statistic,
    /// Milliseconds, baseline first.
    pub(super) values: [Option<f64>; 2],
    /// The 95 % interval of the change in milliseconds, once it is known.
    pub(super) interval: Option<Interval>,
}

/// Whether a change is beyond chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Better,
    Worse,
    Unclear,
}

impl Figure {
    /// The change against the baseline as a share of it: −0.7 is 70 % less.
    pub(super) fn change(&self) -> Option<f64> {
        let [Some(baseline), Some(candidate)] = self.values else { return None };
        Some(candidate / baseline - 1.0).filter(|change| change.is_finite())
    }

    /// `None` without an interval.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.interval.map(|interval| match interval {
            Interval { high, .. } if high < 0.0 => Verdict::Better,
            Interval { low, .. } if low > 0.0 => Verdict::Worse,
            Interval { .. } => Verdict::Unclear,
        })
    }
}

/// The figures of both arms.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Figures {
    /// Every statistic of reports.
    pub(super) latencies: Vec<Figure>,
    /// Complete responses of each arm.
    pub(super) completed: [u64; 2],
    /// Requests of each arm without a complete response.
    pub(super) failed: [u64; 2],
    /// The headline's statistic in each slice, milliseconds.
    pub(super) by_slice: Vec<[Option<f64>; 2]>,
}

impl Figures {
    /// Figures over the pairs of slices that have ended; the last slice by slice may be half a pair.
    pub(super) fn so_far(slices: &[[Option<Slice>; 2]]) -> Self {
        let pairs: Vec<[&Slice; 2]> =
            slices.iter().filter_map(|[one, other]| Some([one.as_ref()?, other.as_ref()?])).collect();
        let pooled = [0, 1].map(|arm: usize| {
            let parts: Vec<&Latencies> =
                pairs.iter().filter_map(|pair| pair.get(arm)).map(|slice| &slice.latencies).collect();
            Latencies::merge(&parts)
        });
        let figure = |statistic: Statistic| Figure {
            statistic,
            values: [0, 1].map(|arm: usize| pooled.get(arm).and_then(|values| quantile(values, statistic))),
            interval: None,
        };
        let sum = |of: fn(&Slice) -> u64| {
            [0, 1].map(|arm| pairs.iter().filter_map(|pair| pair.get(arm)).map(|slice| of(slice)).sum())
        };
        let shown =
            |slice: &Option<Slice>| slice.as_ref().and_then(|slice| quantile(&slice.latencies, HEADLINE));
        Self {
            latencies: Statistic::all().map(figure).collect(),
            completed: sum(|slice| slice.completed),
            failed: sum(|slice| slice.errors + slice.rejected),
            by_slice: slices.iter().map(|pair| [shown(&pair[0]), shown(&pair[1])]).collect(),
        }
    }

    /// Figures with the intervals of their changes, from the intervals of a comparison.
    pub(super) fn with_intervals(mut self, of: impl Fn(Statistic) -> Option<Interval>) -> Self {
        for figure in &mut self.latencies {
            figure.interval = of(figure.statistic);
        }
        self
    }

    pub(super) fn of(&self, statistic: Statistic) -> Option<&Figure> {
        self.latencies.iter().find(|figure| figure.statistic == statistic)
    }
}

fn quantile(latencies: &Latencies, statistic: Statistic) -> Option<f64> {
    latencies.quantiles(statistic.measure).at(statistic.level)
}

/// One engine, as the gateway sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct EngineState {
    pub(super) address: String,
    /// Requests in flight that Pointsman sent.
    pub(super) in_flight: Option<u64>,
    pub(super) running: Option<u64>,
    pub(super) waiting: Option<u64>,
    /// Use of the KV cache, 0 to 1.
    pub(super) kv_use: Option<f64>,
    /// Time per output token that Pointsman has learned, milliseconds.
    pub(super) token_ms: Option<f64>,
}

impl EngineState {
    /// Reads an endpoint of `/debug/pools`.
    pub(super) fn read(endpoint: &Value) -> Self {
        let reading = &endpoint["reading"];
        Self {
            address: endpoint["address"].as_str().unwrap_or_default().to_owned(),
            in_flight: endpoint["in_flight"].as_u64(),
            running: reading["running"].as_u64(),
            waiting: reading["waiting"].as_u64(),
            kv_use: reading["kv_use"].as_f64(),
            token_ms: endpoint["step_seconds"]["value"].as_f64().map(|seconds| seconds * 1e3),
        }
    }
}

/// The slice that runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Running {
    /// The index of its arm.
    pub(super) arm: usize,
    /// Its index from 0; `None` for the warm-up.
    pub(super) slice: Option<usize>,
    /// Slices of both arms that have ended, the warm-up's included, of `of`.
    pub(super) ended: usize,
    pub(super) of: usize,
    /// Requests in flight.
    pub(super) in_flight: u64,
}

/// The set-up in words.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SetUp {
    /// The engines, the load and what each arm is, at most 80 characters a line.
    pub(super) lines: Vec<String>,
    /// The arms' names, baseline first.
    pub(super) names: [String; 2],
}

/// Everything that a screen shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) set_up: SetUp,
    pub(super) figures: Figures,
    pub(super) running: Running,
    pub(super) engines: Vec<EngineState>,
}
