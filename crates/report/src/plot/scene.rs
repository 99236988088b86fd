//! A drawing before it becomes SVG.

use super::font::Weight;

/// A colour by its role, so that a page can give it a light and a dark value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Titles and values.
    Text,
    /// Labels of axes and notes.
    Muted,
    /// Grid lines.
    Grid,
    /// Axes.
    Axis,
    /// Background.
    Surface,
    /// The region beyond all knees.
    Shade,
    /// A bound.
    Bound,
    /// A policy, by index; wraps at [`Colour::SERIES`].
    Series(usize),
}

impl Colour {
    /// Number of series with different colours.
    pub(crate) const SERIES: usize = 8;

    /// All colours.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let fixed =
            [Self::Text, Self::Muted, Self::Grid, Self::Axis, Self::Surface, Self::Shade, Self::Bound];
        fixed.into_iter().chain((0..Self::SERIES).map(Self::Series))
    }

    /// Name of the CSS variable and classes.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Muted => "muted".to_owned(),
            Self::Grid => "grid".to_owned(),
            Self::Axis => "axis".to_owned(),
            Self::Surface => "surface".to_owned(),
            Self::Shade => "shade".to_owned(),
            Self::Bound => "bound".to_owned(),
            Self::Series(index) => format!("s{}", index % Self::SERIES),
        }
    }

    /// RGB on a light and on a dark background. Series have a contrast of at least 3:1 and are distinguishable with the
    /// common forms of colour blindness (after Okabe and Ito, "Color Universal Design", 2008, darkened).
    pub(crate) const fn light_and_dark(self) -> [[u8; 3]; 2] {
        match self {
            Self::Text => [[0x1b, 0x1f, 0x24], [0xe8, 0xea, 0xed]],
            Self::Muted => [[0x57, 0x5f, 0x6a], [0xa3, 0xab, 0xb5]],
            Self::Grid => [[0xe6, 0xe8, 0xeb], [0x2b, 0x31, 0x39]],
            Self::Axis => [[0x9a, 0xa1, 0xaa], [0x5d, 0x66, 0x71]],
            Self::Surface => [[0xff, 0xff, 0xff], [0x15, 0x19, 0x1f]],
            Self::Shade => [[0xf4, 0xf1, 0xea], [0x22, 0x21, 0x1e]],
            Self::Bound => [[0x6f, 0x77, 0x82], [0x98, 0xa1, 0xac]],
            Self::Series(index) => match index % Self::SERIES {
                0 => [[0x00, 0x5f, 0xb8], [0x5a, 0xb0, 0xff]],
                1 => [[0xd1, 0x49, 0x0c], [0xff, 0x8a, 0x50]],
                2 => [[0x00, 0x83, 0x5f], [0x35, 0xc9, 0x9a]],
                3 => [[0xb1, 0x4c, 0x8e], [0xe8, 0x8b, 0xc4]],
                4 => [[0xa8, 0x6f, 0x00], [0xe8, 0xb5, 0x3a]],
                5 => [[0x1f, 0x8f, 0xc4], [0x7f, 0xd3, 0xf7]],
                6 => [[0x6d, 0x53, 0xc1], [0xb3, 0x9d, 0xff]],
                _ => [[0x7d, 0x68, 0x58], [0xc9, 0xb8, 0xa6]],
            },
        }
    }
}

/// Style of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stroke {
    pub(crate) colour: Colour,
    pub(crate) width: f64,
    pub(crate) dash: Option<[f64; 2]>,
    pub(crate) opacity: f64,
}

impl Stroke {
    pub(crate) const fn new(colour: Colour, width: f64) -> Self {
        Self { colour, width, dash: None, opacity: 1.0 }
    }
}

/// Style of an area.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fill {
    pub(crate) colour: Colour,
    pub(crate) opacity: f64,
}

impl Fill {
    pub(crate) const fn new(colour: Colour) -> Self {
        Self { colour, opacity: 1.0 }
    }
}

/// Alignment of a text to its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text. `y` is its baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) text: String,
    pub(crate) size: f64,
    pub(crate) weight: Weight,
    pub(crate) colour: Colour,
    pub(crate) anchor: Anchor,
    /// Rotated by 90 degrees, reading from bottom to top.
    pub(crate) rotated: bool,
}

/// A position in pixels from the upper left corner.
pub(crate) type Point = (f64, f64);

/// A shape, drawn over those before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Path {
        points: Vec<Point>,
        closed: bool,
        fill: Option<Fill>,
        stroke: Option<Stroke>,
    },
    Circle {
        centre: Point,
        radius: f64,
        fill: Option<Fill>,
        stroke: Option<Stroke>,
    },
    Text(Text),
    /// Items with a common tooltip.
    Group {
        title: String,
        items: Vec<Self>,
    },
}

/// A drawing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scene {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) items: Vec<Item>,
}

impl Scene {
    pub(crate) const fn new(width: f64, height: f64) -> Self {
        Self { width, height, items: Vec::new() }
    }

    pub(crate) fn line(&mut self, points: Vec<Point>, stroke: Stroke) {
        self.items.push(line(points, stroke));
    }

    pub(crate) fn area(&mut self, points: Vec<Point>, fill: Fill) {
        self.items.push(Item::Path { points, closed: true, fill: Some(fill), stroke: None });
    }

    pub(crate) fn text(
        &mut self,
        at: Point,
        text: impl Into<String>,
        size: f64,
        colour: Colour,
        anchor: Anchor,
    ) {
        self.items.push(Item::Text(Text {
            x: at.0,
            y: at.1,
            text: text.into(),
            size,
            weight: Weight::Regular,
            colour,
            anchor,
            rotated: false,
        }));
    }

    pub(crate) fn heading(&mut self, at: Point, text: impl Into<String>, size: f64) {
        self.text(at, text, size, Colour::Text, Anchor::Start);
        if let Some(Item::Text(text)) = self.items.last_mut() {
            text.weight = Weight::Medium;
        }
    }

    pub(crate) fn rotated_text(&mut self, at: Point, text: impl Into<String>, size: f64, colour: Colour) {
        self.text(at, text, size, colour, Anchor::Middle);
        if let Some(Item::Text(text)) = self.items.last_mut() {
            text.rotated = true;
        }
    }
}

pub(crate) fn line(points: Vec<Point>, stroke: Stroke) -> Item {
    Item::Path { points, closed: false, fill: None, stroke: Some(stroke) }
}
