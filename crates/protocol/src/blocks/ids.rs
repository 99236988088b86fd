//! Token ids as material: four bytes each, whatever the space around them.

use super::chain::Chain;
use super::{BLOCK_BYTES, BYTES_PER_TOKEN};

/// Bytes looked at together.
const WORD: usize = 8;

/// Adds the ids of a JSON array. An id above 32 bits, which no engine takes, counts as the greatest; what else an
/// engine refuses (fractions, signs) counts as some ids.
pub(super) fn read(array: &[u8], chain: &mut Chain) {
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

/// The number that stands at the start, if one does, and the bytes up to behind the byte that ends it.
fn next(text: &[u8]) -> (Option<u32>, usize) {
    let Some(word) = text.first_chunk::<WORD>() else { return next_slowly(text) };
    let (value, digits) = leading_number(*word);
    match digits {
        0 => (None, 1),
        WORD => next_slowly(text),
        _ => (Some(value), digits + 1),
    }
}

fn next_slowly(text: &[u8]) -> (Option<u32>, usize) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let (value, count) = digits.fold((0_u32, 0), |(value, count), byte| {
        (value.saturating_mul(10).saturating_add(u32::from(byte - b'0')), count + 1)
    });
    (Some(value).filter(|_| count > 0), count + 1)
}

/// The number that the first digits make, and how many these are: all eight bytes at once, by moving the digits to
/// the end of eight and joining neighbours pairwise (Lemire, "Quickly parsing eight digits", 2018).
fn leading_number(word: [u8; WORD]) -> (u32, usize) {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const LOW_SEVEN: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const ABOVE_NINE: u64 = 0x7676_7676_7676_7676;
    let values = u64::from_le_bytes(word) ^ ZEROS;
    let others = (((values & LOW_SEVEN) + ABOVE_NINE) | values) & !LOW_SEVEN;
    let digits = others.trailing_zeros() / 8;
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
    fn numbers_are_read_alike_eight_bytes_at_a_time_and_one() {
        for number in (0..20_000_u32).chain((0..4_000).map(|step| step * 1_073_741)) {
            for end in [",", "]", " ", ",1", ",123456789", "]]]]]]]]", "/", ":", "\u{b9}", "e5", ".5"] {
                let text = format!("{number}{end}");
                let expected = (Some(number), number.to_string().len() + 1);
                assert_eq!(next(text.as_bytes()), expected, "{text}");
                assert_eq!(next_slowly(text.as_bytes()), expected, "{text}");
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
