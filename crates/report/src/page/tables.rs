//! Tables of the page.

use std::fmt::Write as _;

use crate::markup::escape;
use crate::sweep::{State, Sweep, SweepRow, bounds_note};
use crate::{Interval, Level, Measure, Statistic, count, millis, per_second, percent};

const fn statistic(measure: Measure, level: Level) -> Statistic {
    Statistic { measure, level }
}

/// The latency columns.
const SHOWN: [Statistic; 6] = [
    statistic(Measure::E2e, Level::P50),
    statistic(Measure::E2e, Level::P90),
    statistic(Measure::E2e, Level::P99),
    statistic(Measure::Ntpot, Level::P90),
    statistic(Measure::Ttft, Level::P90),
    statistic(Measure::Ttft, Level::P99),
];

/// The latency columns with intervals and ratios.
const PRIMARY: [Statistic; 2] = [statistic(Measure::E2e, Level::P90), statistic(Measure::Ttft, Level::P90)];

pub(super) fn write(page: &mut String, sweep: &Sweep) {
    page.push_str("<section>\n<h2>Tables</h2>\n");
    if sweep.policies().len() > 1 {
        overview(page, sweep);
    }
    rows(page, sweep);
    if let Some(note) = bounds_note(sweep) {
        let _ = writeln!(page, "<p class=\"cards-note\">{note}</p>");
    }
    page.push_str("</section>\n");
}

/// A row per policy with its knee and its worst ratios.
fn overview(page: &mut String, sweep: &Sweep) {
    page.push_str(
        "<h3>By policy</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>policy</th><th>keeps up to</th>\
         <th>not with</th>",
    );
    for statistic in PRIMARY {
        let _ = write!(page, "<th>worst × best, {}</th>", statistic.label());
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    let worst = PRIMARY.map(|statistic| sweep.worst_ratios(statistic));
    for (index, policy) in sweep.policies().into_iter().enumerate() {
        let knee = sweep.knees.iter().find(|knee| knee.policy == policy);
        let _ = write!(
            page,
            "<tr{}><th>{}</th><td>{}</td><td>{}</td>",
            row_class(policy),
            escape(policy),
            per_second(knee.and_then(|knee| knee.stable)),
            per_second(knee.and_then(|knee| knee.unstable))
        );
        for ratios in &worst {
            let ratio = ratios.get(index).and_then(|(_, ratio)| *ratio);
            let _ = write!(page, "<td>{}</td>", crate::number::ratio(ratio));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

fn row_class(policy: &str) -> &'static str {
    if policy == "pointsman" { " class=\"own\"" } else { "" }
}

fn rows(page: &mut String, sweep: &Sweep) {
    let baseline = sweep.rows.iter().any(|row| !row.against_baseline.is_empty());
    let several = sweep.policies().len() > 1;
    let runs = sweep.seeds.len();
    let hits = sweep.rows.iter().chain(&sweep.bounds).any(|row| row.hit_rate.is_some());
    page.push_str(
        "<h3>By rate</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>policy</th><th>completed</th>",
    );
    for statistic in SHOWN {
        let _ = write!(page, "<th>{}</th>", statistic.label());
        if PRIMARY.contains(&statistic) {
            if several {
                page.push_str("<th>× best</th>");
            }
            if baseline {
                page.push_str("<th>× baseline</th>");
            }
        }
    }
    if hits {
        page.push_str("<th>hit rate</th>");
    }
    page.push_str("<th>rejected</th><th>failed</th></tr></thead>\n");
    let beside = usize::from(several) + usize::from(baseline);
    let columns = 4 + SHOWN.len() + PRIMARY.len() * beside + usize::from(hits);
    for rate in sweep.rates() {
        let of_rate = |row: &&SweepRow| row.rate == rate;
        let all: Vec<&SweepRow> = sweep.rows.iter().chain(&sweep.bounds).filter(of_rate).collect();
        let offered = all.first().map(|row| row.offered_label()).unwrap_or_default();
        let _ = writeln!(page, "<tbody>\n<tr class=\"rate\"><th colspan=\"{columns}\">{offered}</th></tr>");
        for row in sweep.rows.iter().filter(of_rate) {
            write_row(page, row, row_class(&row.policy), [several, baseline, hits], runs);
        }
        for row in sweep.bounds.iter().filter(of_rate) {
            write_row(page, row, " class=\"bound\"", [several, baseline, hits], runs);
        }
        page.push_str("</tbody>\n");
    }
    page.push_str("</table></div>\n");
}

fn write_row(
    page: &mut String,
    row: &SweepRow,
    class: &str,
    [several, baseline, hits]: [bool; 3],
    runs: usize,
) {
    let state = match row.state {
        State::Stable => String::new(),
        State::Backlogged | State::Overloaded => {
            format!(" <span class=\"state\">{}</span>", row.state.label())
        }
    };
    let missing_runs =
        row.missing_runs(runs).map(|text| format!("<small>{text}</small>")).unwrap_or_default();
    let completed = per_second(Some(row.completed_rps));
    let _ =
        write!(page, "<tr{class}><th>{}{state}{missing_runs}</th><td>{completed}</td>", escape(&row.policy));
    for statistic in SHOWN {
        let interval = row.interval95.latency.get(statistic).filter(|_| PRIMARY.contains(&statistic));
        let _ = write!(
            page,
            "<td>{}{}</td>",
            millis(row.value(statistic)),
            small(interval, |end| millis(Some(end)))
        );
        if PRIMARY.contains(&statistic) {
            let ratio = row.ratio_to_best(statistic);
            let best = if ratio == Some(1.0) { " class=\"best\"" } else { "" };
            let text = crate::number::ratio(ratio);
            if several {
                let _ = write!(page, "<td{best}>{text}</td>");
            }
            if baseline {
                let found = row.against_baseline.get(&statistic);
                let text = found.map(|found| {
                    let interval = small(found.interval95, |end| format!("{end:.2}"));
                    let ratio = if found.ratio.is_finite() {
                        format!("{:.2}", found.ratio)
                    } else {
                        "∞".to_owned()
                    };
                    format!("{ratio}{interval}")
                });
                let _ = write!(page, "<td>{}</td>", text.unwrap_or_default());
            }
        }
    }
    if hits {
        let _ = write!(page, "<td>{}</td>", percent(row.hit_rate));
    }
    let (rejected, failed) = (count(row.rejected), count(row.failed + row.unfinished));
    let _ = writeln!(page, "<td>{rejected}</td><td>{failed}</td></tr>");
}

fn small(interval: Option<Interval>, written: impl Fn(f64) -> String) -> String {
    interval.map_or_else(String::new, |interval| {
        format!(" <small>{} – {}</small>", written(interval.low), written(interval.high))
    })
}
