//! A scene as pixels.

use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Stroke as PixelStroke, StrokeDash,
    Transform,
};
use ttf_parser::{Face, OutlineBuilder};

use super::font::{self, Weight};
use super::scene::{Anchor, Fill, Ink, Item, Scene, Stroke, Text};

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RasterError {
    /// The drawing has no area, or more than memory can hold.
    #[error("a picture of {width} by {height} pixels cannot be drawn")]
    Size {
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// The encoder refused.
    #[error("the picture cannot be written as PNG: {0}")]
    Encoding(String),
}

/// Draws a scene on white, `scale` pixels per unit, as a PNG.
pub(crate) fn png(scene: &Scene, scale: f32) -> Result<Vec<u8>, RasterError> {
    let (width, height) = (pixels(scene.width, scale), pixels(scene.height, scale));
    let mut canvas = Canvas {
        pixmap: Pixmap::new(width, height).ok_or(RasterError::Size { width, height })?,
        scale: Transform::from_scale(scale, scale),
        regular: font::face(Weight::Regular),
        medium: font::face(Weight::Medium),
    };
    canvas.pixmap.fill(colour(Ink::Surface, 1.0));
    for item in &scene.items {
        canvas.item(item);
    }
    canvas.pixmap.encode_png().map_err(|error| RasterError::Encoding(error.to_string()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded up and clamped")]
fn pixels(length: f64, scale: f32) -> u32 {
    (length * f64::from(scale)).ceil().clamp(0.0, 32_768.0) as u32
}

struct Canvas {
    pixmap: Pixmap,
    scale: Transform,
    regular: Option<Face<'static>>,
    medium: Option<Face<'static>>,
}

impl Canvas {
    fn item(&mut self, item: &Item) {
        match item {
            Item::Path { points, closed, fill, stroke } => {
                let mut builder = PathBuilder::new();
                for (index, &(x, y)) in points.iter().enumerate() {
                    let (x, y) = (single(x), single(y));
                    if index == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
                }
                if *closed {
                    builder.close();
                }
                self.path(builder.finish(), *fill, *stroke);
            }
            Item::Circle { centre, radius, fill, stroke } => {
                let circle = PathBuilder::from_circle(single(centre.0), single(centre.1), single(*radius));
                self.path(circle, *fill, *stroke);
            }
            Item::Text(text) => self.text(text),
            Item::Group { items, .. } => items.iter().for_each(|item| self.item(item)),
        }
    }

    fn path(&mut self, path: Option<Path>, fill: Option<Fill>, stroke: Option<Stroke>) {
        let Some(path) = path else { return };
        // A flat path has no inside, and filling one is reported as a mistake.
        let flat = path.bounds().width() <= 0.0 || path.bounds().height() <= 0.0;
        if let Some(fill) = fill.filter(|_| !flat) {
            let paint = paint(fill.ink, fill.opacity);
            self.pixmap.fill_path(&path, &paint, FillRule::Winding, self.scale, None);
        }
        if let Some(stroke) = stroke {
            let look = PixelStroke {
                width: single(stroke.width),
                line_cap: LineCap::Butt,
                line_join: LineJoin::Round,
                dash: stroke.dash.and_then(|[on, off]| StrokeDash::new(vec![single(on), single(off)], 0.0)),
                ..PixelStroke::default()
            };
            self.pixmap.stroke_path(&path, &paint(stroke.ink, stroke.opacity), &look, self.scale, None);
        }
    }

    fn text(&mut self, text: &Text) {
        let face = match text.weight {
            Weight::Regular => &self.regular,
            Weight::Medium => &self.medium,
        };
        let Some(face) = face else { return };
        let before = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => font::width(&text.text, text.size, text.weight) / 2.0,
            Anchor::End => font::width(&text.text, text.size, text.weight),
        };
        let per_unit = single(text.size) / f32::from(face.units_per_em());
        let mut outline = Outline { builder: PathBuilder::new(), pen: 0.0, per_unit };
        for character in text.text.chars() {
            let glyph = face.glyph_index(character).unwrap_or_default();
            face.outline_glyph(glyph, &mut outline);
            outline.pen += f32::from(face.glyph_hor_advance(glyph).unwrap_or_default()) * per_unit;
        }
        let Some(path) = outline.builder.finish() else { return };
        let turn = if text.upright { Transform::from_rotate(-90.0) } else { Transform::identity() };
        let place = Transform::from_translate(single(-before), 0.0)
            .post_concat(turn)
            .post_translate(single(text.x), single(text.y))
            .post_concat(self.scale);
        self.pixmap.fill_path(&path, &paint(text.ink, 1.0), FillRule::Winding, place, None);
    }
}

/// Takes a glyph's outline, whose axis points up, into a path whose axis points down.
struct Outline {
    builder: PathBuilder,
    pen: f32,
    per_unit: f32,
}

impl Outline {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.pen + x * self.per_unit, -y * self.per_unit)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}

fn paint(ink: Ink, opacity: f64) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(colour(ink, opacity));
    paint.anti_alias = true;
    paint
}

fn colour(ink: Ink, opacity: f64) -> Color {
    let [red, green, blue] = ink.light();
    let mut colour = Color::from_rgba8(red, green, blue, 255);
    colour.apply_opacity(single(opacity));
    colour
}

/// Pixels need no more than single precision; what is no number lies at the corner.
#[expect(clippy::cast_possible_truncation, reason = "pixel coordinates")]
fn single(value: f64) -> f32 {
    if value.is_finite() { value as f32 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(scene: &Scene) -> Pixmap {
        Pixmap::decode_png(&png(scene, 1.0).unwrap()).unwrap()
    }

    fn dark_pixels(pixmap: &Pixmap) -> usize {
        pixmap.pixels().iter().filter(|pixel| pixel.red() < 128).count()
    }

    #[test]
    fn text_leaves_ink_where_it_stands() {
        let mut scene = Scene::new(200.0, 40.0);
        assert_eq!(dark_pixels(&drawn(&scene)), 0);
        scene.text((100.0, 30.0), "QPS 285", 20.0, Ink::Text, Anchor::Middle);
        let pixmap = drawn(&scene);
        assert!(dark_pixels(&pixmap) > 200, "{}", dark_pixels(&pixmap));
        let at_edge = pixmap.pixels().chunks(200).any(|row| row[0].red() < 255 || row[199].red() < 255);
        assert!(!at_edge, "a centred text stays off the edges");
    }

    #[test]
    fn a_drawing_without_area_is_refused() {
        let expect = RasterError::Size { width: 0, height: 40 };
        assert_eq!(png(&Scene::new(0.0, 40.0), 1.0), Err(expect));
    }
}
