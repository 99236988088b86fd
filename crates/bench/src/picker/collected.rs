//! The measurements of `bench epp`, by figure and path.

use std::collections::BTreeMap;
use std::time::Duration;

use pointsman_report::{Level, median};
use serde::Serialize;

use super::PickerPhase;
use super::figure::{MIB, PickerFigure, Target};
use super::report::{PickerReport, PickerRow};
use crate::measurement::load::Observed;
use crate::overhead::Spread;

/// A path to the engines: a column of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Column {
    /// Envoy alone, round-robin.
    Envoy,
    /// Envoy with the bare picker.
    Bare,
    /// Envoy with the picker, which receives all bodies.
    Picker,
    /// Envoy with the picker, which receives no response bodies.
    WithoutBodies,
    /// The same as the picker, with a cluster of type `ORIGINAL_DST`, which reads one destination from a header.
    OriginalDst,
}

impl Column {
    pub(super) const ALL: [Self; 5] =
        [Self::Envoy, Self::Bare, Self::Picker, Self::WithoutBodies, Self::OriginalDst];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Envoy => "Envoy alone",
            Self::Bare => "bare picker",
            Self::Picker => "pointsman",
            Self::WithoutBodies => "without bodies",
            Self::OriginalDst => "ORIGINAL_DST",
        }
    }
}

/// CPU time of one slice, and its number of requests or chunks.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) envoy: Duration,
    pub(super) picker: Option<Duration>,
    pub(super) events: u64,
}

/// Measurements by figure and column.
#[derive(Debug, Default)]
pub(super) struct Collected {
    values: BTreeMap<(PickerFigure, Column), Vec<f64>>,
}

impl Collected {
    pub(super) fn push(&mut self, figure: PickerFigure, column: Column, value: f64) {
        self.values.entry((figure, column)).or_default().push(value);
    }

    /// Records a slice.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn note(&mut self, phase: PickerPhase, column: Column, observed: &Observed, used: Used) {
        // Failures are summed over the slices.
        let failed = self.values.entry((PickerFigure::Failed, column)).or_insert_with(|| vec![0.0]);
        failed.iter_mut().for_each(|sum| *sum += observed.failed as f64);
        if phase == PickerPhase::Saturated {
            let rate = observed.completed as f64 / observed.elapsed.as_secs_f64();
            self.push(PickerFigure::PerSecond(phase), column, rate);
        } else if phase != PickerPhase::Streams {
            let at = |level| observed.e2e.quantile(level).unwrap_or(f64::INFINITY);
            self.push(PickerFigure::P50(phase), column, at(Level::P50));
            self.push(PickerFigure::P90(phase), column, at(Level::P90));
            self.push(PickerFigure::P99(phase), column, at(Level::P99));
        }
        let Used { envoy, picker, events } = used;
        if events == 0 {
            return;
        }
        let per_second = if phase == PickerPhase::Streams { 1e6 } else { 1e3 };
        let cost = |used: Duration| used.as_secs_f64() * per_second / events as f64;
        self.push(PickerFigure::EnvoyCpu(phase), column, cost(envoy));
        if let Some(picker) = picker {
            self.push(PickerFigure::PickerCpu(phase), column, cost(picker));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes stay far below 2^53")]
    pub(super) fn resident(&mut self, column: Column, bytes: u64) {
        self.push(PickerFigure::ResidentMib, column, bytes as f64 / MIB);
    }

    pub(super) fn report(&self, slices: usize) -> PickerReport {
        let of_phases = PickerPhase::ALL.into_iter().flat_map(PickerFigure::of);
        let others = [PickerFigure::IdleCores, PickerFigure::ResidentMib, PickerFigure::Failed];
        let measured = |figure: &PickerFigure| self.values.keys().any(|(known, _)| known == figure);
        let rows = of_phases.chain(others).filter(measured).map(|figure| self.row(figure)).collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        PickerReport { cores, slices, rows }
    }

    /// The median over the slices of a comparison with the bare picker's slice of the same turn, which ran under the same
    /// conditions.
    fn against_bare(&self, figure: PickerFigure, compare: impl Fn(f64, f64) -> f64) -> Option<f64> {
        let of = |column| self.values.get(&(figure, column));
        let (bare, picker) = of(Column::Bare).zip(of(Column::Picker))?;
        let compared: Vec<f64> =
            bare.iter().zip(picker).map(|(bare, picker)| compare(*bare, *picker)).collect();
        median(&compared)
    }

    fn row(&self, figure: PickerFigure) -> PickerRow {
        let spread = |column| self.values.get(&(figure, column)).and_then(|values| Spread::of(values));
        let [envoy, bare_picker, picker, without_bodies, original_dst] = Column::ALL.map(spread);
        let times_bare = self
            .against_bare(figure, |bare, picker| picker / bare)
            .filter(|times| times.is_finite() && figure != PickerFigure::Failed);
        let over_bare = self.against_bare(figure, |bare, picker| picker - bare);
        let target = figure.target();
        let met = match target {
            // Requests fail on no path.
            Target::AtMost(limit) if figure == PickerFigure::Failed => {
                let paths = [picker, without_bodies, original_dst];
                picker.map(|_| paths.into_iter().flatten().all(|failed| failed.median <= limit))
            }
            Target::AtMost(limit) => picker.map(|picker| picker.median <= limit),
            Target::AtMostTimesBare(times) => times_bare.map(|measured| measured <= times),
            Target::AtLeastTimesBare(times) => times_bare.map(|measured| measured >= times),
            Target::AtMostOverBare(limit) => over_bare.map(|over| over <= limit),
            Target::WithinBareRange => {
                bare_picker.zip(picker).map(|(bare, picker)| picker.median <= bare.greatest)
            }
            Target::None => None,
        };
        PickerRow {
            figure,
            envoy,
            bare_picker,
            picker,
            without_bodies,
            original_dst,
            times_bare,
            target,
            met,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pointsman_report::Samples;

    fn observed(failed: u64, e2e: f64) -> Observed {
        let e2e = Samples::new(vec![e2e; 100]);
        Observed { completed: 100, failed, elapsed: Duration::from_secs(1), e2e }
    }

    /// Slices in which the picker costs `times` as much as the bare picker.
    fn report(times: f64) -> PickerReport {
        let mut collected = Collected::default();
        for slice in [1.0, 1.1, 1.2] {
            for (column, cost) in [(Column::Bare, slice), (Column::Picker, slice * times)] {
                for phase in PickerPhase::ALL {
                    let picker = Some(Duration::from_secs_f64(cost / 100.0));
                    let used = Used { envoy: Duration::from_millis(20), picker, events: 100 };
                    collected.note(phase, column, &observed(0, cost), used);
                }
            }
        }
        collected.push(PickerFigure::IdleCores, Column::Picker, 0.01);
        collected.resident(Column::Picker, 20 << 20);
        collected.report(3)
    }

    fn met(report: &PickerReport, figure: PickerFigure) -> Option<bool> {
        report.rows.iter().find(|row| row.figure == figure).and_then(|row| row.met)
    }

    #[test]
    fn figures_are_judged_against_the_bare_picker_of_the_same_run() {
        let paced = PickerPhase::Paced1000;
        for (times, cpu, p50, p90, p99) in [
            (1.0, true, true, true, true),
            (1.2, true, false, true, false),
            (1.6, false, false, false, false),
        ] {
            let report = report(times);
            assert_eq!(met(&report, PickerFigure::PickerCpu(paced)), Some(cpu), "{times}");
            assert_eq!(met(&report, PickerFigure::P50(paced)), Some(p50), "{times}");
            assert_eq!(met(&report, PickerFigure::P90(paced)), Some(p90), "{times}");
            assert_eq!(met(&report, PickerFigure::P99(paced)), Some(p99), "{times}");
        }
        assert!(report(1.0).meets_all_targets());
        assert!(!report(1.2).meets_all_targets());
    }

    #[test]
    fn slices_are_compared_with_those_of_the_same_turn() {
        let mut collected = Collected::default();
        for (bare, picker) in [(1.0, 2.2), (4.0, 4.2), (2.0, 2.1)] {
            for (column, cost) in [(Column::Bare, bare), (Column::Picker, picker)] {
                let picker = Some(Duration::from_secs_f64(cost));
                let used = Used { envoy: Duration::ZERO, picker, events: 100 };
                collected.note(PickerPhase::Streams, column, &observed(0, 1.0), used);
            }
        }
        let report = collected.report(3);
        let row = report.rows.iter().find(|row| row.figure == PickerFigure::PickerCpu(PickerPhase::Streams));
        let times = row.unwrap().times_bare.unwrap();
        assert!((times - 1.05).abs() < 1e-9, "{times}");
        assert!(report.rows.iter().all(|row| row.figure != PickerFigure::P50(PickerPhase::Paced100)));
    }

    #[test]
    fn failures_are_summed_over_the_slices() {
        let mut collected = Collected::default();
        for _ in 0..3 {
            let used = Used { envoy: Duration::ZERO, picker: None, events: 0 };
            collected.note(PickerPhase::Paced100, Column::Picker, &observed(2, 1.0), used);
        }
        let report = collected.report(3);
        let row = report.rows.iter().find(|row| row.figure == PickerFigure::Failed).unwrap();
        assert_eq!(row.picker.unwrap().median, 6.0);
        assert_eq!(row.met, Some(false));
    }

    #[test]
    fn failures_behind_a_cluster_that_reads_one_destination_miss_the_target() {
        for (failed, met) in [(0, true), (3, false)] {
            let mut collected = Collected::default();
            let used = Used { envoy: Duration::ZERO, picker: None, events: 0 };
            collected.note(PickerPhase::Paced100, Column::Picker, &observed(0, 1.0), used);
            collected.note(PickerPhase::Paced100, Column::OriginalDst, &observed(failed, 1.0), used);
            let report = collected.report(1);
            let row = report.rows.iter().find(|row| row.figure == PickerFigure::Failed).unwrap();
            assert_eq!(row.met, Some(met));
        }
    }

    #[test]
    fn the_table_names_figures_and_verdicts() {
        let text = report(1.2).table().render(220);
        let line = |label: &str| text.lines().find(|line| line.starts_with(label)).unwrap().to_owned();
        assert!(line("1 KB, 1,000 req/s: p50").ends_with("missed"), "{text}");
        assert!(line("idle, 100").ends_with("met"), "{text}");
        assert!(line("10 KB, 20 req/s: p50").contains("1.2"), "{text}");
    }
}
