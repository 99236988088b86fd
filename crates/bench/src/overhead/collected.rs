//! The measurements of `bench overhead`, by figure and path.

use std::collections::BTreeMap;
use std::time::Duration;

use pointsman_report::{Level, median};

use super::Phase;
use super::figure::{Budget, Figure, MIB, Spread};
use super::report::{FigureRow, OverheadReport};
use crate::measurement::load::Observed;

/// A path to the engines: a column of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Column {
    Direct,
    BareProxy,
    Gateway,
}

impl Column {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::BareProxy => "bare proxy",
            Self::Gateway => "gateway",
        }
    }
}

/// Measurements by figure and column.
#[derive(Debug, Default)]
pub(super) struct Collected {
    values: BTreeMap<(Figure, Column), Vec<f64>>,
    quantiles: BTreeMap<Column, Vec<[f64; 2]>>,
}

impl Collected {
    fn push(&mut self, figure: Figure, column: Column, value: f64) {
        self.values.entry((figure, column)).or_default().push(value);
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^53")]
    pub(super) fn resident(&mut self, figure: Figure, column: Column, bytes: u64) {
        self.push(figure, column, bytes as f64 / MIB);
    }

    /// Records a slice. `used` is the CPU time of the column's process for `events`.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn note(
        &mut self,
        phase: Phase,
        column: Column,
        observed: &Observed,
        used: Option<Duration>,
        events: u64,
    ) {
        // Failures are summed over the slices.
        let failed = self.values.entry((Figure::Failed, column)).or_insert_with(|| vec![0.0]);
        failed.iter_mut().for_each(|sum| *sum += observed.failed as f64);
        let figure = match phase {
            Phase::Paced => {
                let at = |level| observed.e2e.quantile(level).unwrap_or(f64::INFINITY);
                self.quantiles.entry(column).or_default().push([at(Level::P50), at(Level::P99)]);
                Figure::CpuMsPerRequest
            }
            Phase::Saturated => {
                let rate = observed.completed as f64 / observed.elapsed.as_secs_f64();
                self.push(Figure::SaturatedPerSecond, column, rate);
                Figure::SaturatedCpuMsPerRequest
            }
            Phase::Prompts400Kb => Figure::CpuMsPer400Kb,
            Phase::Prompts1Mb => Figure::CpuMsPer1Mb,
            Phase::Streams => Figure::CpuUsPerChunk,
        };
        if let Some(used) = used.filter(|_| events > 0) {
            let per_second = if figure == Figure::CpuUsPerChunk { 1e6 } else { 1e3 };
            self.push(figure, column, used.as_secs_f64() * per_second / events as f64);
        }
    }

    pub(super) fn report(mut self, slices: usize) -> OverheadReport {
        self.add_latencies();
        let direct = self.quantiles.get(&Column::Direct).map_or(&[][..], Vec::as_slice);
        let direct_ms = [0, 1].map(|index| {
            let values: Vec<f64> = direct.iter().filter_map(|pair| pair.get(index).copied()).collect();
            median(&values)
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let figures = Figure::ALL.into_iter().map(|figure| self.row(figure)).collect();
        OverheadReport { cores, slices, direct_ms, figures }
    }

    /// Quantiles of each slice minus those of the same slice on the direct path.
    fn add_latencies(&mut self) {
        let direct = self.quantiles.get(&Column::Direct).cloned().unwrap_or_default();
        for column in [Column::BareProxy, Column::Gateway] {
            for (through, direct) in self.quantiles.get(&column).into_iter().flatten().zip(&direct) {
                for (figure, (through, direct)) in
                    [Figure::AddedP50Ms, Figure::AddedP99Ms].into_iter().zip(through.iter().zip(direct))
                {
                    self.values.entry((figure, column)).or_default().push(through - direct);
                }
            }
        }
    }

    fn row(&self, figure: Figure) -> FigureRow {
        let spread = |column| self.values.get(&(figure, column)).and_then(|values| Spread::of(values));
        let (bare_proxy, gateway) = (spread(Column::BareProxy), spread(Column::Gateway));
        let times_bare_proxy = bare_proxy
            .zip(gateway)
            .filter(|(bare, _)| bare.median > 0.0 && figure != Figure::Failed)
            .map(|(bare, gateway)| gateway.median / bare.median);
        let (_, budget) = figure.label_and_budget();
        let within = match budget {
            Budget::AtMost(limit) => gateway.map(|spread| spread.median <= limit),
            Budget::AtLeastTimesBareProxy(share) => times_bare_proxy.map(|times| times >= share),
            Budget::AtMostTimesBareProxy(share) => times_bare_proxy.map(|times| times <= share),
            Budget::None => None,
        };
        FigureRow { figure, bare_proxy, gateway, times_bare_proxy, budget, within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pointsman_report::Samples;

    fn observed(completed: u64, failed: u64, e2e: f64) -> Observed {
        let values = vec![e2e; usize::try_from(completed).unwrap()];
        Observed { completed, failed, elapsed: Duration::from_secs(1), e2e: Samples::new(values) }
    }

    fn collected() -> Collected {
        let mut collected = Collected::default();
        let mut note = |phase, column, e2e, micros| {
            let used = (column != Column::Direct).then(|| Duration::from_micros(micros));
            collected.note(phase, column, &observed(100, 0, e2e), used, 100);
        };
        for jitter in [0.0, 0.01, 0.02] {
            note(Phase::Paced, Column::Direct, 0.1 + jitter, 0);
            note(Phase::Paced, Column::BareProxy, 0.2 + jitter, 5_000);
            note(Phase::Paced, Column::Gateway, 0.25 + jitter, 12_000);
            note(Phase::Streams, Column::BareProxy, 1.0, 2_000);
            note(Phase::Streams, Column::Gateway, 1.0, 2_400);
        }
        collected
    }

    fn row(report: &OverheadReport, figure: Figure) -> FigureRow {
        report.figures.iter().copied().find(|row| row.figure == figure).unwrap()
    }

    #[test]
    fn figures_are_judged_against_their_budgets() {
        let report = collected().report(3);
        let added = row(&report, Figure::AddedP50Ms);
        assert!((added.gateway.unwrap().median - 0.15).abs() < 1e-9);
        assert_eq!(added.within, Some(true));
        let cpu = row(&report, Figure::CpuMsPerRequest);
        assert!((cpu.gateway.unwrap().median - 0.12).abs() < 1e-9);
        assert_eq!(cpu.within, Some(false));
        let chunk = row(&report, Figure::CpuUsPerChunk);
        assert!((chunk.gateway.unwrap().median - 24.0).abs() < 1e-9);
        assert!((chunk.times_bare_proxy.unwrap() - 1.2).abs() < 1e-9);
        assert_eq!(row(&report, Figure::SaturatedPerSecond).within, None);
        assert!(!report.within_budget());
    }

    #[test]
    fn failures_exceed_the_budget() {
        let mut collected = collected();
        collected.note(Phase::Saturated, Column::Gateway, &observed(10, 1, 1.0), None, 0);
        let report = collected.report(3);
        assert_eq!(row(&report, Figure::Failed).within, Some(false));
    }

    #[test]
    fn the_table_contains_verdicts() {
        let text = collected().report(3).table().render(200);
        let line = |label: &str| text.lines().find(|line| line.starts_with(label)).unwrap().to_owned();
        assert!(line("added p50").ends_with("PASS"), "{text}");
        assert!(line("CPU per request, 1,000").ends_with("over"), "{text}");
        assert!(line("requests, 64").ends_with("not measured"), "{text}");
        assert!(!line("memory, after").contains("PASS"), "{text}");
    }

    #[test]
    fn json_names_contain_units() {
        let json = serde_json::to_value(collected().report(3)).unwrap();
        let names: Vec<&str> =
            json["figures"].as_array().unwrap().iter().map(|row| row["figure"].as_str().unwrap()).collect();
        assert_eq!(names[0], "added_p50_ms");
        assert_eq!(names[5], "cpu_ms_per_400kb_prompt");
        assert_eq!(json["figures"][0]["budget"], serde_json::json!({"at_most": 0.2}));
    }
}
