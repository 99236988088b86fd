//! A strict, allocation-free walk over a JSON text that is held whole (RFC 8259).
//!
//! Everything that is walked is checked: structure, numbers, escapes, control characters, UTF-8, depth.

use std::borrow::Cow;

use crate::request::BodyError;

/// Nesting deeper than this is refused. Far above what any API needs, far below what a stack minds.
pub(crate) const MAX_DEPTH: u32 = 128;

/// Bytes looked at together inside a long string: two vector registers' worth.
const STRIDE: usize = 32;

/// Bytes looked at together inside a short string, or to find the place within a stride.
const WORD: usize = 8;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// A position in a JSON text.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

/// A string as it stands in the text.
#[derive(Clone, Copy)]
pub(crate) struct RawString<'a> {
    /// Where the opening quote is.
    pub(crate) start: usize,
    /// The bytes between the quotes, escapes as they are.
    pub(crate) inner: &'a [u8],
    /// Whether there are escapes.
    pub(crate) escaped: bool,
    /// Bytes of the string as UTF-8 once its escapes are resolved.
    pub(crate) decoded_len: usize,
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

    /// Walks a string whose opening quote is next.
    pub(crate) fn string(&mut self) -> Walk<RawString<'a>> {
        let start = self.at;
        self.at += 1;
        let (mut escaped, mut shrunk, mut seen) = (false, 0_usize, 0_u64);
        loop {
            seen |= self.skip_ordinary();
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    shrunk += self.escape()?;
                }
                Some(_) => return Err(BodyError::ControlCharacter { offset: self.at }),
                None => return Err(BodyError::UnexpectedEnd { offset: self.at }),
            }
        }
        let inner = self.bytes.get(start + 1..self.at).unwrap_or_default();
        // Bytes below 0x80 are UTF-8 by themselves.
        if seen & HIGH_BITS != 0
            && let Err(error) = std::str::from_utf8(inner)
        {
            return Err(BodyError::InvalidUtf8 { offset: start + 1 + error.valid_up_to() });
        }
        self.at += 1;
        Ok(RawString { start, inner, escaped, decoded_len: inner.len() - shrunk })
    }

    /// Passes over everything up to a quote, a backslash, a control character or the end. Of what it
    /// gives, one of [`HIGH_BITS`] is set if any byte was not ASCII.
    fn skip_ordinary(&mut self) -> u64 {
        let (mut seen, found) = self.skip_words(STRIDE / WORD);
        if found {
            return seen;
        }
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        for stride in rest.as_chunks::<STRIDE>().0 {
            // Without a branch, so that the compiler turns it into vector comparisons.
            let special = stride
                .iter()
                .fold(false, |found, &byte| found | (byte == b'"') | (byte == b'\\') | (byte < 0x20));
            if special {
                break;
            }
            self.at += STRIDE;
        }
        if !self.bytes.get(start..self.at).unwrap_or_default().is_ascii() {
            seen |= HIGH_BITS;
        }
        let (more, found) = self.skip_words(usize::MAX);
        seen |= more;
        if !found {
            while let Some(byte) = self.byte().filter(|byte| !matches!(byte, b'"' | b'\\' | ..0x20)) {
                seen |= u64::from(byte);
                self.at += 1;
            }
        }
        seen
    }

    /// Passes over at most `limit` whole words as above; says whether it came upon such a byte.
    fn skip_words(&mut self, limit: usize) -> (u64, bool) {
        let mut seen = 0;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        for word in rest.as_chunks::<WORD>().0.iter().take(limit) {
            let word = u64::from_le_bytes(*word);
            let special = special_bytes(word);
            if special != 0 {
                let ordinary = special.trailing_zeros() / 8;
                self.at += ordinary as usize;
                return (seen | word & !(u64::MAX << (8 * ordinary)), true);
            }
            seen |= word;
            self.at += WORD;
        }
        (seen, false)
    }

    /// Walks an escape; gives by how much shorter it is once resolved.
    fn escape(&mut self) -> Walk<usize> {
        let offset = self.at;
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(1)
            }
            Some(b'u') => {
                let Some(digits) = self.bytes.get(self.at + 1..self.at + 5) else {
                    return Err(BodyError::UnexpectedEnd { offset: self.bytes.len() });
                };
                let Some(unit) = hex(digits) else { return Err(BodyError::InvalidEscape { offset }) };
                self.at += 5;
                // A surrogate is half of a character of four bytes.
                Ok(6 - match unit {
                    0..0x80 => 1,
                    0x80..0x800 | 0xD800..0xE000 => 2,
                    _ => 3,
                })
            }
            Some(_) => Err(BodyError::InvalidEscape { offset }),
            None => Err(BodyError::UnexpectedEnd { offset: self.at }),
        }
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

/// Marks the bytes that are a quote, a backslash or a control character. The lowest mark is always right;
/// those above it may be wrong, through borrows (Hacker's Delight, 6-1).
fn special_bytes(word: u64) -> u64 {
    let below = |word: u64, bound: u8| word.wrapping_sub(LOW_BITS * u64::from(bound)) & !word;
    let equal = |byte: u8| below(word ^ (LOW_BITS * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGH_BITS
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

impl<'a> RawString<'a> {
    /// Where the byte after the closing quote is.
    pub(crate) fn end(&self) -> usize {
        self.start + self.inner.len() + 2
    }

    /// The string with its escapes resolved, without a copy where there are none; none when they hold half
    /// of a surrogate pair.
    pub(crate) fn resolve(&self) -> Option<Cow<'a, [u8]>> {
        if self.escaped { self.unescape().map(Cow::Owned) } else { Some(Cow::Borrowed(self.inner)) }
    }

    /// The string with its escapes resolved, as text of its own.
    pub(crate) fn decode(&self) -> Option<String> {
        String::from_utf8(self.resolve()?.into_owned()).ok()
    }

    fn unescape(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(self.decoded_len);
        let mut rest = self.inner;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            out.extend_from_slice(rest.get(..at)?);
            let kind = *rest.get(at + 1)?;
            rest = rest.get(at + 2..)?;
            match kind {
                b'b' => out.push(0x8),
                b'f' => out.push(0xc),
                b'n' => out.push(b'\n'),
                b'r' => out.push(b'\r'),
                b't' => out.push(b'\t'),
                b'u' => {
                    let (character, used) = unicode(rest)?;
                    rest = rest.get(used..)?;
                    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => out.push(other),
            }
        }
        out.extend_from_slice(rest);
        Some(out)
    }
}

/// Resolves what follows `\u`, a surrogate pair included; gives the bytes used, too.
fn unicode(rest: &[u8]) -> Option<(char, usize)> {
    let first = hex(rest.get(..4)?)?;
    if !(0xD800..0xDC00).contains(&first) {
        return Some((char::from_u32(first)?, 4));
    }
    let second = hex(rest.get(4..)?.strip_prefix(b"\\u")?.get(..4)?)?;
    let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    Some((char::from_u32(0x10000 + ((first - 0xD800) << 10 | low))?, 10))
}
