//! A body is accepted exactly when `serde_json` parses it as an object, and a splice changes only the model.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pointsman_protocol::{BLOCK_TOKENS, BlockKey, BodyError, BodyFacts, prompt_blocks, splice_model};

fuzz_target!(|body: &[u8]| {
    let object = std::str::from_utf8(body).is_ok()
        && body.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    match BodyFacts::scan(body) {
        Ok(facts) => {
            assert!(object);
            let blocks = prompt_blocks(&BlockKey::new([1, 2]), body, &facts, None).len() as u64;
            assert!(blocks * u64::from(BLOCK_TOKENS) <= facts.estimated_prompt_tokens());
            if let Some(span) = facts.model {
                let whole = splice_model(&Bytes::copy_from_slice(body), &span, "other").parts.concat();
                let again = BodyFacts::scan(&whole).expect("a spliced body is valid");
                assert_eq!(again.model.expect("it has a model").name, "other");
            }
        }
        Err(
            BodyError::DuplicateField { .. }
            | BodyError::ModelNotAString { .. }
            | BodyError::FieldTooLong { .. }
            | BodyError::TooDeep { .. }
            // A lone surrogate in a field that is read.
            | BodyError::InvalidEscape { .. },
        ) => {}
        Err(error) => assert!(!object, "{error}"),
    }
});
