//! JSON strings: their end, their validity and their unescaped value.

use std::borrow::Cow;

use super::{Cursor, Result};
use crate::body_error::BodyError;
use crate::words::{HIGH_BITS, WORD, below, equal, first};

/// Bytes up to which the comparison of words is faster than a vectorised search, which has to be set up.
const SHORT: usize = 64;

/// A string in its escaped form.
#[derive(Clone, Copy)]
pub(crate) struct RawString<'a> {
    /// Offset of the opening quote.
    pub(crate) start: usize,
    /// The bytes between the quotes, escaped.
    pub(crate) inner: &'a [u8],
    /// Whether `inner` has escapes.
    pub(crate) escaped: bool,
    /// Length in bytes of the unescaped string.
    pub(crate) decoded_len: usize,
}

impl<'a> Cursor<'a> {
    /// Parses a string; the next byte is its opening quote.
    pub(crate) fn string(&mut self) -> Result<RawString<'a>> {
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
        // ASCII needs no UTF-8 validation.
        if seen & HIGH_BITS != 0
            && let Err(error) = std::str::from_utf8(inner)
        {
            return Err(BodyError::InvalidUtf8 { offset: start + 1 + error.valid_up_to() });
        }
        self.at += 1;
        Ok(RawString { start, inner, escaped, decoded_len: inner.len() - shrunk })
    }

    /// Skips all bytes up to a quote, a backslash, a control character or the end. One of [`HIGH_BITS`] is set in the
    /// result if a byte was not ASCII.
    fn skip_ordinary(&mut self) -> u64 {
        let (seen, found) = self.skip_words(SHORT / WORD);
        if found {
            return seen;
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default();
        // Branch-free, so that the compiler uses vector operations.
        let (least, any) =
            text.iter().fold((u8::MAX, 0), |(least, any), &byte| (least.min(byte), any | byte));
        let is_control = |byte: &u8| *byte < 0x20;
        self.at += if is_control(&least) { text.iter().position(is_control).unwrap_or(end) } else { end };
        seen | u64::from(any)
    }

    /// Skips bytes as above, at most `limit` words; also returns whether it found such a byte.
    fn skip_words(&mut self, limit: usize) -> (u64, bool) {
        let mut seen = 0;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        for word in rest.as_chunks::<WORD>().0.iter().take(limit) {
            let word = u64::from_le_bytes(*word);
            let special = special_bytes(word);
            if special != 0 {
                let ordinary = first(special);
                self.at += ordinary;
                return (seen | word & !(u64::MAX << (8 * ordinary)), true);
            }
            seen |= word;
            self.at += WORD;
        }
        (seen, false)
    }

    /// Parses an escape; returns by how many bytes it is longer than the character.
    fn escape(&mut self) -> Result<usize> {
        let offset = self.at;
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(1)
            }
            Some(b'u') => {
                let Some(digits) = self.bytes.get(self.at + 1..).and_then(<[u8]>::first_chunk) else {
                    return Err(BodyError::UnexpectedEnd { offset: self.bytes.len() });
                };
                let Some(unit) = hex(*digits) else { return Err(BodyError::InvalidEscape { offset }) };
                self.at += 5;
                // A surrogate pair is a character of four bytes in UTF-8, so each half counts two.
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
}

/// Marks each byte that is a quote, a backslash or a control character.
const fn special_bytes(word: u64) -> u64 {
    (below(word, 0x20) | equal(word, b'"') | equal(word, b'\\')) & HIGH_BITS
}

/// Values of hexadecimal digits; [`NO_DIGIT`] for other bytes.
const DIGITS: [u8; 256] = digits();

const NO_DIGIT: u8 = 0xff;

const fn digits() -> [u8; 256] {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value as usize];
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
}

/// The value of four hexadecimal digits.
pub(crate) fn hex(digits: [u8; 4]) -> Option<u32> {
    let [a, b, c, d] = digits.map(|digit| DIGITS[usize::from(digit)]);
    let value = u32::from(a) << 12 | u32::from(b) << 8 | u32::from(c) << 4 | u32::from(d);
    ((a | b | c | d) != NO_DIGIT).then_some(value)
}

impl<'a> RawString<'a> {
    /// Offset of the byte after the closing quote.
    pub(crate) fn end(&self) -> usize {
        self.start + self.inner.len() + 2
    }

    /// The unescaped string, borrowed where it has no escapes; `None` where an escape is a lone surrogate.
    pub(crate) fn unescaped(&self) -> Option<Cow<'a, [u8]>> {
        if self.escaped { self.unescape().map(Cow::Owned) } else { Some(Cow::Borrowed(self.inner)) }
    }

    /// The unescaped string, owned; `None` where an escape is a lone surrogate.
    pub(crate) fn decode(&self) -> Option<String> {
        String::from_utf8(self.unescaped()?.into_owned()).ok()
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

/// Decodes the digits after `\u`, and the second escape of a surrogate pair. Returns the character and the number of
/// bytes used; `None` for a lone surrogate.
pub(crate) fn unicode(rest: &[u8]) -> Option<(char, usize)> {
    let first = hex(*rest.first_chunk()?)?;
    if !(0xD800..0xDC00).contains(&first) {
        return Some((char::from_u32(first)?, 4));
    }
    let second = hex(*rest.get(4..)?.strip_prefix(b"\\u")?.first_chunk()?)?;
    let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    Some((char::from_u32(0x10000 + ((first - 0xD800) << 10 | low))?, 10))
}
