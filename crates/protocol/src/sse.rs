//! Scanning of server-sent event streams while they pass, without delay.
//!
//! The framing follows the server-sent events chapter of the HTML standard (`text/event-stream`): lines end with LF,
//! CR LF or CR; a blank line ends an event; several `data` lines form one text; comments start with a colon. One
//! deviation: the last event counts even without its blank line, since some engines omit it after `[DONE]`.
//!
//! Written by hand because `serde_json` needs complete events, which would have to be buffered, and for its speed: a
//! chunk of a chat completion takes 0.6 µs, the `serde_json` value of its data 1.0 µs (one busy core; `cargo bench -p
//! pointsman-protocol --bench sse`).

mod event;
mod lines;

use self::event::{Choices, Event};
use self::lines::{LineParser, Part};
use crate::api::StreamFormat;
use crate::failure::StreamFailure;
use crate::usage::{Usage, UsageFields};

/// The facts that one chunk of a stream adds. [`StreamFacts::absorb`] sums up chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamFacts {
    /// Whether the first token of the stream is in this chunk.
    pub first_token: bool,
    /// Number of events in this chunk that carry output. An event may carry several tokens.
    pub token_events: u32,
    /// The latest token counts in this chunk.
    pub usage: Option<Usage>,
    /// The first failure that the engine reports.
    pub failure: Option<StreamFailure>,
    /// Whether the end mark of the stream is in this chunk, without a failure before it.
    pub ended: bool,
}

impl StreamFacts {
    /// Adds the facts of the next chunk.
    pub fn absorb(&mut self, next: Self) {
        self.first_token |= next.first_token;
        self.token_events = self.token_events.saturating_add(next.token_events);
        self.usage = next.usage.or(self.usage);
        self.failure = self.failure.or(next.failure);
        self.ended |= next.ended;
    }
}

/// The end of a stream whose transport ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamEnd {
    /// The stream has its end mark, or a finish reason for each choice, and no failure. Engines leave out one or the other.
    Complete,
    /// The engine reported a failure, whatever it sent after it.
    Failed(StreamFailure),
    /// Both are missing.
    Truncated,
}

/// Scans one event stream in chunks of any size, with less than a kilobyte of memory. The bytes stay as they are: the
/// caller forwards them.
#[derive(Debug, Clone, Default)]
pub struct SseScanner {
    format: StreamFormat,
    lines: LineParser,
    event: Event,
    usage: UsageFields,
    response_id: Option<String>,
    has_token: bool,
    choices: Choices,
    over: bool,
    failure: Option<StreamFailure>,
}

impl SseScanner {
    /// A scanner for a new stream.
    #[must_use]
    pub fn new(format: StreamFormat) -> Self {
        Self { format, ..Self::default() }
    }

    /// Scans the next chunk and returns the facts that it adds.
    pub fn push(&mut self, chunk: &[u8]) -> StreamFacts {
        let mut facts = StreamFacts::default();
        if self.format == StreamFormat::Unknown {
            return facts;
        }
        let mut rest = chunk;
        while let Some((part, after)) = self.lines.next(rest) {
            rest = after;
            match part {
                Part::Data(data) => self.event.data(self.format, data, &mut self.usage),
                Part::EventName(name) => self.event.name(name),
                Part::LineEnd => self.event.line_end(),
                Part::EventEnd => self.dispatch(&mut facts),
            }
        }
        facts
    }

    /// Whether the end mark has passed: `[DONE]`, even without the end of its event, or the API's last typed event. Nothing may
    /// follow it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over || self.event.is_done()
    }

    /// Whether output has passed.
    #[must_use]
    pub const fn has_token(&self) -> bool {
        self.has_token
    }

    /// Whether the next byte begins an event, so that a comment may stand before it.
    #[must_use]
    pub fn is_between_events(&self) -> bool {
        self.lines.is_at_line_start() && self.event.is_empty()
    }

    /// The latest token counts.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage.usage()
    }

    /// The id of the stored response (`/v1/responses` only).
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.response_id.as_deref()
    }

    /// Ends the stream after its transport ended without an error. Returns the facts of an unfinished last event and
    /// the end of the stream; in an unknown format it is always complete.
    pub fn finish(&mut self) -> (StreamFacts, StreamEnd) {
        let mut facts = StreamFacts::default();
        if self.format == StreamFormat::Unknown {
            return (facts, StreamEnd::Complete);
        }
        let failure = self.failure;
        self.dispatch(&mut facts);
        // Clients ignore an event without its end, so a failure there is one that they are not told of.
        let end = match (failure, self.over || self.choices.all_finished()) {
            (Some(failure), _) => StreamEnd::Failed(failure),
            (None, true) if self.failure.is_none() || self.over => StreamEnd::Complete,
            (None, _) => StreamEnd::Truncated,
        };
        (facts, end)
    }

    /// Evaluates a complete event.
    fn dispatch(&mut self, facts: &mut StreamFacts) {
        let event = self.event.finish(self.format);
        if event.token {
            facts.first_token |= !self.has_token;
            facts.token_events = facts.token_events.saturating_add(1);
            self.has_token = true;
        }
        if event.usage {
            facts.usage = self.usage.usage().or(facts.usage);
        }
        self.choices.add(event.choices);
        if self.response_id.is_none() {
            self.response_id = event.response_id;
        }
        if let Some(failure) = event.failure
            && self.failure.is_none()
        {
            self.failure = Some(failure);
            facts.failure = Some(failure);
        }
        if (event.ends || event.done) && !self.over {
            self.over = true;
            facts.ended = self.failure.is_none();
        }
    }
}
