//! The inside of a JSON string as bytes, escapes resolved.

use super::chain::Chain;
use crate::cursor::{hex, unicode};

/// Adds the inside of a valid string.
pub(super) fn push(mut rest: &[u8], chain: &mut Chain<'_>) {
    while !rest.is_empty() && !chain.is_full() {
        rest = match rest {
            [b'\\', b'u', after @ ..] => push_unicode(after, chain),
            [b'\\', kind, after @ ..] => {
                chain.character([unescape(*kind), 0, 0, 0], 1);
                after
            }
            _ => {
                let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
                let (plain, escape) = rest.split_at_checked(plain).unwrap_or_default();
                chain.bytes(plain);
                escape
            }
        };
    }
}

/// The character of an escape of one letter.
const fn unescape(kind: u8) -> u8 {
    match kind {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

/// Adds the character of four hexadecimal digits or of a surrogate pair; returns the bytes after it.
fn push_unicode<'a>(rest: &'a [u8], chain: &mut Chain<'_>) -> &'a [u8] {
    if let Some((character, used)) = unicode(rest) {
        let mut bytes = [0; 4];
        let length = character.encode_utf8(&mut bytes).len();
        chain.character(bytes, length);
        return rest.get(used..).unwrap_or_default();
    }
    // A lone surrogate is hashed as two bytes that do not occur in UTF-8.
    let [_, _, high, low] =
        rest.first_chunk().and_then(|digits| hex(*digits)).unwrap_or_default().to_be_bytes();
    chain.character([high | 0xf8, low, 0, 0], 2);
    rest.get(4..).unwrap_or_default()
}
