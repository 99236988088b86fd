//! Another model name in a body, without touching any other byte of it.

use bytes::Bytes;

use crate::request::ModelSpan;

/// A body in three pieces: what stands before the model's name, the name as a JSON string, what follows.
/// The outer pieces share the original body's memory.
#[derive(Clone, PartialEq, Eq)]
pub struct SplicedBody {
    /// The pieces, in order.
    pub parts: [Bytes; 3],
}

/// The body holds the prompt, which no log may show.
impl std::fmt::Debug for SplicedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SplicedBody({} bytes)", self.content_length())
    }
}

impl SplicedBody {
    /// The body's length in bytes, for `content-length`.
    #[must_use]
    pub fn content_length(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }
}

/// Puts `new_name` where `span` says the model's name stands. `span` must come from a scan of this body; a
/// span that lies outside it is cut to it.
#[must_use]
pub fn splice_model(body: &Bytes, span: &ModelSpan, new_name: &str) -> SplicedBody {
    let end = span.range.end.min(body.len());
    let start = span.range.start.min(end);
    let name = serde_json::Value::from(new_name).to_string();
    SplicedBody { parts: [body.slice(..start), Bytes::from(name), body.slice(end..)] }
}
