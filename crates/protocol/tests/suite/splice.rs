//! Replacement of the model name in a body.

use bytes::Bytes;
use pointsman_protocol::{BodyFacts, ModelSpan, splice_model};

use crate::recorded;

#[test]
fn every_recorded_body_changes_only_in_its_model() {
    let mut spliced_bodies = 0;
    for exchange in recorded::exchanges() {
        let Ok(facts) = BodyFacts::scan(&exchange.request_body) else { continue };
        let Some(span) = facts.model else { continue };
        let body = Bytes::from(exchange.request_body);
        let spliced = splice_model(&body, &span, "other \"model\"");
        let whole = spliced.parts.concat();
        assert_eq!(whole.len() as u64, spliced.content_length());
        let mut expected: serde_json::Value = serde_json::from_slice(&body).unwrap();
        expected["model"] = "other \"model\"".into();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&whole).unwrap(), expected);
        spliced_bodies += 1;
    }
    assert!(spliced_bodies > 30, "only {spliced_bodies} bodies");
}

#[test]
fn the_outer_parts_share_the_memory_of_the_body() {
    let body = Bytes::from_static(br#"{"a":1,"model":"x","b":2}"#);
    let span = BodyFacts::scan(&body).unwrap().model.unwrap();
    let [before, _, after] = splice_model(&body, &span, "y").parts;
    assert_eq!(before.as_ptr(), body.as_ptr());
    assert_eq!(after.as_ptr(), body[span.range.end..].as_ptr());
}

#[test]
fn a_span_outside_the_body_is_clamped() {
    let span = ModelSpan { range: 50..60, name: String::new() };
    let whole = splice_model(&Bytes::from_static(b"{}"), &span, "x").parts.concat();
    assert_eq!(whole, b"{}\"x\"");
}
