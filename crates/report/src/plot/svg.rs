//! SVG output.

use std::fmt::Write as _;

use super::font::Weight;
use super::scene::{Anchor, Colour, Fill, Item, Point, Scene, Stroke, Text};
use crate::markup::escape;

/// How colours are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColourMode {
    /// As values, for a document of its own on white.
    Fixed,
    /// As CSS classes, for a page with a style sheet.
    Classes,
}

/// Font families; no font is fetched.
const FONTS: &str = "Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif";

/// Writes a drawing. `id` must be unique on its page.
pub(crate) fn write(scene: &Scene, id: &str, title: &str, summary: &str, mode: ColourMode) -> String {
    let (width, height) = (number(scene.width), number(scene.height));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-summary\" \
         font-family=\"{FONTS}\">\n<title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-summary\">{}</desc>\n",
        escape(title),
        escape(summary)
    );
    if mode == ColourMode::Fixed {
        let surface = hex(Colour::Surface);
        let _ = writeln!(svg, "<rect width=\"{width}\" height=\"{height}\" fill=\"{surface}\"/>");
    }
    for item in &scene.items {
        write_item(&mut svg, item, mode);
    }
    svg.push_str("</svg>\n");
    svg
}

fn write_item(svg: &mut String, item: &Item, mode: ColourMode) {
    match item {
        Item::Path { points, closed, fill, stroke } => {
            let _ = write!(svg, "<path d=\"{}\"", path(points, *closed));
            write_style(svg, *fill, *stroke, mode);
            svg.push_str("/>\n");
        }
        Item::Circle { centre, radius, fill, stroke } => {
            let (x, y) = (number(centre.0), number(centre.1));
            let _ = write!(svg, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{}\"", number(*radius));
            write_style(svg, *fill, *stroke, mode);
            svg.push_str("/>\n");
        }
        Item::Text(text) => write_text(svg, text, mode),
        Item::Group { title, items } => {
            let _ = writeln!(svg, "<g><title>{}</title>", escape(title));
            for item in items {
                write_item(svg, item, mode);
            }
            svg.push_str("</g>\n");
        }
    }
}

fn write_text(svg: &mut String, text: &Text, mode: ColourMode) {
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
    if text.rotated {
        let _ = write!(svg, " transform=\"rotate(-90 {x} {y})\"");
    }
    write_style(svg, Some(Fill::new(text.colour)), None, mode);
    let _ = writeln!(svg, ">{}</text>", escape(&text.text));
}

/// Writes fill and stroke. The fill is always written, because the default of SVG is black.
fn write_style(svg: &mut String, fill: Option<Fill>, stroke: Option<Stroke>, mode: ColourMode) {
    match mode {
        ColourMode::Fixed => {
            let fill = fill.map_or_else(|| "none".to_owned(), |fill| hex(fill.colour));
            let _ = write!(svg, " fill=\"{fill}\"");
            if let Some(stroke) = stroke {
                let _ = write!(svg, " stroke=\"{}\"", hex(stroke.colour));
            }
        }
        ColourMode::Classes => {
            let fill =
                fill.map_or_else(|| "fill-none".to_owned(), |fill| format!("fill-{}", fill.colour.name()));
            let stroke = stroke.map(|stroke| format!(" stroke-{}", stroke.colour.name())).unwrap_or_default();
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

fn hex(colour: Colour) -> String {
    let [[red, green, blue], _] = colour.light_and_dark();
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A coordinate with at most two decimals; 0 if it is not finite.
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
    fn numbers_are_short_and_finite() {
        for (value, expect) in
            [(1.0, "1"), (1.25, "1.25"), (-0.001, "0"), (f64::NAN, "0"), (f64::INFINITY, "0"), (100.0, "100")]
        {
            assert_eq!(number(value), expect);
        }
    }

    #[test]
    fn texts_are_escaped() {
        let mut scene = Scene::new(10.0, 10.0);
        scene.text((1.0, 2.0), "a<b & \"c\"", 12.0, Colour::Text, Anchor::End);
        let svg = write(&scene, "x", "t<1>", "s&2", ColourMode::Fixed);
        assert!(svg.contains("a&lt;b &amp; &quot;c&quot;"), "{svg}");
        assert!(svg.contains("t&lt;1&gt;") && svg.contains("s&amp;2"), "{svg}");
    }
}
