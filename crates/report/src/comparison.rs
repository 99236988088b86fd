//! Two runs side by side.

use crate::interval::Interval;
use crate::number::{count, millis, per_second};
use crate::paired::Change;
use crate::run::{RunReport, interval_cell};
use crate::table::Table;

/// A table of two runs: throughput, failures, and every latency statistic with its change, the paired
/// interval and a verdict.
#[must_use]
pub fn comparison_table(runs: &[RunReport; 2], changes: &[Change]) -> Table {
    let [baseline, candidate] = runs;
    let names = [baseline.name.as_str(), candidate.name.as_str()];
    let mut table = Table::new(["", names[0], names[1], "change", "95 % interval", ""]);
    let pair = |label: &str, cells: [String; 2]| {
        let [left, right] = cells;
        vec![label.to_owned(), left, right]
    };
    table.row(pair("requests", [baseline, candidate].map(|run| per_second(run.requests_per_second))));
    table.row(pair("errors", [baseline, candidate].map(|run| count(run.errors))));
    table.row(pair("rejected", [baseline, candidate].map(|run| count(run.rejected))));
    for change in changes {
        let statistic = change.statistic;
        let value = |run: &RunReport| run.latency.quantiles(statistic.measure).at(statistic.level);
        let interval = candidate.interval95.get(statistic);
        table.row([
            statistic.label(),
            millis(value(baseline)),
            millis(value(candidate)),
            millis(change.milliseconds),
            interval_cell(interval),
            verdict(interval).to_owned(),
        ]);
    }
    table
}

fn verdict(interval: Option<Interval>) -> &'static str {
    match interval {
        Some(interval) if interval.high < 0.0 => "better",
        Some(interval) if interval.low > 0.0 => "worse",
        Some(_) => "no clear difference",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Intervals, Latencies, Level, Measure, Slice, Statistic, Timing};

    const E2E_P90: Statistic = Statistic { measure: Measure::E2e, level: Level::P90 };

    fn run(name: &str, e2e: u64, interval: Option<Interval>) -> RunReport {
        let timing = Timing::Answered { ttft: None, e2e: Duration::from_millis(e2e), output_tokens: 10 };
        let slice = Slice { latencies: Latencies::from_timings([timing]), ..Slice::default() };
        let mut intervals = Intervals::default();
        if let Some(interval) = interval {
            intervals.insert(E2E_P90, interval);
        }
        RunReport::new(name, &slice, intervals)
    }

    #[test]
    fn the_verdict_follows_the_interval() {
        let row = |low, high| {
            let runs = [run("service", 500, None), run("pointsman", 400, Some(Interval { low, high }))];
            let change = Change { statistic: E2E_P90, milliseconds: Some(-100.0) };
            comparison_table(&runs, &[change]).render(200).lines().last().unwrap().to_owned()
        };
        assert_eq!(row(-120.0, -80.0), "E2E p90    500 ms     400 ms  -100 ms  -120 ms to -80.0 ms  better");
        assert!(row(-120.0, 5.0).ends_with("no clear difference"));
        assert!(row(2.0, 5.0).ends_with("worse"));
    }
}
