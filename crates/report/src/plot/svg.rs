//! A scene as SVG.

use std::fmt::Write as _;

use super::font::Weight;
use super::scene::{Anchor, Fill, Ink, Item, Point, Scene, Stroke, Text};
use crate::markup::escape;

/// Where colours come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// They are written out: the drawing stands alone, on white.
    Fixed,
    /// Classes name them: the page that holds the drawing says what they are.
    Classes,
}

/// The families that stand for the embedded font; no resource is fetched.
const FONTS: &str = "Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif";

/// Writes a drawing. `id` must be unique on the page that holds it.
pub(crate) fn write(scene: &Scene, id: &str, title: &str, summary: &str, colours: Colours) -> String {
    let (width, height) = (number(scene.width), number(scene.height));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-summary\" \
         font-family=\"{FONTS}\">\n<title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-summary\">{}</desc>\n",
        escape(title),
        escape(summary)
    );
    if colours == Colours::Fixed {
        let surface = hex(Ink::Surface);
        let _ = writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" fill=\"{surface}\"/>");
    }
    for item in &scene.items {
        write_item(&mut svg, item, colours);
    }
    svg.push_str("</svg>\n");
    svg
}

fn write_item(svg: &mut String, item: &Item, colours: Colours) {
    match item {
        Item::Path { points, closed, fill, stroke } => {
            let _ = write!(svg, "<path d=\"{}\"", path(points, *closed));
            look(svg, *fill, *stroke, colours);
            svg.push_str("/>\n");
        }
        Item::Circle { centre, radius, fill, stroke } => {
            let (x, y) = (number(centre.0), number(centre.1));
            let _ = write!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{}\"", number(*radius));
            look(svg, *fill, *stroke, colours);
            svg.push_str("/>\n");
        }
        Item::Text(text) => write_text(svg, text, colours),
        Item::Group { title, items } => {
            let _ = writeln!(svg, "<g><title>{}</title>", escape(title));
            for item in items {
                write_item(svg, item, colours);
            }
            svg.push_str("</g>\n");
        }
    }
}

fn write_text(svg: &mut String, text: &Text, colours: Colours) {
    let (x, y) = (number(text.x), number(text.y));
    let _ = write!(svg, "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"", number(text.size));
    if text.weight == Weight::Medium {
        svg.push_str(" font-weight=\"600\"");
    }
    match text.anchor {
        Anchor::Start => {}
        Anchor::Middle => svg.push_str(" text-anchor=\"middle\""),
        Anchor::End => svg.push_str(" text-anchor=\"end\""),
    }
    if text.upright {
        let _ = write!(svg, " transform=\"rotate(-90 {x} {y})\"");
    }
    look(svg, Some(Fill::new(text.ink)), None, colours);
    let _ = writeln!(svg, ">{}</text>", escape(&text.text));
}

/// Writes fill and stroke. Without classes both must be said, because SVG fills with black if nothing is.
fn look(svg: &mut String, fill: Option<Fill>, stroke: Option<Stroke>, colours: Colours) {
    match colours {
        Colours::Fixed => {
            let fill = fill.map_or_else(|| "none".to_owned(), |fill| hex(fill.ink));
            let _ = write!(svg, " fill=\"{fill}\"");
            if let Some(stroke) = stroke {
                let _ = write!(svg, " stroke=\"{}\"", hex(stroke.ink));
            }
        }
        Colours::Classes => {
            let fill =
                fill.map_or_else(|| "fill-none".to_owned(), |fill| format!("fill-{}", fill.ink.name()));
            let stroke = stroke.map(|stroke| format!(" stroke-{}", stroke.ink.name())).unwrap_or_default();
            let _ = write!(svg, " class=\"{fill}{stroke}\"");
        }
    }
    if let Some(fill) = fill.filter(|fill| fill.opacity < 1.0) {
        let _ = write!(svg, " fill-opacity=\"{}\"", fill.opacity);
    }
    let Some(stroke) = stroke else { return };
    let _ = write!(svg, " stroke-width=\"{}\" stroke-linejoin=\"round\"", number(stroke.width));
    if let Some([on, off]) = stroke.dash {
        let _ = write!(svg, " stroke-dasharray=\"{} {}\"", number(on), number(off));
    }
    if stroke.opacity < 1.0 {
        let _ = write!(svg, " stroke-opacity=\"{}\"", stroke.opacity);
    }
}

fn path(points: &[Point], closed: bool) -> String {
    let mut text = String::with_capacity(points.len() * 12);
    for (index, &(x, y)) in points.iter().enumerate() {
        let command = if index == 0 { 'M' } else { 'L' };
        let _ = write!(text, "{command}{} {}", number(x), number(y));
    }
    if closed {
        text.push('Z');
    }
    text
}

fn hex(ink: Ink) -> String {
    let [red, green, blue] = ink.light();
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Two decimals and no more characters than needed; a coordinate that is no number is 0.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_always_numbers() {
        for (value, expect) in
            [(1.0, "1"), (1.25, "1.25"), (-0.001, "0"), (f64::NAN, "0"), (f64::INFINITY, "0"), (100.0, "100")]
        {
            assert_eq!(number(value), expect);
        }
    }

    #[test]
    fn texts_are_escaped() {
        let mut scene = Scene::new(10.0, 10.0);
        scene.text((1.0, 2.0), "a<b & \"c\"", 12.0, Ink::Text, Anchor::End);
        let svg = write(&scene, "x", "t<1>", "s&2", Colours::Fixed);
        assert!(svg.contains("a&lt;b &amp; &quot;c&quot;"), "{svg}");
        assert!(svg.contains("t&lt;1&gt;") && svg.contains("s&amp;2"), "{svg}");
    }
}
