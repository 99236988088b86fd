//! The life of one inference request, shared by all front doors: its body is read, its model named, the pool's model
//! rules applied, the engine's response observed, and the outcome determined.
//!
//! A request passes through four types, each of which offers only the steps that are due:
//!
//! ```text
//! RequestReader ──body──▶ ParsedRequest ──model rules──▶ EngineRequest ──per attempt──▶ EngineResponse ──▶ Verdict
//!       └──────────────────────── Refusal, at every step that can refuse ────────────────────┘
//! ```
//!
//! A front door (the gateway, the endpoint picker) translates between these steps and HTTP or ext_proc messages. It
//! places the request between [`ParsedRequest::resolve`] and [`EngineRequest::response`].
//!
//! Must not know: sockets, tokio, hyper, ext_proc, endpoints' addresses, clocks.

mod body;
mod body_format;
mod content;
mod content_coding;
mod engine_request;
mod engine_response;
mod headers;
mod parsed_request;
mod refusal;
mod request_reader;

pub use engine_request::{EngineRequest, RestScanner};
pub use engine_response::{ChunkFacts, EngineResponse, HeadVerdict, ResponseEnd, Verdict};
pub use headers::{
    BASE_MODEL_NAME, MODEL_NAME, OBJECTIVE, REASON, SHOULD_RETRY, asks_for_tunnel, control_header,
    has_control_headers, read_header, strip_control_headers, strip_hop_by_hop,
};
pub use parsed_request::{ParsedRequest, ResolveContext};
pub use refusal::{Refusal, RefusalResponse};
pub use request_reader::{Limits, RequestHead, RequestReader};
