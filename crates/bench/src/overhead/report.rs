use std::collections::BTreeMap;
use std::time::Duration;

use pointsman_report::{Align, Level, Table, count, mebibytes, median, micros, millis, per_second, percent};
use serde::Serialize;

use super::Phase;
use super::load::Observed;

/// A way to the engines: a column of the report.
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

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// p50 over that of the direct way at 1,000 requests per second, milliseconds.
    AddedP50Ms,
    /// p99 over that of the direct way at 1,000 requests per second, milliseconds.
    AddedP99Ms,
    /// CPU time per small request at 1,000 requests per second, milliseconds.
    CpuMsPerRequest,
    /// Requests per second with 64 in flight.
    SaturatedPerSecond,
    /// CPU time per small request with 64 in flight, milliseconds.
    SaturatedCpuMsPerRequest,
    /// CPU time per request of a 400 KB prompt, milliseconds.
    #[serde(rename = "cpu_ms_per_400kb_prompt")]
    CpuMsPer400Kb,
    /// CPU time per request of a 1 MB prompt, milliseconds.
    #[serde(rename = "cpu_ms_per_1mb_prompt")]
    CpuMsPer1Mb,
    /// CPU time per streamed chunk at about 1,500 per second, microseconds.
    CpuUsPerChunk,
    /// Resident memory before the load, MiB.
    ResidentIdleMib,
    /// Resident memory after the load, MiB.
    ResidentLoadedMib,
    /// Requests that were not answered whole.
    Failed,
}

/// What a figure of the gateway may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// No more than this, in the figure's unit.
    AtMost(f64),
    /// At least this share of the bare proxy's figure.
    AtLeastTimesBareProxy(f64),
    /// No more than this multiple of the bare proxy's figure.
    AtMostTimesBareProxy(f64),
    /// For information: no budget speaks of it.
    None,
}

impl Figure {
    /// All figures, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::AddedP50Ms,
        Self::AddedP99Ms,
        Self::CpuMsPerRequest,
        Self::SaturatedPerSecond,
        Self::SaturatedCpuMsPerRequest,
        Self::CpuMsPer400Kb,
        Self::CpuMsPer1Mb,
        Self::CpuUsPerChunk,
        Self::ResidentIdleMib,
        Self::ResidentLoadedMib,
        Self::Failed,
    ];

    /// The project's budget on two cores, as `ARCHITECTURE.md` states it.
    #[must_use]
    pub const fn budget(self) -> Budget {
        match self {
            Self::AddedP50Ms => Budget::AtMost(0.2),
            Self::AddedP99Ms => Budget::AtMost(2.0),
            Self::CpuMsPerRequest => Budget::AtMost(0.1),
            Self::SaturatedPerSecond => Budget::AtLeastTimesBareProxy(0.6),
            Self::SaturatedCpuMsPerRequest => Budget::AtMost(0.039),
            Self::CpuMsPer400Kb => Budget::AtMost(1.5),
            Self::CpuMsPer1Mb => Budget::AtMost(3.0),
            Self::CpuUsPerChunk => Budget::AtMostTimesBareProxy(1.2),
            Self::ResidentIdleMib => Budget::AtMost(64.0),
            Self::ResidentLoadedMib => Budget::None,
            Self::Failed => Budget::AtMost(0.0),
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::AddedP50Ms => "added p50, 1,000 req/s",
            Self::AddedP99Ms => "added p99, 1,000 req/s",
            Self::CpuMsPerRequest => "CPU per request, 1,000 req/s",
            Self::SaturatedPerSecond => "requests, 64 in flight",
            Self::SaturatedCpuMsPerRequest => "CPU per request, 64 in flight",
            Self::CpuMsPer400Kb => "CPU per 400 KB prompt",
            Self::CpuMsPer1Mb => "CPU per 1 MB prompt",
            Self::CpuUsPerChunk => "CPU per streamed chunk",
            Self::ResidentIdleMib => "memory, idle",
            Self::ResidentLoadedMib => "memory, after the load",
            Self::Failed => "failed requests",
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and sizes")]
    fn show(self, value: f64) -> String {
        match self {
            Self::AddedP50Ms
            | Self::AddedP99Ms
            | Self::CpuMsPerRequest
            | Self::SaturatedCpuMsPerRequest
            | Self::CpuMsPer400Kb
            | Self::CpuMsPer1Mb => millis(Some(value)),
            Self::SaturatedPerSecond => per_second(Some(value)),
            Self::CpuUsPerChunk => micros(Some(value)),
            Self::ResidentIdleMib | Self::ResidentLoadedMib => mebibytes(Some((value * MIB) as u64)),
            Self::Failed => count(value as u64),
        }
    }
}

const MIB: f64 = 1_048_576.0;

/// A figure over the slices of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The figure.
    pub median: f64,
    /// The least slice.
    pub least: f64,
    /// The greatest slice.
    pub greatest: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median: median(values)?, least, greatest })
    }
}

/// One figure, with what it is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FigureRow {
    /// What was measured.
    pub figure: Figure,
    /// The bare proxy's.
    pub bare_proxy: Option<Spread>,
    /// The gateway's.
    pub gateway: Option<Spread>,
    /// The gateway's median over the bare proxy's.
    pub times_bare_proxy: Option<f64>,
    /// What the gateway's may be.
    pub budget: Budget,
    /// Whether it is; `null` without budget or measurement.
    pub within: Option<bool>,
}

/// All figures of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverheadReport {
    /// Cores that all processes shared.
    pub cores: usize,
    /// Slices per arm and phase.
    pub slices: usize,
    /// The direct way's p50 and p99 at 1,000 requests per second, milliseconds.
    pub direct_ms: [Option<f64>; 2],
    /// The figures.
    pub figures: Vec<FigureRow>,
}

impl OverheadReport {
    /// Whether every figure that has a budget was measured and is within it.
    #[must_use]
    pub fn within_budget(&self) -> bool {
        self.figures.iter().all(|row| row.budget == Budget::None || row.within == Some(true))
    }

    /// The figures beside their budgets.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new([
            ("", Align::Left),
            ("bare proxy", Align::Right),
            ("gateway", Align::Right),
            ("slices", Align::Right),
            ("of bare", Align::Right),
            ("budget", Align::Right),
            ("", Align::Left),
        ]);
        for row in &self.figures {
            let show =
                |spread: Option<Spread>| spread.map_or_else(|| millis(None), |s| row.figure.show(s.median));
            let range =
                row.gateway.filter(|spread| spread.least < spread.greatest).map_or_else(String::new, |s| {
                    format!("{} to {}", row.figure.show(s.least), row.figure.show(s.greatest))
                });
            table.row([
                row.figure.label().to_owned(),
                show(row.bare_proxy),
                show(row.gateway),
                range,
                row.times_bare_proxy.map_or_else(String::new, |share| percent(Some(share))),
                budget_cell(row),
                verdict(row).to_owned(),
            ]);
        }
        table
    }
}

fn budget_cell(row: &FigureRow) -> String {
    match row.budget {
        Budget::AtMost(limit) => format!("≤ {}", row.figure.show(limit)),
        Budget::AtLeastTimesBareProxy(share) => format!("≥ {} of bare", percent(Some(share))),
        Budget::AtMostTimesBareProxy(share) => format!("≤ {} of bare", percent(Some(share))),
        Budget::None => String::new(),
    }
}

const fn verdict(row: &FigureRow) -> &'static str {
    match (row.budget, row.within) {
        (Budget::None, _) => "",
        (_, Some(true)) => "PASS",
        (_, Some(false)) => "over",
        (_, None) => "not measured",
    }
}

/// What the slices gave so far, by figure and column.
#[derive(Debug, Default)]
pub(super) struct Collected {
    values: BTreeMap<(Figure, Column), Vec<f64>>,
    quantiles: BTreeMap<Column, Vec<[f64; 2]>>,
    failed: BTreeMap<Column, u64>,
    pub(super) idle_memory: BTreeMap<Column, u64>,
    pub(super) loaded_memory: BTreeMap<Column, u64>,
}

impl Collected {
    /// Takes in one slice. `used` is the CPU time that the column's process used for `events`.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn note(
        &mut self,
        phase: Phase,
        column: Column,
        observed: &Observed,
        used: Option<Duration>,
        events: u64,
    ) {
        *self.failed.entry(column).or_default() += observed.failed;
        let figure = match phase {
            Phase::Paced => {
                let at = |level| observed.e2e.quantile(level).unwrap_or(f64::INFINITY);
                self.quantiles.entry(column).or_default().push([at(Level::P50), at(Level::P99)]);
                Figure::CpuMsPerRequest
            }
            Phase::Saturated => {
                let rate = observed.completed as f64 / observed.elapsed.as_secs_f64();
                self.values.entry((Figure::SaturatedPerSecond, column)).or_default().push(rate);
                Figure::SaturatedCpuMsPerRequest
            }
            Phase::Prompts400Kb => Figure::CpuMsPer400Kb,
            Phase::Prompts1Mb => Figure::CpuMsPer1Mb,
            Phase::Streams => Figure::CpuUsPerChunk,
        };
        if let Some(used) = used.filter(|_| events > 0) {
            let per_second = if figure == Figure::CpuUsPerChunk { 1e6 } else { 1e3 };
            let cost = used.as_secs_f64() * per_second / events as f64;
            self.values.entry((figure, column)).or_default().push(cost);
        }
    }

    pub(super) fn report(mut self, slices: usize) -> OverheadReport {
        self.add_latencies();
        self.add_totals();
        let direct = self.quantiles.get(&Column::Direct).map_or(&[][..], Vec::as_slice);
        let direct_ms = [0, 1].map(|index| {
            let values: Vec<f64> = direct.iter().filter_map(|pair| pair.get(index).copied()).collect();
            median(&values)
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let figures = Figure::ALL.into_iter().map(|figure| self.row(figure)).collect();
        OverheadReport { cores, slices, direct_ms, figures }
    }

    /// Each slice's quantiles minus those of the same slice on the direct way.
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

    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn add_totals(&mut self) {
        for (figure, by_column) in
            [(Figure::ResidentIdleMib, &self.idle_memory), (Figure::ResidentLoadedMib, &self.loaded_memory)]
        {
            for (column, bytes) in by_column {
                self.values.insert((figure, *column), vec![*bytes as f64 / MIB]);
            }
        }
        for (column, failed) in &self.failed {
            self.values.insert((Figure::Failed, *column), vec![*failed as f64]);
        }
    }

    fn row(&self, figure: Figure) -> FigureRow {
        let spread = |column| self.values.get(&(figure, column)).and_then(|values| Spread::of(values));
        let (bare_proxy, gateway) = (spread(Column::BareProxy), spread(Column::Gateway));
        let times_bare_proxy = bare_proxy
            .zip(gateway)
            .filter(|(bare, _)| bare.median > 0.0 && figure != Figure::Failed)
            .map(|(bare, gateway)| gateway.median / bare.median);
        let budget = figure.budget();
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
    fn failures_are_never_within_budget() {
        let mut collected = collected();
        collected.note(Phase::Saturated, Column::Gateway, &observed(10, 1, 1.0), None, 0);
        let report = collected.report(3);
        assert_eq!(row(&report, Figure::Failed).within, Some(false));
    }

    #[test]
    fn the_table_says_what_passed() {
        let text = collected().report(3).table().render(200);
        let line = |label: &str| text.lines().find(|line| line.starts_with(label)).unwrap().to_owned();
        assert!(line("added p50").ends_with("PASS"), "{text}");
        assert!(line("CPU per request, 1,000").ends_with("over"), "{text}");
        assert!(line("requests, 64").ends_with("not measured"), "{text}");
        assert!(!line("memory, after").contains("PASS"), "{text}");
    }

    #[test]
    fn json_names_figures_with_their_units() {
        let json = serde_json::to_value(collected().report(3)).unwrap();
        let names: Vec<&str> =
            json["figures"].as_array().unwrap().iter().map(|row| row["figure"].as_str().unwrap()).collect();
        assert_eq!(names[0], "added_p50_ms");
        assert_eq!(names[5], "cpu_ms_per_400kb_prompt");
        assert_eq!(json["figures"][0]["budget"], serde_json::json!({"at_most": 0.2}));
    }
}
