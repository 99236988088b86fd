//! A batch of spans in OTLP's JSON encoding (`opentelemetry/proto/collector/trace/v1`, and the encoding rules of
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: ids as hexadecimal, 64-bit integers as strings,
//! enums as numbers).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::span::{Attribute, Finished, SpanName};

/// The most characters of a name that go into an attribute.
const MAX_NAME: usize = 256;

/// The request body of an export.
pub(super) fn encode(service: &str, version: &str, spans: &[Finished]) -> Value {
    json!({
        "resourceSpans": [{
            "resource": {"attributes": [
                text("service.name", service),
                text("service.version", version),
            ]},
            "scopeSpans": [{
                "scope": {"name": "pointsman", "version": version},
                "spans": spans.iter().map(span).collect::<Vec<_>>(),
            }],
        }],
    })
}

fn span(span: &Finished) -> Value {
    let kind = match span.name {
        SpanName::Request => 2, // SPAN_KIND_SERVER
        SpanName::Attempt => 3, // SPAN_KIND_CLIENT
    };
    let failed = span.attributes.iter().any(|attribute| matches!(attribute, Attribute::Reason(_)));
    let mut out = json!({
        "traceId": format!("{:032x}", span.context.trace),
        "spanId": format!("{:016x}", span.context.span),
        // Bit 0: sampled (W3C).
        "flags": 1,
        "name": span.name.as_str(),
        "kind": kind,
        "startTimeUnixNano": nanos(span.start).to_string(),
        "endTimeUnixNano": nanos(span.start + span.duration).to_string(),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<_>>(),
        // STATUS_CODE_ERROR, or unset as instrumentation leaves it when nothing failed.
        "status": if failed { json!({"code": 2}) } else { json!({}) },
    });
    if let Some(parent) = span.parent {
        out["parentSpanId"] = Value::String(format!("{parent:016x}"));
    }
    out
}

fn attribute(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Pool(name) => name_of("pointsman.pool", name),
        Attribute::Model(name) => name_of("gen_ai.request.model", name),
        Attribute::TargetModel(name) => name_of("pointsman.target_model", name),
        Attribute::Endpoint(address) => name_of("pointsman.endpoint", address),
        Attribute::Status(status) => integer("http.response.status_code", u32::from(*status)),
        Attribute::Outcome(outcome) => text("pointsman.outcome", outcome),
        Attribute::Reason(reason) => text("error.type", reason),
        Attribute::InputTokens(tokens) => integer("gen_ai.usage.input_tokens", *tokens),
        Attribute::CachedTokens(tokens) => integer("gen_ai.usage.cache_read.input_tokens", *tokens),
        Attribute::OutputTokens(tokens) => integer("gen_ai.usage.output_tokens", *tokens),
        Attribute::FirstToken(span) => seconds("pointsman.time_to_first_token", span.as_secs_f64()),
        Attribute::Placement(span) => seconds("pointsman.placement_duration", span.as_secs_f64()),
    }
}

fn name_of(key: &str, name: &Arc<str>) -> Value {
    text(key, name.char_indices().nth(MAX_NAME).map_or(name, |(end, _)| &name[..end]))
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn integer(key: &str, value: u32) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn seconds(key: &str, value: f64) -> Value {
    json!({"key": key, "value": {"doubleValue": value}})
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}
