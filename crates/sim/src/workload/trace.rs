//! Recorded requests.

use std::sync::Arc;

use pointsman_core::{Time, seconds};

use super::prefixes::divided;

/// Requests in order of arrival: at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    pub(super) rows: Vec<Row>,
    /// The chained hashes of all rows' blocks.
    pub(super) blocks: Vec<u64>,
    /// Prompt tokens behind each of them; 0 where there are none.
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
    pub(super) marks: Option<Marks>,
}

/// What only a gateway's own log knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) adapter: Option<u32>,
    pub(super) priority: i32,
    pub(super) streamed: bool,
    pub(super) max_output_tokens: Option<u32>,
}

/// A request as a gateway recorded it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRequest {
    /// When it arrived.
    pub at: Time,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// Tokens of its answer.
    pub output_tokens: u32,
    /// The bound that the client set on the output.
    pub max_output_tokens: Option<u32>,
    /// Chained hashes of the prompt's full blocks, as the router cut them; empty where it hashed none.
    pub blocks: Arc<[pointsman_core::BlockHash]>,
    /// Tokens in each of them.
    pub block_tokens: u32,
    /// The adapter, numbered from 0 in any order that the log's reader likes; `None` for the base model.
    pub adapter: Option<u32>,
    /// Priority: 0 is Standard, below 0 is sheddable, above is Critical.
    pub priority: i32,
    /// Whether the reply was a stream.
    pub streamed: bool,
}

impl Trace {
    /// A trace of requests that a gateway recorded. They are put in order of arrival; `None` where there are none.
    #[must_use]
    pub fn recorded(mut requests: Vec<RecordedRequest>) -> Option<Self> {
        requests.sort_by_key(|request| request.at);
        let block_tokens = requests.iter().map(|request| request.block_tokens).find(|tokens| *tokens > 0);
        let mut trace =
            Self { rows: Vec::new(), blocks: Vec::new(), block_tokens: block_tokens.unwrap_or(0) };
        for request in &requests {
            // A log that changed its block size on the way has two kinds of hashes that never meet: one is enough.
            let usable = request.block_tokens == trace.block_tokens;
            let blocks = request.blocks.iter().filter(|_| usable).map(|hash| hash.0);
            let marks = Marks {
                adapter: request.adapter,
                priority: request.priority,
                streamed: request.streamed,
                max_output_tokens: request.max_output_tokens,
            };
            let (prompt, output) = (request.prompt_tokens.max(1), request.output_tokens);
            trace.push(Row { marks: Some(marks), ..Row::new(request.at, prompt, output) }, blocks);
        }
        (!trace.rows.is_empty()).then_some(trace)
    }

    pub(super) fn push(&mut self, row: Row, blocks: impl Iterator<Item = u64>) {
        let first_block = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        self.blocks.extend(blocks);
        let end = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        self.rows.push(Row { first_block, blocks: end - first_block, ..row });
    }

    /// How many requests it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none, which no reader gives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its requests per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rows.len() as f64 / self.round()
    }

    /// The longest request, prompt and output together, and its place among the rows.
    #[must_use]
    pub fn longest(&self) -> (u64, usize) {
        let lengths = self.rows.iter().enumerate();
        let lengths = lengths.map(|(place, row)| (u64::from(row.prompt) + u64::from(row.output), place));
        lengths.max_by_key(|(tokens, place)| (*tokens, usize::MAX - place)).unwrap_or((0, 0))
    }

    /// Prompt tokens behind each block hash; 0 where it has none.
    #[must_use]
    pub fn block_tokens(&self) -> u32 {
        self.block_tokens
    }

    /// How many adapters its requests name.
    #[must_use]
    pub fn adapters(&self) -> u32 {
        let adapters = self.rows.iter().filter_map(|row| row.marks?.adapter);
        adapters.max().map_or(0, |most| most.saturating_add(1))
    }

    /// Seconds of one round: from the first stamp to the last, and a mean gap from there to the first again.
    pub(crate) fn round(&self) -> f64 {
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else { return 1.0 };
        let span = seconds(last.at.since(first.at));
        let gaps = self.rows.len() as f64 - 1.0;
        if span > 0.0 { span * (gaps + 1.0) / gaps } else { 1.0 }
    }

    /// The hashes of a row's prompt in blocks of the engine's size.
    pub(super) fn hashes(&self, row: &Row, block_size: u32) -> Arc<[pointsman_core::BlockHash]> {
        let size = block_size.max(1);
        let from = row.first_block as usize;
        let blocks = self.blocks.get(from..from + row.blocks as usize).unwrap_or_default();
        let full = (row.prompt / size) as usize;
        let hashes = divided(blocks, self.block_tokens / size, u64::from(self.block_tokens));
        hashes.take(full).collect::<Vec<_>>().into()
    }
}

impl Row {
    pub(super) const fn new(at: Time, prompt: u32, output: u32) -> Self {
        Self { at, prompt, output, first_block: 0, blocks: 0, marks: None }
    }
}
