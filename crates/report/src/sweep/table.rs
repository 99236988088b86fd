use super::{State, Sweep, SweepRow};
use crate::{Align, Level, Measure, Statistic, Table, count, millis, per_second, percent};

/// What stands under a table that has bounds.
#[must_use]
pub fn bounds_note(sweep: &Sweep) -> Option<&'static str> {
    (!sweep.bounds.is_empty()).then_some("Bounds know or do what no router can; they are not policies.")
}

/// The statistics that the terminal shows.
const SHOWN: [Statistic; 4] = [
    Statistic { measure: Measure::E2e, level: Level::P50 },
    Statistic { measure: Measure::E2e, level: Level::P90 },
    Statistic { measure: Measure::Ntpot, level: Level::P90 },
    Statistic { measure: Measure::Ttft, level: Level::P90 },
];

/// The statistic that is printed with its interval, and by which policies are compared.
const LEAD: Statistic = Statistic { measure: Measure::E2e, level: Level::P90 };

/// One table per rate: policies as rows, then the bounds, with the ratio to the best policy beside
/// each latency. A rate at which no policy lost a request has no columns for losses.
#[must_use]
pub fn sweep_table(sweep: &Sweep, width: usize) -> String {
    let mut text = String::new();
    for rate in sweep.rates() {
        let of_rate = |rows: &'_ [SweepRow]| -> Vec<SweepRow> {
            rows.iter().filter(|row| row.rate == rate).cloned().collect()
        };
        let (rows, bounds) = (of_rate(&sweep.rows), of_rate(&sweep.bounds));
        let offered = rows.iter().chain(&bounds).next().map(|row| row.offered_rps);
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{} offered\n\n", per_second(offered)));
        text.push_str(&rate_table(&rows, &bounds).render(width));
    }
    if let Some(note) = bounds_note(sweep) {
        text.push_str(&format!("\n{note}\n"));
    }
    text
}

fn rate_table(rows: &[SweepRow], bounds: &[SweepRow]) -> Table {
    let all = || rows.iter().chain(bounds);
    let lost = all().any(|row| row.completed < row.offered);
    let hits = all().any(|row| row.hit_rate.is_some());
    let intervals = all().any(|row| row.interval95.latency.get(LEAD).is_some());
    let mut columns = vec![("policy".to_owned(), Align::Left), ("completed".to_owned(), Align::Right)];
    for statistic in SHOWN {
        let name = format!("{} {}", statistic.measure.label(), statistic.level.key());
        columns.push((name, Align::Right));
        if statistic == LEAD && intervals {
            columns.push(("95 % interval".to_owned(), Align::Right));
        }
        columns.push(("× best".to_owned(), Align::Right));
    }
    if hits {
        columns.push(("hit rate".to_owned(), Align::Right));
    }
    if lost {
        columns.push(("rejected".to_owned(), Align::Right));
        columns.push(("failed".to_owned(), Align::Right));
    }
    columns.push((String::new(), Align::Left));
    let mut table = Table::new(columns);
    let line = |row: &SweepRow, name: String| {
        let mut cells = vec![name, per_second(Some(row.completed_rps))];
        for statistic in SHOWN {
            cells.push(millis(row.value(statistic)));
            if statistic == LEAD && intervals {
                cells.push(row.interval95.latency.get(LEAD).map_or_else(String::new, |interval| {
                    format!("{} – {}", millis(Some(interval.low)), millis(Some(interval.high)))
                }));
            }
            cells.push(row.ratio_to_best(statistic).map_or_else(String::new, |ratio| format!("{ratio:.2}")));
        }
        if hits {
            cells.push(percent(row.hit_rate));
        }
        if lost {
            cells.push(count(row.rejected));
            cells.push(count(row.failed + row.unfinished));
        }
        cells.push(match row.state {
            State::Stable => String::new(),
            State::Backlogged | State::Overloaded => row.state.label().to_owned(),
        });
        cells
    };
    for row in rows {
        table.row(line(row, row.policy.clone()));
    }
    for row in bounds {
        table.row(line(row, format!("({})", row.policy)));
    }
    table
}
