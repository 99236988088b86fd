//! Replacement of the model name in a body.

use bytes::Bytes;
use pointsman_protocol::{BodyFacts, ModelSlot, Notation, splice_model};

use crate::recorded;

#[test]
fn every_recorded_body_changes_only_in_its_model() {
    let mut spliced_bodies = 0;
    for exchange in recorded::exchanges() {
        let Ok(facts) = BodyFacts::scan(&exchange.request_body) else { continue };
        if facts.model.is_none() {
            continue;
        }
        let body = Bytes::from(exchange.request_body);
        let spliced = splice_model(&body, &facts.model_slot, "other \"model\"");
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
    let slot = BodyFacts::scan(&body).unwrap().model_slot;
    let [before, _, after] = splice_model(&body, &slot, "y").parts;
    assert_eq!(before.as_ptr(), body.as_ptr());
    assert_eq!(after.as_ptr(), body[slot.range.end..].as_ptr());
}

#[test]
fn a_span_outside_the_body_is_clamped() {
    let slot = ModelSlot { range: 50..60, notation: Notation::JsonString };
    let whole = splice_model(&Bytes::from_static(b"{}"), &slot, "x").parts.concat();
    assert_eq!(whole, b"{}\"x\"");
}

#[test]
fn a_body_without_a_model_gets_one() {
    for (body, expected) in [
        ("{}", r#"{"model":"m"}"#),
        ("{ \n} ", "{\"model\":\"m\" \n} "),
        (r#"{"prompt":"x"}"#, r#"{"model":"m","prompt":"x"}"#),
        (r#"{"prompt":"x","model":null}"#, r#"{"prompt":"x","model":"m"}"#),
        (r#"{"model":"" ,"n":1}"#, r#"{"model":"m" ,"n":1}"#),
        ("\u{feff}{\"n\":1}", "\u{feff}{\"model\":\"m\",\"n\":1}"),
    ] {
        let facts = BodyFacts::scan(body.as_bytes()).unwrap();
        let whole = splice_model(&Bytes::from(body), &facts.model_slot, "m").parts.concat();
        assert_eq!(String::from_utf8(whole).unwrap(), expected, "{body}");
    }
}
