//! Text widths for the layout of plots, from the embedded font that the SVG's first font family names.

use ttf_parser::Face;

/// The weights of the font.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Medium,
}

static REGULAR: &[u8] = include_bytes!("../../assets/Roboto-Regular.ttf");
static MEDIUM: &[u8] = include_bytes!("../../assets/Roboto-Medium.ttf");

/// The embedded font; a test checks that it parses.
fn face(weight: Weight) -> Option<Face<'static>> {
    let bytes = match weight {
        Weight::Regular => REGULAR,
        Weight::Medium => MEDIUM,
    };
    Face::parse(bytes, 0).ok()
}

/// The width of a text at `size` pixels.
pub(crate) fn width(text: &str, size: f64, weight: Weight) -> f64 {
    let Some(face) = face(weight) else { return 0.0 };
    let advance = |character| {
        let glyph = face.glyph_index(character).unwrap_or_default();
        f64::from(face.glyph_hor_advance(glyph).unwrap_or_default())
    };
    text.chars().map(advance).sum::<f64>() * size / f64::from(face.units_per_em())
}

/// The text, shortened with an ellipsis to at most `limit` pixels.
pub(crate) fn fitted(text: &str, size: f64, weight: Weight, limit: f64) -> String {
    if width(text, size, weight) <= limit {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while kept.pop().is_some() {
        let cut: String = kept.iter().chain(&['…']).collect();
        if width(&cut, size, weight) <= limit {
            return cut;
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_the_characters_of_plots() {
        for weight in [Weight::Regular, Weight::Medium] {
            let face = face(weight).unwrap();
            for character in "aZ09%()–×µ∞…≥·−".chars() {
                assert!(face.glyph_index(character).is_some(), "{character} {weight:?}");
            }
        }
    }

    #[test]
    fn widths_grow_with_the_text() {
        assert!(width("mm", 10.0, Weight::Regular) > width("m", 10.0, Weight::Regular));
        assert!(width("m", 20.0, Weight::Regular) > width("m", 10.0, Weight::Regular));
        assert!(width("policy", 12.0, Weight::Regular) > 25.0);
    }

    #[test]
    fn long_texts_are_shortened() {
        assert_eq!(fitted("short", 12.0, Weight::Regular, 100.0), "short");
        let cut = fitted("a-policy-with-a-very-long-name", 12.0, Weight::Regular, 80.0);
        assert!(cut.starts_with("a-policy") && cut.ends_with('…'), "{cut}");
        assert!(width(&cut, 12.0, Weight::Regular) <= 80.0);
        assert_eq!(fitted("long", 12.0, Weight::Regular, 1.0), "");
    }
}
