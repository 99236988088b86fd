//! Traces: recorded requests.

use std::sync::Arc;

use pointsman_core::{Time, seconds};

use super::prefixes::split_blocks;

/// Recorded requests in order of arrival; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub(super) rows: Vec<Row>,
    /// Chained block hashes of all rows, one after the other.
    pub(super) blocks: Vec<u64>,
    /// Prompt tokens per hash; 0 where there are no hashes.
    pub(super) block_tokens: u32,
}

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) at: Time,
    pub(super) prompt: u32,
    pub(super) output: u32,
    pub(super) first_block: u32,
    pub(super) blocks: u32,
    pub(super) logged: Option<LoggedFields>,
}

/// Fields that only a gateway's event log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoggedFields {
    pub(super) adapter: Option<u32>,
    pub(super) priority: i32,
    pub(super) streamed: bool,
    pub(super) max_output_tokens: Option<u32>,
}

/// A request from a gateway's event log.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRequest {
    /// Arrival time.
    pub at: Time,
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Output tokens.
    pub output_tokens: u32,
    /// The client's bound on the output (`max_tokens`).
    pub max_output_tokens: Option<u32>,
    /// Chained hashes of the prompt's full blocks at the router's block size; empty where it hashed none.
    pub blocks: Arc<[pointsman_core::BlockHash]>,
    /// Tokens per block.
    pub block_tokens: u32,
    /// The adapter's index, from 0; `None` for the base model.
    pub adapter: Option<u32>,
    /// Priority: 0 is Standard, below 0 Sheddable, above 0 Critical.
    pub priority: i32,
    /// Whether the response was streamed.
    pub streamed: bool,
}

impl Trace {
    /// A trace of requests from an event log, sorted by arrival; `None` without requests.
    #[must_use]
    pub fn recorded(mut requests: Vec<RecordedRequest>) -> Option<Self> {
        requests.sort_by_key(|request| request.at);
        let block_tokens = requests.iter().map(|request| request.block_tokens).find(|tokens| *tokens > 0);
        let mut trace =
            Self { rows: Vec::new(), blocks: Vec::new(), block_tokens: block_tokens.unwrap_or(0) };
        for request in &requests {
            // Hashes of two block sizes never match. Where the log changed its size, only the first size is kept.
            let usable = request.block_tokens == trace.block_tokens;
            let blocks = request.blocks.iter().filter(|_| usable).map(|hash| hash.0);
            let &RecordedRequest { adapter, priority, streamed, max_output_tokens, .. } = request;
            let logged = Some(LoggedFields { adapter, priority, streamed, max_output_tokens });
            let (prompt, output) = (request.prompt_tokens.max(1), request.output_tokens);
            trace.push(Row { logged, ..Row::new(request.at, prompt, output) }, blocks);
        }
        (!trace.rows.is_empty()).then_some(trace)
    }

    pub(super) fn push(&mut self, row: Row, blocks: impl Iterator<Item = u64>) {
        let first_block = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        self.blocks.extend(blocks);
        let end = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        self.rows.push(Row { first_block, blocks: end - first_block, ..row });
    }

    /// Number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no request; no reader returns such a trace.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Mean requests per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rows.len() as f64 / self.cycle_seconds()
    }

    /// Tokens of the longest request, prompt and output together, and its index.
    #[must_use]
    pub fn longest(&self) -> (u64, usize) {
        let lengths = self.rows.iter().enumerate();
        let lengths = lengths.map(|(place, row)| (u64::from(row.prompt) + u64::from(row.output), place));
        lengths.max_by_key(|(tokens, place)| (*tokens, usize::MAX - place)).unwrap_or((0, 0))
    }

    /// Prompt tokens per block hash; 0 without hashes.
    #[must_use]
    pub fn block_tokens(&self) -> u32 {
        self.block_tokens
    }

    /// Seconds of one cycle through the trace: from the first timestamp to the last, plus one mean gap.
    #[must_use]
    pub fn cycle_seconds(&self) -> f64 {
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else { return 1.0 };
        let span = seconds(last.at.since(first.at));
        let gaps = self.rows.len() as f64 - 1.0;
        if span > 0.0 { span * (gaps + 1.0) / gaps } else { 1.0 }
    }

    /// Block hashes of a row's prompt at the engine's block size.
    pub(super) fn hashes(&self, row: &Row, block_size: u32) -> Arc<[pointsman_core::BlockHash]> {
        let size = block_size.max(1);
        let from = row.first_block as usize;
        let blocks = self.blocks.get(from..from + row.blocks as usize).unwrap_or_default();
        let full = (row.prompt / size) as usize;
        let hashes = split_blocks(blocks, self.block_tokens / size, u64::from(self.block_tokens));
        hashes.take(full).collect::<Vec<_>>().into()
    }
}

impl Row {
    pub(super) const fn new(at: Time, prompt: u32, output: u32) -> Self {
        Self { at, prompt, output, first_block: 0, blocks: 0, logged: None }
    }
}
