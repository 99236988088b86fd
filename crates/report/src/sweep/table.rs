//! A sweep as tables for the terminal.

use std::fmt::Write as _;

use super::result::Sweep;
use super::row::SweepRow;
use super::state::State;
use crate::latency::Statistic;
use crate::measure::Measure;
use crate::number::{count, millis, per_second, percent, ratio};
use crate::quantile::Level;
use crate::table::Table;

/// The note under a table with bounds.
#[must_use]
pub fn bounds_note(sweep: &Sweep) -> Option<&'static str> {
    (!sweep.bounds.is_empty())
        .then_some("Bounds are lower bounds that no router can reach; they are not policies.")
}

const fn p90(measure: Measure) -> Statistic {
    Statistic { measure, level: Level::P90 }
}

/// The statistic that has an interval and a ratio at every width.
const PRIMARY: Statistic = p90(Measure::E2e);

/// The columns of a table.
#[derive(Debug, Clone, Copy)]
struct Detail {
    shown: &'static [Statistic],
    interval: bool,
    every_ratio: bool,
    hits: bool,
}

const ALL: &[Statistic] = &[
    Statistic { measure: Measure::E2e, level: Level::P50 },
    PRIMARY,
    p90(Measure::Ntpot),
    p90(Measure::Ttft),
];
const TAILS: &[Statistic] = &[PRIMARY, p90(Measure::Ntpot), p90(Measure::Ttft)];
const ENDS: &[Statistic] = &[PRIMARY, p90(Measure::Ttft)];

/// From the widest table to the narrowest.
const DETAILS: [Detail; 5] = [
    Detail { shown: ALL, interval: true, every_ratio: true, hits: true },
    Detail { shown: ALL, interval: true, every_ratio: false, hits: true },
    Detail { shown: TAILS, interval: true, every_ratio: false, hits: true },
    Detail { shown: TAILS, interval: false, every_ratio: false, hits: true },
    Detail { shown: ENDS, interval: false, every_ratio: false, hits: false },
];

/// One table per rate with policies as rows, then bounds, and the ratio to the best policy beside the
/// latencies; for several policies, a table of their knees and worst ratios too. Narrower terminals
/// get fewer columns, the same for all rates; JSON has all of them.
#[must_use]
pub fn sweep_table(sweep: &Sweep, width: usize) -> String {
    let rates = sweep.rates();
    let tables = |detail: Detail| -> Vec<Table> {
        rates.iter().map(|&rate| rate_table(&RateRows::new(sweep, rate), detail)).collect()
    };
    let fits = |tables: &Vec<Table>| tables.iter().all(|table| table.width() <= width);
    let found = DETAILS.into_iter().map(tables).find(fits);
    let chosen = found.unwrap_or_else(|| DETAILS.last().copied().map(tables).unwrap_or_default());
    let mut text = String::new();
    for (&rate, table) in rates.iter().zip(&chosen) {
        let offered =
            RateRows::new(sweep, rate).all().next().map(SweepRow::offered_label).unwrap_or_default();
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{gap}{offered}\n\n{}", table.render(width));
    }
    if sweep.policies().len() > 1 {
        let _ = write!(text, "\n{}", overview(sweep).render(width));
    }
    if let Some(note) = bounds_note(sweep) {
        let _ = write!(text, "\n{note}\n");
    }
    text
}

/// The rows of one rate.
struct RateRows<'a> {
    policies: Vec<&'a SweepRow>,
    bounds: Vec<&'a SweepRow>,
    runs: usize,
}

impl<'a> RateRows<'a> {
    fn new(sweep: &'a Sweep, rate: f64) -> Self {
        let of_rate = |rows: &'a [SweepRow]| rows.iter().filter(|row| row.rate == rate).collect();
        Self { policies: of_rate(&sweep.rows), bounds: of_rate(&sweep.bounds), runs: sweep.seeds.len() }
    }

    fn all(&self) -> impl Iterator<Item = &'a SweepRow> {
        self.policies.iter().chain(&self.bounds).copied()
    }
}

/// The columns that have values.
#[derive(Debug, Clone, Copy)]
struct Columns {
    detail: Detail,
    ratios: bool,
    incomplete: bool,
    /// Number of runs of a row without missing runs.
    runs: usize,
}

impl Columns {
    fn ratio_of(self, statistic: Statistic) -> bool {
        self.ratios && (self.detail.every_ratio || statistic == PRIMARY)
    }
}

fn rate_table(rows: &RateRows<'_>, mut detail: Detail) -> Table {
    detail.hits &= rows.all().any(|row| row.hit_rate.is_some());
    detail.interval &= rows.all().any(|row| row.interval95.latency.get(PRIMARY).is_some());
    let incomplete = rows.all().any(|row| row.completed < row.offered);
    let columns = Columns { detail, ratios: rows.policies.len() > 1, incomplete, runs: rows.runs };
    let mut headings = vec!["policy".to_owned()];
    let mut right = |name: &str| headings.push(name.to_owned());
    right("completed");
    for &statistic in detail.shown {
        right(&statistic.label());
        if statistic == PRIMARY && detail.interval {
            right("95 % interval");
        }
        if columns.ratio_of(statistic) {
            right("× best");
        }
    }
    if detail.hits {
        right("hit rate");
    }
    if incomplete {
        right("rejected");
        right("failed");
    }
    headings.push(String::new());
    let mut table = Table::new(headings);
    for row in &rows.policies {
        table.row(cells(row, row.policy.clone(), columns));
    }
    for row in &rows.bounds {
        table.row(cells(row, format!("({})", row.policy), columns));
    }
    table
}

fn cells(row: &SweepRow, name: String, columns: Columns) -> Vec<String> {
    let mut cells = vec![name, per_second(Some(row.completed_rps))];
    for &statistic in columns.detail.shown {
        cells.push(millis(row.value(statistic)));
        if statistic == PRIMARY && columns.detail.interval {
            let interval = row.interval95.latency.get(PRIMARY);
            cells.push(interval.map_or_else(String::new, |interval| {
                format!("{} – {}", millis(Some(interval.low)), millis(Some(interval.high)))
            }));
        }
        if columns.ratio_of(statistic) {
            cells.push(ratio(row.ratio_to_best(statistic)));
        }
    }
    if columns.detail.hits {
        cells.push(percent(row.hit_rate));
    }
    if columns.incomplete {
        cells.push(count(row.rejected));
        cells.push(count(row.failed + row.unfinished));
    }
    let state = match row.state {
        State::Stable => None,
        State::Backlogged | State::Overloaded => Some(row.state.label().to_owned()),
    };
    let remarks: Vec<String> = state.into_iter().chain(row.missing_runs(columns.runs)).collect();
    cells.push(remarks.join(", "));
    cells
}

fn overview(sweep: &Sweep) -> Table {
    let several = sweep.rates().len() > 1;
    let primary = [PRIMARY, p90(Measure::Ttft)];
    let mut headings = vec!["over all rates".to_owned()];
    if several {
        headings.extend(["keeps up to", "not with"].map(str::to_owned));
    }
    headings.extend(primary.map(|statistic| format!("worst {} × best", statistic.label())));
    let mut table = Table::new(headings);
    let worst = primary.map(|statistic| sweep.worst_ratios(statistic));
    for (index, policy) in sweep.policies().into_iter().enumerate() {
        let mut cells = vec![policy.to_owned()];
        if several {
            let knee = sweep.knees.iter().find(|knee| knee.policy == policy);
            cells.push(per_second(knee.and_then(|knee| knee.stable)));
            cells.push(per_second(knee.and_then(|knee| knee.unstable)));
        }
        cells.extend(worst.iter().map(|ratios| ratio(ratios.get(index).and_then(|(_, ratio)| *ratio))));
        table.row(cells);
    }
    table
}
