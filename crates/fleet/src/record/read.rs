//! Reading an event log.

use std::io::BufRead;

use super::line::{FORMAT, Line};

/// Longer lines are no lines of an event log: a prompt's block hashes take a third of a megabyte at most, and gauges
/// and policies less.
const MAX_LINE: u64 = 64 << 20;

/// Why an event log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The reader failed.
    #[error("line {line}: {source}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A line is none of an event log.
    #[error("line {line}: no line of an event log: {reason}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// A line is absurdly long.
    #[error("line {line}: longer than {MAX_LINE} bytes")]
    TooLong {
        /// The line, from 1.
        line: u64,
    },
    /// The log was written in another form.
    #[error(
        "line {line}: the log is in format {found}, written by Pointsman {build}; this one reads format {FORMAT}"
    )]
    Format {
        /// The line, from 1.
        line: u64,
        /// Its form.
        found: u32,
        /// The version that wrote it.
        build: String,
    },
    /// A state machine's lines do not begin with its header: the beginning of the log is missing.
    #[error(
        "line {line}: pool {pool} has no header before this line; a log can only be read from its beginning"
    )]
    NoHeader {
        /// The line, from 1.
        line: u64,
        /// The state machine.
        pool: u32,
    },
    /// A state machine begins twice: several logs in one.
    #[error("line {line}: pool {pool} begins a second time; logs of several runs are replayed one by one")]
    SecondHeader {
        /// The line, from 1.
        line: u64,
        /// The state machine.
        pool: u32,
    },
    /// A state machine's lines are not in order.
    #[error(
        "line {line}: event {seq} of pool {pool} is out of order; lines before it are missing or changed"
    )]
    Order {
        /// The line, from 1.
        line: u64,
        /// The state machine.
        pool: u32,
        /// The number where another was due.
        seq: u64,
    },
}

/// The lines of an event log. A last line without its end, as a killed process leaves it, is left out.
pub fn read_log(mut reader: impl BufRead) -> impl Iterator<Item = Result<Line, ReplayError>> {
    let mut number = 0;
    let mut text = Vec::new();
    std::iter::from_fn(move || {
        number += 1;
        text.clear();
        let mut bounded = std::io::Read::take(&mut reader, MAX_LINE);
        match bounded.read_until(b'\n', &mut text) {
            Err(source) => Some(Err(ReplayError::Read { line: number, source })),
            Ok(_) if text.last() == Some(&b'\n') => {
                let line = serde_json::from_slice(&text);
                Some(line.map_err(|error| ReplayError::Line { line: number, reason: reason(&error) }))
            }
            Ok(read) if u64::try_from(read).is_ok_and(|read| read >= MAX_LINE) => {
                Some(Err(ReplayError::TooLong { line: number }))
            }
            Ok(_) => None,
        }
    })
}

/// What is wrong with a line's text. The parser sees one line only, so its own line number says nothing.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(&*text, |(message, _)| message);
    format!("column {}: {message}", error.column())
}
