//! CSV of numbers with a header line.

use super::{FitError, MISTAKES, Mistake};

/// The rows of a table with their line numbers, and the index of each named column.
pub(super) struct Table {
    pub(super) names: Vec<String>,
    rows: Vec<(usize, Vec<f64>)>,
    mistakes: Vec<Mistake>,
}

impl Table {
    /// Reads all lines; [`Table::rows`] reports the mistakes.
    pub(super) fn read(csv: &str) -> Result<Self, FitError> {
        let lines = csv.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let mut lines = lines.filter(|(_, line)| !line.is_empty());
        let header = lines.next().map(|(_, line)| line.trim_start_matches('\u{feff}'));
        let header = header.ok_or_else(|| FitError::Columns { problem: "the file is empty".to_owned() })?;
        let names: Vec<_> = cells(header).map(str::to_owned).collect();
        let mut table = Self { names, rows: Vec::new(), mistakes: Vec::new() };
        for (line, text) in lines {
            match table.numbers(text) {
                Ok(numbers) => table.rows.push((line, numbers)),
                Err(problem) => table.mistake(line, problem),
            }
        }
        Ok(table)
    }

    pub(super) fn mistake(&mut self, line: usize, problem: String) {
        if self.mistakes.len() < MISTAKES {
            self.mistakes.push(Mistake { line, problem });
        }
    }

    /// Maps each row, which returns its numbers by name; a name without a column gives 0.
    pub(super) fn map<T>(
        mut self,
        mut make: impl FnMut(usize, &dyn Fn(&str) -> f64) -> Result<T, String>,
    ) -> Result<Vec<T>, FitError> {
        let mut made = Vec::new();
        for (line, numbers) in std::mem::take(&mut self.rows) {
            let named = |name: &str| {
                let column = self.names.iter().position(|known| known == name);
                column.map_or(0.0, |column| numbers[column])
            };
            match make(line, &named) {
                Ok(item) => made.push(item),
                Err(problem) => self.mistake(line, problem),
            }
        }
        self.mistakes.sort_unstable_by_key(|mistake| mistake.line);
        if self.mistakes.is_empty() { Ok(made) } else { Err(FitError::Lines(self.mistakes)) }
    }

    fn numbers(&self, text: &str) -> Result<Vec<f64>, String> {
        let found = cells(text).count();
        if found != self.names.len() {
            return Err(format!("{found} values for {} columns", self.names.len()));
        }
        let number = |(name, cell): (&String, &str)| match cell.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(format!("{name} is {cell:?}, not a number of 0 or more")),
        };
        self.names.iter().zip(cells(text)).map(number).collect()
    }
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|cell| cell.trim().trim_matches('"'))
}
