//! The buffer of a body that is read before its request is placed.

use bytes::{Bytes, BytesMut};

/// The bytes of a body that is read before the request is placed. A single chunk is kept as it is; further ones are
/// copied into one buffer.
pub(crate) enum BodyBuffer {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl std::fmt::Debug for BodyBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyBuffer({} bytes)", self.bytes().len())
    }
}

impl BodyBuffer {
    /// The bytes so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::One(bytes) => bytes,
            Self::Many(buffer) => buffer,
        }
    }

    /// Appends a chunk. `expected` is the whole body's length in bytes, or 0 if unknown.
    pub(crate) fn push(&mut self, chunk: Bytes, expected: usize) {
        if chunk.is_empty() {
            return;
        }
        *self = match std::mem::replace(self, Self::Empty) {
            Self::Empty => Self::One(chunk),
            Self::One(first) => {
                let mut buffer = BytesMut::with_capacity(expected.max(first.len() + chunk.len()));
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&chunk);
                Self::Many(buffer)
            }
            Self::Many(mut buffer) => {
                buffer.extend_from_slice(&chunk);
                Self::Many(buffer)
            }
        };
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Empty => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(buffer) => buffer.freeze(),
        }
    }
}
