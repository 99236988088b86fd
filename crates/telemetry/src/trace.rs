//! OpenTelemetry traces: spans of requests and attempts, W3C trace context in and out, export by OTLP over HTTP.
//!
//! The exporter is our own. The `opentelemetry-otlp` crate with its hyper client brings 14 further crates and 22 s of
//! compile time on two cores, and its batching thread needs reqwest besides; what Pointsman exports are two kinds of
//! span with a dozen attributes, which either of OTLP's encodings says in a few lines.

mod context;
mod export;
mod options;
mod otlp;
mod span;

pub use context::TraceContext;
pub use export::Exporter;
pub use options::{OtlpError, OtlpOptions};
pub use otlp::Encoding;
pub use span::{Attribute, Span, SpanName, Tracer};
