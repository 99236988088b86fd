//! Dot plots of a metric at one rate, with a row per policy.

use super::axis::{Scale, tick_label};
use super::font::{self, Weight};
use super::frame::{Area, TEXT, WIDTH, header, header_height};
use super::scene::{Anchor, Colour, Item, Scene, Stroke, line};
use super::style::Style;
use crate::Interval;

const ROW: f64 = 26.0;

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dot {
    pub(crate) style: Style,
    /// In the unit of the axis; infinite where failures reach the quantile.
    pub(crate) value: f64,
    pub(crate) interval: Option<Interval>,
    pub(crate) stable: bool,
    /// Value as text.
    pub(crate) label: String,
    pub(crate) tooltip: String,
}

/// A plot at one rate.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DotPlot {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) axis: String,
    pub(crate) rows: Vec<Dot>,
    /// Direction of improvement, for the name of the axis.
    pub(crate) less_is_better: Option<bool>,
}

impl DotPlot {
    #[expect(clippy::cast_precision_loss, reason = "a few policies")]
    pub(crate) fn draw(&self) -> Scene {
        let top = header_height(&self.title, &self.note, &[], WIDTH);
        let height = ROW * self.rows.len().max(1) as f64;
        let mut scene = Scene::new(WIDTH, top + height + 52.0);
        header(&mut scene, &self.title, &self.note, &[]);
        let widest = self.rows.iter().map(|row| font::width(&row.style.name, TEXT, Weight::Medium));
        let name_width = widest.fold(40.0, f64::max).min(WIDTH * 0.4);
        let area = Area {
            left: name_width * 1.08 + 28.0,
            right: WIDTH - 84.0,
            top: top - 4.0,
            bottom: top + height,
        };
        let ends = self.rows.iter().flat_map(|row| {
            let ends = row.interval.map_or([row.value; 2], |interval| [interval.low, interval.high]);
            [row.value, ends[0], ends[1]]
        });
        let across = Scale::of_values(ends, area.left, area.right);
        for tick in across.ticks() {
            let x = across.at(tick);
            scene.line(vec![(x, area.top), (x, area.bottom)], Stroke::new(Colour::Grid, 1.0));
            scene.text((x, area.bottom + 16.0), tick_label(tick), TEXT, Colour::Muted, Anchor::Middle);
        }
        let direction = match self.less_is_better {
            Some(true) => " – less is better",
            Some(false) => " – more is better",
            None => "",
        };
        let middle = f64::midpoint(area.left, area.right);
        let axis = format!("{}{direction}", self.axis);
        scene.text((middle, area.bottom + 36.0), axis, TEXT, Colour::Muted, Anchor::Middle);
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + ROW * (index as f64 + 0.5);
            draw_row(&mut scene, area, &across, row, y, name_width);
        }
        scene
    }
}

fn draw_row(scene: &mut Scene, area: Area, across: &Scale, row: &Dot, y: f64, name_width: f64) {
    let style = &row.style;
    let weight = if style.is_default { Weight::Medium } else { Weight::Regular };
    let colour = if style.is_bound { Colour::Muted } else { Colour::Text };
    let name = font::fitted(&style.name, TEXT, weight, name_width);
    scene.text((area.left - 12.0, y + 4.0), name, TEXT, colour, Anchor::End);
    if let Some(Item::Text(text)) = scene.items.last_mut() {
        text.weight = weight;
    }
    let guide = Stroke { dash: Some([1.0, 3.0]), ..Stroke::new(Colour::Axis, 1.0) };
    scene.line(vec![(area.left, y), (area.right, y)], guide);
    let mut items = Vec::new();
    if row.value.is_finite() {
        if let Some(interval) = row.interval {
            let (low, high) = (across.at(interval.low), across.at(interval.high));
            let stroke = Stroke::new(style.colour, 1.4);
            items.push(line(vec![(low, y), (high, y)], stroke));
            items.extend([low, high].map(|x| line(vec![(x, y - 4.0), (x, y + 4.0)], stroke)));
        }
        items.push(style.point((across.at(row.value), y), row.stable && !style.is_bound));
    } else {
        items.push(style.point((area.right, y), false));
    }
    scene.items.push(Item::Group { title: row.tooltip.clone(), items });
    scene.text((WIDTH - 8.0, y + 4.0), row.label.clone(), TEXT, Colour::Text, Anchor::End);
}
