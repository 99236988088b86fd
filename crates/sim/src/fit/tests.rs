//! Fits recover known profiles, and invalid measurements are refused.

use std::fmt::Write as _;
use std::sync::Arc;

use pointsman_core::Time;
use proptest::prelude::*;

use super::{Fit, FitError, FitOptions, fit};
use crate::engine::{Batch, BuiltinProfile, Detail, Engine, EngineProfile, Request};

fn fitted(csv: &str) -> Result<Fit, FitError> {
    let like = BuiltinProfile::Llama3H100.load().unwrap();
    fit(csv, &FitOptions { name: "mine", source: "steps.csv", like: &like })
}

/// Steps as from a profiler: decoding at many batch sizes, prompts of many lengths, and both together.
fn steps(profile: &EngineProfile) -> String {
    let mut csv = "prompt_tokens,cached_tokens,sequences,context_tokens,step_seconds\n".to_owned();
    let mut row = |prompt: u32, cached: u32, sequences: u32, context: u64| {
        let mut batch = Batch { tokens: sequences, sequences, context, pairs: 0.0 };
        if prompt > 0 {
            batch.add_prefill(cached, prompt);
        }
        let seconds = profile.step.of(&batch).as_secs_f64();
        let _ = writeln!(csv, "{prompt},{cached},{sequences},{context},{seconds}");
    };
    for sequences in [1, 2, 4, 8, 16, 32, 64, 128, 200, 256] {
        row(0, 0, sequences, u64::from(sequences) * 300);
        row(0, 0, sequences, u64::from(sequences) * 900);
    }
    for prompt in [16, 64, 128, 200, 300, 400, 500, 700, 1024, 1536, 2048] {
        row(prompt, 0, 0, 0);
        row(prompt, 1024, 0, 0);
        row(prompt, 0, 48, 20_000);
    }
    csv
}

#[test]
fn steps_of_a_profile_give_that_profile_again() {
    for builtin in [BuiltinProfile::Llama2H100, BuiltinProfile::Llama3A100, BuiltinProfile::Qwen32H100] {
        let profile = builtin.load().unwrap();
        let fit = fitted(&steps(&profile)).unwrap();
        let worst = fit.worst().unwrap();
        // The pieces of a profile may be discontinuous; fitted pieces are continuous.
        assert!(worst.relative_error().abs() < 0.02, "{}: {worst:?}", profile.name);
        let ratio = fit.profile.step.context_ns / profile.step.context_ns;
        assert!((ratio - 1.0).abs() < 0.02, "{}: {ratio}", profile.name);
    }
}

#[test]
fn what_is_no_step_time_comes_from_the_profile_named() {
    let like = BuiltinProfile::Llama3H100.load().unwrap();
    let profile = fitted(&steps(&BuiltinProfile::Llama2H100.load().unwrap())).unwrap().profile;
    assert_eq!(profile.name, "mine");
    assert_eq!((profile.blocks, profile.max_sequences), (like.blocks, like.max_sequences));
    assert!(
        profile.sources["step.linear"].contains("53 times of steps in steps.csv"),
        "{:?}",
        profile.sources
    );
    assert!(profile.sources["blocks"].starts_with("As llama-3-8b-h100"), "{:?}", profile.sources);
    let text = serde_json::to_string(&profile).unwrap();
    assert_eq!(EngineProfile::from_json(&text).unwrap(), profile);
}

/// Mean TTFT and TPOT in milliseconds of equal requests at a constant concurrency.
fn closed_loop(profile: &EngineProfile, prompt: u32, output: u32, concurrency: u32) -> (f64, f64) {
    let mut engine = Engine::new(Arc::new(profile.clone()), Detail::Milestones);
    let request =
        || Request { prompt_tokens: prompt, output_tokens: output, hashes: [].into(), adapter: None };
    let mut sent = std::collections::BTreeMap::new();
    let (mut now, mut ttft, mut tpot, mut ended) = (Time::ZERO, 0.0, 0.0, 0.0);
    let mut first = std::collections::BTreeMap::new();
    // Requests start one after another, as in a steady state.
    for number in 0..20_000_u32 {
        if sent.len() < concurrency as usize && number % (output / concurrency).max(1) == 0 {
            sent.insert(engine.submit(request()).unwrap(), now);
        }
        let Some(step) = engine.start_step(now) else { break };
        now = step.ends_at;
        for output_of in engine.finish_step() {
            if output_of.first {
                first.insert(output_of.id, now);
            }
            if output_of.finished {
                let (sent, first) =
                    (sent.remove(&output_of.id).unwrap(), first.remove(&output_of.id).unwrap());
                if number > 4_000 {
                    ttft += first.since(sent).as_secs_f64() * 1e3;
                    tpot += now.since(first).as_secs_f64() * 1e3 / f64::from(output - 1);
                    ended += 1.0;
                }
            }
        }
    }
    (ttft / ended, tpot / ended)
}

#[test]
fn requests_of_a_simulated_engine_give_its_step_times() {
    let profile = BuiltinProfile::Llama3H100.load().unwrap();
    let mut csv = "prompt_tokens,output_tokens,concurrency,ttft_ms,tpot_ms\n".to_owned();
    for prompt in [64, 128, 240, 400, 512, 800, 1200, 2000] {
        for concurrency in [1, 4, 16, 64, 128] {
            let (ttft, tpot) = closed_loop(&profile, prompt, 256, concurrency);
            let _ = writeln!(csv, "{prompt},256,{concurrency},{ttft},{tpot}");
        }
    }
    let fit = fitted(&csv).unwrap();
    let absolute_errors = fit.absolute_errors();
    assert!(absolute_errors[absolute_errors.len() / 2] < 0.02, "half are within 2 %: {absolute_errors:?}");
    for (prompt, sequences, context) in [(0, 8, 4_000), (0, 100, 60_000), (900, 20, 10_000), (1800, 0, 0)] {
        let mut batch = Batch { tokens: sequences, sequences, context, pairs: 0.0 };
        if prompt > 0 {
            batch.add_prefill(0, prompt);
        }
        let ratio = fit.profile.step.of(&batch).as_secs_f64() / profile.step.of(&batch).as_secs_f64();
        assert!((ratio - 1.0).abs() < 0.05, "{batch:?}: {ratio}");
    }
}

#[test]
fn all_mistakes_are_reported_with_their_lines() {
    fn check(csv: &str, expected: &[&str]) {
        let error = fitted(csv).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "{error:?} should contain {part:?}");
        }
    }
    let steps = "prompt_tokens,sequences,context_tokens,step_seconds\n";
    check("", &["empty"]);
    check("a,b\n1,2\n", &["line 1", "no column prompt_tokens", "unknown column a, b", "either"]);
    check("prompt_tokens,prompt_tokens,sequences,context_tokens,step_seconds\n", &["prompt_tokens twice"]);
    check(
        &format!("{steps}1,2,3\n\n0,x,3,4\n-1,0,0,1\n0,0,0,1\n1,1,1,0\n"),
        &[
            "line 2: 3 values for 4",
            "line 4: sequences is \"x\"",
            "line 5: prompt_tokens is \"-1\"",
            "line 6",
            "line 7",
        ],
    );
    check(&format!("{steps}1,1,1,nan\n"), &["line 2: step_seconds"]);
    check(&format!("{steps}0,1,100,0.1\n0,2,200,0.1\n"), &["what prompts cost"]);
    check(&format!("{steps}10,0,0,0.1\n20,0,0,0.1\n"), &["what decoding costs"]);
    check(
        "prompt_tokens,output_tokens,concurrency,ttft_ms,tpot_ms\n1,1,1,1,1\n",
        &["line 2", "output_tokens at 2"],
    );
}

#[test]
fn at_most_twenty_mistakes_are_named() {
    let csv = format!("prompt_tokens,sequences,context_tokens,step_seconds\n{}", "x,1,1,1\n".repeat(100));
    assert_eq!(fitted(&csv).unwrap_err().to_string().lines().count(), 20);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = fitted(&text);
    }

    #[test]
    fn any_numbers_give_a_profile_or_an_error(
        rows in proptest::collection::vec((0_u32..5000, 0_u32..300, 0_u32..100_000, 1e-6_f64..10.0), 1..30),
    ) {
        let mut csv = "prompt_tokens,sequences,context_tokens,step_seconds\n".to_owned();
        for (prompt, sequences, context, seconds) in rows {
            let _ = writeln!(csv, "{prompt},{sequences},{context},{seconds}");
        }
        if let Ok(fit) = fitted(&csv) {
            prop_assert!(fit.profile.checked().is_ok());
        }
    }
}
