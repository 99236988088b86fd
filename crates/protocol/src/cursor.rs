//! A strict pull parser for complete JSON texts (RFC 8259), without allocation.
//!
//! It validates everything that it passes: structure, numbers, escapes, control characters, UTF-8 and depth.

mod string;

pub(crate) use string::{RawString, hex, unicode};

use crate::body_error::BodyError;

/// Deepest nesting that is accepted. No API needs as much, and the recursion stays far below the stack's size.
pub(crate) const MAX_DEPTH: u32 = 128;

/// A position in a JSON text.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

/// The kind of a value, from its first byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueKind {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

type Result<T> = std::result::Result<T, BodyError>;

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// Skips a byte order mark, which some clients write at the start and engines' parsers ignore.
    pub(crate) fn skip_byte_order_mark(&mut self) {
        if self.bytes.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
    }

    /// Offset of the next byte.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T> {
        Err(match self.byte() {
            None => BodyError::UnexpectedEnd { offset: self.at },
            Some(_) => BodyError::Syntax { offset: self.at, expected },
        })
    }

    /// Skips white space and returns the kind of the next value.
    pub(crate) fn peek(&mut self) -> Result<ValueKind> {
        self.skip_space();
        match self.byte() {
            Some(b'{') => Ok(ValueKind::Object),
            Some(b'[') => Ok(ValueKind::Array),
            Some(b'"') => Ok(ValueKind::String),
            Some(b'-' | b'0'..=b'9') => Ok(ValueKind::Number),
            Some(b't') => Ok(ValueKind::True),
            Some(b'f') => Ok(ValueKind::False),
            Some(b'n') => Ok(ValueKind::Null),
            _ => self.unexpected("a value"),
        }
    }

    /// Checks that only white space follows.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(BodyError::TrailingBytes { offset: self.at }) }
    }

    fn enter(&mut self) -> Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(BodyError::TooDeep { offset: self.at, limit: MAX_DEPTH });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Leaves a container if its closing byte follows.
    fn leave(&mut self, close: u8) -> bool {
        self.skip_space();
        let closes = self.byte() == Some(close);
        if closes {
            self.at += 1;
            self.depth -= 1;
        }
        closes
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<()> {
        self.skip_space();
        if self.byte() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.unexpected(expected)
        }
    }

    /// Parses an object. `member` is called with each key and must consume the value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, RawString<'a>) -> Result<()>,
    ) -> Result<()> {
        self.enter()?;
        if self.leave(b'}') {
            return Ok(());
        }
        loop {
            self.skip_space();
            if self.byte() != Some(b'"') {
                return self.unexpected("a key");
            }
            let key = self.string()?;
            self.expect(b':', "`:`")?;
            member(self, key)?;
            if self.leave(b'}') {
                return Ok(());
            }
            self.expect(b',', "`,` or `}`")?;
        }
    }

    /// Parses an array. `element` must consume each element.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.enter()?;
        if self.leave(b']') {
            return Ok(());
        }
        loop {
            element(self)?;
            if self.leave(b']') {
                return Ok(());
            }
            self.expect(b',', "`,` or `]`")?;
        }
    }

    /// Skips a value.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            ValueKind::Object => self.object(|cursor, _| cursor.skip()),
            ValueKind::Array => self.array(Self::skip),
            ValueKind::String => self.string().map(drop),
            ValueKind::Number => self.number().map(drop),
            ValueKind::True => self.literal(b"true"),
            ValueKind::False => self.literal(b"false"),
            ValueKind::Null => self.literal(b"null"),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<()> {
        for &expected in word {
            if self.byte() != Some(expected) {
                return self.unexpected("`true`, `false` or `null`");
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start { self.unexpected("a digit") } else { Ok(()) }
    }

    /// Parses a number and returns its bytes.
    pub(crate) fn number(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    /// Parses a boolean; skips any other value and returns `None`.
    pub(crate) fn bool(&mut self) -> Result<Option<bool>> {
        let value = match self.peek()? {
            ValueKind::True => Some(true),
            ValueKind::False => Some(false),
            ValueKind::Object
            | ValueKind::Array
            | ValueKind::String
            | ValueKind::Number
            | ValueKind::Null => None,
        };
        self.skip()?;
        Ok(value)
    }

    /// Parses an unsigned integer of 32 bits; skips any other value and returns `None`.
    pub(crate) fn unsigned(&mut self) -> Result<Option<u32>> {
        if self.peek()? != ValueKind::Number {
            self.skip()?;
            return Ok(None);
        }
        let text = self.number()?;
        Ok(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()))
    }
}
