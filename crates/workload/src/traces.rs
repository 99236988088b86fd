//! Readers of published traces and datasets. They report every mistake with its line.

mod csv;
mod mooncake;
mod sharegpt;
mod stamp;

use std::fmt::Display;
use std::sync::Arc;

use pointsman_core::Time;
use pointsman_yaml::{Problem, Severity, SourceText};

use super::trace::{Row, Trace};
pub use sharegpt::{Conversation, estimated_tokens, read_sharegpt};

/// Most problems reported for one trace.
const MOST_PROBLEMS: usize = 20;

/// Most requests of a trace.
const MOST_ROWS: usize = 5_000_000;

const SECOND: i64 = 1_000_000_000;

/// Shortest pause that can count as a hole.
const SHORTEST_HOLE: i64 = 60 * SECOND;

/// Longest trace: a later timestamp is a mistake.
const LONGEST_TRACE: i64 = 366 * 24 * 3_600 * SECOND;

/// Formats of traces with timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// Azure's LLM inference traces of 2023 and 2024: CSV with `TIMESTAMP`, `ContextTokens`, `GeneratedTokens`.
    Azure,
    /// Mooncake's traces (FAST'25): a JSON object per line with `timestamp` in milliseconds, `input_length`,
    /// `output_length` and `hash_ids`, one for each block of 512 prompt tokens.
    Mooncake,
    /// BurstGPT (KDD'25): CSV with `Timestamp` in seconds, `Request tokens`, `Response tokens`. Failed requests, which
    /// have no response tokens, are skipped.
    BurstGpt,
}

impl TraceFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Azure, Self::Mooncake, Self::BurstGpt];

    /// The name in experiments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Mooncake => "mooncake",
            Self::BurstGpt => "burstgpt",
        }
    }

    /// Reads a trace. Without `keep_holes`, a pause far longer than the usual gap is a mistake: data was lost there, and
    /// a run across it would measure an idle fleet.
    ///
    /// # Errors
    /// Every unusable row with its line: missing or malformed fields, timestamps out of order or out of range, holes.
    pub fn read(self, source: &SourceText, keep_holes: bool) -> Result<Trace, Vec<Problem>> {
        let mut collector = Collector::new(source);
        match self {
            Self::Azure => csv::read(&csv::AZURE, &source.text, &mut collector),
            Self::BurstGpt => csv::read(&csv::BURST_GPT, &source.text, &mut collector),
            Self::Mooncake => mooncake::read(&source.text, &mut collector),
        }
        collector.finish(keep_holes)
    }
}

/// A row of a trace.
struct Record {
    line: u32,
    /// Nanoseconds since an arbitrary origin.
    at: i64,
    prompt: u32,
    output: u32,
}

/// Collects rows and problems.
struct Collector {
    file: Arc<str>,
    trace: Trace,
    lines: Vec<u32>,
    stamps: Vec<i64>,
    problems: Vec<Problem>,
    unreported: usize,
}

impl Collector {
    fn new(source: &SourceText) -> Self {
        Self {
            file: Arc::clone(&source.name),
            trace: Trace { rows: Vec::new(), blocks: Vec::new(), block_tokens: 0 },
            lines: Vec::new(),
            stamps: Vec::new(),
            problems: Vec::new(),
            unreported: 0,
        }
    }

    fn problem(&mut self, (line, column): (u32, u32), path: &str, message: impl Display, fix: &str) {
        if self.problems.len() >= MOST_PROBLEMS {
            self.unreported += 1;
            return;
        }
        self.problems.push(Problem {
            severity: Severity::Error,
            file: Arc::clone(&self.file),
            line,
            column,
            path: path.to_owned(),
            message: message.to_string(),
            fix: fix.to_owned(),
        });
    }

    /// Whether the trace has its most requests, which is a problem.
    fn is_full(&mut self, line: u32) -> bool {
        let is_full = self.trace.rows.len() >= MOST_ROWS;
        if is_full {
            let message = format!("the trace has more than {MOST_ROWS} requests");
            self.problem((line, 1), "", message, "truncate it here");
        }
        is_full
    }

    fn push(&mut self, record: &Record, blocks: impl Iterator<Item = u64>) {
        let at = (record.line, 1);
        if let Some(before) = self.stamps.last()
            && record.at < *before
        {
            let line = self.lines.last().copied().unwrap_or_default();
            let message = format!("is before the request of line {line}");
            self.problem(at, "stamp", message, "sort the trace by time");
            return;
        }
        let first = self.stamps.first().copied().unwrap_or(record.at);
        if record.at.saturating_sub(first) > LONGEST_TRACE {
            let message = "is more than a year after the first request";
            self.problem(at, "stamp", message, "correct it, or truncate the trace before it");
            return;
        }
        let since = u64::try_from(record.at.saturating_sub(first)).unwrap_or(0);
        self.trace.push(Row::new(Time::from_nanos(since), record.prompt, record.output), blocks);
        self.stamps.push(record.at);
        self.lines.push(record.line);
    }

    /// A pause is a hole when it is long in itself, relative to the whole trace, and relative to the median gap.
    fn find_holes(&mut self) {
        let gaps: Vec<i64> = self.stamps.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let whole = gaps.iter().fold(0_i64, |sum, gap| sum.saturating_add(*gap));
        let mut sorted = gaps.clone();
        sorted.sort_unstable();
        let usual = sorted.get(gaps.len() / 2).copied().unwrap_or(0);
        let least = SHORTEST_HOLE.max(whole / 20).max(usual.saturating_mul(100));
        for (place, gap) in gaps.into_iter().enumerate().filter(|(_, gap)| *gap > least) {
            let (before, after) = (self.lines[place], self.lines[place + 1]);
            let message =
                format!("no request for {} s after line {before}: the trace has a hole", gap / SECOND);
            self.problem((after, 1), "stamp", message, "split the trace there, or write holes: keep");
        }
    }

    fn finish(mut self, keep_holes: bool) -> Result<Trace, Vec<Problem>> {
        if !keep_holes {
            self.find_holes();
        }
        if self.trace.rows.is_empty() && self.problems.is_empty() {
            self.problem((1, 1), "", "the trace has no request", "name another file");
        }
        if self.unreported > 0
            && let Some(last) = self.problems.last().cloned()
        {
            let message = format!("{} more problems are not shown", self.unreported);
            let fix = "correct these first".to_owned();
            self.problems.push(Problem { path: String::new(), message, fix, ..last });
        }
        if self.problems.is_empty() { Ok(self.trace) } else { Err(self.problems) }
    }
}

fn line_number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}
