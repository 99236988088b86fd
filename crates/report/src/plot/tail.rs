//! A latency's whole distribution, a line per policy, with the tail drawn out.

use super::axis::Scale;
use super::frame::{Area, TEXT, WIDTH, head, head_height, vertical_axis};
use super::mark::Mark;
use super::scene::{Anchor, Ink, Item, Scene, Stroke, line};
use crate::Measure;
use crate::millis;
use crate::sweep::{MeasureSummary, PERCENTILES, SweepRow};

const HEIGHT: f64 = 290.0;
/// The percentiles that the axis names; between two of them requests become ten times rarer.
const TICKS: [f64; 5] = [0.0, 50.0, 90.0, 99.0, 99.9];

/// Points of one line: a percentile and the latency in the axis' unit.
pub(crate) type Line = Vec<(f64, f64)>;

/// A plot over percentiles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tails {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) axis: String,
    pub(crate) lines: Vec<(Mark, Line)>,
    /// What milliseconds were multiplied by for the axis.
    pub(crate) factor: f64,
}

impl Tails {
    pub(crate) fn draw(&self) -> Scene {
        let legend: Vec<Mark> = self.lines.iter().map(|(mark, _)| mark.clone()).collect();
        let top = head_height(&self.title, &self.note, &legend, WIDTH);
        let mut scene = Scene::new(WIDTH, top + HEIGHT + 52.0);
        head(&mut scene, &self.title, &self.note, &legend);
        let area = Area { left: 66.0, right: WIDTH - 24.0, top, bottom: top + HEIGHT };
        let across = Scale::between(0.0, rarity(99.9), area.left, area.right);
        let values = self.lines.iter().flat_map(|(_, line)| line).map(|&(_, value)| value);
        let up = Scale::of_values(values, area.bottom, area.top);
        vertical_axis(&mut scene, area, &up, &self.axis);
        percentile_axis(&mut scene, area, &across);
        let others = self.lines.iter().filter(|(mark, _)| !mark.strong);
        let own = self.lines.iter().filter(|(mark, _)| mark.strong);
        for (mark, points) in others.chain(own) {
            let place = |&(percent, value): &(f64, f64)| (across.at(rarity(percent)), up.at(value));
            scene.items.push(line(points.iter().map(place).collect(), mark.stroke()));
            for point in points {
                let items = vec![mark.point(place(point), !mark.bound)];
                let title =
                    format!("{}: {} % within {}", mark.name, point.0, millis(Some(point.1 / self.factor)));
                scene.items.push(Item::Group { title, items });
            }
        }
        scene
    }
}

fn percentile_axis(scene: &mut Scene, area: Area, across: &Scale) {
    let axis = Stroke::new(Ink::Axis, 1.0);
    scene.line(vec![(area.left, area.bottom), (area.right, area.bottom)], axis);
    for tick in TICKS {
        let x = across.at(rarity(tick));
        scene.line(vec![(x, area.top), (x, area.bottom)], Stroke::new(Ink::Grid, 1.0));
        scene.text((x, area.bottom + 18.0), format!("{tick} %"), TEXT, Ink::Muted, Anchor::Middle);
    }
    let middle = f64::midpoint(area.left, area.right);
    let name = "requests that were at most so slow";
    scene.text((middle, area.bottom + 38.0), name, TEXT, Ink::Muted, Anchor::Middle);
}

/// The row's percentiles from the lower quartile upwards and the least value, as means over its runs.
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

/// How many times rarer than all the requests beyond a percentile are, in powers of ten.
fn rarity(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        assert_eq!(rarity(0.0), 0.0);
        for (percent, expect) in [(90.0, 1.0), (99.0, 2.0), (99.9, 3.0)] {
            assert!((rarity(percent) - expect).abs() < 1e-9);
        }
    }
}
