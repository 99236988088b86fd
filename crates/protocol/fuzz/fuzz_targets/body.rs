//! A body is accepted exactly when `serde_json` parses it as an object, and a splice changes only the model.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pointsman_protocol::{BLOCK_TOKENS, BlockKey, BodyError, BodyFacts, prompt_blocks, splice_model};

fuzz_target!(|body: &[u8]| {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let object = std::str::from_utf8(text).is_ok()
        && text.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    match BodyFacts::scan(body) {
        Ok(facts) => {
            assert!(object);
            let blocks = prompt_blocks(&BlockKey::new([1, 2]), body, &facts, None).len() as u64;
            assert!(blocks * u64::from(BLOCK_TOKENS) <= facts.estimated_prompt_tokens());
            let whole = splice_model(&Bytes::copy_from_slice(body), &facts.model_slot, "other").parts.concat();
            let again = BodyFacts::scan(&whole).expect("a spliced body is valid");
            assert_eq!(again.model.as_deref(), Some("other"));
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
