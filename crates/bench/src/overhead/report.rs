//! The figures of `bench overhead`, beside their budgets.

use pointsman_report::{Table, millis, percent};
use serde::Serialize;

use super::figure::{Budget, Figure, Spread};

/// A figure with its baseline and budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FigureRow {
    /// The figure.
    pub figure: Figure,
    /// The bare proxy's value.
    pub bare_proxy: Option<Spread>,
    /// The gateway's value.
    pub gateway: Option<Spread>,
    /// The gateway's median over the bare proxy's.
    pub times_bare_proxy: Option<f64>,
    /// The gateway's budget.
    pub budget: Budget,
    /// Whether it is within budget; `null` without budget or measurement.
    pub within: Option<bool>,
}

/// All figures of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverheadReport {
    /// Cores that all processes shared.
    pub cores: usize,
    /// Slices per arm and phase.
    pub slices: usize,
    /// p50 and p99 of the direct path at 1,000 requests per second, milliseconds.
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

    /// The label; added latencies include the direct path's latency.
    fn label(&self, figure: Figure) -> String {
        let (label, _) = figure.label_and_budget();
        let [p50, p99] = self.direct_ms;
        let added = [(Figure::AddedP50Ms, p50), (Figure::AddedP99Ms, p99)];
        let direct = added.into_iter().find(|(added, _)| *added == figure);
        direct
            .map_or_else(|| label.to_owned(), |(_, latency)| format!("{label} (direct {})", millis(latency)))
    }

    /// The figures beside their budgets.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new(["", "bare proxy", "gateway", "slices", "of bare", "budget", ""])
            .with_optional(&[3, 4, 5]);
        for row in &self.figures {
            let show =
                |spread: Option<Spread>| spread.map_or_else(|| millis(None), |s| row.figure.show(s.median));
            let range = row.gateway.map(|spread| spread.range(|value| row.figure.show(value)));
            table.row([
                self.label(row.figure),
                show(row.bare_proxy),
                show(row.gateway),
                range.unwrap_or_default(),
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
