//! Plots of a metric over the rate, with a line per policy.

use super::axis::Scale;
use super::font::{self, Weight};
use super::frame::{Area, TEXT, WIDTH, header, header_height, horizontal_axis, vertical_axis, whisker};
use super::scene::{Anchor, Colour, Fill, Item, Scene, Stroke, line};
use super::style::Style;
use crate::Interval;

/// Height of the plot area.
const HEIGHT: f64 = 290.0;
/// Least share of the width for the rates that some policy keeps up with.
const ROOM_BELOW_KNEES: f64 = 0.7;
/// Number of lines up to which intervals are drawn as bands besides whiskers.
const MAX_BANDS: usize = 4;

/// A point of a line, in the axes' units.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LinePoint {
    pub(crate) rate: f64,
    /// Infinite where failures reach the quantile.
    pub(crate) value: f64,
    pub(crate) interval: Option<Interval>,
    pub(crate) stable: bool,
    pub(crate) tooltip: String,
}

/// A reference line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reference {
    None,
    /// Offered rate by nominal rate.
    Offered(Vec<(f64, f64)>),
    /// The value 1: no difference.
    One,
}

/// A plot over rates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LinePlot {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) axis: String,
    pub(crate) lines: Vec<(Style, Vec<LinePoint>)>,
    pub(crate) rates: Vec<f64>,
    pub(crate) reference: Reference,
    /// The rate above which no policy keeps up.
    pub(crate) beyond_knees: Option<f64>,
    /// The knee of each policy.
    pub(crate) knees: Vec<(Style, f64)>,
    /// Ends of the value axis, where they do not follow from the values.
    pub(crate) bounds: Option<(f64, f64)>,
}

impl LinePlot {
    pub(crate) fn draw(&self) -> Scene {
        let legend: Vec<Style> = self.lines.iter().map(|(style, _)| style.clone()).collect();
        let top = header_height(&self.title, &self.note, &legend, WIDTH);
        let mut scene = Scene::new(WIDTH, top + HEIGHT + 52.0);
        header(&mut scene, &self.title, &self.note, &legend);
        let area = Area { left: 66.0, right: WIDTH - 18.0, top, bottom: top + HEIGHT };
        let across = self.rate_scale(area);
        let up = self.value_scale(area);
        self.shade_overload(&mut scene, area, &across);
        vertical_axis(&mut scene, area, &up, &self.axis);
        let few = self.rates.len() <= 16;
        let ticks = if few { self.rates.clone() } else { across.ticks() };
        horizontal_axis(&mut scene, area, &across, &ticks, "offered requests per second");
        self.draw_reference(&mut scene, area, &across, &up);
        self.draw_knees(&mut scene, area, &across);
        let others = self.lines.iter().filter(|(style, _)| !style.is_default);
        let default = self.lines.iter().filter(|(style, _)| style.is_default);
        for (style, points) in others.chain(default) {
            self.draw_line(&mut scene, area, [&across, &up], style, points);
        }
        scene
    }

    /// The scale of rates. The rates that some policy keeps up with have most of the width.
    fn rate_scale(&self, area: Area) -> Scale {
        let scale = Scale::around(self.rates.iter().copied(), area.left, area.right);
        self.beyond_knees.map_or(scale, |knee| scale.with_room_below(knee, ROOM_BELOW_KNEES))
    }

    fn value_scale(&self, area: Area) -> Scale {
        if let Some((low, high)) = self.bounds {
            return Scale::between(low, high, area.bottom, area.top);
        }
        let points = self.lines.iter().flat_map(|(_, points)| points);
        let values = points.flat_map(|point| {
            let ends = point.interval.map_or([point.value; 2], |interval| [interval.low, interval.high]);
            [point.value, ends[0], ends[1]]
        });
        Scale::of_values(values, area.bottom, area.top)
    }

    fn shade_overload(&self, scene: &mut Scene, area: Area, across: &Scale) {
        let Some(from) = self.beyond_knees else { return };
        let x = across.at(from);
        let corners =
            vec![(x, area.top), (area.right, area.top), (area.right, area.bottom), (x, area.bottom)];
        scene.area(corners, Fill::new(Colour::Shade));
        if area.right - x > 118.0 {
            let at = (area.right - 6.0, area.bottom - 8.0);
            scene.text(at, "no policy keeps up", TEXT, Colour::Muted, Anchor::End);
        }
    }

    fn draw_reference(&self, scene: &mut Scene, area: Area, across: &Scale, up: &Scale) {
        let stroke = Stroke { dash: Some([4.0, 4.0]), ..Stroke::new(Colour::Axis, 1.2) };
        match &self.reference {
            Reference::None => {}
            Reference::One => scene.line(vec![(area.left, up.at(1.0)), (area.right, up.at(1.0))], stroke),
            Reference::Offered(arrived) => {
                let points: Vec<(f64, f64)> = below(arrived, up.high())
                    .into_iter()
                    .map(|(rate, offered)| (across.at(rate), up.at(offered)))
                    .collect();
                if let [_, .., (x, y)] = points.as_slice() {
                    let name = "as offered";
                    // To the left of the line's end, where there is room before the axis.
                    let room = 1.1 * font::width(name, TEXT, Weight::Regular) + 34.0;
                    let (at, anchor) = if x - room > area.left {
                        (x - 28.0, Anchor::End)
                    } else {
                        (x + 10.0, Anchor::Start)
                    };
                    scene.text((at, (y + 14.0).min(area.bottom - 6.0)), name, TEXT, Colour::Muted, anchor);
                    scene.line(points, stroke);
                }
            }
        }
    }

    fn draw_knees(&self, scene: &mut Scene, area: Area, across: &Scale) {
        for (index, (style, rate)) in self.knees.iter().enumerate() {
            // Knees at the same rate are stacked.
            let below = self.knees.iter().take(index).filter(|(_, other)| other == rate).count();
            let (x, y) = (across.at(*rate), stacked(area.bottom, below));
            let points = vec![(x, y), (x - 4.5, y - 8.0), (x + 4.5, y - 8.0)];
            let fill = Some(Fill::new(style.colour));
            let mark_item = Item::Path { points, closed: true, fill, stroke: None };
            let title = format!("{}: knee near {rate:.0} requests per second", style.name);
            scene.items.push(Item::Group { title, items: vec![mark_item] });
        }
    }

    fn draw_line(
        &self,
        scene: &mut Scene,
        area: Area,
        [across, up]: [&Scale; 2],
        style: &Style,
        points: &[LinePoint],
    ) {
        let place = |point: &LinePoint| (across.at(point.rate), up.at(point.value));
        for part in points.split(|point| !point.value.is_finite()) {
            if self.lines.len() <= MAX_BANDS {
                let ends = |end: fn(Interval) -> f64| {
                    part.iter().map(move |point| {
                        let value = point.interval.map_or(point.value, end);
                        (across.at(point.rate), up.at(value))
                    })
                };
                let band: Vec<(f64, f64)> =
                    ends(|interval| interval.low).chain(ends(|interval| interval.high).rev()).collect();
                if part.len() > 1 && part.iter().any(|point| point.interval.is_some()) {
                    scene.area(band, Fill { opacity: 0.16, ..Fill::new(style.colour) });
                }
            }
            if part.len() > 1 {
                scene.items.push(line(part.iter().map(place).collect(), style.stroke()));
            }
        }
        for point in points {
            let (x, y) = place(point);
            let mut items = Vec::new();
            if point.value.is_finite() {
                if let Some(interval) = point.interval {
                    items.extend(whisker(x, up.at(interval.low), up.at(interval.high), style));
                }
                items.push(style.point((x, y), point.stable && !style.is_bound));
            } else {
                // Infinite: failures reach this quantile.
                items.push(style.point((x, area.top + 5.0), false));
            }
            scene.items.push(Item::Group { title: point.tooltip.clone(), items });
        }
    }
}

/// The part of a rising line up to `high`, where it is cut.
fn below(line: &[(f64, f64)], high: f64) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = line.iter().copied().take_while(|(_, value)| *value <= high).collect();
    if let (Some(&(x, y)), Some(&(next_x, next_y))) = (points.last(), line.get(points.len())) {
        points.push((x + (next_x - x) * (high - y) / (next_y - y), high));
    }
    points
}

#[expect(clippy::cast_precision_loss, reason = "a few policies")]
fn stacked(bottom: f64, below: usize) -> f64 {
    bottom - 9.0 * below as f64
}
