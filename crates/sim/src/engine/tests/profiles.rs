//! Step times against measurements, and invalid profiles.

use std::time::Duration;

use crate::engine::{Batch, BuiltinProfile, EngineProfile, ProfileError};

#[test]
fn every_built_in_profile_loads_under_its_name() {
    for builtin in BuiltinProfile::ALL {
        let profile = EngineProfile::named(builtin.name()).unwrap();
        assert_eq!(profile.name, builtin.name());
        assert!(!profile.sources.is_empty(), "{} names its sources", profile.name);
    }
}

#[test]
fn an_unknown_profile_is_reported_with_the_known_ones() {
    let error = EngineProfile::named("llama-9").unwrap_err().to_string();
    assert!(error.contains("llama-9") && error.contains("llama-3-8b-h100"), "{error}");
}

#[test]
fn linear_time_is_within_fifteen_percent_of_measurements() {
    // Vidur's H100 medians for Llama-2-7B times its 32 layers. The fit has its largest error at 128 tokens.
    let measured = [(1, 5.63), (128, 6.43), (512, 12.1), (1024, 21.3), (2048, 40.9), (4096, 84.2)];
    let mut step = BuiltinProfile::Llama2H100.load().unwrap().step;
    (step.base_ns, step.sequence_ns) = (0.0, 0.0);
    for (tokens, milliseconds) in measured {
        let modelled = step.of(&Batch { tokens, ..Batch::default() }).as_secs_f64() * 1e3;
        let miss = modelled / milliseconds - 1.0;
        assert!(miss.abs() < 0.15, "{tokens} tokens: {modelled:.2} ms for {milliseconds} ms");
    }
}

#[test]
fn the_pieces_of_a_profile_meet() {
    for builtin in BuiltinProfile::ALL {
        let step = builtin.load().unwrap().step;
        for pair in step.linear.windows(2) {
            let at = |piece: &crate::engine::LinearPiece| {
                piece.fixed_ns + piece.per_token_ns * f64::from(pair[0].up_to_tokens)
            };
            let jump = at(&pair[1]) / at(&pair[0]) - 1.0;
            assert!(jump.abs() < 0.05, "{}: {jump}", builtin.name());
        }
    }
}

#[test]
fn a_batch_costs_the_sum_of_its_terms() {
    let step = BuiltinProfile::Tiny.load().unwrap().step;
    let mut batch = Batch { tokens: 2, context: 300, pairs: 0.0, sequences: 2 };
    batch.add_prefill(100, 10);
    // 12 tokens at 10 us, 300 of context at 10 ns, 10·(100 + 5) pairs at 1 ns, 3 sequences at 10 us, 1 ms.
    assert_eq!(step.of(&batch), Duration::from_nanos(120_000 + 3_000 + 1_050 + 30_000 + 1_000_000));
}

#[test]
fn an_invalid_profile_is_refused_by_field() {
    fn check(change: impl FnOnce(&mut EngineProfile), expected: &str) {
        let mut profile = BuiltinProfile::Tiny.load().unwrap();
        change(&mut profile);
        match profile.checked() {
            Err(ProfileError::Invalid { field, .. }) => assert_eq!(field, expected),
            other => panic!("{other:?}"),
        }
    }
    check(|profile| profile.step.context_ns = f64::NAN, "step");
    check(|profile| profile.step.base_ns = -1.0, "step");
    check(|profile| profile.step.linear.clear(), "step.linear");
    check(|profile| profile.blocks = 0, "blocks");
    check(|profile| profile.max_adapters = 0, "max_sequences");
    check(|profile| profile.max_batched_tokens = 7, "max_batched_tokens");
    assert!(matches!(EngineProfile::from_json("{\"nam\": 1}"), Err(ProfileError::Syntax(_))));
}
