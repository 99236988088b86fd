//! Plots of a sweep as SVG.
//!
//! There is no PNG: `resvg` takes 105 s of CPU to compile (release, one core), twice as long as the rest of this crate's
//! dependents need, and browsers, `rsvg-convert` and Inkscape convert SVG.

mod axis;
mod curve;
mod dots;
mod figure;
mod font;
mod frame;
mod load;
mod mark;
pub(crate) mod scene;
pub(crate) mod svg;
mod tail;

use crate::Measure;
use crate::sweep::{EndpointSeries, State, Sweep, SweepRow};
use curve::{CurvePoint, Curves};
use dots::{Dot, Dots};
use figure::Figure;
use load::Load;
pub(crate) use mark::{Mark, marks};
use scene::Scene;

/// One plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// The stem of its file's name, unique in its report: `e2e-p90`.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// A sentence for those who cannot see it.
    pub summary: String,
    scene: Scene,
}

impl Plot {
    /// The plot as a document of its own, on white, with colours written out.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::write(&self.scene, &self.name, &self.title, &self.summary, svg::Colours::Fixed)
    }

    /// The plot as a part of a page whose style sheet has the colours.
    pub(crate) fn inline(&self) -> String {
        svg::write(&self.scene, &self.name, &self.title, &self.summary, svg::Colours::Classes)
    }

    pub(crate) fn width(&self) -> f64 {
        self.scene.width
    }
}

/// All plots that a sweep has data for: the figures against the rate, or by policy where there is one
/// rate only, then latencies' distributions and the endpoints' load over time at a telling rate.
///
/// A point is hollow where its row was not stable: there the figure depends on how long the run was.
/// A triangle on the axis marks where a policy's knee lies.
#[must_use]
pub fn plots(sweep: &Sweep) -> Vec<Plot> {
    let marks = marks(sweep);
    let several = sweep.rates().len() > 1;
    let mut plots = Vec::new();
    // One row has nothing beside it; its figures stand in the table, its percentiles follow.
    let alone = sweep.rows.len() + sweep.bounds.len() == 1;
    for figure in Figure::all(sweep).filter(|_| !alone) {
        let plot =
            if several { over_rates(sweep, &marks, figure) } else { of_one_rate(sweep, &marks, figure) };
        plots.extend(plot);
    }
    plots.extend(
        [Measure::E2e, Measure::Ttft].into_iter().filter_map(|measure| tails(sweep, &marks, measure)),
    );
    plots.extend(load(sweep, &marks, load::Figure::InFlight));
    plots.extend(load(sweep, &marks, load::Figure::KvUse));
    plots
}

fn over_rates(sweep: &Sweep, marks: &[Mark], figure: Figure) -> Option<Plot> {
    let rows = || sweep.rows.iter().chain(&sweep.bounds);
    let unit = figure.unit(rows());
    let point = |row: &SweepRow| {
        Some(CurvePoint {
            rate: row.rate,
            value: figure.value(row)? * unit.factor,
            interval: figure.interval(row, unit),
            stable: row.state == State::Stable,
            says: figure.says(row),
        })
    };
    let lines: Vec<(Mark, Vec<CurvePoint>)> = marks
        .iter()
        .map(|mark| (mark.clone(), sweep.of(&mark.name).filter_map(point).collect()))
        .filter(|(_, points): &(Mark, Vec<CurvePoint>)| !points.is_empty())
        .collect();
    let finite = lines.iter().flat_map(|(_, points)| points).any(|point| point.value.is_finite());
    if !finite {
        return None;
    }
    let knees = knees(sweep, marks);
    let all_found = !knees.is_empty() && sweep.knees.iter().all(|knee| knee.unstable.is_some());
    let last = knees.iter().map(|&(_, rate)| rate).fold(f64::NEG_INFINITY, f64::max);
    let curves = Curves {
        title: figure.title(sweep),
        note: note(sweep, figure),
        axis: figure.axis(unit),
        bounds: figure.bounds(&lines),
        lines,
        rates: sweep.rates(),
        reference: figure.reference(sweep),
        past_knees: all_found.then_some(last),
        knees,
    };
    Some(Plot {
        name: figure.name(),
        title: curves.title.clone(),
        summary: figure.summary(sweep),
        scene: curves.draw(),
    })
}

fn of_one_rate(sweep: &Sweep, marks: &[Mark], figure: Figure) -> Option<Plot> {
    let unit = figure.unit(sweep.rows.iter().chain(&sweep.bounds));
    let dot = |mark: &Mark| {
        let row = sweep.of(&mark.name).next()?;
        Some(Dot {
            mark: mark.clone(),
            value: figure.value(row)? * unit.factor,
            interval: figure.interval(row, unit),
            stable: row.state == State::Stable,
            label: figure.label(row),
            says: figure.says(row),
        })
    };
    let rows: Vec<Dot> = marks.iter().filter_map(dot).collect();
    if !rows.iter().any(|row| row.value.is_finite()) {
        return None;
    }
    let title = figure.title(sweep);
    let (axis, less_is_better) = (figure.axis(unit), figure.less_is_better());
    let dots = Dots { title, note: note(sweep, figure), axis, rows, less_is_better };
    Some(Plot {
        name: figure.name(),
        title: dots.title.clone(),
        summary: figure.summary(sweep),
        scene: dots.draw(),
    })
}

/// What stands below a plot's title.
fn note(sweep: &Sweep, figure: Figure) -> String {
    let runs = sweep.rows.iter().map(|row| row.seeds).max().unwrap_or(0);
    let intervals = sweep.rows.iter().any(|row| figure.has_interval(row));
    let hollow = sweep.rows.iter().any(|row| row.state != State::Stable);
    let mut parts = vec![of_runs(runs)];
    if intervals {
        parts.push("bars: 95 % interval".to_owned());
    }
    if hollow {
        parts.push("hollow: did not keep up".to_owned());
    }
    parts.join(" · ")
}

fn of_runs(runs: usize) -> String {
    if runs == 1 { "one run".to_owned() } else { format!("mean of {runs} seeds") }
}

/// The middle of each knee's bracket.
fn knees(sweep: &Sweep, marks: &[Mark]) -> Vec<(Mark, f64)> {
    let place = |mark: &Mark| {
        let knee = sweep.knees.iter().find(|knee| knee.policy == mark.name)?;
        let unstable = knee.unstable?;
        Some((mark.clone(), f64::midpoint(knee.stable.unwrap_or(unstable), unstable)))
    };
    marks.iter().filter_map(place).collect()
}

/// The rate that stands for a sweep where one has to: the highest at which all of these rows were
/// stable, or else the lowest.
fn telling_rate<'a>(rows: impl Iterator<Item = &'a SweepRow>) -> Option<f64> {
    let rows: Vec<&SweepRow> = rows.collect();
    let mut rates: Vec<f64> = rows.iter().map(|row| row.rate).collect();
    rates.sort_by(f64::total_cmp);
    let kept_up =
        |rate: f64| rows.iter().filter(|row| row.rate == rate).all(|row| row.state == State::Stable);
    rates.iter().rev().copied().find(|&rate| kept_up(rate)).or_else(|| rates.first().copied())
}

/// A measure's distribution over the answered requests, at one rate.
fn tails(sweep: &Sweep, marks: &[Mark], measure: Measure) -> Option<Plot> {
    let rate = telling_rate(sweep.rows.iter())?;
    let rows: Vec<&SweepRow> =
        sweep.rows.iter().chain(&sweep.bounds).filter(|row| row.rate == rate).collect();
    let percentiles = |row: &SweepRow| tail::percentiles(row, measure);
    let most = rows.iter().flat_map(|row| percentiles(row)).map(|(_, value)| value).fold(0.0, f64::max);
    let (factor, unit) = if most >= figure::SECONDS_FROM { (1e-3, "s") } else { (1.0, "ms") };
    let line = |mark: &Mark| {
        let row = rows.iter().find(|row| row.policy == mark.name)?;
        let points: tail::Line =
            percentiles(row).into_iter().map(|(percent, value)| (percent, value * factor)).collect();
        (!points.is_empty()).then(|| (mark.clone(), points))
    };
    let lines: Vec<(Mark, tail::Line)> = marks.iter().filter_map(line).collect();
    if lines.is_empty() {
        return None;
    }
    let title = format!(
        "{}, all percentiles, at {} requests per second",
        figure::words(measure),
        axis::tick_label(rate)
    );
    let summary =
        format!("The distribution for {} policies, from the least to the 99.9th percentile.", lines.len());
    let axis = format!("{} ({unit})", measure.label());
    let runs = rows.iter().map(|row| row.seeds).max().unwrap_or(0);
    let note = format!("answered requests only · {}", of_runs(runs));
    let scene = tail::Tails { title: title.clone(), note, axis, lines, factor }.draw();
    let name = format!("{}-percentiles", measure.label().to_lowercase());
    Some(Plot { name, title, summary, scene })
}

fn load(sweep: &Sweep, marks: &[Mark], figure: load::Figure) -> Option<Plot> {
    let rate = telling_rate(sweep.rows.iter().filter(|row| !row.endpoints().is_empty()))?;
    let (name, what) = match figure {
        load::Figure::InFlight => ("load", "Requests in flight"),
        load::Figure::KvUse => ("kv-use", "KV cache in use"),
    };
    let with_series: Vec<&SweepRow> = sweep
        .rows
        .iter()
        .chain(&sweep.bounds)
        .filter(|row| row.rate == rate && !row.endpoints().is_empty())
        .collect();
    let row = |mark: &Mark| with_series.iter().find(|row| row.policy == mark.name);
    let panels: Vec<(Mark, &[EndpointSeries])> =
        marks.iter().filter_map(|mark| Some((mark.clone(), row(mark)?.endpoints()))).collect();
    if figure == load::Figure::KvUse && panels.iter().all(|(_, series)| without_kv(series)) {
        return None;
    }
    let title = format!("{what}, per endpoint over time, at {} requests per second", axis::tick_label(rate));
    let seed = marks.iter().find_map(|mark| row(mark)?.runs.first()).map(|run| run.seed);
    let note = seed.map_or_else(String::new, |seed| format!("a line per endpoint · seed {seed}"));
    let summary =
        format!("{what} of each endpoint over time, a panel for each of {} policies.", panels.len());
    let scene = Load { title: title.clone(), note, figure, panels }.draw();
    Some(Plot { name: name.to_owned(), title, summary, scene })
}

fn without_kv(series: &[EndpointSeries]) -> bool {
    series.iter().flat_map(|one| &one.points).all(|point| point.kv_use == 0.0)
}
