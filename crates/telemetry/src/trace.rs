//! OpenTelemetry traces: spans of requests and attempts, W3C trace context, export by OTLP over gRPC or HTTP.
//!
//! The spans and the batching queue are our own: the OpenTelemetry SDK would add 14 crates and 22 s of compile time on
//! two cores for two kinds of span with a dozen attributes. Messages, framing and TLS are libraries' (`prost`, `tonic`,
//! `hyper-rustls`).

mod context;
mod encode;
mod error;
mod export;
mod options;
mod otlp;
mod span;
mod tls;
mod transport;

pub use context::TraceContext;
pub use error::OtlpError;
pub use export::Exporter;
pub use options::OtlpOptions;
pub use span::{Attribute, Span, SpanName, Tracer};
