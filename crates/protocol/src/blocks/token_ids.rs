//! Token ids of a JSON array as bytes: four each, regardless of white space.

use super::chain::Chain;
use super::{BLOCK_BYTES, BYTES_PER_TOKEN};

/// Bytes that are parsed at once.
const WORD: usize = 8;

/// Adds the ids of a valid JSON array. An id above 32 bits, which no engine accepts, saturates; other invalid numbers
/// (fractions, signs) count as one or more ids.
pub(super) fn push(array: &[u8], chain: &mut Chain<'_>) {
    let mut batch = [0; BLOCK_BYTES];
    let mut filled = 0;
    let mut rest = array;
    while !rest.is_empty() {
        let (id, used) = next(rest);
        rest = rest.get(used..).unwrap_or_default();
        let Some(id) = id else { continue };
        if let Some(to) = batch.get_mut(filled..filled + BYTES_PER_TOKEN) {
            to.copy_from_slice(&id.to_le_bytes());
        }
        filled += BYTES_PER_TOKEN;
        if filled == BLOCK_BYTES {
            chain.bytes(&batch);
            filled = 0;
            if chain.is_full() {
                return;
            }
        }
    }
    chain.bytes(batch.get(..filled).unwrap_or_default());
}

/// The number at the start, if there is one, and the length of it and the byte after it.
fn next(text: &[u8]) -> (Option<u32>, usize) {
    let Some(word) = text.first_chunk::<WORD>() else { return next_bytewise(text) };
    let (value, digits) = leading_number(*word);
    match digits {
        0 => (None, 1),
        WORD => next_bytewise(text),
        _ => (Some(value), digits + 1),
    }
}

fn next_bytewise(text: &[u8]) -> (Option<u32>, usize) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let (value, count) = digits.fold((0_u32, 0), |(value, count), byte| {
        (value.saturating_mul(10).saturating_add(u32::from(byte - b'0')), count + 1)
    });
    (Some(value).filter(|_| count > 0), count + 1)
}

/// The value and the number of the leading digits. All eight bytes are parsed at once, by shifting the digits to the
/// end and combining neighbours pairwise (Lemire, "Quickly parsing eight digits", 2018).
fn leading_number(word: [u8; WORD]) -> (u32, usize) {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const LOW_SEVEN: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
    let values = u64::from_le_bytes(word) ^ ZEROS;
    let non_digits = (((values & LOW_SEVEN) + ABOVE_NINE) | values) & !LOW_SEVEN;
    let digits = non_digits.trailing_zeros() / 8;
    if digits == 0 {
        return (0, 0);
    }
    let pairs = values << (64 - 8 * digits);
    let pairs = pairs.wrapping_mul(10).wrapping_add(pairs >> 8);
    let upper = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let lower = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    // At most 99,999,999.
    ((upper.wrapping_add(lower) >> 32) as u32, digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parsers_give_the_same_numbers() {
        for number in (0..20_000_u32).chain((0..4_000).map(|step| step * 1_073_741)) {
            for end in [",", "]", " ", ",1", ",123456789", "]]]]]]]]", "/", ":", "\u{b9}", "e5", ".5"] {
                let text = format!("{number}{end}");
                let expected = (Some(number), number.to_string().len() + 1);
                assert_eq!(next(text.as_bytes()), expected, "{text}");
                assert_eq!(next_bytewise(text.as_bytes()), expected, "{text}");
            }
        }
        for (text, expected) in [
            ("4294967295,", (Some(u32::MAX), 11)),
            ("99999999999999,", (Some(u32::MAX), 15)),
            ("00000012345,", (Some(12_345), 12)),
            ("7", (Some(7), 2)),
            (" 7,", (None, 1)),
            ("-70000000", (None, 1)),
            ("]", (None, 1)),
        ] {
            assert_eq!(next(text.as_bytes()), expected, "{text}");
        }
    }
}
