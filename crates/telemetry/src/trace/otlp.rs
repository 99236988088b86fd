//! Batches of spans as OTLP has them (`opentelemetry/proto/collector/trace/v1`), in either of its encodings over HTTP.

mod json;
mod protobuf;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::span::{Attribute, Finished, SpanName};

/// How a batch is written; the values of `OTEL_EXPORTER_OTLP_PROTOCOL` that go over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `http/protobuf`, OpenTelemetry's default.
    #[default]
    Protobuf,
    /// `http/json`.
    Json,
}

impl Encoding {
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The body of an export.
    pub(super) fn encode(self, service: &str, version: &str, spans: &[Finished]) -> Vec<u8> {
        match self {
            Self::Protobuf => protobuf::encode(service, version, spans),
            Self::Json => json::encode(service, version, spans).to_string().into_bytes(),
        }
    }
}

/// The name of what made the spans.
const SCOPE: &str = "pointsman";
/// `SpanFlags`: the W3C sampled bit.
const SAMPLED: u32 = 1;
/// `Status.StatusCode.STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// The most characters of a name that go into an attribute.
const MAX_NAME: usize = 256;

/// The value of an attribute, `AnyValue` there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AnyValue<'a> {
    Text(&'a str),
    Integer(u32),
    Double(f64),
}

/// An attribute's key and value. Keys are those of OpenTelemetry's semantic conventions where it has one.
fn key_value(attribute: &Attribute) -> (&'static str, AnyValue<'_>) {
    match attribute {
        Attribute::Pool(name) => ("pointsman.pool", name_of(name)),
        Attribute::Model(name) => ("gen_ai.request.model", name_of(name)),
        Attribute::TargetModel(name) => ("pointsman.target_model", name_of(name)),
        Attribute::Endpoint(address) => ("pointsman.endpoint", name_of(address)),
        Attribute::Status(status) => ("http.response.status_code", AnyValue::Integer(u32::from(*status))),
        Attribute::Outcome(outcome) => ("pointsman.outcome", AnyValue::Text(outcome)),
        Attribute::Reason(reason) => ("error.type", AnyValue::Text(reason)),
        Attribute::InputTokens(tokens) => ("gen_ai.usage.input_tokens", AnyValue::Integer(*tokens)),
        Attribute::CachedTokens(tokens) => {
            ("gen_ai.usage.cache_read.input_tokens", AnyValue::Integer(*tokens))
        }
        Attribute::OutputTokens(tokens) => ("gen_ai.usage.output_tokens", AnyValue::Integer(*tokens)),
        Attribute::FirstToken(span) => {
            ("pointsman.time_to_first_token", AnyValue::Double(span.as_secs_f64()))
        }
        Attribute::Placement(span) => ("pointsman.placement_duration", AnyValue::Double(span.as_secs_f64())),
    }
}

fn name_of(name: &Arc<str>) -> AnyValue<'_> {
    AnyValue::Text(name.char_indices().nth(MAX_NAME).map_or(name, |(end, _)| &name[..end]))
}

/// What the process is.
const fn resource<'a>(service: &'a str, version: &'a str) -> [(&'static str, AnyValue<'a>); 2] {
    [("service.name", AnyValue::Text(service)), ("service.version", AnyValue::Text(version))]
}

impl Finished {
    /// `Span.SpanKind`.
    const fn kind(&self) -> u8 {
        match self.name {
            SpanName::Request => 2, // SPAN_KIND_SERVER
            SpanName::Attempt => 3, // SPAN_KIND_CLIENT
        }
    }

    /// A span with a reason failed; the status of others stays unset, which means that nothing is known against them.
    fn failed(&self) -> bool {
        self.attributes.iter().any(|attribute| matches!(attribute, Attribute::Reason(_)))
    }

    /// Start and end in nanoseconds since 1970; 64 bits last until 2554.
    fn times(&self) -> [u64; 2] {
        let nanos = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
        };
        let start = nanos(self.start);
        [start, start.saturating_add(u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX))]
    }
}
