//! What an event stream says as it passes, without holding it up.
//!
//! Framing follows the server-sent events chapter of the HTML standard (`text/event-stream`): lines end by
//! LF, CR LF or CR; a blank line ends an event; several `data` lines make one text; comments start with a
//! colon. One departure: an event that the stream's end cuts off before its blank line still counts, since
//! engines have been seen to leave it out after `[DONE]`.

mod event;
mod lines;

use crate::api::Grammar;
use crate::usage::{Usage, UsageFields};
use event::Event;
pub(crate) use event::identifier;
use lines::{Lines, Piece};

/// What a piece of a stream added to what was known. Pieces add up: [`StreamFacts::absorb`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamFacts {
    /// The stream's first token was in this piece.
    pub first_token: bool,
    /// Events in this piece that carried output. One event may carry several tokens.
    pub token_events: u32,
    /// The newest counts, where this piece brought any.
    pub usage: Option<Usage>,
    /// The engine said that it failed, for the first time.
    pub failure: Option<StreamFailure>,
    /// The grammar's normal end was in this piece.
    pub ended: bool,
}

impl StreamFacts {
    /// Adds what the next piece said.
    pub fn absorb(&mut self, next: Self) {
        self.first_token |= next.first_token;
        self.token_events = self.token_events.saturating_add(next.token_events);
        self.usage = next.usage.or(self.usage);
        self.failure = self.failure.or(next.failure);
        self.ended |= next.ended;
    }
}

/// How an engine says that a generation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamFailure {
    /// An `error` object or event.
    Error {
        /// The error's numeric code, where it is an HTTP status. Below 500 the request is at fault.
        code: Option<u16>,
    },
    /// A choice ended with the reason `abort`.
    Aborted,
    /// A `response.failed` event, or a response whose status is `failed`.
    ResponseFailed,
}

impl StreamFailure {
    /// Whether the engine blames the request, so that its failure says nothing against the engine.
    #[must_use]
    pub fn blames_request(self) -> bool {
        match self {
            Self::Error { code } => code.is_some_and(|code| code < 500),
            Self::Aborted | Self::ResponseFailed => false,
        }
    }
}

/// How a stream ended whose bytes ended without a transport error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamEnd {
    /// The grammar's normal end was seen, and no failure.
    Complete,
    /// The engine said that it failed, whatever it sent after that.
    Failed(StreamFailure),
    /// The stream stopped before its normal end.
    Truncated,
}

/// Reads one event stream, in pieces of any size; keeps less than a kilobyte of it.
///
/// It never changes bytes: the caller forwards them as they come.
#[derive(Debug, Clone)]
pub struct SseScanner {
    grammar: Grammar,
    lines: Lines,
    event: Event,
    usage: UsageFields,
    response_id: Option<String>,
    has_token: bool,
    has_finish_reason: bool,
    ended: bool,
    failure: Option<StreamFailure>,
}

impl SseScanner {
    /// A scanner for a new stream.
    #[must_use]
    pub fn new(grammar: Grammar) -> Self {
        Self {
            grammar,
            lines: Lines::new(),
            event: Event::new(),
            usage: UsageFields::default(),
            response_id: None,
            has_token: false,
            has_finish_reason: false,
            ended: false,
            failure: None,
        }
    }

    /// Reads the next piece of the stream and tells what it added.
    pub fn push(&mut self, piece: &[u8]) -> StreamFacts {
        let mut facts = StreamFacts::default();
        if self.grammar == Grammar::Unknown {
            return facts;
        }
        let mut rest = piece;
        while let Some((found, after)) = self.lines.next(rest) {
            rest = after;
            match found {
                Piece::Data(data) => self.event.data(self.grammar, data, &mut self.usage),
                Piece::Name(name) => self.event.name(name),
                Piece::LineEnd => self.event.line_end(),
                Piece::EventEnd => self.dispatch(&mut facts),
            }
        }
        facts
    }

    /// Whether any token was seen.
    #[must_use]
    pub fn has_first_token(&self) -> bool {
        self.has_token
    }

    /// Whether the grammar's normal end was seen, and no failure: bytes may still follow.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ended && self.failure.is_none()
    }

    /// The failure that the engine reported.
    #[must_use]
    pub fn failure(&self) -> Option<StreamFailure> {
        self.failure
    }

    /// The newest token counts.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.usage.usage()
    }

    /// The id under which the engine stores the response (responses only).
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        self.response_id.as_deref()
    }

    /// The stream's bytes ended without a transport error: gives what the unfinished last event added, and
    /// how the stream ended. For an unknown grammar that is always complete.
    pub fn finish(&mut self) -> (StreamFacts, StreamEnd) {
        let mut facts = StreamFacts::default();
        if self.grammar == Grammar::Unknown {
            return (facts, StreamEnd::Complete);
        }
        self.dispatch(&mut facts);
        let end = match (self.failure, self.ended) {
            (Some(failure), _) => StreamEnd::Failed(failure),
            (None, true) => StreamEnd::Complete,
            (None, false) => StreamEnd::Truncated,
        };
        (facts, end)
    }

    /// Takes in an event that is complete.
    fn dispatch(&mut self, facts: &mut StreamFacts) {
        let said = self.event.take(self.grammar);
        if said.token {
            facts.first_token |= !self.has_token;
            facts.token_events = facts.token_events.saturating_add(1);
            self.has_token = true;
        }
        if said.usage {
            facts.usage = self.usage.usage().or(facts.usage);
        }
        self.has_finish_reason |= said.finish_reason;
        if self.response_id.is_none() {
            self.response_id = said.response_id;
        }
        if let Some(failure) = said.failure
            && self.failure.is_none()
        {
            self.failure = Some(failure);
            facts.failure = Some(failure);
        }
        let ends = said.ends || (said.done && self.has_finish_reason);
        if ends && self.failure.is_none() && !self.ended {
            self.ended = true;
            facts.ended = true;
        }
    }
}
