//! The JSON encoding (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids as hexadecimal, 64-bit
//! integers as strings, enums as numbers.

use serde_json::{Value, json};

use super::super::span::Finished;
use super::{AnyValue, ERROR, SAMPLED, SCOPE, key_value, resource};

pub(super) fn encode(service: &str, version: &str, spans: &[Finished]) -> Value {
    json!({
        "resourceSpans": [{
            "resource": {"attributes": resource(service, version).map(attribute)},
            "scopeSpans": [{
                "scope": {"name": SCOPE, "version": version},
                "spans": spans.iter().map(span).collect::<Vec<_>>(),
            }],
        }],
    })
}

fn span(span: &Finished) -> Value {
    let [start, end] = span.times();
    let attributes: Vec<Value> = span.attributes.iter().map(|found| attribute(key_value(found))).collect();
    let mut out = json!({
        "traceId": format!("{:032x}", span.context.trace),
        "spanId": format!("{:016x}", span.context.span),
        "flags": SAMPLED,
        "name": span.name.as_str(),
        "kind": span.kind(),
        "startTimeUnixNano": start.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes,
        "status": if span.failed() { json!({"code": ERROR}) } else { json!({}) },
    });
    if let Some(parent) = span.parent {
        out["parentSpanId"] = Value::String(format!("{parent:016x}"));
    }
    out
}

fn attribute((key, value): (&str, AnyValue<'_>)) -> Value {
    let value = match value {
        AnyValue::Text(text) => json!({"stringValue": text}),
        AnyValue::Integer(integer) => json!({"intValue": integer.to_string()}),
        AnyValue::Double(double) => json!({"doubleValue": double}),
    };
    json!({"key": key, "value": value})
}
