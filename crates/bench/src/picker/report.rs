//! The figures of `bench epp`, beside their targets.

use pointsman_report::{Table, percent};
use serde::Serialize;

use super::figure::{PickerFigure, Target};
use crate::overhead::Spread;

/// One figure on each path to the engines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PickerRow {
    /// The figure.
    pub figure: PickerFigure,
    /// Envoy alone.
    pub envoy: Option<Spread>,
    /// Envoy with the bare picker.
    pub bare_picker: Option<Spread>,
    /// Envoy with the picker.
    pub picker: Option<Spread>,
    /// Envoy with the picker, which receives no response bodies.
    pub without_bodies: Option<Spread>,
    /// Envoy with the picker and a cluster of type `ORIGINAL_DST`.
    pub original_dst: Option<Spread>,
    /// The picker's value over the bare picker's of the same turn, median over the turns.
    pub times_bare: Option<f64>,
    /// The picker's target.
    pub target: Target,
    /// Whether the target is met; `null` without target or measurement.
    pub met: Option<bool>,
}

/// All figures of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PickerReport {
    /// Cores that all processes shared.
    pub cores: usize,
    /// Slices per arm and phase.
    pub slices: usize,
    /// The figures.
    pub rows: Vec<PickerRow>,
}

impl PickerReport {
    /// Whether every figure with a target meets it.
    #[must_use]
    pub fn meets_all_targets(&self) -> bool {
        self.rows.iter().all(|row| row.target == Target::None || row.met == Some(true))
    }

    /// The figures beside their targets: medians over the slices, and the range of the picker's.
    #[must_use]
    pub fn table(&self) -> Table {
        let headings = [
            "",
            "Envoy",
            "bare",
            "pointsman",
            "slices",
            "of bare",
            "no bodies",
            "ORIGINAL_DST",
            "target",
            "",
        ];
        let mut table = Table::new(headings);
        for row in &self.rows {
            let figure = row.figure;
            let show =
                |spread: Option<Spread>| spread.map_or_else(String::new, |spread| figure.show(spread.median));
            let range = row.picker.map(|spread| spread.range(|value| figure.show(value)));
            table.row([
                figure.label(),
                show(row.envoy),
                show(row.bare_picker),
                show(row.picker),
                range.unwrap_or_default(),
                row.times_bare.map_or_else(String::new, |share| percent(Some(share))),
                show(row.without_bodies),
                show(row.original_dst),
                target(row),
                verdict(row).to_owned(),
            ]);
        }
        table
    }
}

fn target(row: &PickerRow) -> String {
    match row.target {
        Target::AtMost(limit) => format!("≤ {}", row.figure.show(limit)),
        Target::AtMostTimesBare(times) => format!("≤ {} of bare", percent(Some(times))),
        Target::AtLeastTimesBare(times) => format!("≥ {} of bare", percent(Some(times))),
        Target::AtMostOverBare(limit) => format!("≤ bare + {}", row.figure.show(limit)),
        Target::WithinBareRange => "bare's range".to_owned(),
        Target::None => String::new(),
    }
}

const fn verdict(row: &PickerRow) -> &'static str {
    match (row.target, row.met) {
        (Target::None, _) => "",
        (_, Some(true)) => "met",
        (_, Some(false)) => "missed",
        (_, None) => "not measured",
    }
}
