//! Drawing from a seed.

use std::time::Duration;

use pointsman_core::Rng;

/// One of the values, by their weights.
pub fn pick<T: Clone>(rng: &mut Rng, values: &[(usize, T)]) -> T {
    let total = values.iter().map(|(weight, _)| weight).sum();
    let mut draw = rng.below(total);
    for (weight, value) in values {
        if draw < *weight {
            return value.clone();
        }
        draw -= weight;
    }
    values[0].1.clone()
}

/// True once in so many draws.
pub fn one_in(rng: &mut Rng, many: usize) -> bool {
    rng.below(many) == 0
}

/// A pause between two pieces of a message.
pub fn pause(rng: &mut Rng) -> Duration {
    Duration::from_millis(pick(rng, &[(6, 0), (3, 1), (2, 10), (1, 60)]))
}

/// How a message is written.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    /// Bytes at a time; 0 for all.
    pub size: usize,
    pub pause: Duration,
}

impl Pieces {
    pub const WHOLE: Self = Self { size: 0, pause: Duration::ZERO };

    pub fn draw(rng: &mut Rng) -> Self {
        Self { size: pick(rng, &[(6, 0), (2, 1), (2, 7), (2, 100), (2, 1_460)]), pause: pause(rng) }
    }

    /// The pieces, at most fifty, so that a script has an end.
    pub fn of<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let size = if self.size == 0 { bytes.len() } else { self.size.max(bytes.len() / 50) };
        bytes.chunks(size.max(1))
    }
}

/// How a side ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Sends nothing more.
    Stall,
    /// Closes its half of the connection.
    HalfClose,
    Close,
    Reset,
}

/// A point within a message, in thousandths of it.
#[derive(Clone, Copy, Debug)]
pub struct Point(pub usize);

impl Point {
    pub fn draw(rng: &mut Rng) -> Self {
        // Nothing at all is worth more than one in a thousand.
        Self(if one_in(rng, 4) { 0 } else { rng.below(1_000) })
    }

    pub const fn of(self, length: usize) -> usize {
        length * self.0 / 1_000
    }
}
