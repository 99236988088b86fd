//! The fields of one event, in the format of its API.

use super::lines::MAX_EVENT_NAME;
use crate::api::StreamFormat;
use crate::failure::{StreamFailure, error_status, named_status, tells_of_error};
use crate::lexer::{JsonEvent, Key, Lexer, identifier};
use crate::usage::UsageFields;

/// The data of the last event of OpenAI's completions and chat streams.
const DONE: &[u8] = b"[DONE]";

/// An event while it is parsed.
#[derive(Debug, Clone, Default)]
pub(super) struct Event {
    lexer: Lexer,
    fields: EventFields,
    name: Vec<u8>,
    /// The first bytes of the data, to recognize `[DONE]`.
    prefix: [u8; DONE.len()],
    /// Length of the data in bytes.
    len: usize,
    /// Whether a line ended since the last byte.
    line_ended: bool,
}

/// The fields of the event's JSON so far.
#[derive(Debug, Clone, Default)]
struct EventFields {
    token: bool,
    usage: bool,
    choice: Choice,
    choices: Choices,
    aborted: bool,
    failed: bool,
    error: bool,
    code: Option<u16>,
    event_type: Option<EventType>,
    response_id: Option<String>,
}

/// The choices of an answer, one bit each. Those beyond the 64th share bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Choices {
    seen: u64,
    finished: u64,
}

impl Choices {
    pub(super) const fn add(&mut self, other: Self) {
        self.seen |= other.seen;
        self.finished |= other.finished;
    }

    /// Whether there was any choice, and each that was seen has a finish reason.
    pub(super) const fn all_finished(self) -> bool {
        self.seen != 0 && self.seen == self.finished
    }
}

/// A choice while it is read: its fields come in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Choice {
    index: u64,
    seen: bool,
    finished: bool,
}

impl Choice {
    fn take(&mut self) -> Choices {
        let Self { index, seen, finished } = std::mem::take(self);
        let bit = 1 << (index % u64::from(u64::BITS));
        Choices { seen: if seen || finished { bit } else { 0 }, finished: if finished { bit } else { 0 } }
    }
}

/// The meaning of a typed event (messages, responses).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventType {
    Token,
    End,
    Error,
    Failed,
    Other,
}

/// The facts of a complete event.
#[derive(Debug, Default)]
pub(super) struct EventFacts {
    pub(super) token: bool,
    pub(super) usage: bool,
    pub(super) choices: Choices,
    /// Whether it is `[DONE]`.
    pub(super) done: bool,
    /// Whether it is the typed event of the stream's normal end.
    pub(super) ends: bool,
    pub(super) failure: Option<StreamFailure>,
    pub(super) response_id: Option<String>,
}

impl Event {
    /// Whether nothing of the event has come.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0 && self.name.is_empty() && !self.line_ended
    }

    /// Adds a part of the data.
    pub(super) fn data(&mut self, format: StreamFormat, data: &[u8], usage: &mut UsageFields) {
        let fields = &mut self.fields;
        if std::mem::take(&mut self.line_ended) && self.len > 0 {
            // The standard joins `data` lines with a line feed.
            self.len = self.len.saturating_add(1);
            self.lexer.push(b"\n", |path, value| fields.store(format, path, value, usage));
        }
        if let Some(room) = self.prefix.get_mut(self.len..) {
            for (slot, byte) in room.iter_mut().zip(data) {
                *slot = *byte;
            }
        }
        self.len = self.len.saturating_add(data.len());
        self.lexer.push(data, |path, value| fields.store(format, path, value, usage));
    }

    /// Adds a part of the event's name.
    pub(super) fn name(&mut self, name: &[u8]) {
        if std::mem::take(&mut self.line_ended) {
            self.name.clear();
        }
        let room = (MAX_EVENT_NAME + 1).saturating_sub(self.name.len()).min(name.len());
        self.name.extend_from_slice(name.get(..room).unwrap_or_default());
    }

    pub(super) fn line_end(&mut self) {
        self.line_ended = true;
    }

    /// Whether the data so far is OpenAI's end mark.
    pub(super) fn is_done(&self) -> bool {
        self.len == DONE.len() && self.prefix == DONE
    }

    /// Ends the event and starts the next one. An event without data has no facts.
    pub(super) fn finish(&mut self, format: StreamFormat) -> EventFacts {
        let mut fields = std::mem::take(&mut self.fields);
        fields.choices.add(fields.choice.take());
        let has_data = self.len > 0;
        let done = self.is_done();
        let named = if self.name.is_empty() { None } else { Some(EventType::of(format, &self.name)) };
        self.lexer.reset();
        self.name.clear();
        self.len = 0;
        self.line_ended = false;
        if !has_data {
            return EventFacts::default();
        }
        // The `type` field of the data has precedence over the name of the event.
        let event_type = fields.event_type.or(named).unwrap_or(EventType::Other);
        EventFacts {
            token: fields.token || event_type == EventType::Token,
            usage: fields.usage,
            choices: fields.choices,
            done,
            ends: event_type == EventType::End,
            failure: fields.failure(event_type),
            response_id: fields.response_id,
        }
    }
}

impl EventType {
    fn of(format: StreamFormat, name: &[u8]) -> Self {
        match (format, name) {
            (_, b"error") => Self::Error,
            (StreamFormat::Messages, b"content_block_delta") => Self::Token,
            (StreamFormat::Messages, b"message_stop") => Self::End,
            (
                StreamFormat::Responses,
                b"response.completed" | b"response.incomplete" | b"response.cancelled",
            ) => Self::End,
            (StreamFormat::Responses, b"response.failed") => Self::Failed,
            (StreamFormat::Responses, other) if other.ends_with(b".delta") => Self::Token,
            _ => Self::Other,
        }
    }
}

impl EventFields {
    fn failure(&self, event_type: EventType) -> Option<StreamFailure> {
        if event_type == EventType::Failed || self.failed {
            // Only a code shows that the request is to blame.
            let code = self.code.filter(|code| *code < 500);
            Some(code.map_or(StreamFailure::ResponseFailed, |_| StreamFailure::Error { code }))
        } else if event_type == EventType::Error || self.error {
            Some(StreamFailure::Error { code: self.code })
        } else if self.aborted {
            Some(StreamFailure::Aborted)
        } else {
            None
        }
    }

    /// Stores a value of the event's JSON.
    fn store(&mut self, format: StreamFormat, path: &[Key], value: JsonEvent<'_>, usage: &mut UsageFields) {
        if let [Key::Error, below @ ..] = path {
            self.error |= format != StreamFormat::Unknown && tells_of_error(below, value);
        }
        match format {
            StreamFormat::Completions | StreamFormat::ChatCompletions | StreamFormat::Generate => {
                self.store_choice_field(format, path, value, usage);
            }
            StreamFormat::Messages | StreamFormat::Responses => {
                self.store_typed_field(format, path, value, usage);
            }
            StreamFormat::Unknown => {}
        }
    }

    /// Chunks of OpenAI's completions and chat, and of the engines' own `generate`.
    fn store_choice_field(
        &mut self,
        format: StreamFormat,
        path: &[Key],
        value: JsonEvent<'_>,
        usage: &mut UsageFields,
    ) {
        match (path, value) {
            ([Key::Choices], JsonEvent::ObjectStart) => {
                self.choices.add(self.choice.take());
                self.choice.seen = true;
            }
            ([Key::Choices, Key::Index] | [Key::Index], JsonEvent::Number(Some(index))) => {
                self.choice.index = index;
            }
            (
                [Key::Choices, Key::Text]
                | [
                    Key::Choices,
                    Key::Delta,
                    Key::Content | Key::ReasoningContent | Key::Reasoning | Key::Refusal,
                ]
                | [Key::Choices, Key::Delta, Key::Content, Key::Text],
                JsonEvent::String(text),
            ) => self.token |= !text.is_empty(),
            ([Key::Text], JsonEvent::String(text)) if format == StreamFormat::Generate => {
                self.choice.seen = true;
                self.token |= !text.is_empty();
            }
            ([Key::Choices, Key::Delta, Key::ToolCalls | Key::FunctionCall], JsonEvent::ObjectStart)
            | (
                [Key::Choices, Key::TokenIds] | [Key::Choices, Key::Delta, Key::TokenIds],
                JsonEvent::Number(_),
            )
            | ([Key::OutputIds | Key::TokenIds], JsonEvent::Number(_)) => self.token = true,
            (
                [Key::Choices | Key::MetaInfo, Key::FinishReason]
                | [Key::MetaInfo, Key::FinishReason, Key::Type],
                JsonEvent::String(reason),
            ) => self.store_finish_reason(reason),
            ([Key::MetaInfo, Key::FinishReason], JsonEvent::ObjectStart) => self.choice.finished = true,
            ([Key::Object], JsonEvent::String(b"error")) => self.error = true,
            ([Key::Error, Key::Type], JsonEvent::String(kind)) => {
                self.code = self.code.or(named_status(kind));
            }
            ([Key::Error, Key::Code] | [Key::Code], code) => self.code = error_status(code).or(self.code),
            ([Key::MetaInfo, Key::FinishReason, Key::StatusCode], code) => {
                self.code = error_status(code).or(self.code);
            }
            ([Key::Usage | Key::MetaInfo, below @ ..], JsonEvent::Number(value)) => {
                self.usage |= usage.store(below, value);
            }
            _ => {}
        }
    }

    /// Typed events of Anthropic's messages and OpenAI's responses.
    fn store_typed_field(
        &mut self,
        format: StreamFormat,
        path: &[Key],
        value: JsonEvent<'_>,
        usage: &mut UsageFields,
    ) {
        match (path, value) {
            ([Key::Type], JsonEvent::String(event_type)) => {
                self.event_type = Some(EventType::of(format, event_type));
            }
            ([Key::Error, Key::Type] | [Key::Response, Key::Error, Key::Type], JsonEvent::String(kind)) => {
                self.code = self.code.or(named_status(kind));
            }
            ([Key::Error | Key::Response, .., Key::Code] | [Key::Code], code) => {
                self.code = error_status(code).or(self.code);
            }
            ([Key::Delta, Key::StopReason], JsonEvent::String(reason)) => {
                self.aborted |= reason == b"abort";
                self.choice.finished |= !reason.is_empty();
            }
            ([Key::Response, Key::Status], JsonEvent::String(b"failed")) => self.failed = true,
            ([Key::Response, Key::Id], JsonEvent::String(id)) => self.response_id = identifier(id),
            (
                [Key::Usage, below @ ..]
                | [Key::Message, Key::Usage, below @ ..]
                | [Key::Response, Key::Usage, below @ ..],
                JsonEvent::Number(value),
            ) => self.usage |= usage.store(below, value),
            _ => {}
        }
    }

    fn store_finish_reason(&mut self, reason: &[u8]) {
        match reason {
            // Some engines write an empty one before the end, where others write `null`.
            b"" => return,
            b"abort" => self.aborted = true,
            b"error" => self.error = true,
            _ => {}
        }
        self.choice.finished = true;
    }
}
