//! Request bodies, buffered and not.

use bytes::{Bytes, BytesMut};

/// The bytes of a body that is read before the request is placed. A single chunk is kept as it is; further ones are
/// copied into one buffer.
pub(crate) enum BodyBuffer {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

/// A body that is not read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum UnreadBody {
    /// The request has none.
    None,
    /// It streams through. `length` is its content-length in bytes, if the client sent one.
    Stream { length: Option<u64> },
}

impl std::fmt::Debug for BodyBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BodyBuffer({} bytes)", self.len())
    }
}

impl BodyBuffer {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(buffer) => buffer.len(),
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

impl UnreadBody {
    /// Upper bound of the estimated prompt tokens: the bytes may be an image or a recording.
    const MAX_TOKENS: u64 = 8_192;
    /// Bytes per token, for the estimate.
    const BYTES_PER_TOKEN: u64 = 4;

    /// The estimated prompt length in tokens.
    pub(crate) fn estimated_tokens(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Stream { length } => {
                let tokens = (length.unwrap_or(0) / Self::BYTES_PER_TOKEN).min(Self::MAX_TOKENS);
                u32::try_from(tokens).unwrap_or(u32::MAX)
            }
        }
    }
}
