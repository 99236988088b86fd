//! The demo's screens as functions of a terminal's size.

use pointsman_report::{Interval, Level, Measure, Statistic, count, millis};

use super::standing::{EngineState, Figure, Figures, HEADLINE, Running, SetUp, Standing, Verdict};
use super::text::{Block, Line, Span, Tone, bar, beside, fitted, grid, stacked};

/// Width from which a screen has two columns.
const TWO_COLUMNS: usize = 170;
/// Width of the left one.
const LEFT: usize = 94;
/// Width of a value with its unit, and of the gap before it.
const VALUE: usize = 10;

const fn statistic(measure: Measure, level: Level) -> Statistic {
    Statistic { measure, level }
}

/// Rows beside the headline's bars on a low terminal.
const FEW: &[Statistic] = &[
    statistic(Measure::Ttft, Level::P50),
    statistic(Measure::Ttft, Level::P99),
    statistic(Measure::Tpot, Level::P90),
    statistic(Measure::E2e, Level::P50),
    statistic(Measure::E2e, Level::P90),
    statistic(Measure::E2e, Level::P99),
];

/// Rows of the result on a low terminal.
const SOME: &[Statistic] = &[
    statistic(Measure::Ttft, Level::P50),
    HEADLINE,
    statistic(Measure::Ttft, Level::P99),
    statistic(Measure::Tpot, Level::P50),
    statistic(Measure::Tpot, Level::P90),
    statistic(Measure::Tpot, Level::P99),
    statistic(Measure::E2e, Level::P50),
    statistic(Measure::E2e, Level::P90),
    statistic(Measure::E2e, Level::P99),
];

/// The screen while the load runs, at most `width` by `height` characters.
pub(super) fn live(standing: &Standing, width: usize, height: usize) -> Block {
    let Standing { set_up, figures, running, engines } = standing;
    let all: Vec<Statistic> = Statistic::all().collect();
    let top = |width: usize| stacked([title(set_up), vec![progress(set_up, running, width)]]);
    let measured = |shown: &[Statistic], width: usize| {
        let headline = headline(figures, " so far");
        stacked([chart(set_up, figures, headline, width), table(set_up, figures, shown, width)])
    };
    if width >= TWO_COLUMNS {
        let right = width - LEFT;
        let sides = |slices: Block, shown: &[Statistic]| {
            let left = measured(shown, LEFT - 4);
            stacked([top(width), beside(left, stacked([slices, engine_table(engines)]), LEFT)])
        };
        let tall = sides(slices_in_pairs(set_up, figures, right), &all);
        let low = sides(slices_in_rows(figures, right), &all);
        let chosen = first_that_fits([tall, low, sides(Block::new(), FEW)], height);
        return fitted(&chosen, width, height);
    }
    let column = |slices: Block, shown: &[Statistic]| {
        stacked([top(width), measured(shown, width), slices, engine_table(engines)])
    };
    let slices = slices_in_rows(figures, width);
    let candidates = [column(slices, &all), column(Block::new(), &all), column(Block::new(), FEW)];
    fitted(&first_that_fits(candidates, height), width, height)
}

/// The result, with `footer` below it, at most `width` wide. It is `height` lines or lower where the most important parts fit.
pub(super) fn result(standing: &Standing, footer: &Block, width: usize, height: usize) -> Block {
    let Standing { set_up, figures, .. } = standing;
    let all: Vec<Statistic> = Statistic::all().collect();
    let setting: Block = set_up.lines.iter().map(|line| Line::new(line.clone(), Tone::Faint)).collect();
    let with = |shown: &[Statistic], chart: Block| {
        let table = table(set_up, figures, shown, width);
        stacked([chart, table, setting.clone(), footer.clone()])
    };
    let bars = || chart(set_up, figures, headline(figures, ""), width.min(TWO_COLUMNS));
    let slices = if width >= TWO_COLUMNS {
        slices_in_pairs(set_up, figures, LEFT)
    } else {
        slices_in_rows(figures, width)
    };
    let tall = with(&all, stacked([bars(), slices]));
    let candidates = [tall, with(&all, bars()), with(SOME, vec![headline(figures, "")])];
    // A line remains for the shell's prompt. A result is printed whole; only its lines are cut.
    fitted(&first_that_fits(candidates, height.saturating_sub(1)), width, usize::MAX)
}

/// The first block of at most `height` lines, or else the last one.
fn first_that_fits<const N: usize>(candidates: [Block; N], height: usize) -> Block {
    let mut last = Block::new();
    for candidate in candidates {
        last = candidate;
        if last.len() <= height {
            break;
        }
    }
    last
}

fn title(set_up: &SetUp) -> Block {
    let tone = |index: usize| if index == 0 { Tone::Strong } else { Tone::Faint };
    set_up.lines.iter().enumerate().map(|(index, line)| Line::new(line.clone(), tone(index))).collect()
}

/// Tones of the arms, baseline first.
const ARMS: [Tone; 2] = [Tone::Baseline, Tone::Candidate];

fn progress(set_up: &SetUp, running: &Running, width: usize) -> Line {
    let Running { arm, slice, ended, of, in_flight } = *running;
    let slices = of / 2;
    let (name, tone) = (set_up.names.get(arm).map_or("", String::as_str), ARMS.get(arm).copied());
    let what = match slice {
        Some(slice) => format!("slice {} of {} through ", slice + 1, slices.saturating_sub(1)),
        None => "warm-up through ".to_owned(),
    };
    let start = Line::plain(format!("{what:<20}")).and(format!("{name:<18}"), tone.unwrap_or(Tone::Plain));
    let end = format!(" {in_flight:>3} in flight");
    let room = width.saturating_sub(start.width() + end.chars().count() + 1).min(100);
    #[expect(clippy::cast_precision_loss, reason = "a handful of slices")]
    let done = if ended == 0 { String::new() } else { bar(ended as f64, of as f64, room) };
    let rest = "░".repeat(room.saturating_sub(done.chars().count()));
    start.and(" ", Tone::Plain).and(done, Tone::Strong).and(rest, Tone::Faint).and(end, Tone::Plain)
}

/// `TTFT p90 -75 %: 83.5 ms through pointsman, 330 ms through kubernetes-service`.
pub(super) fn headline(figures: &Figures, when: &str) -> Line {
    let label = HEADLINE.label();
    let Some((figure, change)) = figures.of(HEADLINE).and_then(|figure| Some((figure, figure.change()?)))
    else {
        return Line::new(format!("{label}: not measured yet"), Tone::Strong);
    };
    let [baseline, candidate] = figure.values.map(millis);
    let tone = tone_of(figure);
    let doubt = match figure.verdict() {
        Some(Verdict::Unclear) => ", no clear difference",
        Some(Verdict::Better | Verdict::Worse) | None => "",
    };
    Line::new(format!("{label} {}{when}", change_text(change)), tone)
        .and(format!(": {candidate} instead of {baseline}{doubt}"), Tone::Plain)
}

/// The headline with a bar for each arm.
fn chart(set_up: &SetUp, figures: &Figures, headline: Line, width: usize) -> Block {
    let values = figures.of(HEADLINE).map(|figure| figure.values).unwrap_or_default();
    let mut block = vec![headline];
    block.extend(bars(&set_up.names, values, most(&[values]), width));
    block
}

/// A bar for each arm with its name and value.
fn bars(names: &[String; 2], values: [Option<f64>; 2], most: f64, width: usize) -> Block {
    let label = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let room = width.saturating_sub(label + 4 + VALUE);
    let line = |((name, value), tone): ((&String, Option<f64>), Tone)| {
        let drawn = value.map_or_else(String::new, |value| bar(value, most, room));
        Line::plain(format!("  {name:<label$}  ")).and(drawn, tone).and(format!(" {}", millis(value)), tone)
    };
    names.iter().zip(values).zip(ARMS).map(line).collect()
}

/// The largest finite value.
fn most(values: &[[Option<f64>; 2]]) -> f64 {
    values.iter().flatten().flatten().copied().filter(|value| value.is_finite()).fold(0.0, f64::max)
}

fn table(set_up: &SetUp, figures: &Figures, shown: &[Statistic], width: usize) -> Block {
    let intervals = figures.latencies.iter().any(|figure| figure.interval.is_some());
    let heading = |text: &str| Span::new(text, Tone::Faint);
    let [baseline, candidate] = &set_up.names;
    let mut first = vec![
        heading("latency"),
        Span::new(baseline.clone(), Tone::Baseline),
        Span::new(candidate.clone(), Tone::Candidate),
        heading("change"),
    ];
    if intervals {
        first.extend([heading("95 % interval"), heading("")]);
    }
    let rows = |verdicts: bool| {
        let mut rows = vec![first.clone()];
        rows.extend(shown.iter().filter_map(|&statistic| figures.of(statistic)).map(|f| row(f, verdicts)));
        rows.push(failures(figures));
        grid(rows)
    };
    let whole = rows(true);
    // Without room, the colour of the change says it.
    if whole.iter().any(|line| line.width() > width) { rows(false) } else { whole }
}

/// Requests without a complete response, of how many.
fn failures(figures: &Figures) -> Vec<Span> {
    let cell = |((failed, completed), tone): ((u64, u64), Tone)| {
        Span::new(format!("{} of {}", count(failed), count(failed + completed)), tone)
    };
    let cells = figures.failed.into_iter().zip(figures.completed).zip(ARMS).map(cell);
    std::iter::once(Span::plain("failed")).chain(cells).collect()
}

fn row(figure: &Figure, verdicts: bool) -> Vec<Span> {
    let change = figure.change().map_or_else(|| millis(None), change_text);
    let mut row = vec![Span::plain(figure.statistic.label())];
    row.extend(figure.values.into_iter().zip(ARMS).map(|(value, tone)| Span::new(millis(value), tone)));
    row.push(Span::new(change, tone_of(figure)));
    if let Some(Interval { low, high }) = figure.interval {
        row.push(Span::plain(format!("{} to {}", millis(Some(low)), millis(Some(high)))));
    }
    if let Some(verdict) = figure.verdict().filter(|_| verdicts) {
        let word = match verdict {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Unclear => "unclear",
        };
        row.push(Span::new(word, tone_of(figure)));
    }
    row
}

/// The colour of a change: of its verdict where there is one, otherwise of its direction.
fn tone_of(figure: &Figure) -> Tone {
    match (figure.verdict(), figure.change()) {
        (Some(Verdict::Better), _) => Tone::Better,
        (Some(Verdict::Worse), _) => Tone::Worse,
        (Some(Verdict::Unclear), _) | (None, None) => Tone::Plain,
        (None, Some(change)) if change < 0.0 => Tone::Better,
        (None, Some(_)) => Tone::Worse,
    }
}

/// A share as `-75 %` or `+12 %`.
fn change_text(share: f64) -> String {
    format!("{:+.0} %", share * 100.0)
}

/// The headline's statistic in each slice, both arms in one line.
fn slices_in_rows(figures: &Figures, width: usize) -> Block {
    if figures.by_slice.is_empty() {
        return Block::new();
    }
    let half = (width.saturating_sub(4)) / 2;
    let room = half.saturating_sub(VALUE + 1);
    let most = most(&figures.by_slice);
    let cell = |(value, tone): (Option<f64>, Tone)| {
        let drawn = value.map_or_else(String::new, |value| bar(value, most, room));
        let value = value.map_or_else(String::new, |value| millis(Some(value)));
        vec![Line::new(drawn, tone).and(format!(" {value}"), tone)]
    };
    let lines = figures.by_slice.iter().enumerate().flat_map(|(index, values)| {
        let [left, right] = [0, 1].map(|arm: usize| {
            values.get(arm).copied().zip(ARMS.get(arm).copied()).map(cell).unwrap_or_default()
        });
        beside(vec![Line::plain(format!("{:>2}", index + 1))], beside(left, right, half), 4)
    });
    let heading = format!("{} by slice", HEADLINE.label());
    std::iter::once(Line::new(heading, Tone::Faint)).chain(lines).collect()
}

/// The headline's statistic in each slice, a pair of lines for each.
fn slices_in_pairs(set_up: &SetUp, figures: &Figures, width: usize) -> Block {
    if figures.by_slice.is_empty() {
        return Block::new();
    }
    let most = most(&figures.by_slice);
    let mut block = Block::new();
    for (index, &values) in figures.by_slice.iter().enumerate() {
        block.push(Line::new(format!("{} in slice {}", HEADLINE.label(), index + 1), Tone::Faint));
        block.extend(bars(&set_up.names, values, most, width));
    }
    block
}

fn engine_table(engines: &[EngineState]) -> Block {
    let headings = ["engine", "from pointsman", "running", "waiting", "KV cache", "time per token"];
    let mut rows = vec![headings.map(|heading| Span::new(heading, Tone::Faint)).to_vec()];
    let number = |value: Option<u64>| Span::plain(value.map_or_else(|| millis(None), count));
    rows.extend(engines.iter().map(|engine| {
        vec![
            Span::plain(engine.address.clone()),
            number(engine.in_flight),
            number(engine.running),
            number(engine.waiting),
            Span::plain(
                engine.kv_use.map_or_else(|| millis(None), |share| format!("{:.0} %", share * 100.0)),
            ),
            Span::plain(millis(engine.token_ms)),
        ]
    }));
    if engines.is_empty() { Block::new() } else { grid(rows) }
}

#[cfg(test)]
mod tests;
