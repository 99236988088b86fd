//! A figure against the rate, a line per policy.

use super::axis::Scale;
use super::frame::{Area, TEXT, WIDTH, head, head_height, horizontal_axis, vertical_axis, whisker};
use super::mark::Mark;
use super::scene::{Anchor, Fill, Ink, Item, Scene, Stroke, line};
use crate::Interval;

/// The height of the data's rectangle.
const HEIGHT: f64 = 290.0;
/// With more lines than these, bands would cover each other and only whiskers are drawn.
const BANDS: usize = 4;

/// One point of a line, in the axes' units.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CurvePoint {
    pub(crate) rate: f64,
    /// Infinite where too many requests failed.
    pub(crate) value: f64,
    pub(crate) interval: Option<Interval>,
    pub(crate) stable: bool,
    /// The tooltip.
    pub(crate) says: String,
}

/// A line to compare with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reference {
    None,
    /// What arrived at each rate.
    Offered(Vec<(f64, f64)>),
    /// One: no difference.
    One,
}

/// A plot over rates.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curves {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) axis: String,
    pub(crate) lines: Vec<(Mark, Vec<CurvePoint>)>,
    pub(crate) rates: Vec<f64>,
    pub(crate) reference: Reference,
    /// From which rate on no policy keeps up.
    pub(crate) past_knees: Option<f64>,
    /// Where each policy's knee lies.
    pub(crate) knees: Vec<(Mark, f64)>,
    /// The value axis, where it is not chosen by the values.
    pub(crate) bounds: Option<(f64, f64)>,
}

impl Curves {
    pub(crate) fn draw(&self) -> Scene {
        let legend: Vec<Mark> = self.lines.iter().map(|(mark, _)| mark.clone()).collect();
        let top = head_height(&self.title, &self.note, &legend, WIDTH);
        let mut scene = Scene::new(WIDTH, top + HEIGHT + 52.0);
        head(&mut scene, &self.title, &self.note, &legend);
        let area = Area { left: 66.0, right: WIDTH - 18.0, top, bottom: top + HEIGHT };
        let across = Scale::around(self.rates.iter().copied(), area.left, area.right);
        let up = self.value_scale(area);
        self.shade(&mut scene, area, &across);
        vertical_axis(&mut scene, area, &up, &self.axis);
        let few = self.rates.len() <= 16;
        let ticks = if few { self.rates.clone() } else { across.ticks() };
        horizontal_axis(&mut scene, area, &across, &ticks, "offered requests per second");
        self.refer(&mut scene, area, &across, &up);
        self.knee_marks(&mut scene, area, &across);
        let own_last = self.lines.iter().filter(|(mark, _)| !mark.strong);
        let own = self.lines.iter().filter(|(mark, _)| mark.strong);
        for (mark, points) in own_last.chain(own) {
            self.draw_line(&mut scene, area, [&across, &up], mark, points);
        }
        scene
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

    fn shade(&self, scene: &mut Scene, area: Area, across: &Scale) {
        let Some(from) = self.past_knees else { return };
        let x = across.at(from);
        let corners =
            vec![(x, area.top), (area.right, area.top), (area.right, area.bottom), (x, area.bottom)];
        scene.area(corners, Fill::new(Ink::Shade));
        if area.right - x > 130.0 {
            let at = (area.right - 6.0, area.bottom - 8.0);
            scene.text(at, "nobody keeps up", TEXT, Ink::Muted, Anchor::End);
        }
    }

    fn refer(&self, scene: &mut Scene, area: Area, across: &Scale, up: &Scale) {
        let stroke = Stroke { dash: Some([4.0, 4.0]), ..Stroke::new(Ink::Axis, 1.2) };
        match &self.reference {
            Reference::None => {}
            Reference::One => scene.line(vec![(area.left, up.at(1.0)), (area.right, up.at(1.0))], stroke),
            Reference::Offered(arrived) => {
                let below = arrived.iter().take_while(|(_, offered)| *offered <= up.high());
                let points: Vec<(f64, f64)> =
                    below.map(|&(rate, offered)| (across.at(rate), up.at(offered))).collect();
                if let [.., (x, y)] = points.as_slice() {
                    scene.text((x - 18.0, y + 14.0), "as offered", TEXT, Ink::Muted, Anchor::End);
                    scene.line(points, stroke);
                }
            }
        }
    }

    fn knee_marks(&self, scene: &mut Scene, area: Area, across: &Scale) {
        for (index, (mark, rate)) in self.knees.iter().enumerate() {
            // Knees at the same place stand on each other.
            let below = self.knees.iter().take(index).filter(|(_, other)| other == rate).count();
            let (x, y) = (across.at(*rate), stacked(area.bottom, below));
            let points = vec![(x, y), (x - 4.5, y - 8.0), (x + 4.5, y - 8.0)];
            let fill = Some(Fill::new(mark.ink));
            let mark_item = Item::Path { points, closed: true, fill, stroke: None };
            let title = format!("{}: the knee lies near {rate:.0} requests per second", mark.name);
            scene.items.push(Item::Group { title, items: vec![mark_item] });
        }
    }

    fn draw_line(
        &self,
        scene: &mut Scene,
        area: Area,
        [across, up]: [&Scale; 2],
        mark: &Mark,
        points: &[CurvePoint],
    ) {
        let place = |point: &CurvePoint| (across.at(point.rate), up.at(point.value));
        for part in points.split(|point| !point.value.is_finite()) {
            if self.lines.len() <= BANDS {
                let ends = |end: fn(Interval) -> f64| {
                    part.iter().map(move |point| {
                        let value = point.interval.map_or(point.value, end);
                        (across.at(point.rate), up.at(value))
                    })
                };
                let band: Vec<(f64, f64)> =
                    ends(|interval| interval.low).chain(ends(|interval| interval.high).rev()).collect();
                if part.len() > 1 && part.iter().any(|point| point.interval.is_some()) {
                    scene.area(band, Fill { opacity: 0.16, ..Fill::new(mark.ink) });
                }
            }
            if part.len() > 1 {
                scene.items.push(line(part.iter().map(place).collect(), mark.stroke()));
            }
        }
        for point in points {
            let (x, y) = place(point);
            let mut items = Vec::new();
            if point.value.is_finite() {
                if let Some(interval) = point.interval {
                    items.extend(whisker(x, up.at(interval.low), up.at(interval.high), mark));
                }
                items.push(mark.point((x, y), point.stable && !mark.bound));
            } else {
                // Off the scale: failures reach this quantile.
                items.push(mark.point((x, area.top + 5.0), false));
            }
            scene.items.push(Item::Group { title: point.says.clone(), items });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few policies")]
fn stacked(bottom: f64, below: usize) -> f64 {
    bottom - 9.0 * below as f64
}
