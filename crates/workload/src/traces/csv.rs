//! CSV traces: named columns, one request per line.

use super::{Collector, Record, line_number, stamp};

/// Column names and timestamp format of a CSV trace.
pub(super) struct Columns {
    stamp: &'static str,
    prompt: &'static str,
    output: &'static str,
    parse_stamp: fn(&str) -> Option<i64>,
    stamp_form: &'static str,
    /// Whether a row with zero output tokens is a failed request, which is skipped.
    skips_failed: bool,
}

pub(super) const AZURE: Columns = Columns {
    stamp: "TIMESTAMP",
    prompt: "ContextTokens",
    output: "GeneratedTokens",
    parse_stamp: stamp::parse_date,
    stamp_form: "a time from 1970 to 2199 such as 2023-11-16 18:15:46.6805900",
    skips_failed: false,
};

pub(super) const BURST_GPT: Columns = Columns {
    stamp: "Timestamp",
    prompt: "Request tokens",
    output: "Response tokens",
    parse_stamp: stamp::parse_seconds,
    stamp_form: "a time in seconds, such as 45.5",
    skips_failed: true,
};

/// The fields of a line with the columns at which they begin.
fn fields(line: &str) -> Vec<(u32, &str)> {
    let mut column = 1;
    let field = |text: &str| {
        let begins = column;
        column += u32::try_from(text.chars().count()).unwrap_or(u32::MAX).saturating_add(1);
        begins
    };
    let begins: Vec<u32> = line.split(',').map(field).collect();
    begins.into_iter().zip(line.split(',').map(|text| text.trim().trim_matches('"'))).collect()
}

pub(super) fn read(columns: &Columns, text: &str, collector: &mut Collector) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let Some((index, header)) = lines.next() else { return };
    let names = fields(header);
    let wanted = [columns.stamp, columns.prompt, columns.output];
    let places = wanted.map(|name| names.iter().position(|(_, found)| found.eq_ignore_ascii_case(name)));
    for (name, _) in wanted.iter().zip(places).filter(|(_, place)| place.is_none()) {
        let at = (line_number(index), 1);
        collector.problem(at, name, "the column is missing", "start the file with a line of column names");
    }
    let [Some(stamp), Some(prompt), Some(output)] = places else { return };
    for (index, line) in lines {
        let line_number = line_number(index);
        if collector.is_full(line_number) {
            return;
        }
        let fields = fields(line);
        let mut field = |place: usize, name: &str| {
            let found = fields.get(place).filter(|(_, text)| !text.is_empty());
            if found.is_none() {
                let end = fields.last().map_or(1, |(column, _)| *column);
                let column = fields.get(place).map_or(end, |(column, _)| *column);
                let at = (line_number, column);
                collector.problem(at, name, "is missing", "complete the row, or remove it");
            }
            found.copied()
        };
        let stamp = field(stamp, columns.stamp);
        let (prompt, output) = (field(prompt, columns.prompt), field(output, columns.output));
        let at = stamp.and_then(|(column, text)| {
            let at = (columns.parse_stamp)(text);
            if at.is_none() {
                let (at, message) =
                    ((line_number, column), format!("{text:?} is not {}", columns.stamp_form));
                collector.problem(at, columns.stamp, message, "correct it, or remove the row");
            }
            at
        });
        let prompt = prompt.and_then(|field| tokens(field, line_number, columns.prompt, 1, collector));
        let output = output.and_then(|field| tokens(field, line_number, columns.output, 0, collector));
        if let (Some(at), Some(prompt), Some(output)) = (at, prompt, output)
            && (output > 0 || !columns.skips_failed)
        {
            collector.push(&Record { line: line_number, at, prompt, output }, std::iter::empty());
        }
    }
}

fn tokens((column, text): (u32, &str), line: u32, name: &str, least: u32, to: &mut Collector) -> Option<u32> {
    let tokens = text.parse::<u32>().ok().filter(|tokens| *tokens >= least);
    if tokens.is_none() {
        let message = format!("{text:?} is not a number of tokens of at least {least}");
        to.problem((line, column), name, message, "correct it, or remove the row");
    }
    tokens
}
