//! The cards at the top of the page.

use std::fmt::Write as _;

use crate::markup::escape;
use crate::sweep::{State, Sweep, SweepRow};
use crate::{Level, Measure, Statistic, millis, per_second};

const SHOWN: [(Statistic, &str); 3] = [
    (Statistic { measure: Measure::E2e, level: Level::P90 }, "End-to-end latency (E2E), p90"),
    (
        Statistic { measure: Measure::Ntpot, level: Level::P90 },
        "Normalised time per output token (NTPOT), p90",
    ),
    (Statistic { measure: Measure::Ttft, level: Level::P90 }, "Time to first token (TTFT), p90"),
];

/// Writes the cards of the default rule compared with the baseline, or of a single policy.
pub(super) fn write(page: &mut String, sweep: &Sweep) {
    let cards = match (subject(sweep), sweep.experiment.baseline.as_deref()) {
        (Some(subject), Some(baseline)) if subject != baseline => comparison(sweep, subject, baseline),
        (Some(subject), _) if sweep.policies().len() == 1 => single(sweep, subject),
        _ => None,
    };
    let Some((cards, note)) = cards else { return };
    page.push_str("<section class=\"cards\">\n");
    for card in cards {
        page.push_str(&card);
    }
    let _ = writeln!(page, "</section>\n<p class=\"cards-note\">{}</p>", escape(&note));
}

/// The policy of the cards: the default rule, or the only policy besides the baseline.
fn subject(sweep: &Sweep) -> Option<&str> {
    let policies = sweep.policies();
    let baseline = sweep.experiment.baseline.as_deref();
    let others: Vec<&str> = policies.iter().copied().filter(|name| Some(*name) != baseline).collect();
    if policies.contains(&"pointsman") {
        return Some("pointsman");
    }
    if let [only] = others.as_slice() {
        return Some(only);
    }
    None
}

fn row_at<'a>(sweep: &'a Sweep, policy: &str, rate: f64) -> Option<&'a SweepRow> {
    sweep.rows.iter().find(|row| row.policy == policy && row.rate == rate)
}

fn comparison(sweep: &Sweep, subject: &str, baseline: &str) -> Option<(Vec<String>, String)> {
    let both = |rate: f64| Some([row_at(sweep, subject, rate)?, row_at(sweep, baseline, rate)?]);
    let shared: Vec<[&SweepRow; 2]> = sweep.rates().into_iter().filter_map(both).collect();
    let stable = |rows: &&[&SweepRow; 2]| rows.iter().all(|row| row.state == State::Stable);
    let stable_rate = shared.iter().rev().find(stable);
    let [own, other] = stable_rate.or(shared.first())?;
    let mut cards: Vec<String> = SHOWN
        .into_iter()
        .filter_map(|(statistic, name)| {
            let found = own.against_baseline.get(&statistic)?;
            let change = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0).replace('-', "−");
            let interval = found.interval95.map_or_else(String::new, |interval| {
                format!(", 95 % interval {} to {}", change(interval.low), change(interval.high))
            });
            let class = match found.interval95 {
                Some(interval) if interval.high < 1.0 => " better",
                Some(interval) if interval.low > 1.0 => " worse",
                Some(_) | None => "",
            };
            let [own, other] = [own, other].map(|row| millis(row.value(statistic)));
            let value = if found.ratio.is_finite() { change(found.ratio) } else { "∞".to_owned() };
            Some(card(name, class, &value, &format!("{own} against {other}{interval}")))
        })
        .collect();
    cards.extend(knee_card(sweep, subject, baseline));
    let rate = per_second(Some(own.rate));
    let note = if stable_rate.is_some() {
        let only =
            if shared.len() > 1 { ", the highest rate of this sweep at which both kept up" } else { "" };
        format!("{subject} against {baseline} at {rate}{only}.")
    } else {
        format!("{subject} against {baseline} at {rate}; at no rate of this sweep did both keep up.")
    };
    Some((cards, note))
}

fn knee_card(sweep: &Sweep, subject: &str, baseline: &str) -> Option<String> {
    if sweep.rates().len() < 2 {
        return None;
    }
    let knee_of = |policy: &str| {
        let knee = sweep.knees.iter().find(|knee| knee.policy == policy)?;
        Some(match (knee.stable, knee.unstable) {
            (Some(stable), Some(_)) => per_second(Some(stable)),
            (Some(stable), None) => format!("≥ {}", per_second(Some(stable))),
            (None, Some(unstable)) => format!("< {}", per_second(Some(unstable))),
            (None, None) => return None,
        })
    };
    let (own, other) = (knee_of(subject)?, knee_of(baseline)?);
    Some(card("Highest stable rate", "", &own, &format!("against {other}")))
}

fn single(sweep: &Sweep, subject: &str) -> Option<(Vec<String>, String)> {
    let rows = || sweep.rows.iter().filter(|row| row.policy == subject);
    let row = rows().rfind(|row| row.state == State::Stable).or_else(|| rows().next())?;
    let mut cards: Vec<String> = SHOWN
        .into_iter()
        .filter_map(|(statistic, name)| {
            let value = row.value(statistic)?;
            let interval = row.interval95.latency.get(statistic).map_or_else(String::new, |interval| {
                format!("95 % interval {} to {}", millis(Some(interval.low)), millis(Some(interval.high)))
            });
            Some(card(name, "", &millis(Some(value)), &interval))
        })
        .collect();
    let offered = format!("of {} offered", per_second(Some(row.offered_rps)));
    cards.push(card("Completed", "", &per_second(Some(row.completed_rps)), &offered));
    let suffix = if row.state == State::Stable { "" } else { "; it did not keep up" };
    Some((cards, format!("{subject} at {}{suffix}.", per_second(Some(row.rate)))))
}

fn card(name: &str, class: &str, value: &str, detail: &str) -> String {
    format!(
        "<div class=\"card\"><div class=\"name\">{}</div><div class=\"value{class}\">{}</div>\
         <div class=\"detail\">{}</div></div>\n",
        escape(name),
        escape(value),
        escape(detail)
    )
}
