//! Reading an event log.

use std::io::{BufRead, Read as _};

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
    /// A state scheduler's lines do not begin with its header: the beginning of the log is missing.
    #[error(
        "line {line}: pool {pool} has no header before this line; a log can only be read from its beginning"
    )]
    NoHeader {
        /// The line, from 1.
        line: u64,
        /// The state scheduler.
        pool: u32,
    },
    /// A state scheduler begins twice: several logs in one.
    #[error("line {line}: pool {pool} begins a second time; logs of several runs are replayed one by one")]
    SecondHeader {
        /// The line, from 1.
        line: u64,
        /// The state scheduler.
        pool: u32,
    },
    /// A state scheduler's lines are not in order.
    #[error(
        "line {line}: event {seq} of pool {pool} is out of order; lines before it are missing or changed"
    )]
    Order {
        /// The line, from 1.
        line: u64,
        /// The state scheduler.
        pool: u32,
        /// The number where another was due.
        seq: u64,
    },
}

/// The lines of an event log. A last line without its end, as a killed process leaves it, is left out.
pub fn read_log<R: BufRead>(reader: R) -> LogLines<R> {
    LogLines { reader, number: 0, text: Vec::new(), cut_off: false }
}

/// What [`read_log`] gives.
#[derive(Debug)]
pub struct LogLines<R> {
    reader: R,
    number: u64,
    text: Vec<u8>,
    cut_off: bool,
}

impl<R> LogLines<R> {
    /// The line that was given last, or where reading failed, from 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether the text ended within a line, once all lines were given.
    pub const fn is_cut_off(&self) -> bool {
        self.cut_off
    }
}

impl<R: BufRead> Iterator for LogLines<R> {
    type Item = Result<Line, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.number + 1;
        self.text.clear();
        let read = match self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.text) {
            Err(source) => return Some(Err(ReplayError::Read { line, source })),
            Ok(read) => read as u64,
        };
        if self.text.last() != Some(&b'\n') {
            self.cut_off = read > 0;
            return (read >= MAX_LINE).then_some(Err(ReplayError::TooLong { line }));
        }
        self.number = line;
        let parsed = serde_json::from_slice(&self.text);
        Some(parsed.map_err(|error| ReplayError::Line { line, reason: reason(&error) }))
    }
}

/// What is wrong with a line's text. The parser sees one line only, so its own line number says nothing.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(&*text, |(message, _)| message);
    format!("column {}: {message}", error.column())
}
