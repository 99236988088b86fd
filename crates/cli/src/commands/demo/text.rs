//! Styled text for a terminal: lines of spans whose width is known before any escape code is written.

use console::Style;

/// What a span means; the colours follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Faint,
    /// The baseline's figures.
    Baseline,
    /// Pointsman's figures.
    Candidate,
    Better,
    Worse,
}

impl Tone {
    fn style(self) -> Style {
        let style = Style::new().force_styling(true);
        match self {
            Self::Plain => style,
            Self::Strong => style.bold(),
            Self::Faint => style.dim(),
            Self::Baseline => style.yellow(),
            Self::Candidate => style.cyan(),
            Self::Better => style.green().bold(),
            Self::Worse => style.red().bold(),
        }
    }
}

/// A piece of text in one tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    text: String,
    tone: Tone,
}

impl Span {
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }

    /// Width in terminal cells; the demo has no wide or combining characters.
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// One line of a screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line(Vec<Span>);

impl Line {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Plain)
    }

    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self(vec![Span::new(text, tone)])
    }

    pub(super) fn and(mut self, text: impl Into<String>, tone: Tone) -> Self {
        self.0.push(Span::new(text, tone));
        self
    }

    pub(super) fn width(&self) -> usize {
        self.0.iter().map(Span::width).sum()
    }

    /// The first `width` characters.
    fn cut(&self, width: usize) -> Self {
        let mut left = width;
        let mut spans = Vec::new();
        for span in &self.0 {
            let text: String = span.text.chars().take(left).collect();
            left -= text.chars().count();
            spans.push(Span { text, tone: span.tone });
        }
        Self(spans)
    }

    /// The text for a terminal.
    pub(super) fn render(&self, colour: bool) -> String {
        let styled = |span: &Span| {
            if !colour || span.tone == Tone::Plain || span.text.is_empty() {
                return span.text.clone();
            }
            span.tone.style().apply_to(&span.text).to_string()
        };
        let text: String = self.0.iter().map(styled).collect();
        text.trim_end().to_owned()
    }
}

/// Lines above each other.
pub(super) type Block = Vec<Line>;

/// Blocks above each other with an empty line between them.
pub(super) fn stacked(blocks: impl IntoIterator<Item = Block>) -> Block {
    let mut all = Block::new();
    for block in blocks.into_iter().filter(|block| !block.is_empty()) {
        if !all.is_empty() {
            all.push(Line::default());
        }
        all.extend(block);
    }
    all
}

/// Two blocks beside each other, the right one from column `at` on.
pub(super) fn beside(left: Block, right: Block, at: usize) -> Block {
    let height = left.len().max(right.len());
    let (mut left, mut right) = (left.into_iter(), right.into_iter());
    (0..height)
        .map(|_| {
            let first = left.next().unwrap_or_default().cut(at);
            let gap = " ".repeat(at - first.width());
            let mut line = first.and(gap, Tone::Plain);
            line.0.extend(right.next().unwrap_or_default().0);
            line
        })
        .collect()
}

/// A block cut to a terminal's size.
pub(super) fn fitted(block: &Block, width: usize, height: usize) -> Block {
    block.iter().take(height).map(|line| line.cut(width)).collect()
}

/// Rows of cells in aligned columns: the first to the left, the others to the right.
pub(super) fn grid(rows: Vec<Vec<Span>>) -> Block {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(Span::width).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: Vec<Span>| {
        let mut line = Line::default();
        for (index, (cell, &width)) in row.into_iter().zip(&widths).enumerate() {
            let padding = Span::plain(" ".repeat(width - cell.width()));
            if index == 0 {
                line.0.extend([cell, padding]);
            } else {
                line.0.extend([Span::plain("  "), padding, cell]);
            }
        }
        line
    };
    rows.into_iter().map(line).collect()
}

/// A bar for `value` beside others of at most `most`: `width` characters for the latter, at least one.
#[expect(clippy::cast_precision_loss, reason = "widths of terminals")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the width")]
pub(super) fn bar(value: f64, most: f64, width: usize) -> String {
    let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
    let full = (share * width as f64).round() as usize;
    "█".repeat(full.max(1).min(width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_does_not_count_as_width() {
        let line = Line::new("better", Tone::Better).and("  4 ms ", Tone::Plain);
        assert_eq!(line.width(), 13);
        assert_eq!(line.render(false), "better  4 ms");
        assert_eq!(line.render(true), "\u{1b}[32m\u{1b}[1mbetter\u{1b}[0m  4 ms");
        assert_eq!(line.cut(8).render(false), "better");
        assert_eq!(line.cut(9).render(false), "better  4");
    }

    #[test]
    fn blocks_beside_each_other_keep_their_columns() {
        let left = vec![Line::plain("long line"), Line::plain("b")];
        let right = vec![Line::plain("x"), Line::plain("y"), Line::plain("z")];
        let text: Vec<String> = beside(left, right, 6).iter().map(|line| line.render(false)).collect();
        assert_eq!(text, ["long lx", "b     y", "      z"]);
    }

    #[test]
    fn the_longest_bar_has_the_full_width_and_none_is_invisible() {
        let width = |value: f64| bar(value, 200.0, 10).chars().count();
        assert_eq!((width(200.0), width(100.0), width(0.1), width(900.0)), (10, 5, 1, 10));
        assert_eq!(bar(1.0, 0.0, 10), "█");
    }
}
