//! Tables for the terminal.

use std::fmt::Write as _;

/// A table as aligned plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Each heading, and whether the column is text: aligned left, as numbers are right.
    columns: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
    /// Indices of columns that may be left out, the first of these first.
    optional: Vec<usize>,
}

/// Spaces between two columns.
const GAP: usize = 2;

impl Table {
    /// A table with these headings. The first column and those without a heading are text, the others numbers.
    #[must_use]
    pub fn new<Heading: Into<String>>(headings: impl IntoIterator<Item = Heading>) -> Self {
        let headings = headings.into_iter().map(Into::into).enumerate();
        let columns =
            headings.map(|(index, heading): (_, String)| (index == 0 || heading.is_empty(), heading));
        let columns = columns.map(|(is_text, heading)| (heading, is_text)).collect();
        Self { columns, ..Self::default() }
    }

    /// Makes these columns text, and all others numbers.
    #[must_use]
    pub fn with_text(mut self, columns: &[usize]) -> Self {
        for (index, (_, is_text)) in self.columns.iter_mut().enumerate() {
            *is_text = columns.contains(&index);
        }
        self
    }

    /// Lets a narrow terminal leave out these columns, the first of these first.
    #[must_use]
    pub fn with_optional(mut self, columns: &[usize]) -> Self {
        self.optional = columns.to_vec();
        self
    }

    /// Adds a row; missing cells are empty, surplus cells are dropped.
    pub fn row<Cell: Into<String>>(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Self {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
        self
    }

    /// Renders the table for a terminal of `width` characters. If the columns do not fit, optional ones are left out; if
    /// that does not suffice, each row becomes a block of `heading: cell` lines.
    #[must_use]
    pub fn render(&self, width: usize) -> String {
        for left_out in 0..=self.optional.len() {
            let table = self.without(self.optional.get(..left_out).unwrap_or_default());
            if table.width() <= width {
                return table.render_columns(&table.widths());
            }
        }
        self.render_blocks()
    }

    /// The table without some columns.
    fn without(&self, columns: &[usize]) -> Self {
        let kept = |index: &usize| !columns.contains(index);
        let cells = |row: &Vec<String>| {
            row.iter().enumerate().filter(|(index, _)| kept(index)).map(|(_, cell)| cell.clone()).collect()
        };
        Self {
            columns: self
                .columns
                .iter()
                .enumerate()
                .filter(|(index, _)| kept(index))
                .map(|(_, one)| one.clone())
                .collect(),
            rows: self.rows.iter().map(cells).collect(),
            optional: Vec::new(),
        }
    }

    /// Width of the table in characters.
    #[must_use]
    pub fn width(&self) -> usize {
        let widths = self.widths();
        widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|(heading, _)| characters(heading)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(characters(cell));
            }
        }
        widths
    }

    fn render_columns(&self, widths: &[usize]) -> String {
        let mut text = String::new();
        let headings: Vec<&str> = self.columns.iter().map(|(heading, _)| heading.as_str()).collect();
        self.push_line(&mut text, widths, &headings);
        let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        self.push_line(&mut text, widths, &rules);
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            self.push_line(&mut text, widths, &cells);
        }
        text
    }

    fn push_line(&self, text: &mut String, widths: &[usize], cells: &[&str]) {
        let mut line = String::new();
        for (index, (cell, (&width, (_, is_text)))) in
            cells.iter().zip(widths.iter().zip(&self.columns)).enumerate()
        {
            if index > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let padding = " ".repeat(width.saturating_sub(characters(cell)));
            line.extend(if *is_text { [*cell, &padding] } else { [&padding, *cell] });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }

    fn render_blocks(&self) -> String {
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            for ((heading, _), cell) in self.columns.iter().zip(row) {
                let _ = match (heading.is_empty(), cell.is_empty()) {
                    (_, true) => Ok(()),
                    (true, false) => writeln!(text, "{cell}"),
                    (false, false) => writeln!(text, "{heading}: {cell}"),
                };
            }
        }
        text
    }
}

/// Width in terminal cells; the tables have no wide or combining characters.
fn characters(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["latency", "direct", ""]);
        table.row(["p50", "85.0 µs", "PASS"]).row(["p99", "1.24 ms"]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        let expect = "\
latency   direct
-------  -------  ----
p50      85.0 µs  PASS
p99      1.24 ms
";
        assert_eq!(table().render(80), expect);
        assert_eq!(table().render(22), expect);
    }

    #[test]
    fn a_narrow_terminal_leaves_out_optional_columns() {
        let table = table().with_optional(&[2, 1]);
        assert_eq!(table.render(22).lines().last(), Some("p99      1.24 ms"));
        assert_eq!(table.render(21).lines().last(), Some("p99      1.24 ms"));
        assert_eq!(table.render(21).lines().nth(2), Some("p50      85.0 µs"));
        assert_eq!(table.render(15).lines().nth(2), Some("p50"));
        assert_eq!(table.render(6).lines().next(), Some("latency: p50"));
    }

    #[test]
    fn a_narrow_terminal_gets_blocks() {
        let expect = "latency: p50\ndirect: 85.0 µs\nPASS\n\nlatency: p99\ndirect: 1.24 ms\n";
        assert_eq!(table().render(21), expect);
    }
}
