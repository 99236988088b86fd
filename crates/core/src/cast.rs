//! Conversions between counts and floating point numbers.

/// A count of tokens or blocks as a number; exact below 2^53.
pub(crate) const fn count(number: u64) -> f64 {
    number as f64
}

/// A number rounded down to a count; negative numbers and NaN become 0, large ones `u32::MAX`.
pub(crate) fn whole(number: f64) -> u32 {
    number.clamp(0.0, f64::from(u32::MAX)) as u32
}
