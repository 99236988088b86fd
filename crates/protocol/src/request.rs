//! What a held JSON body says, read in one pass without building a tree.

mod body_error;

use std::fmt;
use std::ops::Range;

pub use self::body_error::BodyError;
use crate::cursor::{Cursor, Next, RawString};
use crate::prompt::{PromptFacts, Section};

/// Longest model name in bytes: names become labels and log fields.
pub const MAX_MODEL_BYTES: usize = 1024;
/// Longest id of a previous response, in bytes.
pub const MAX_RESPONSE_ID_BYTES: usize = 512;
/// Longest cache salt, in bytes.
pub const MAX_CACHE_SALT_BYTES: usize = 4096;

/// What routing needs to know of a request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFacts {
    /// The top-level `model`, where there is one; [`crate::Api::requires_model`] says if it must be.
    pub model: Option<ModelSpan>,
    /// `stream` is true. The response's content type has the last word.
    pub stream: bool,
    /// `stream_options.include_usage` is true.
    pub include_usage: bool,
    /// The most output tokens asked for, whatever the API calls it.
    pub max_tokens: Option<u32>,
    /// Answers asked for per prompt; 1 unless said.
    pub n: u32,
    /// `store`, as said.
    pub store: Option<bool>,
    /// `background` is true: the answer is stored and fetched later.
    pub background: bool,
    /// The stored response that this one continues.
    pub previous_response_id: Option<String>,
    /// The salt that keeps this request's cached prefixes apart from others'.
    pub cache_salt: Option<CacheSalt>,
    /// Size and place of the prompt.
    pub prompt: PromptFacts,
}

/// Where the model's name stands in the body, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpan {
    /// The JSON string with its quotes, as bytes of the body.
    pub range: Range<usize>,
    /// The name, unescaped.
    pub name: String,
}

/// A tenant's cache salt. It is a secret between the client and the engine and is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheSalt(String);

impl CacheSalt {
    /// The salt's bytes, for hashing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for CacheSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheSalt(..)")
    }
}

/// A top-level field that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    N,
    SamplingParams,
    Store,
    Background,
    PreviousResponseId,
    CacheSalt,
    Prompt(Section),
}

impl Field {
    fn of(key: RawString<'_>) -> Option<(Self, &'static str)> {
        Some(match key.resolve()?.as_ref() {
            b"model" => (Self::Model, "model"),
            b"stream" => (Self::Stream, "stream"),
            b"stream_options" => (Self::StreamOptions, "stream_options"),
            b"max_tokens" => (Self::MaxTokens, "max_tokens"),
            b"max_completion_tokens" => (Self::MaxCompletionTokens, "max_completion_tokens"),
            b"max_output_tokens" => (Self::MaxOutputTokens, "max_output_tokens"),
            b"n" => (Self::N, "n"),
            b"sampling_params" => (Self::SamplingParams, "sampling_params"),
            b"store" => (Self::Store, "store"),
            b"background" => (Self::Background, "background"),
            b"previous_response_id" => (Self::PreviousResponseId, "previous_response_id"),
            b"cache_salt" => (Self::CacheSalt, "cache_salt"),
            other => {
                let section = Section::of(other)?;
                (Self::Prompt(section), section.name())
            }
        })
    }

    /// A bit of its own, to see repetitions.
    fn bit(self) -> u64 {
        1 << match self {
            Self::Model => 0,
            Self::Stream => 1,
            Self::StreamOptions => 2,
            Self::MaxTokens => 3,
            Self::MaxCompletionTokens => 4,
            Self::MaxOutputTokens => 5,
            Self::N => 6,
            Self::SamplingParams => 7,
            Self::Store => 8,
            Self::Background => 9,
            Self::PreviousResponseId => 10,
            Self::CacheSalt => 11,
            Self::Prompt(section) => 12 + section.index(),
        }
    }
}

impl BodyFacts {
    /// Reads a body that is held whole in one piece.
    ///
    /// # Errors
    ///
    /// The body is not one valid JSON object in UTF-8 of at most 128 levels, repeats a field that is read
    /// here, or has a `model` that is not a string. Values of other fields with the wrong type count as
    /// not given: telling the client about them is the engine's part.
    pub fn scan(body: &[u8]) -> Result<Self, BodyError> {
        let mut cursor = Cursor::new(body);
        let mut facts = Self::empty();
        let mut seen = 0_u64;
        if cursor.peek()? != Next::Object {
            cursor.skip()?;
            cursor.finish()?;
            return Err(BodyError::NotAnObject);
        }
        cursor.object(|cursor, key| {
            let Some((field, name)) = Field::of(key) else { return cursor.skip() };
            if seen & field.bit() != 0 {
                return Err(BodyError::DuplicateField { field: name, offset: key.start });
            }
            seen |= field.bit();
            facts.read(cursor, field)
        })?;
        cursor.finish()?;
        facts.prompt.settle();
        Ok(facts)
    }

    /// The prompt's length in tokens, estimated without a tokenizer: token ids count exactly, text counts
    /// a token per four bytes (unescaped), each image [`crate::TOKENS_PER_IMAGE`].
    #[must_use]
    pub fn estimated_prompt_tokens(&self) -> u64 {
        self.prompt.estimated_tokens()
    }

    fn empty() -> Self {
        Self {
            model: None,
            stream: false,
            include_usage: false,
            max_tokens: None,
            n: 1,
            store: None,
            background: false,
            previous_response_id: None,
            cache_salt: None,
            prompt: PromptFacts::default(),
        }
    }

    fn read(&mut self, cursor: &mut Cursor<'_>, field: Field) -> Result<(), BodyError> {
        match field {
            Field::Model => self.model = Some(read_model(cursor)?),
            Field::Stream => self.stream = cursor.bool()?.unwrap_or(false),
            Field::StreamOptions => self.read_stream_options(cursor)?,
            // The newer name wins over the one it deprecates, wherever they stand.
            Field::MaxCompletionTokens | Field::MaxOutputTokens => {
                self.max_tokens = cursor.unsigned()?.or(self.max_tokens);
            }
            Field::MaxTokens => {
                let said = cursor.unsigned()?;
                self.max_tokens = self.max_tokens.or(said);
            }
            Field::N => self.n = cursor.unsigned()?.unwrap_or(1),
            Field::SamplingParams => self.read_sampling_params(cursor)?,
            Field::Store => self.store = cursor.bool()?,
            Field::Background => self.background = cursor.bool()?.unwrap_or(false),
            Field::PreviousResponseId => {
                self.previous_response_id = read_text(cursor, "previous_response_id", MAX_RESPONSE_ID_BYTES)?;
            }
            Field::CacheSalt => {
                self.cache_salt = read_text(cursor, "cache_salt", MAX_CACHE_SALT_BYTES)?.map(CacheSalt);
            }
            Field::Prompt(section) => self.prompt.read(cursor, section)?,
        }
        Ok(())
    }

    fn read_stream_options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
        if cursor.peek()? != Next::Object {
            return cursor.skip();
        }
        cursor.object(|cursor, key| {
            if key.resolve().as_deref() == Some(b"include_usage") {
                self.include_usage = cursor.bool()?.unwrap_or(false);
                Ok(())
            } else {
                cursor.skip()
            }
        })
    }

    fn read_sampling_params(&mut self, cursor: &mut Cursor<'_>) -> Result<(), BodyError> {
        if cursor.peek()? != Next::Object {
            return cursor.skip();
        }
        cursor.object(|cursor, key| {
            match key.resolve().as_deref() {
                Some(b"max_new_tokens" | b"max_tokens") => self.max_tokens = cursor.unsigned()?,
                Some(b"n") => self.n = cursor.unsigned()?.unwrap_or(1),
                _ => cursor.skip()?,
            }
            Ok(())
        })
    }
}

fn read_model(cursor: &mut Cursor<'_>) -> Result<ModelSpan, BodyError> {
    let kind = cursor.peek()?;
    let offset = cursor.offset();
    if kind != Next::String {
        return Err(BodyError::ModelNotAString { offset });
    }
    let raw = cursor.string()?;
    let name = decode_bounded(raw, "model", MAX_MODEL_BYTES)?;
    Ok(ModelSpan { range: raw.start..raw.end(), name })
}

/// Reads a string that is kept; another type gives none.
fn read_text(
    cursor: &mut Cursor<'_>,
    field: &'static str,
    limit: usize,
) -> Result<Option<String>, BodyError> {
    if cursor.peek()? != Next::String {
        cursor.skip()?;
        return Ok(None);
    }
    let raw = cursor.string()?;
    decode_bounded(raw, field, limit).map(Some)
}

fn decode_bounded(raw: RawString<'_>, field: &'static str, limit: usize) -> Result<String, BodyError> {
    if raw.decoded_len > limit {
        return Err(BodyError::FieldTooLong { field, offset: raw.start, limit });
    }
    raw.decode().ok_or(BodyError::InvalidEscape { offset: raw.start })
}
