//! What plots share: the title, the legend, the axes.

use super::axis::{Scale, tick_label};
use super::font::{self, Weight};
use super::mark::Mark;
use super::scene::{Anchor, Ink, Item, Scene, Stroke, line};

/// How wide every plot is.
pub(crate) const WIDTH: f64 = 640.0;
/// The text of axes and legends.
pub(crate) const TEXT: f64 = 12.0;
const TITLE: f64 = 15.0;
const LEGEND_LINE: f64 = 19.0;
const SAMPLE: f64 = 26.0;

/// The rectangle that data are drawn in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

/// Starts a plot: title, a line below it, and a legend that wraps. Gives the height that is used up.
pub(crate) fn head(scene: &mut Scene, title: &str, note: &str, legend: &[Mark]) -> f64 {
    scene.heading((14.0, 24.0), font::fitted(title, TITLE, Weight::Medium, scene.width - 28.0), TITLE);
    let mut y = 24.0;
    if !note.is_empty() {
        y += 18.0;
        let note = font::fitted(note, TEXT, Weight::Regular, scene.width - 28.0);
        scene.text((14.0, y), note, TEXT, Ink::Muted, Anchor::Start);
    }
    let mut x = f64::INFINITY;
    for mark in legend {
        let name = font::fitted(&mark.name, TEXT, Weight::Regular, scene.width / 2.0);
        // The viewer's font may be wider than ours.
        let room = SAMPLE + 6.0 + font::width(&name, TEXT, Weight::Regular) * 1.08 + 16.0;
        if x + room > scene.width - 6.0 {
            x = 14.0;
            y += LEGEND_LINE;
        }
        scene.items.push(line(vec![(x, y - 4.0), (x + SAMPLE, y - 4.0)], mark.stroke()));
        scene.items.push(mark.point((x + SAMPLE / 2.0, y - 4.0), !mark.bound));
        scene.text((x + SAMPLE + 6.0, y), name, TEXT, Ink::Text, Anchor::Start);
        x += room;
    }
    y + 14.0
}

/// How high [`head`] will be, which the scene's height depends on.
pub(crate) fn head_height(title: &str, note: &str, legend: &[Mark], width: f64) -> f64 {
    head(&mut Scene::new(width, 0.0), title, note, legend)
}

/// Horizontal grid lines with their figures, and the axis' name.
pub(crate) fn vertical_axis(scene: &mut Scene, area: Area, scale: &Scale, name: &str) {
    for tick in scale.ticks() {
        let y = scale.at(tick);
        scene.line(vec![(area.left, y), (area.right, y)], Stroke::new(Ink::Grid, 1.0));
        scene.text((area.left - 7.0, y + 4.0), tick_label(tick), TEXT, Ink::Muted, Anchor::End);
    }
    scene.upright_text((18.0, f64::midpoint(area.top, area.bottom)), name, TEXT, Ink::Muted);
}

/// The base line with the figures that fit, and the axis' name.
pub(crate) fn horizontal_axis(scene: &mut Scene, area: Area, scale: &Scale, ticks: &[f64], name: &str) {
    let axis = Stroke::new(Ink::Axis, 1.0);
    scene.line(vec![(area.left, area.bottom), (area.right, area.bottom)], axis);
    let mut free_from = f64::NEG_INFINITY;
    for &tick in ticks {
        let (x, label) = (scale.at(tick), tick_label(tick));
        scene.line(vec![(x, area.bottom), (x, area.bottom + 4.0)], axis);
        let half = font::width(&label, TEXT, Weight::Regular) / 2.0 + 3.0;
        if x - half >= free_from {
            scene.text((x, area.bottom + 18.0), label, TEXT, Ink::Muted, Anchor::Middle);
            free_from = x + half;
        }
    }
    let middle = f64::midpoint(area.left, area.right);
    scene.text((middle, area.bottom + 38.0), name, TEXT, Ink::Muted, Anchor::Middle);
}

/// A whisker from `low` to `high` with caps.
pub(crate) fn whisker(x: f64, low: f64, high: f64, mark: &Mark) -> Vec<Item> {
    let stroke = Stroke::new(mark.ink, 1.2);
    let cap = |y: f64| line(vec![(x - 3.0, y), (x + 3.0, y)], stroke);
    vec![line(vec![(x, low), (x, high)], stroke), cap(low), cap(high)]
}
