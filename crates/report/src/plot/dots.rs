//! A figure of one rate, a row per policy.

use super::axis::{Scale, tick_label};
use super::font::{self, Weight};
use super::frame::{Area, TEXT, WIDTH, head, head_height};
use super::mark::Mark;
use super::scene::{Anchor, Ink, Item, Scene, Stroke, line};
use crate::Interval;

const ROW: f64 = 26.0;

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dot {
    pub(crate) mark: Mark,
    /// In the axis' unit; infinite where too many requests failed.
    pub(crate) value: f64,
    pub(crate) interval: Option<Interval>,
    pub(crate) stable: bool,
    /// The value as text.
    pub(crate) label: String,
    /// The tooltip.
    pub(crate) says: String,
}

/// A plot of one rate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dots {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) axis: String,
    pub(crate) rows: Vec<Dot>,
    /// Whether less is better, which the axis says.
    pub(crate) less_is_better: Option<bool>,
}

impl Dots {
    #[expect(clippy::cast_precision_loss, reason = "a few policies")]
    pub(crate) fn draw(&self) -> Scene {
        let top = head_height(&self.title, &self.note, &[], WIDTH);
        let height = ROW * self.rows.len().max(1) as f64;
        let mut scene = Scene::new(WIDTH, top + height + 52.0);
        head(&mut scene, &self.title, &self.note, &[]);
        let widest = self.rows.iter().map(|row| font::width(&row.mark.name, TEXT, Weight::Medium));
        let names = widest.fold(40.0, f64::max).min(WIDTH * 0.4);
        let area =
            Area { left: names * 1.08 + 28.0, right: WIDTH - 84.0, top: top - 4.0, bottom: top + height };
        let ends = self.rows.iter().flat_map(|row| {
            let ends = row.interval.map_or([row.value; 2], |interval| [interval.low, interval.high]);
            [row.value, ends[0], ends[1]]
        });
        let across = Scale::of_values(ends, area.left, area.right);
        for tick in across.ticks() {
            let x = across.at(tick);
            scene.line(vec![(x, area.top), (x, area.bottom)], Stroke::new(Ink::Grid, 1.0));
            scene.text((x, area.bottom + 16.0), tick_label(tick), TEXT, Ink::Muted, Anchor::Middle);
        }
        let direction = match self.less_is_better {
            Some(true) => " – less is better",
            Some(false) => " – more is better",
            None => "",
        };
        let middle = f64::midpoint(area.left, area.right);
        let axis = format!("{}{direction}", self.axis);
        scene.text((middle, area.bottom + 36.0), axis, TEXT, Ink::Muted, Anchor::Middle);
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + ROW * (index as f64 + 0.5);
            draw_row(&mut scene, area, &across, row, y, names);
        }
        scene
    }
}

fn draw_row(scene: &mut Scene, area: Area, across: &Scale, row: &Dot, y: f64, names: f64) {
    let mark = &row.mark;
    let weight = if mark.strong { Weight::Medium } else { Weight::Regular };
    let ink = if mark.bound { Ink::Muted } else { Ink::Text };
    let name = font::fitted(&mark.name, TEXT, weight, names);
    scene.text((area.left - 12.0, y + 4.0), name, TEXT, ink, Anchor::End);
    if let Some(Item::Text(text)) = scene.items.last_mut() {
        text.weight = weight;
    }
    let guide = Stroke { dash: Some([1.0, 3.0]), ..Stroke::new(Ink::Axis, 1.0) };
    scene.line(vec![(area.left, y), (area.right, y)], guide);
    let mut items = Vec::new();
    if row.value.is_finite() {
        if let Some(interval) = row.interval {
            let (low, high) = (across.at(interval.low), across.at(interval.high));
            let stroke = Stroke::new(mark.ink, 1.4);
            items.push(line(vec![(low, y), (high, y)], stroke));
            items.extend([low, high].map(|x| line(vec![(x, y - 4.0), (x, y + 4.0)], stroke)));
        }
        items.push(mark.point((across.at(row.value), y), row.stable && !mark.bound));
    } else {
        items.push(mark.point((area.right, y), false));
    }
    scene.items.push(Item::Group { title: row.says.clone(), items });
    scene.text((WIDTH - 8.0, y + 4.0), row.label.clone(), TEXT, Ink::Text, Anchor::End);
}
