//! Title, legend and axes of plots.

use super::axis::{Scale, tick_label};
use super::font::{self, Weight};
use super::scene::{Anchor, Colour, Item, Scene, Stroke, line};
use super::style::Style;

/// Width of a plot.
pub(crate) const WIDTH: f64 = 640.0;
/// Font size of axes and legends.
pub(crate) const TEXT: f64 = 12.0;
const TITLE: f64 = 15.0;
const LEGEND_LINE: f64 = 19.0;
const SAMPLE: f64 = 26.0;

/// The rectangle of the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

/// Draws title, note and a wrapping legend, and returns their height.
pub(crate) fn header(scene: &mut Scene, title: &str, note: &str, legend: &[Style]) -> f64 {
    scene.heading((14.0, 24.0), font::fitted(title, TITLE, Weight::Medium, scene.width - 28.0), TITLE);
    let mut y = 24.0;
    if !note.is_empty() {
        y += 18.0;
        let note = font::fitted(note, TEXT, Weight::Regular, scene.width - 28.0);
        scene.text((14.0, y), note, TEXT, Colour::Muted, Anchor::Start);
    }
    let mut x = f64::INFINITY;
    for style in legend {
        let name = font::fitted(&style.name, TEXT, Weight::Regular, scene.width / 2.0);
        // The viewer's font may be wider than the embedded one.
        let room = SAMPLE + 6.0 + font::width(&name, TEXT, Weight::Regular) * 1.08 + 16.0;
        if x + room > scene.width - 6.0 {
            x = 14.0;
            y += LEGEND_LINE;
        }
        scene.items.push(line(vec![(x, y - 4.0), (x + SAMPLE, y - 4.0)], style.stroke()));
        scene.items.push(style.point((x + SAMPLE / 2.0, y - 4.0), !style.is_bound));
        scene.text((x + SAMPLE + 6.0, y), name, TEXT, Colour::Text, Anchor::Start);
        x += room;
    }
    y + 14.0
}

/// The height that [`header`] returns.
pub(crate) fn header_height(title: &str, note: &str, legend: &[Style], width: f64) -> f64 {
    header(&mut Scene::new(width, 0.0), title, note, legend)
}

/// Draws horizontal grid lines with labels, and the name of the axis.
pub(crate) fn vertical_axis(scene: &mut Scene, area: Area, scale: &Scale, name: &str) {
    for tick in scale.ticks() {
        let y = scale.at(tick);
        scene.line(vec![(area.left, y), (area.right, y)], Stroke::new(Colour::Grid, 1.0));
        scene.text((area.left - 7.0, y + 4.0), tick_label(tick), TEXT, Colour::Muted, Anchor::End);
    }
    scene.rotated_text((18.0, f64::midpoint(area.top, area.bottom)), name, TEXT, Colour::Muted);
}

/// Draws the base line with the labels that fit, and the name of the axis.
pub(crate) fn horizontal_axis(scene: &mut Scene, area: Area, scale: &Scale, ticks: &[f64], name: &str) {
    let axis = Stroke::new(Colour::Axis, 1.0);
    scene.line(vec![(area.left, area.bottom), (area.right, area.bottom)], axis);
    let mut free_from = f64::NEG_INFINITY;
    for &tick in ticks {
        let (x, label) = (scale.at(tick), tick_label(tick));
        scene.line(vec![(x, area.bottom), (x, area.bottom + 4.0)], axis);
        let half = font::width(&label, TEXT, Weight::Regular) / 2.0 + 3.0;
        if x - half >= free_from {
            scene.text((x, area.bottom + 18.0), label, TEXT, Colour::Muted, Anchor::Middle);
            free_from = x + half;
        }
    }
    let middle = f64::midpoint(area.left, area.right);
    scene.text((middle, area.bottom + 38.0), name, TEXT, Colour::Muted, Anchor::Middle);
}

/// A whisker from `low` to `high` with caps.
pub(crate) fn whisker(x: f64, low: f64, high: f64, style: &Style) -> Vec<Item> {
    let stroke = Stroke::new(style.colour, 1.2);
    let cap = |y: f64| line(vec![(x - 3.0, y), (x + 3.0, y)], stroke);
    vec![line(vec![(x, low), (x, high)], stroke), cap(low), cap(high)]
}
