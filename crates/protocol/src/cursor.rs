//! A strict, allocation-free walk over a JSON text that is held whole (RFC 8259).
//!
//! Everything that is walked is checked: structure, numbers, escapes, control characters, UTF-8, depth.

mod text;

pub(crate) use text::{RawString, hex, unicode};

use crate::request::BodyError;

/// Nesting deeper than this is refused. Far above what any API needs, far below what a stack minds.
pub(crate) const MAX_DEPTH: u32 = 128;

/// A position in a JSON text.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

/// What kind of value stands next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

type Walk<T> = Result<T, BodyError>;

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
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

    fn unexpected<T>(&self, expected: &'static str) -> Walk<T> {
        Err(match self.byte() {
            None => BodyError::UnexpectedEnd { offset: self.at },
            Some(_) => BodyError::Syntax { offset: self.at, expected },
        })
    }

    /// Tells the next value's kind by its first byte, past white space.
    pub(crate) fn peek(&mut self) -> Walk<Next> {
        self.skip_space();
        match self.byte() {
            Some(b'{') => Ok(Next::Object),
            Some(b'[') => Ok(Next::Array),
            Some(b'"') => Ok(Next::String),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(b't') => Ok(Next::True),
            Some(b'f') => Ok(Next::False),
            Some(b'n') => Ok(Next::Null),
            _ => self.unexpected("a value"),
        }
    }

    /// Checks that nothing but white space follows.
    pub(crate) fn finish(&mut self) -> Walk<()> {
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(BodyError::TrailingBytes { offset: self.at }) }
    }

    fn enter(&mut self) -> Walk<()> {
        if self.depth == MAX_DEPTH {
            return Err(BodyError::TooDeep { offset: self.at, limit: MAX_DEPTH });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Leaves a container if its closing byte is next.
    fn leave(&mut self, close: u8) -> bool {
        self.skip_space();
        let closes = self.byte() == Some(close);
        if closes {
            self.at += 1;
            self.depth -= 1;
        }
        closes
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Walk<()> {
        self.skip_space();
        if self.byte() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.unexpected(expected)
        }
    }

    /// Walks the members of an object; `member` must consume each value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, RawString<'a>) -> Walk<()>,
    ) -> Walk<()> {
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

    /// Walks the elements of an array; `element` must consume each value.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Walk<()>) -> Walk<()> {
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

    /// Walks any value without looking at it.
    pub(crate) fn skip(&mut self) -> Walk<()> {
        match self.peek()? {
            Next::Object => self.object(|cursor, _| cursor.skip()),
            Next::Array => self.array(Self::skip),
            Next::String => self.string().map(drop),
            Next::Number => self.number().map(drop),
            Next::True => self.literal(b"true"),
            Next::False => self.literal(b"false"),
            Next::Null => self.literal(b"null"),
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Walk<()> {
        for &expected in word {
            if self.byte() != Some(expected) {
                return self.unexpected("`true`, `false` or `null`");
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self) -> Walk<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start { self.unexpected("a digit") } else { Ok(()) }
    }

    /// Walks a number and gives it as it stands.
    pub(crate) fn number(&mut self) -> Walk<&'a [u8]> {
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

    /// Walks `true` or `false`; anything else is walked and gives none.
    pub(crate) fn bool(&mut self) -> Walk<Option<bool>> {
        let value = match self.peek()? {
            Next::True => Some(true),
            Next::False => Some(false),
            Next::Object | Next::Array | Next::String | Next::Number | Next::Null => None,
        };
        self.skip()?;
        Ok(value)
    }

    /// Walks a whole number that fits; anything else is walked and gives none.
    pub(crate) fn unsigned(&mut self) -> Walk<Option<u32>> {
        if self.peek()? != Next::Number {
            self.skip()?;
            return Ok(None);
        }
        let text = self.number()?;
        Ok(std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()))
    }
}
