//! Where a body's prompt is, and how much of it there is.

use std::ops::Range;

use crate::blocks::BYTES_PER_TOKEN;
use crate::cursor::{Cursor, Next, RawString};
use crate::request::BodyError;

/// Tokens that an image counts for in estimates: between the 256 and the 1,024 or so that common vision
/// encoders make of a picture of ordinary size.
pub const TOKENS_PER_IMAGE: u64 = 512;

/// The most pieces of a prompt that are listed. Beyond it pieces are counted but not listed, so a prompt
/// is then known by its beginning.
pub const MAX_PROMPT_SPANS: usize = 16_384;

/// Size and place of a prompt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptFacts {
    /// Bytes of text once unescaped, of all prompts together.
    pub text_bytes: u64,
    /// Token ids, of all prompts together.
    pub token_ids: u64,
    /// Images and other media.
    pub images: u64,
    /// How many prompts the body holds; a batch has several.
    pub prompts: u32,
    /// The prompt's pieces in the order in which chat templates put them: tools, system, then the rest as
    /// it stands. At most [`MAX_PROMPT_SPANS`].
    pub spans: Vec<PromptSpan>,
}

/// A piece of a prompt, as bytes of the body. The piece itself is never copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSpan {
    /// Where: a string's inner bytes, or a whole value.
    pub range: Range<usize>,
    /// What stands there.
    pub kind: SpanKind,
    /// Which prompt of a batch it belongs to, from 0.
    pub prompt: u32,
    pub(crate) section: Section,
}

/// What a piece of a prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// A message begins here. The inside of the JSON string that is its role, or nothing where it has none;
    /// a role is not counted as text.
    Role,
    /// The inside of a JSON string.
    Text,
    /// A JSON array of token ids.
    TokenIds,
    /// A JSON value that templates print: tools, tool calls.
    Json,
    /// A JSON value that names or holds an image, a sound or a video.
    Media,
}

/// The top-level fields that hold prompts, in template order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    Tools,
    System,
    Instructions,
    Messages,
    Prompt,
    Input,
    InputIds,
    TokenIds,
    Tokens,
    Text,
    Texts,
    Inputs,
    Query,
    Queries,
    Text1,
    Text2,
    Documents,
    Suffix,
    ImageData,
}

impl Section {
    pub(crate) fn of(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"tools" => Self::Tools,
            b"system" => Self::System,
            b"instructions" => Self::Instructions,
            b"messages" => Self::Messages,
            b"prompt" => Self::Prompt,
            b"input" => Self::Input,
            b"input_ids" => Self::InputIds,
            b"token_ids" => Self::TokenIds,
            b"tokens" => Self::Tokens,
            b"text" => Self::Text,
            b"texts" => Self::Texts,
            b"inputs" => Self::Inputs,
            b"query" => Self::Query,
            b"queries" => Self::Queries,
            b"text_1" => Self::Text1,
            b"text_2" => Self::Text2,
            b"documents" => Self::Documents,
            b"suffix" => Self::Suffix,
            b"image_data" => Self::ImageData,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::System => "system",
            Self::Instructions => "instructions",
            Self::Messages => "messages",
            Self::Prompt => "prompt",
            Self::Input => "input",
            Self::InputIds => "input_ids",
            Self::TokenIds => "token_ids",
            Self::Tokens => "tokens",
            Self::Text => "text",
            Self::Texts => "texts",
            Self::Inputs => "inputs",
            Self::Query => "query",
            Self::Queries => "queries",
            Self::Text1 => "text_1",
            Self::Text2 => "text_2",
            Self::Documents => "documents",
            Self::Suffix => "suffix",
            Self::ImageData => "image_data",
        }
    }

    pub(crate) fn index(self) -> u32 {
        self as u32
    }

    /// Whether a list here is a batch: each element a prompt of its own.
    fn is_batch(self) -> bool {
        match self {
            Self::Prompt
            | Self::Input
            | Self::InputIds
            | Self::Text
            | Self::Texts
            | Self::Inputs
            | Self::Queries
            | Self::Text1
            | Self::Text2
            | Self::Documents => true,
            Self::Tools
            | Self::System
            | Self::Instructions
            | Self::Messages
            | Self::TokenIds
            | Self::Tokens
            | Self::Query
            | Self::Suffix
            | Self::ImageData => false,
        }
    }
}

/// A member of a message or content part that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    /// Whose message it is.
    Role,
    /// More prompt below it.
    Nested,
    /// Printed by templates as it is.
    Json,
    /// An image, a sound, a video.
    Media,
    Other,
}

impl Member {
    fn of(key: RawString<'_>) -> Self {
        match key.resolve().as_deref() {
            Some(b"role") => Self::Role,
            Some(
                b"content" | b"text" | b"input_text" | b"reasoning_content" | b"reasoning" | b"thinking"
                | b"output" | b"summary",
            ) => Self::Nested,
            Some(b"tool_calls" | b"function_call" | b"input" | b"arguments") => Self::Json,
            Some(
                b"image_url" | b"image" | b"source" | b"input_audio" | b"audio_url" | b"video_url" | b"file"
                | b"image_embeds",
            ) => Self::Media,
            _ => Self::Other,
        }
    }
}

impl PromptFacts {
    /// See [`crate::BodyFacts::estimated_prompt_tokens`].
    pub(crate) fn estimated_tokens(&self) -> u64 {
        self.text_bytes.div_ceil(BYTES_PER_TOKEN as u64) + self.token_ids + self.images * TOKENS_PER_IMAGE
    }

    /// Reads a top-level field that holds prompt.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>, section: Section) -> Result<(), BodyError> {
        match (section, cursor.peek()?) {
            (_, Next::Null) => cursor.skip(),
            (Section::Tools, _) => self.json(cursor, section, SpanKind::Json),
            (Section::ImageData, _) => self.json(cursor, section, SpanKind::Media),
            (_, Next::Array) if section.is_batch() => self.batch(cursor, section),
            (Section::Messages, Next::Array) => {
                self.prompts = self.prompts.max(1);
                cursor.array(|cursor| match cursor.peek()? {
                    Next::Object => self.message(cursor, section),
                    Next::Array | Next::String | Next::Number | Next::True | Next::False | Next::Null => {
                        self.material(cursor, section, 0)
                    }
                })
            }
            _ => {
                self.prompts = self.prompts.max(1);
                self.material(cursor, section, 0)
            }
        }
    }

    /// Puts the pieces into template order.
    pub(crate) fn settle(&mut self) {
        // Stable: within a field, pieces keep the body's order.
        self.spans.sort_by_key(|span| span.section);
        // A conversation is one prompt, whatever documents come with it.
        if self.spans.iter().any(|span| span.section == Section::Messages) {
            self.prompts = 1;
            self.spans.iter_mut().for_each(|span| span.prompt = 0);
        }
    }

    /// Reads a list of prompts; a list of numbers is one prompt of token ids.
    fn batch(&mut self, cursor: &mut Cursor<'_>, section: Section) -> Result<(), BodyError> {
        let start = cursor.offset();
        let (mut index, mut ids) = (0_u32, 0_u64);
        cursor.array(|cursor| match cursor.peek()? {
            Next::Number => {
                ids += 1;
                cursor.number().map(drop)
            }
            // The items of a response's input are turns of one conversation.
            Next::Object if section == Section::Input => {
                index = 1;
                self.message(cursor, section)
            }
            Next::Object | Next::Array | Next::String | Next::True | Next::False | Next::Null => {
                index = index.saturating_add(1);
                self.material(cursor, section, index - 1)
            }
        })?;
        if ids > 0 {
            index = index.max(1);
            self.token_ids += ids;
            self.list(start..cursor.offset(), SpanKind::TokenIds, 0, section);
        }
        self.prompts = self.prompts.max(index);
        Ok(())
    }

    /// Reads one prompt, or a part of one: text, token ids, messages, content parts.
    fn material(&mut self, cursor: &mut Cursor<'_>, section: Section, prompt: u32) -> Result<(), BodyError> {
        match cursor.peek()? {
            Next::String => {
                let raw = cursor.string()?;
                self.text_bytes += raw.decoded_len as u64;
                self.list(raw.start + 1..raw.end() - 1, SpanKind::Text, prompt, section);
                Ok(())
            }
            Next::Array => {
                let start = cursor.offset();
                let mut ids = 0_u64;
                cursor.array(|cursor| {
                    if cursor.peek()? == Next::Number {
                        ids += 1;
                        return cursor.number().map(drop);
                    }
                    self.material(cursor, section, prompt)
                })?;
                if ids > 0 {
                    self.token_ids += ids;
                    self.list(start..cursor.offset(), SpanKind::TokenIds, prompt, section);
                }
                Ok(())
            }
            Next::Object => {
                cursor.object(|cursor, key| self.member(cursor, Member::of(key), section, prompt))
            }
            Next::Number | Next::True | Next::False | Next::Null => cursor.skip(),
        }
    }

    /// Reads a message: its role is listed before its content, wherever it stands.
    fn message(&mut self, cursor: &mut Cursor<'_>, section: Section) -> Result<(), BodyError> {
        let place = self.spans.len();
        let start = cursor.offset();
        self.push(start..start, SpanKind::Role, 0, section);
        cursor.object(|cursor, key| {
            let member = Member::of(key);
            if member != Member::Role || cursor.peek()? != Next::String {
                return self.member(cursor, member, section, 0);
            }
            let raw = cursor.string()?;
            if let Some(span) = self.spans.get_mut(place) {
                span.range = raw.start + 1..raw.end() - 1;
            }
            Ok(())
        })
    }

    /// Reads a member of a message or of a part of one.
    fn member(
        &mut self,
        cursor: &mut Cursor<'_>,
        member: Member,
        section: Section,
        prompt: u32,
    ) -> Result<(), BodyError> {
        match member {
            Member::Nested => self.material(cursor, section, prompt),
            Member::Json => self.json(cursor, section, SpanKind::Json),
            Member::Media => self.json(cursor, section, SpanKind::Media),
            Member::Role | Member::Other => cursor.skip(),
        }
    }

    /// Reads a value that counts as it stands.
    fn json(&mut self, cursor: &mut Cursor<'_>, section: Section, kind: SpanKind) -> Result<(), BodyError> {
        let value = cursor.peek()?;
        let start = cursor.offset();
        cursor.skip()?;
        let range = start..cursor.offset();
        if value == Next::Null {
            return Ok(());
        }
        if kind == SpanKind::Media {
            self.images += 1;
        } else {
            self.text_bytes += range.len() as u64;
        }
        self.list(range, kind, 0, section);
        Ok(())
    }

    fn list(&mut self, range: Range<usize>, kind: SpanKind, prompt: u32, section: Section) {
        if !range.is_empty() {
            self.push(range, kind, prompt, section);
        }
    }

    fn push(&mut self, range: Range<usize>, kind: SpanKind, prompt: u32, section: Section) {
        if self.spans.len() < MAX_PROMPT_SPANS {
            self.spans.push(PromptSpan { range, kind, prompt, section });
        }
    }
}
