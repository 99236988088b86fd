//! The binary encoding (<https://protobuf.dev/programming-guides/encoding/>), with the field numbers of
//! `opentelemetry/proto/trace/v1/trace.proto`, `common.proto` and `resource.proto`. A dozen fields do not carry the
//! weight of a code generator.

use super::super::span::Finished;
use super::{AnyValue, ERROR, SAMPLED, SCOPE, key_value, resource};

/// ExportTraceServiceRequest with one ResourceSpans with one ScopeSpans.
pub(super) fn encode(service: &str, version: &str, spans: &[Finished]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |out| {
            for found in resource(service, version) {
                out.message(1, |out| attribute(out, found));
            }
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.bytes(1, SCOPE.as_bytes());
                scope.bytes(2, version.as_bytes());
            });
            for found in spans {
                scope_spans.message(2, |out| span(out, found));
            }
        });
    });
    request.0
}

fn span(out: &mut Message, span: &Finished) {
    let [start, end] = span.times();
    out.bytes(1, &span.context.trace.to_be_bytes());
    out.bytes(2, &span.context.span.to_be_bytes());
    if let Some(parent) = span.parent {
        out.bytes(4, &parent.to_be_bytes());
    }
    out.bytes(5, span.name.as_str().as_bytes());
    out.varint(6, u64::from(span.kind()));
    out.fixed64(7, start);
    out.fixed64(8, end);
    for found in &span.attributes {
        out.message(9, |out| attribute(out, key_value(found)));
    }
    if span.failed() {
        out.message(15, |status| status.varint(3, u64::from(ERROR)));
    }
    out.fixed32(16, SAMPLED);
}

/// KeyValue with its AnyValue.
fn attribute(out: &mut Message, (key, value): (&str, AnyValue<'_>)) {
    out.bytes(1, key.as_bytes());
    out.message(2, |out| match value {
        AnyValue::Text(text) => out.bytes(1, text.as_bytes()),
        AnyValue::Integer(integer) => out.varint(3, u64::from(integer)),
        AnyValue::Double(double) => out.fixed64(4, double.to_bits()),
    });
}

/// A message under way. Fields are written even where they hold their default, which decoders take as well.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.raw_varint(value);
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn fixed32(&mut self, field: u32, value: u32) {
        self.tag(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn message(&mut self, field: u32, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn tag(&mut self, field: u32, wire_type: u32) {
        self.raw_varint(u64::from(field << 3 | wire_type));
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::trace::TraceContext;
    use crate::trace::span::{Attribute, SpanName};

    /// The bytes that Google's Python library writes for the same message (opentelemetry-proto 1.45.2, serialised in
    /// order of field numbers), in hexadecimal.
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
    fn a_batch_is_byte_for_byte_what_a_protobuf_library_writes() {
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
        let bytes = encode("edge", "1.2.3", &[request, attempt]);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, EXPECTED);
    }
}
