//! A request's body as far as it was read.

use bytes::Bytes;
use pointsman_protocol::{BodyFacts, FormModel, MultipartScanner};

use crate::refusal::Refusal;

/// What is known of a body.
pub(crate) enum Content {
    /// There is none.
    None,
    /// A complete JSON object.
    Json(Box<BodyFacts>),
    /// A form, with the scanner of what follows.
    Form { model: Option<FormModel>, scanner: Option<Box<MultipartScanner>> },
    /// It names no model that an engine would read.
    Opaque,
    /// Whether it names a model cannot be said, for this reason. `declared` says that it claims to be JSON.
    Unreadable { reason: Refusal, declared: bool },
}

/// The bytes of a body before the request is placed.
pub(crate) struct HeldBody {
    /// Those that were read, decoded.
    pub(crate) bytes: Bytes,
    /// Their number as the client sent them.
    pub(crate) received: u64,
    /// Whether more follow.
    pub(crate) more: bool,
    /// Length of the whole body as the client announced it.
    pub(crate) announced: Option<u64>,
    /// Whether the content-encoding was removed.
    pub(crate) decoded: bool,
}

impl HeldBody {
    /// Upper bound of the estimated prompt tokens: the bytes may be an image or a recording.
    const MAX_TOKENS: u64 = 8_192;
    /// Bytes per token, for the estimate.
    const BYTES_PER_TOKEN: u64 = 4;

    /// The estimated prompt length in tokens of a body whose prompt is not read.
    pub(crate) fn estimated_tokens(&self) -> u32 {
        let length = self.announced.unwrap_or(self.received).max(self.bytes.len() as u64);
        u32::try_from((length / Self::BYTES_PER_TOKEN).min(Self::MAX_TOKENS)).unwrap_or(u32::MAX)
    }
}

/// Prints no bytes: the body contains the prompt, which must not reach logs.
impl std::fmt::Debug for HeldBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = if self.more { " and more" } else { "" };
        write!(f, "HeldBody({} bytes{more})", self.bytes.len())
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => write!(f, "None"),
            Self::Json(_) => write!(f, "Json"),
            Self::Form { .. } => write!(f, "Form"),
            Self::Opaque => write!(f, "Opaque"),
            Self::Unreadable { reason, .. } => write!(f, "Unreadable({reason:?})"),
        }
    }
}
