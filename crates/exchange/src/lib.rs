//! The life of one inference request, shared by every front door: reading its body, naming its model, applying the
//! pool's model rules, watching the engine's answer, and the outcome.
//!
//! One request passes through four types, each of which can only do what is due:
//!
//! ```text
//! Incoming ──body──▶ Request ──route, rules──▶ Outgoing ──per attempt──▶ Answer ──▶ Verdict
//!     └──────────────── Refusal, at every step that can refuse ────────────┘
//! ```
//!
//! A door (the gateway, the endpoint picker) turns these steps into HTTP calls or messages. It asks the pool for an
//! endpoint between [`Request::resolve`] and [`Outgoing::answer`].
//!
//! What this crate must not know: sockets, tokio, hyper, ext_proc, endpoints' addresses, clocks.

mod answer;
mod headers;
mod incoming;
mod outgoing;
mod refusal;
mod request;
mod stored;

pub use answer::{Answer, AnswerEnd, ChunkFacts, HeadVerdict, Verdict};
pub use headers::{
    MODEL_NAME, OBJECTIVE, REASON, SHOULD_RETRY, control_header, read_header, strip_control_headers,
    strip_hop_by_hop,
};
pub use incoming::{Head, Incoming, Limits};
pub use outgoing::Outgoing;
pub use refusal::{Refusal, RefusalAnswer};
pub use request::{Request, Resolving};
pub use stored::StoredResponses;
