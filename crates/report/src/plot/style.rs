//! The style of a policy, the same in every plot and legend.

use super::scene::{Colour, Fill, Item, Point, Stroke};
use crate::sweep::Sweep;

/// Shapes of points. With eight colours and four dash patterns, thirty-two policies have different styles, which are
/// distinguishable without colours too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Wedge,
}

const SHAPES: [Shape; 6] =
    [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond, Shape::Wedge, Shape::Cross];

const DASHES: [Option<[f64; 2]>; 4] = [None, Some([7.0, 3.0]), Some([2.0, 2.5]), Some([10.0, 4.0])];

/// The style of one policy or bound.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Style {
    pub(crate) name: String,
    pub(crate) colour: Colour,
    pub(crate) is_bound: bool,
    shape: Shape,
    dash: Option<[f64; 2]>,
    /// Whether this is the default rule, which is drawn heavier and over the others.
    pub(crate) is_default: bool,
}

/// The name of the default rule, which has the first colour in every report.
const DEFAULT: &str = "pointsman";

/// The styles of all policies and bounds of a sweep, in their order.
pub(crate) fn styles(sweep: &Sweep) -> Vec<Style> {
    let has_default = sweep.policies().contains(&DEFAULT);
    let mut next = usize::from(has_default);
    let mut styles = Vec::new();
    for name in sweep.policies() {
        let is_default = name == DEFAULT;
        let index = if is_default { 0 } else { next };
        next += usize::from(!is_default);
        styles.push(style(name, index, is_default));
    }
    for (index, name) in crate::sweep::names(&sweep.bounds).into_iter().enumerate() {
        let base = style(name, index, false);
        styles.push(Style { colour: Colour::Bound, is_bound: true, dash: Some([3.0, 3.0]), ..base });
    }
    styles
}

fn style(name: &str, index: usize, is_default: bool) -> Style {
    let round = index / Colour::SERIES;
    Style {
        name: name.to_owned(),
        colour: Colour::Series(index),
        is_bound: false,
        shape: SHAPES.get((index + round) % SHAPES.len()).copied().unwrap_or(Shape::Circle),
        dash: DASHES.get(round % DASHES.len()).copied().flatten(),
        is_default,
    }
}

impl Style {
    /// Stroke of the line between points.
    pub(crate) fn stroke(&self) -> Stroke {
        let width = if self.is_default { 2.6 } else { 1.7 };
        Stroke { dash: self.dash, ..Stroke::new(self.colour, width) }
    }

    /// A point: filled for stable rows, hollow for others.
    pub(crate) fn point(&self, at: Point, filled: bool) -> Item {
        let radius = if self.is_default { 4.6 } else { 3.8 };
        let fill = Some(Fill::new(if filled { self.colour } else { Colour::Surface }));
        let stroke = Some(Stroke::new(self.colour, if filled { 1.0 } else { 1.6 }));
        let shape = |offsets: &[Point]| Item::Path {
            points: offsets.iter().map(|(x, y)| (at.0 + x * radius, at.1 + y * radius)).collect(),
            closed: true,
            fill,
            stroke,
        };
        match self.shape {
            Shape::Circle => Item::Circle { centre: at, radius, fill, stroke },
            Shape::Square => shape(&[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
            Shape::Triangle => shape(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)]),
            Shape::Wedge => shape(&[(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)]),
            Shape::Diamond => shape(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
            Shape::Cross => shape(&[
                (-0.4, -1.15),
                (0.4, -1.15),
                (0.4, -0.4),
                (1.15, -0.4),
                (1.15, 0.4),
                (0.4, 0.4),
                (0.4, 1.15),
                (-0.4, 1.15),
                (-0.4, 0.4),
                (-1.15, 0.4),
                (-1.15, -0.4),
                (-0.4, -0.4),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_two_policies_have_different_styles() {
        let styles: Vec<Style> = (0..32).map(|index| style("", index, false)).collect();
        for (index, style) in styles.iter().enumerate() {
            let same = styles.iter().take(index).any(|other| {
                (other.colour.name(), other.shape, other.dash)
                    == (style.colour.name(), style.shape, style.dash)
            });
            assert!(!same, "{index}");
        }
    }
}
