//! How a policy looks: the same in every plot and legend.

use super::scene::{Fill, Ink, Item, Point, Stroke};
use crate::sweep::Sweep;

/// The shapes of points; with eight colours and four line styles, thirty-two policies look different,
/// also in print and to those who see no colours.
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

/// The look of one policy or bound.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    pub(crate) name: String,
    pub(crate) ink: Ink,
    pub(crate) bound: bool,
    shape: Shape,
    dash: Option<[f64; 2]>,
    /// Our own default is drawn heavier and over the others.
    pub(crate) strong: bool,
}

/// The name of the default placement, which gets the first colour in every report.
const OWN: &str = "pointsman";

/// The looks of all policies and bounds of a sweep, in their order.
pub(crate) fn marks(sweep: &Sweep) -> Vec<Mark> {
    let own_present = sweep.policies().contains(&OWN);
    let mut next = usize::from(own_present);
    let mut marks = Vec::new();
    for name in sweep.policies() {
        let strong = name == OWN;
        let index = if strong { 0 } else { next };
        next += usize::from(!strong);
        marks.push(mark(name, index, strong));
    }
    for (index, name) in super::super::sweep::names(&sweep.bounds).into_iter().enumerate() {
        let look = mark(name, index, false);
        marks.push(Mark { ink: Ink::Bound, bound: true, dash: Some([3.0, 3.0]), ..look });
    }
    marks
}

fn mark(name: &str, index: usize, strong: bool) -> Mark {
    let round = index / Ink::SERIES;
    Mark {
        name: name.to_owned(),
        ink: Ink::Series(index),
        bound: false,
        shape: SHAPES.get((index + round) % SHAPES.len()).copied().unwrap_or(Shape::Circle),
        dash: DASHES.get(round % DASHES.len()).copied().flatten(),
        strong,
    }
}

impl Mark {
    /// The line between points.
    pub(crate) fn stroke(&self) -> Stroke {
        let width = if self.strong { 2.6 } else { 1.7 };
        Stroke { dash: self.dash, ..Stroke::new(self.ink, width) }
    }

    /// A point: filled where the figure describes the policy, hollow where it depends on how long the
    /// run was.
    pub(crate) fn point(&self, at: Point, filled: bool) -> Item {
        let radius = if self.strong { 4.6 } else { 3.8 };
        let fill = Some(Fill::new(if filled { self.ink } else { Ink::Surface }));
        let stroke = Some(Stroke::new(self.ink, if filled { 1.0 } else { 1.6 }));
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
    fn thirty_two_policies_look_different() {
        let looks: Vec<Mark> = (0..32).map(|index| mark("", index, false)).collect();
        for (index, look) in looks.iter().enumerate() {
            let same = looks.iter().take(index).any(|other| {
                (other.ink.name(), other.shape, other.dash) == (look.ink.name(), look.shape, look.dash)
            });
            assert!(!same, "{index}");
        }
    }
}
