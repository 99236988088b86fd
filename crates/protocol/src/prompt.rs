//! The prompt of a body: its size and the byte ranges of its parts.

use std::ops::Range;

use crate::api::Api;
use crate::body_error::BodyError;
use crate::cursor::{Cursor, RawString, ValueKind};

/// Bytes of text per token, in estimates.
pub(crate) const BYTES_PER_TOKEN: usize = 4;

/// Tokens per image, in estimates: common vision encoders make 256 to about 1,024 tokens of an image of ordinary size.
pub const TOKENS_PER_IMAGE: u64 = 512;

/// Upper bound of a prompt's spans. Further parts count in the size but have no span, so that the blocks of such a
/// prompt cover its beginning alone.
pub const MAX_PROMPT_SPANS: usize = 16_384;

/// Size and spans of a body's prompts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptFacts {
    /// Bytes of unescaped text, over all prompts.
    pub text_bytes: u64,
    /// Number of token ids, over all prompts.
    pub token_ids: u64,
    /// Number of images and other media.
    pub images: u64,
    /// Number of prompts; a batch has several.
    pub prompts: u32,
    /// The parts in the order of chat templates: tools, system, then the rest in the order of the body. At most
    /// [`MAX_PROMPT_SPANS`].
    pub spans: Vec<PromptSpan>,
}

/// A part of a prompt as a range of the body. The text itself is not copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSpan {
    /// Byte range: the inside of a string, or a whole value.
    pub range: Range<usize>,
    /// Type of the part.
    pub kind: SpanKind,
    /// Index of its prompt in a batch.
    pub prompt: u32,
    pub(crate) field: PromptField,
}

/// The type of a part of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// The start of a message: the inside of its role's JSON string, or an empty range where it has no role. A role
    /// does not count as text.
    Role,
    /// The inside of a JSON string.
    Text,
    /// A JSON array of token ids.
    TokenIds,
    /// A JSON value that chat templates print: tools, tool calls.
    Json,
    /// A JSON value that refers to or contains an image, audio or video.
    Media,
}

/// The top-level fields that hold prompts, in template order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PromptField {
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

impl PromptField {
    /// The field of a key, and its name.
    pub(crate) fn from_key(key: &[u8]) -> Option<(Self, &'static str)> {
        Some(match key {
            b"tools" => (Self::Tools, "tools"),
            b"system" => (Self::System, "system"),
            b"instructions" => (Self::Instructions, "instructions"),
            b"messages" => (Self::Messages, "messages"),
            b"prompt" => (Self::Prompt, "prompt"),
            b"input" => (Self::Input, "input"),
            b"input_ids" => (Self::InputIds, "input_ids"),
            b"token_ids" => (Self::TokenIds, "token_ids"),
            b"tokens" => (Self::Tokens, "tokens"),
            b"text" => (Self::Text, "text"),
            b"texts" => (Self::Texts, "texts"),
            b"inputs" => (Self::Inputs, "inputs"),
            b"query" => (Self::Query, "query"),
            b"queries" => (Self::Queries, "queries"),
            b"text_1" => (Self::Text1, "text_1"),
            b"text_2" => (Self::Text2, "text_2"),
            b"documents" => (Self::Documents, "documents"),
            b"suffix" => (Self::Suffix, "suffix"),
            b"image_data" => (Self::ImageData, "image_data"),
            _ => return None,
        })
    }

    /// Whether requests of the API have a prompt in this field, at one of the engines. In another field they claim what no
    /// engine reads.
    pub(crate) fn is_of(self, api: Api) -> bool {
        match api {
            Api::Completions => matches!(self, Self::Prompt | Self::Suffix),
            Api::ChatCompletions => matches!(self, Self::Messages | Self::Tools | Self::Documents),
            Api::Responses => matches!(self, Self::Input | Self::Instructions | Self::Tools),
            Api::Messages | Api::CountTokens => matches!(self, Self::Messages | Self::System | Self::Tools),
            Api::Embeddings => matches!(self, Self::Input | Self::Messages | Self::Texts | Self::Inputs),
            Api::Score => matches!(
                self,
                Self::Text1 | Self::Text2 | Self::Queries | Self::Query | Self::Documents | Self::Input
            ),
            Api::Rerank => matches!(self, Self::Query | Self::Documents | Self::Texts),
            Api::Pooling => matches!(
                self,
                Self::Input | Self::Messages | Self::Prompt | Self::Text | Self::InputIds | Self::ImageData
            ),
            Api::Classify => {
                matches!(self, Self::Input | Self::Messages | Self::Prompt | Self::Text | Self::InputIds)
            }
            Api::Tokenize => {
                matches!(self, Self::Prompt | Self::Messages | Self::Tools | Self::Text | Self::Input)
            }
            Api::Detokenize => matches!(self, Self::Tokens | Self::TokenIds),
            Api::Generate => matches!(
                self,
                Self::Text | Self::InputIds | Self::TokenIds | Self::Prompt | Self::Inputs | Self::ImageData
            ),
            // The fields decide which of the others it is.
            Api::Invocations => !matches!(self, Self::ImageData | Self::TokenIds | Self::Tokens),
            Api::Render => {
                matches!(self, Self::Prompt | Self::Messages | Self::Tools | Self::Documents | Self::Suffix)
            }
        }
    }

    pub(crate) fn index(self) -> u32 {
        self as u32
    }

    /// Whether the elements of a list are separate prompts.
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

/// The members of messages and content parts, by what they contain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    /// The role of the message.
    Role,
    /// Text or further parts.
    Nested,
    /// JSON that chat templates print.
    Json,
    /// An image, audio or video.
    Media,
    Other,
}

impl Member {
    fn from_key(key: RawString<'_>) -> Self {
        match key.unescaped().as_deref() {
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

    /// Reads a top-level field that is part of the prompt.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>, field: PromptField) -> Result<(), BodyError> {
        match (field, cursor.peek()?) {
            (_, ValueKind::Null) => cursor.skip(),
            (PromptField::Tools, _) => self.json(cursor, field, SpanKind::Json),
            (PromptField::ImageData, _) => self.json(cursor, field, SpanKind::Media),
            (_, ValueKind::Array) if field.is_batch() => self.batch(cursor, field),
            (PromptField::Messages, ValueKind::Array) => {
                self.prompts = self.prompts.max(1);
                cursor.array(|cursor| match cursor.peek()? {
                    ValueKind::Object => self.message(cursor, field),
                    ValueKind::Array
                    | ValueKind::String
                    | ValueKind::Number
                    | ValueKind::True
                    | ValueKind::False
                    | ValueKind::Null => self.content(cursor, field, 0),
                })
            }
            _ => {
                self.prompts = self.prompts.max(1);
                self.content(cursor, field, 0)
            }
        }
    }

    /// Sorts the spans into the order of chat templates.
    pub(crate) fn sort_spans(&mut self) {
        // A stable sort: within a field, spans keep the order of the body.
        self.spans.sort_by_key(|span| span.field);
        // A conversation is one prompt, even with a list of documents.
        if self.spans.iter().any(|span| span.field == PromptField::Messages) {
            self.prompts = 1;
            self.spans.iter_mut().for_each(|span| span.prompt = 0);
        }
    }

    /// Reads a list of prompts; a list of numbers is one prompt of token ids.
    fn batch(&mut self, cursor: &mut Cursor<'_>, field: PromptField) -> Result<(), BodyError> {
        let start = cursor.offset();
        let (mut index, mut ids) = (0_u32, 0_u64);
        cursor.array(|cursor| match cursor.peek()? {
            ValueKind::Number => {
                ids += 1;
                cursor.number().map(drop)
            }
            // The items of the input of `/v1/responses` are turns of one conversation.
            ValueKind::Object if field == PromptField::Input => {
                index = 1;
                self.message(cursor, field)
            }
            ValueKind::Object
            | ValueKind::Array
            | ValueKind::String
            | ValueKind::True
            | ValueKind::False
            | ValueKind::Null => {
                index = index.saturating_add(1);
                self.content(cursor, field, index - 1)
            }
        })?;
        if ids > 0 {
            index = index.max(1);
            self.token_ids += ids;
            self.add_span(start..cursor.offset(), SpanKind::TokenIds, 0, field);
        }
        self.prompts = self.prompts.max(index);
        Ok(())
    }

    /// Reads a prompt or a part of one: text, token ids, messages, content parts.
    fn content(&mut self, cursor: &mut Cursor<'_>, field: PromptField, prompt: u32) -> Result<(), BodyError> {
        match cursor.peek()? {
            ValueKind::String => {
                let raw = cursor.string()?;
                self.text_bytes += raw.decoded_len as u64;
                self.add_span(raw.start + 1..raw.end() - 1, SpanKind::Text, prompt, field);
                Ok(())
            }
            ValueKind::Array => {
                let start = cursor.offset();
                let mut ids = 0_u64;
                cursor.array(|cursor| {
                    if cursor.peek()? == ValueKind::Number {
                        ids += 1;
                        return cursor.number().map(drop);
                    }
                    self.content(cursor, field, prompt)
                })?;
                if ids > 0 {
                    self.token_ids += ids;
                    self.add_span(start..cursor.offset(), SpanKind::TokenIds, prompt, field);
                }
                Ok(())
            }
            ValueKind::Object => {
                cursor.object(|cursor, key| self.member(cursor, Member::from_key(key), field, prompt))
            }
            ValueKind::Number | ValueKind::True | ValueKind::False | ValueKind::Null => cursor.skip(),
        }
    }

    /// Reads a message. The span of its role precedes those of its content, whatever the order of its members.
    fn message(&mut self, cursor: &mut Cursor<'_>, field: PromptField) -> Result<(), BodyError> {
        let role = self.spans.len();
        let start = cursor.offset();
        self.push(start..start, SpanKind::Role, 0, field);
        cursor.object(|cursor, key| {
            let member = Member::from_key(key);
            if member != Member::Role || cursor.peek()? != ValueKind::String {
                return self.member(cursor, member, field, 0);
            }
            let raw = cursor.string()?;
            if let Some(span) = self.spans.get_mut(role) {
                span.range = raw.start + 1..raw.end() - 1;
            }
            Ok(())
        })
    }

    /// Reads a member of a message or content part.
    fn member(
        &mut self,
        cursor: &mut Cursor<'_>,
        member: Member,
        field: PromptField,
        prompt: u32,
    ) -> Result<(), BodyError> {
        match member {
            Member::Nested => self.content(cursor, field, prompt),
            Member::Json => self.json(cursor, field, SpanKind::Json),
            Member::Media => self.json(cursor, field, SpanKind::Media),
            Member::Role | Member::Other => cursor.skip(),
        }
    }

    /// Reads a value that counts with its JSON bytes.
    fn json(&mut self, cursor: &mut Cursor<'_>, field: PromptField, kind: SpanKind) -> Result<(), BodyError> {
        let value = cursor.peek()?;
        let start = cursor.offset();
        cursor.skip()?;
        let range = start..cursor.offset();
        let is_media = matches!(value, ValueKind::String | ValueKind::Object | ValueKind::Array);
        if value == ValueKind::Null || (kind == SpanKind::Media && !is_media) {
            return Ok(());
        }
        if kind == SpanKind::Media {
            self.images += 1;
        } else {
            self.text_bytes += range.len() as u64;
        }
        self.add_span(range, kind, 0, field);
        Ok(())
    }

    fn add_span(&mut self, range: Range<usize>, kind: SpanKind, prompt: u32, field: PromptField) {
        if !range.is_empty() {
            self.push(range, kind, prompt, field);
        }
    }

    fn push(&mut self, range: Range<usize>, kind: SpanKind, prompt: u32, field: PromptField) {
        if self.spans.len() < MAX_PROMPT_SPANS {
            self.spans.push(PromptSpan { range, kind, prompt, field });
        }
    }
}
