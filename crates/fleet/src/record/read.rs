//! Reading an event log.

use std::io::{BufRead, Read as _};

use super::line::{FORMAT, Line};

/// The longest line in bytes. Block hashes of a prompt take a third of a megabyte at most, load reports and policies
/// less.
const MAX_LINE: u64 = 64 << 20;

/// Why an event log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The reader failed.
    #[error("line {line}: {source}")]
    Read {
        /// The line's number, from 1.
        line: u64,
        /// The cause.
        source: std::io::Error,
    },
    /// A line is not a line of an event log.
    #[error("line {line}: not a line of an event log: {reason}")]
    Line {
        /// The line's number, from 1.
        line: u64,
        /// The cause.
        reason: String,
    },
    /// A line is too long.
    #[error("line {line}: longer than {MAX_LINE} bytes")]
    TooLong {
        /// The line's number, from 1.
        line: u64,
    },
    /// The log has another format version.
    #[error(
        "line {line}: the log is in format {found}, written by Pointsman {build}; this one reads format {FORMAT}"
    )]
    Format {
        /// The line's number, from 1.
        line: u64,
        /// The log's format version.
        found: u32,
        /// The version that wrote it.
        build: String,
    },
    /// A scheduler's first line is not its header, so the beginning of the log is missing.
    #[error(
        "line {line}: scheduler {scheduler} has no header before this line; a log can only be read from its beginning"
    )]
    NoHeader {
        /// The line's number, from 1.
        line: u64,
        /// The scheduler's number.
        scheduler: u32,
    },
    /// A scheduler has a second header, so the file holds several logs.
    #[error(
        "line {line}: scheduler {scheduler} has a second header; replay the logs of several runs one by one"
    )]
    SecondHeader {
        /// The line's number, from 1.
        line: u64,
        /// The scheduler's number.
        scheduler: u32,
    },
    /// A scheduler's lines are not in order.
    #[error(
        "line {line}: event {seq} of scheduler {scheduler} is out of order; lines before it are missing or changed"
    )]
    Order {
        /// The line's number, from 1.
        line: u64,
        /// The scheduler's number.
        scheduler: u32,
        /// The event number found.
        seq: u64,
    },
}

/// The lines of an event log. An incomplete last line, as a killed process leaves it, is skipped.
pub fn read_log<R: BufRead>(reader: R) -> LogLines<R> {
    LogLines { reader, number: 0, text: Vec::new(), cut_off: false }
}

/// The iterator of [`read_log`].
#[derive(Debug)]
pub struct LogLines<R> {
    reader: R,
    number: u64,
    text: Vec<u8>,
    cut_off: bool,
}

impl<R> LogLines<R> {
    /// The number of the last line returned, or of the line where reading failed, from 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether the log ends within a line. Known once the iterator is exhausted.
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

/// The parser's message without its line number, which is always 1 because it parses one line at a time.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line ").map_or(&*text, |(message, _)| message);
    format!("column {}: {message}", error.column())
}
