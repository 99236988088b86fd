//! Load of each endpoint over time, with a panel per policy.

use super::axis::{Scale, tick_label};
use super::font::{self, Weight};
use super::frame::{Area, TEXT, header, header_height};
use super::scene::{Anchor, Colour, Fill, Scene, Stroke};
use super::style::Style;
use crate::sweep::{EndpointPoint, EndpointSeries};

/// Height of a panel.
const HEIGHT: f64 = 130.0;
/// Width of all panels of a row.
const ROW: f64 = 960.0;
const GAP: (f64, f64) = (34.0, 62.0);
const LEFT: f64 = 58.0;
/// Number of endpoints above which mean and range are drawn instead of a line each.
const MAX_LINES: usize = 16;
/// Limit on the points of a line.
const MAX_POINTS: usize = 200;
/// Limit on the points of all lines, which bounds the size of the page.
const MAX_TOTAL_POINTS: usize = 12_000;

/// The metric of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadMetric {
    InFlight,
    KvUse,
}

impl LoadMetric {
    fn of(self, point: &EndpointPoint) -> f64 {
        match self {
            Self::InFlight => point.in_flight,
            Self::KvUse => 100.0 * point.kv_use,
        }
    }

    const fn axis(self) -> &'static str {
        match self {
            Self::InFlight => "requests in flight",
            Self::KvUse => "KV cache utilization (%)",
        }
    }
}

/// Small multiples over time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoadPlot<'a> {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) metric: LoadMetric,
    pub(crate) panels: Vec<(Style, &'a [EndpointSeries])>,
}

impl LoadPlot<'_> {
    #[expect(clippy::cast_precision_loss, reason = "a few panels")]
    pub(crate) fn draw(&self) -> Scene {
        let columns = match self.panels.len() {
            0 | 1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
        let rows = self.panels.len().div_ceil(columns);
        let panel = ROW / columns as f64 - GAP.0;
        let width = LEFT + ROW - GAP.0 + 18.0;
        let top = header_height(&self.title, &self.note, &[], width) + 18.0;
        let height = top + rows as f64 * (HEIGHT + GAP.1) - 18.0;
        let mut scene = Scene::new(width, height);
        header(&mut scene, &self.title, &self.note, &[]);
        let points = || self.panels.iter().flat_map(|(_, series)| series.iter()).flat_map(|one| &one.points);
        let until = points().map(|point| point.seconds).fold(0.0, f64::max);
        let most = points().map(|point| self.metric.of(point)).filter(|value| value.is_finite());
        let most = most.fold(0.0, f64::max);
        for (index, (style, series)) in self.panels.iter().enumerate() {
            let left = LEFT + (index % columns) as f64 * (panel + GAP.0);
            let panel_top = top + (index / columns) as f64 * (HEIGHT + GAP.1);
            let area = Area { left, right: left + panel, top: panel_top, bottom: panel_top + HEIGHT };
            let across = Scale::between(0.0, until, area.left, area.right);
            let up = Scale::of_values([most].into_iter(), area.bottom, area.top);
            self.panel(&mut scene, area, [&across, &up], style, series);
            if index % columns == 0 {
                let middle = f64::midpoint(area.top, area.bottom);
                scene.rotated_text((18.0, middle), self.metric.axis(), TEXT, Colour::Muted);
            }
        }
        scene
    }

    /// Number of points of a line.
    fn resolution(&self) -> usize {
        let lines: usize = self.panels.iter().map(|(_, series)| series.len()).sum();
        (MAX_TOTAL_POINTS / lines.max(1)).clamp(40, MAX_POINTS)
    }

    fn panel(
        &self,
        scene: &mut Scene,
        area: Area,
        [across, up]: [&Scale; 2],
        style: &Style,
        series: &[EndpointSeries],
    ) {
        let room = area.right - area.left;
        let name = font::fitted(&style.name, TEXT + 1.0, Weight::Medium, room * 0.8);
        let taken = font::width(&name, TEXT + 1.0, Weight::Medium) + 14.0;
        scene.heading((area.left, area.top - 8.0), name, TEXT + 1.0);
        let tooltip = imbalance(series, self.metric);
        // The viewer's font may be wider than the embedded one.
        let fits =
            |tooltip: &String| 1.1 * (taken + font::width(tooltip, TEXT - 1.0, Weight::Regular)) < room;
        if let Some(tooltip) = tooltip.filter(fits) {
            scene.text((area.right, area.top - 8.0), tooltip, TEXT - 1.0, Colour::Muted, Anchor::End);
        }
        for tick in up.ticks().into_iter().step_by(2) {
            let y = up.at(tick);
            scene.line(vec![(area.left, y), (area.right, y)], Stroke::new(Colour::Grid, 1.0));
            scene.text((area.left - 6.0, y + 4.0), tick_label(tick), TEXT - 1.0, Colour::Muted, Anchor::End);
        }
        for tick in across.ticks() {
            let at = (across.at(tick), area.bottom + 15.0);
            scene.text(at, tick_label(tick), TEXT - 1.0, Colour::Muted, Anchor::Middle);
        }
        let base = vec![(area.left, area.bottom), (area.right, area.bottom)];
        scene.line(base, Stroke::new(Colour::Axis, 1.0));
        let at = (f64::midpoint(area.left, area.right), area.bottom + 31.0);
        scene.text(at, "seconds", TEXT - 1.0, Colour::Muted, Anchor::Middle);
        let place = |(seconds, value): &(f64, f64)| (across.at(*seconds), up.at(*value));
        let downsampled: Vec<Vec<(f64, f64)>> = series
            .iter()
            .map(|one| downsample(&one.points, self.metric, self.resolution()))
            .filter(|points| !points.is_empty())
            .collect();
        if downsampled.len() <= MAX_LINES {
            let stroke = Stroke { opacity: 0.6, ..Stroke::new(style.colour, 1.1) };
            for points in &downsampled {
                scene.line(points.iter().map(place).collect(), stroke);
            }
        } else {
            let (low, middle, high) = range(&downsampled);
            let band = low.iter().chain(high.iter().rev()).map(place).collect();
            scene.area(band, Fill { opacity: 0.25, ..Fill::new(style.colour) });
            scene.line(middle.iter().map(place).collect(), Stroke::new(style.colour, 1.6));
        }
    }
}

/// Reduces points to at most `most` means of neighbours.
#[expect(clippy::cast_precision_loss, reason = "a chunk of samples")]
fn downsample(points: &[EndpointPoint], metric: LoadMetric, most: usize) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(most).max(1);
    let mean = |chunk: &[EndpointPoint]| {
        let count = chunk.len() as f64;
        let seconds = chunk.iter().map(|point| point.seconds).sum::<f64>() / count;
        (seconds, chunk.iter().map(|point| metric.of(point)).sum::<f64>() / count)
    };
    points
        .chunks(size)
        .map(mean)
        .filter(|(seconds, value)| seconds.is_finite() && value.is_finite())
        .collect()
}

type Line = Vec<(f64, f64)>;

/// Minimum, mean and maximum at each time.
#[expect(clippy::cast_precision_loss, reason = "an endpoint count")]
fn range(lines: &[Line]) -> (Line, Line, Line) {
    let times = lines.iter().map(Vec::len).min().unwrap_or(0);
    let (mut low, mut middle, mut high) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..times {
        let here = || lines.iter().filter_map(|line| line.get(index));
        let Some(&(seconds, _)) = here().next() else { break };
        let values = || here().map(|&(_, value)| value);
        low.push((seconds, values().fold(f64::INFINITY, f64::min)));
        middle.push((seconds, values().sum::<f64>() / lines.len() as f64));
        high.push((seconds, values().fold(0.0, f64::max)));
    }
    (low, middle, high)
}

/// The ratio of the busiest endpoint to the mean, over the whole time.
#[expect(clippy::cast_precision_loss, reason = "an endpoint count")]
fn imbalance(series: &[EndpointSeries], metric: LoadMetric) -> Option<String> {
    let times = series.iter().map(|one| one.points.len()).min()?;
    let (mut most, mut all) = (0.0, 0.0);
    for index in 0..times {
        let values = || series.iter().filter_map(|one| one.points.get(index)).map(|point| metric.of(point));
        most += values().fold(0.0, f64::max);
        all += values().sum::<f64>() / series.len() as f64;
    }
    let ratio: f64 = most / all;
    (ratio.is_finite() && series.len() > 1).then(|| format!("busiest {ratio:.2} × the mean"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> EndpointSeries {
        let point = |(index, &in_flight): (usize, &f64)| EndpointPoint {
            seconds: index as f64,
            in_flight,
            kv_use: 0.5,
        };
        EndpointSeries { name: "e".to_owned(), points: values.iter().enumerate().map(point).collect() }
    }

    #[test]
    fn unevenness_compares_the_busiest_with_the_mean() {
        let even = [series(&[4.0, 6.0]), series(&[4.0, 6.0])];
        assert_eq!(imbalance(&even, LoadMetric::InFlight).unwrap(), "busiest 1.00 × the mean");
        let uneven = [series(&[6.0, 6.0]), series(&[2.0, 2.0])];
        assert_eq!(imbalance(&uneven, LoadMetric::InFlight).unwrap(), "busiest 1.50 × the mean");
        assert_eq!(imbalance(&[series(&[0.0]), series(&[0.0])], LoadMetric::InFlight), None);
        assert_eq!(imbalance(&[], LoadMetric::InFlight), None);
    }

    #[test]
    fn long_series_are_thinned_by_means() {
        let points = series(&(0..1_000).map(f64::from).collect::<Vec<_>>()).points;
        let downsampled = downsample(&points, LoadMetric::InFlight, 200);
        assert_eq!(downsampled.len(), 200);
        assert_eq!(downsampled[0], (2.0, 2.0));
    }
}
