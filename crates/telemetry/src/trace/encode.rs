//! Finished spans as one OTLP export request.

use std::time::{SystemTime, UNIX_EPOCH};

use super::otlp::{
    AnyValue, ExportTraceServiceRequest, FLAG_SAMPLED, InstrumentationScope, KIND_CLIENT, KIND_SERVER,
    KeyValue, Resource, ResourceSpans, STATUS_ERROR, ScopeSpans, Span, Status, Value,
};
use super::span::{Attribute, Finished, SpanName};

/// Name of the instrumentation scope.
const SCOPE: &str = "pointsman";
/// Characters after which a string attribute is cut.
const MAX_STRING: usize = 256;

/// Builds the request for a batch of spans of the process `service` in `version`.
pub(super) fn export_request(service: &str, version: &str, spans: &[Finished]) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![
            key_value("service.name", Value::String(service.into())),
            key_value("service.version", Value::String(version.into())),
        ],
    };
    let scope = InstrumentationScope { name: SCOPE.into(), version: version.into() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: spans.iter().map(span).collect() };
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans] };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

fn span(span: &Finished) -> Span {
    let start = unix_nanos(span.start);
    let duration = u64::try_from(span.duration.as_nanos()).unwrap_or(u64::MAX);
    // Spans without a reason keep the status unset, which the specification demands of instrumentation.
    let failed = span.attributes.iter().any(|attribute| matches!(attribute, Attribute::Reason(_)));
    Span {
        trace_id: span.context.trace.to_be_bytes().into(),
        span_id: span.context.span.to_be_bytes().into(),
        parent_span_id: span.parent.map_or_else(Vec::new, |parent| parent.to_be_bytes().into()),
        name: span.name.as_str().into(),
        kind: match span.name {
            SpanName::Request => KIND_SERVER,
            SpanName::Attempt => KIND_CLIENT,
        },
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(duration),
        attributes: span.attributes.iter().map(attribute).collect(),
        status: failed.then_some(Status { code: STATUS_ERROR }),
        flags: FLAG_SAMPLED,
    }
}

/// An attribute under its key: OpenTelemetry's semantic conventions where they have one.
fn attribute(attribute: &Attribute) -> KeyValue {
    let (key, value) = match attribute {
        Attribute::Pool(name) => ("pointsman.pool", string(name)),
        Attribute::Model(name) => ("gen_ai.request.model", string(name)),
        Attribute::TargetModel(name) => ("pointsman.target_model", string(name)),
        Attribute::Endpoint(address) => ("pointsman.endpoint", string(address)),
        Attribute::Status(status) => ("http.response.status_code", Value::Int(i64::from(*status))),
        Attribute::Outcome(outcome) => ("pointsman.outcome", string(outcome)),
        Attribute::Reason(reason) => ("error.type", string(reason)),
        Attribute::InputTokens(tokens) => ("gen_ai.usage.input_tokens", Value::Int(i64::from(*tokens))),
        Attribute::CachedTokens(tokens) => {
            ("gen_ai.usage.cache_read.input_tokens", Value::Int(i64::from(*tokens)))
        }
        Attribute::OutputTokens(tokens) => ("gen_ai.usage.output_tokens", Value::Int(i64::from(*tokens))),
        Attribute::FirstToken(time) => ("pointsman.time_to_first_token", Value::Double(time.as_secs_f64())),
        Attribute::Placement(time) => ("pointsman.placement_duration", Value::Double(time.as_secs_f64())),
    };
    key_value(key, value)
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) }
}

fn string(text: &str) -> Value {
    Value::String(text.chars().take(MAX_STRING).collect())
}

/// Nanoseconds since 1970, which 64 bits hold until 2554.
fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost::Message as _;

    use super::*;
    use crate::trace::TraceContext;

    /// The same message serialised by Google's Python library (opentelemetry-proto 1.45.2), in hexadecimal.
    const EXPECTED: &str = "\
        0a9f030a340a160a0c736572766963652e6e616d6512060a04656467650a1a0a0f736572766963652e76657273696f6e1207\
        0a05312e322e3312e6020a120a09706f696e74736d616e1205312e322e331284020a104bf92f3577b34da6a3ce929d0e0e47\
        3612080123456789abcdef220800f067aa0ba902b72a11706f696e74736d616e207265717565737430023915cd853dfe9c97\
        174115fced96fe9c97174a210a0e706f696e74736d616e2e706f6f6c120f0a0d64656661756c742f6c6c616d614a200a1968\
        7474702e726573706f6e73652e7374617475735f636f6465120318f6034a160a0a6572726f722e7479706512080a0673696c\
        656e744a220a1a67656e5f61692e75736167652e6f75747075745f746f6b656e73120418f0a2044a2a0a1d706f696e74736d\
        616e2e74696d655f746f5f66697273745f746f6b656e120921000000000000d03f7a02180285010100000012490a104bf92f\
        3577b34da6a3ce929d0e0e4736120800000000000000012a11706f696e74736d616e20617474656d707430033915cd853dfe\
        9c97174115cd853dfe9c9717850101000000";

    #[test]
    fn a_request_encodes_to_the_bytes_of_the_reference_library() {
        let parent = TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let start = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        let request = Finished {
            name: SpanName::Request,
            context: TraceContext { span: 0x0123_4567_89ab_cdef, ..parent },
            parent: Some(parent.span),
            start,
            duration: Duration::from_millis(1500),
            attributes: vec![
                Attribute::Pool("default/llama".into()),
                Attribute::Status(502),
                // Any text; this one is in the reference bytes.
                Attribute::Reason("silent"),
                Attribute::OutputTokens(70_000),
                Attribute::FirstToken(Duration::from_millis(250)),
            ],
        };
        let attempt = Finished {
            name: SpanName::Attempt,
            context: TraceContext { span: 1, ..parent },
            parent: None,
            start,
            duration: Duration::ZERO,
            attributes: Vec::new(),
        };
        let bytes = export_request("edge", "1.2.3", &[request, attempt]).encode_to_vec();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, EXPECTED);
    }
}
