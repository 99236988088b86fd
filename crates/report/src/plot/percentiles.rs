//! Percentile plots of a latency, with a line per policy and the tail expanded.

use super::axis::Scale;
use super::frame::{Area, TEXT, WIDTH, header, header_height, vertical_axis};
use super::scene::{Anchor, Colour, Item, Scene, Stroke, line};
use super::style::Style;
use crate::Measure;
use crate::millis;
use crate::sweep::{MeasureSummary, PERCENTILES, SweepRow};

const HEIGHT: f64 = 290.0;
/// Labelled percentiles.
const TICKS: [f64; 5] = [0.0, 50.0, 90.0, 99.0, 99.9];

/// Points of a line: percentile, and latency in the unit of the axis.
pub(crate) type Line = Vec<(f64, f64)>;

/// A plot over percentiles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PercentilePlot {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) axis: String,
    pub(crate) lines: Vec<(Style, Line)>,
    /// Factor from milliseconds to the unit of the axis.
    pub(crate) factor: f64,
}

impl PercentilePlot {
    pub(crate) fn draw(&self) -> Scene {
        let legend: Vec<Style> = self.lines.iter().map(|(style, _)| style.clone()).collect();
        let top = header_height(&self.title, &self.note, &legend, WIDTH);
        let mut scene = Scene::new(WIDTH, top + HEIGHT + 52.0);
        header(&mut scene, &self.title, &self.note, &legend);
        let area = Area { left: 66.0, right: WIDTH - 24.0, top, bottom: top + HEIGHT };
        let across = Scale::between(0.0, nines(99.9), area.left, area.right);
        let values = self.lines.iter().flat_map(|(_, line)| line).map(|&(_, value)| value);
        let up = Scale::of_values(values, area.bottom, area.top);
        vertical_axis(&mut scene, area, &up, &self.axis);
        percentile_axis(&mut scene, area, &across);
        let others = self.lines.iter().filter(|(style, _)| !style.is_default);
        let default = self.lines.iter().filter(|(style, _)| style.is_default);
        for (style, points) in others.chain(default) {
            let place = |&(percent, value): &(f64, f64)| (across.at(nines(percent)), up.at(value));
            scene.items.push(line(points.iter().map(place).collect(), style.stroke()));
            for point in points {
                let items = vec![style.point(place(point), !style.is_bound)];
                let title =
                    format!("{}: {} % within {}", style.name, point.0, millis(Some(point.1 / self.factor)));
                scene.items.push(Item::Group { title, items });
            }
        }
        scene
    }
}

fn percentile_axis(scene: &mut Scene, area: Area, across: &Scale) {
    let axis = Stroke::new(Colour::Axis, 1.0);
    scene.line(vec![(area.left, area.bottom), (area.right, area.bottom)], axis);
    for tick in TICKS {
        let x = across.at(nines(tick));
        scene.line(vec![(x, area.top), (x, area.bottom)], Stroke::new(Colour::Grid, 1.0));
        scene.text((x, area.bottom + 18.0), format!("{tick} %"), TEXT, Colour::Muted, Anchor::Middle);
    }
    let middle = f64::midpoint(area.left, area.right);
    let name = "percentile of requests";
    scene.text((middle, area.bottom + 38.0), name, TEXT, Colour::Muted, Anchor::Middle);
}

/// The minimum and the percentiles from the lower quartile on, as means over runs.
#[expect(clippy::cast_precision_loss, reason = "a few runs")]
pub(crate) fn percentiles(row: &SweepRow, measure: Measure) -> Line {
    let summaries: Vec<&MeasureSummary> =
        row.runs.iter().map(|run| run.latencies.of(measure)).filter(|summary| summary.answered > 0).collect();
    if summaries.is_empty() {
        return Line::new();
    }
    let mean = |of: &dyn Fn(&MeasureSummary) -> f64| {
        summaries.iter().map(|summary| of(summary)).sum::<f64>() / summaries.len() as f64
    };
    let least = (0.0, mean(&|summary| summary.min));
    let kept = PERCENTILES.iter().enumerate().filter(|(_, percent)| **percent >= 25.0);
    let rest = kept.map(|(index, &percent)| {
        (percent, mean(&|summary| summary.percentiles.get(index).copied().unwrap_or(0.0)))
    });
    std::iter::once(least).chain(rest).collect()
}

/// The number of nines of a percentile: 1 for 90, 2 for 99.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_has_the_same_width() {
        assert_eq!(nines(0.0), 0.0);
        for (percent, expect) in [(90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((nines(percent) - expect).abs() < 1e-9);
        }
    }
}
