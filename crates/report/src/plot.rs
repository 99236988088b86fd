//! Plots of a sweep as SVG.
//!
//! There is no PNG output: `resvg` 0.49 takes 105 s of CPU to compile (release, one core), and browsers, `rsvg-convert`
//! and Inkscape convert SVG.

mod axis;
mod dots;
mod font;
mod frame;
mod lines;
mod load;
mod metric;
mod percentiles;
pub(crate) mod scene;
mod style;
pub(crate) mod svg;

use crate::Measure;
use crate::sweep::{EndpointSeries, State, Sweep, SweepRow};
use dots::{Dot, DotPlot};
use lines::{LinePlot, LinePoint};
use load::{LoadMetric, LoadPlot};
use metric::Metric;
use scene::Scene;
pub(crate) use style::{Style, styles};

/// A plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// File name without extension, unique in its report, such as `e2e-p90`.
    pub name: String,
    /// Title.
    pub title: String,
    /// Alternative text.
    pub summary: String,
    scene: Scene,
}

impl Plot {
    /// The plot as an SVG document on white.
    #[must_use]
    pub fn svg(&self) -> String {
        svg::write(&self.scene, &self.name, &self.title, &self.summary, svg::ColourMode::Fixed)
    }

    /// The plot as an SVG element for a page whose style sheet defines the colours.
    pub(crate) fn inline(&self) -> String {
        svg::write(&self.scene, &self.name, &self.title, &self.summary, svg::ColourMode::Classes)
    }

    pub(crate) fn width(&self) -> f64 {
        self.scene.width
    }
}

/// All plots that a sweep has data for: metrics over the rate, or by policy for a single rate, then
/// percentiles of latencies and the load of endpoints over time at a representative rate.
///
/// A hollow point is a row that was not stable, where the metric depends on the length of the run. A
/// triangle on the axis is the knee of a policy.
#[must_use]
pub fn plots(sweep: &Sweep) -> Vec<Plot> {
    let styles = styles(sweep);
    let several = sweep.rates().len() > 1;
    let mut plots = Vec::new();
    // A single row has nothing to be compared with; the table has its metrics.
    let single = sweep.rows.len() + sweep.bounds.len() == 1;
    for metric in Metric::all(sweep).filter(|_| !single) {
        let plot =
            if several { over_rates(sweep, &styles, metric) } else { of_one_rate(sweep, &styles, metric) };
        plots.extend(plot);
    }
    plots.extend(
        [Measure::E2e, Measure::Ttft]
            .into_iter()
            .filter_map(|measure| percentile_plot(sweep, &styles, measure)),
    );
    plots.extend(load(sweep, &styles, LoadMetric::InFlight));
    plots.extend(load(sweep, &styles, LoadMetric::KvUse));
    plots
}

fn over_rates(sweep: &Sweep, styles: &[Style], metric: Metric) -> Option<Plot> {
    let rows = || sweep.rows.iter().chain(&sweep.bounds);
    let unit = metric.unit(rows());
    let point = |row: &SweepRow| {
        Some(LinePoint {
            rate: row.rate,
            value: metric.value(row)? * unit.factor,
            interval: metric.interval(row, unit),
            stable: row.state == State::Stable,
            tooltip: metric.tooltip(row),
        })
    };
    let lines: Vec<(Style, Vec<LinePoint>)> = styles
        .iter()
        .map(|style| (style.clone(), sweep.of(&style.name).filter_map(point).collect()))
        .filter(|(_, points): &(Style, Vec<LinePoint>)| !points.is_empty())
        .collect();
    let finite = lines.iter().flat_map(|(_, points)| points).any(|point| point.value.is_finite());
    if !finite {
        return None;
    }
    let knees = knees(sweep, styles);
    let all_found = !knees.is_empty() && sweep.knees.iter().all(|knee| knee.unstable.is_some());
    let last = knees.iter().map(|&(_, rate)| rate).fold(f64::NEG_INFINITY, f64::max);
    let curves = LinePlot {
        title: metric.title(sweep),
        note: note(sweep, metric, !knees.is_empty()),
        axis: metric.axis(unit),
        bounds: metric.bounds(&lines),
        lines,
        rates: sweep.rates(),
        reference: metric.reference(sweep),
        beyond_knees: all_found.then_some(last),
        knees,
    };
    Some(Plot {
        name: metric.name(),
        title: curves.title.clone(),
        summary: metric.summary(sweep),
        scene: curves.draw(),
    })
}

fn of_one_rate(sweep: &Sweep, styles: &[Style], metric: Metric) -> Option<Plot> {
    let unit = metric.unit(sweep.rows.iter().chain(&sweep.bounds));
    let dot = |style: &Style| {
        let row = sweep.of(&style.name).next()?;
        Some(Dot {
            style: style.clone(),
            value: metric.value(row)? * unit.factor,
            interval: metric.interval(row, unit),
            stable: row.state == State::Stable,
            label: metric.label(row),
            tooltip: metric.tooltip(row),
        })
    };
    let rows: Vec<Dot> = styles.iter().filter_map(dot).collect();
    if !rows.iter().any(|row| row.value.is_finite()) {
        return None;
    }
    let title = metric.title(sweep);
    let (axis, less_is_better) = (metric.axis(unit), metric.less_is_better());
    let dots = DotPlot { title, note: note(sweep, metric, false), axis, rows, less_is_better };
    Some(Plot {
        name: metric.name(),
        title: dots.title.clone(),
        summary: metric.summary(sweep),
        scene: dots.draw(),
    })
}

/// The note below the title.
fn note(sweep: &Sweep, metric: Metric, knees: bool) -> String {
    let runs = sweep.rows.iter().map(|row| row.seeds).max().unwrap_or(0);
    let intervals = sweep.rows.iter().any(|row| metric.has_interval(row));
    let hollow = sweep.rows.iter().any(|row| row.state != State::Stable);
    let mut parts = vec![sweep.experiment.origin.label().to_owned(), of_runs(runs)];
    if intervals {
        parts.push("bars: 95 % interval".to_owned());
    }
    if hollow {
        parts.push("hollow: did not keep up".to_owned());
    }
    if knees {
        parts.push("triangle on the axis: knee".to_owned());
    }
    parts.join(" · ")
}

fn of_runs(runs: usize) -> String {
    if runs == 1 { "one run".to_owned() } else { format!("mean of {runs} seeds") }
}

/// The midpoint of each knee.
fn knees(sweep: &Sweep, styles: &[Style]) -> Vec<(Style, f64)> {
    let place = |style: &Style| {
        let knee = sweep.knees.iter().find(|knee| knee.policy == style.name)?;
        let unstable = knee.unstable?;
        Some((style.clone(), f64::midpoint(knee.stable.unwrap_or(unstable), unstable)))
    };
    styles.iter().filter_map(place).collect()
}

/// The highest rate at which all of these rows were stable, or else the lowest rate.
fn representative_rate<'a>(rows: impl Iterator<Item = &'a SweepRow>) -> Option<f64> {
    let rows: Vec<&SweepRow> = rows.collect();
    let mut rates: Vec<f64> = rows.iter().map(|row| row.rate).collect();
    rates.sort_by(f64::total_cmp);
    let all_stable =
        |rate: f64| rows.iter().filter(|row| row.rate == rate).all(|row| row.state == State::Stable);
    rates.iter().rev().copied().find(|&rate| all_stable(rate)).or_else(|| rates.first().copied())
}

/// The percentiles of a measure over the completed requests, at one rate.
fn percentile_plot(sweep: &Sweep, styles: &[Style], measure: Measure) -> Option<Plot> {
    let rate = representative_rate(sweep.rows.iter())?;
    let rows: Vec<&SweepRow> =
        sweep.rows.iter().chain(&sweep.bounds).filter(|row| row.rate == rate).collect();
    let percentiles = |row: &SweepRow| percentiles::percentiles(row, measure);
    let most = rows.iter().flat_map(|row| percentiles(row)).map(|(_, value)| value).fold(0.0, f64::max);
    let (factor, unit) = if most >= metric::SECONDS_FROM { (1e-3, "s") } else { (1.0, "ms") };
    let line = |style: &Style| {
        let row = rows.iter().find(|row| row.policy == style.name)?;
        let points: percentiles::Line =
            percentiles(row).into_iter().map(|(percent, value)| (percent, value * factor)).collect();
        (!points.is_empty()).then(|| (style.clone(), points))
    };
    let lines: Vec<(Style, percentiles::Line)> = styles.iter().filter_map(line).collect();
    if lines.is_empty() {
        return None;
    }
    let title = format!(
        "{}, all percentiles, at {} requests per second",
        metric::full_name(measure),
        axis::tick_label(rate)
    );
    let summary =
        format!("The distribution for {} policies, from the least to the 99.9th percentile.", lines.len());
    let axis = format!("{} ({unit})", measure.label());
    let runs = rows.iter().map(|row| row.seeds).max().unwrap_or(0);
    let note = format!("{} · completed requests only · {}", sweep.experiment.origin.label(), of_runs(runs));
    let scene = percentiles::PercentilePlot { title: title.clone(), note, axis, lines, factor }.draw();
    let name = format!("{}-percentiles", measure.label().to_lowercase());
    Some(Plot { name, title, summary, scene })
}

fn load(sweep: &Sweep, styles: &[Style], metric: LoadMetric) -> Option<Plot> {
    let rate = representative_rate(sweep.rows.iter().filter(|row| !row.endpoints().is_empty()))?;
    let (name, what) = match metric {
        LoadMetric::InFlight => ("load", "Requests in flight"),
        LoadMetric::KvUse => ("kv-use", "KV cache utilization"),
    };
    let with_series: Vec<&SweepRow> = sweep
        .rows
        .iter()
        .chain(&sweep.bounds)
        .filter(|row| row.rate == rate && !row.endpoints().is_empty())
        .collect();
    let row = |style: &Style| with_series.iter().find(|row| row.policy == style.name);
    let panels: Vec<(Style, &[EndpointSeries])> =
        styles.iter().filter_map(|style| Some((style.clone(), row(style)?.endpoints()))).collect();
    if metric == LoadMetric::KvUse && panels.iter().all(|(_, series)| without_kv(series)) {
        return None;
    }
    let title = format!("{what}, per endpoint over time, at {} requests per second", axis::tick_label(rate));
    let seed = styles.iter().find_map(|style| row(style)?.runs.first()).map(|run| run.seed);
    let origin = sweep.experiment.origin.label();
    let note = seed.map_or_else(String::new, |seed| format!("{origin} · a line per endpoint · seed {seed}"));
    let summary =
        format!("{what} of each endpoint over time, a panel for each of {} policies.", panels.len());
    let scene = LoadPlot { title: title.clone(), note, metric, panels }.draw();
    Some(Plot { name: name.to_owned(), title, summary, scene })
}

fn without_kv(series: &[EndpointSeries]) -> bool {
    series.iter().flat_map(|one| &one.points).all(|point| point.kv_use == 0.0)
}
