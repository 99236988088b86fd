//! The prefix cache and the adapter slots.

use std::time::Duration;

use pointsman_core::Time;

use super::{drain, engine, hashed, request, step, steps_of, with_adapter};
use crate::engine::AdapterId;

#[test]
fn whole_blocks_of_an_earlier_prompt_are_found() {
    let mut engine = engine(|_| {});
    engine.submit(hashed(10, 2, [1, 2])).unwrap();
    drain(&mut engine);
    engine.submit(hashed(14, 1, [1, 2, 3])).unwrap();
    let outputs = drain(&mut engine);
    assert_eq!(outputs[0].1.cached_tokens, 8);
    let totals = engine.gauges().totals;
    assert_eq!((totals.prefix_queries, totals.prefix_hits), (24, 8));
}

#[test]
fn the_last_token_of_a_prompt_is_always_computed() {
    let mut engine = engine(|_| {});
    for expected in [0, 4] {
        engine.submit(hashed(8, 1, [1, 2])).unwrap();
        assert_eq!(drain(&mut engine)[0].1.cached_tokens, expected);
    }
}

#[test]
fn a_gap_ends_the_match() {
    let mut engine = engine(|_| {});
    engine.submit(hashed(12, 1, [1, 2, 3])).unwrap();
    drain(&mut engine);
    engine.submit(hashed(16, 1, [1, 9, 3])).unwrap();
    assert_eq!(drain(&mut engine)[0].1.cached_tokens, 4);
}

#[test]
fn requests_of_one_step_share_blocks() {
    let mut engine = engine(|_| {});
    engine.submit(hashed(9, 4, [1, 2])).unwrap();
    engine.submit(hashed(9, 4, [1, 2])).unwrap();
    let (_, outputs) = step(&mut engine, Time::ZERO).unwrap();
    assert_eq!(outputs[1].cached_tokens, 8);
    let held = engine.gauges().kv_usage * f64::from(engine.profile().blocks);
    assert_eq!(held, 4.0, "two shared, one of its own each");
}

#[test]
fn the_answer_is_found_by_the_next_turn() {
    let mut engine = engine(|_| {});
    engine.submit(hashed(6, 11, [1, 2, 3, 4])).unwrap();
    drain(&mut engine);
    engine.submit(hashed(20, 1, [1, 2, 3, 4, 5])).unwrap();
    // 6 + 11 tokens, of which the last was never computed: four full blocks.
    assert_eq!(drain(&mut engine)[0].1.cached_tokens, 16);
}

#[test]
fn the_longest_unused_blocks_are_given_up_and_tails_before_heads() {
    let mut engine = engine(|profile| profile.blocks = 6);
    engine.submit(hashed(16, 1, [1, 2, 3, 4])).unwrap();
    drain(&mut engine);
    // Allocates the two unused blocks and two of the four, the last ones of the sequence.
    engine.submit(hashed(16, 1, [5, 6, 7, 8])).unwrap();
    drain(&mut engine);
    engine.submit(hashed(17, 1, [1, 2, 3, 4])).unwrap();
    assert_eq!(drain(&mut engine)[0].1.cached_tokens, 8);
}

#[test]
fn a_preempted_sequence_finds_its_own_blocks_again() {
    // Two prompts of two blocks each, in seven blocks: the second is preempted after five tokens. While it waits, the first
    // allocates two of its blocks, the last ones first, so the start of the prompt stays cached: 9 of 13 tokens are
    // recomputed. Without hashes, all are.
    fn check(hashes: &[u64], recomputed: u32) {
        let mut engine = engine(|profile| profile.blocks = 7);
        engine.submit(hashed(8, 14, [1, 2])).unwrap();
        let second = engine.submit(hashed(8, 14, hashes.iter().copied())).unwrap();
        let (mut now, mut chunks) = (Time::ZERO, Vec::new());
        while let Some(step) = engine.start_step(now) {
            let preempted = engine.gauges().totals.preemptions > 0;
            let of_second = engine.chunks.iter().filter(|chunk| chunk.id == second && preempted);
            chunks.extend(of_second.map(|chunk| chunk.tokens));
            now = step.ends_at;
            engine.finish_step();
        }
        assert_eq!(chunks, [recomputed]);
        let totals = engine.gauges().totals;
        assert_eq!((totals.preemptions, totals.generated_tokens), (1, 28), "no token is given twice");
        assert_eq!((totals.prefix_queries, totals.prefix_hits), (16, 0), "only first admissions are counted");
    }
    check(&[3, 4], 9);
    check(&[], 13);
}

#[test]
fn a_reset_cache_has_no_hits_and_a_cache_in_use_is_not_reset() {
    let mut engine = engine(|_| {});
    engine.submit(hashed(10, 2, [1, 2])).unwrap();
    step(&mut engine, Time::ZERO);
    assert!(!engine.reset_prefix_cache());
    drain(&mut engine);
    assert!(engine.reset_prefix_cache());
    engine.submit(hashed(10, 2, [1, 2])).unwrap();
    assert_eq!(drain(&mut engine)[0].1.cached_tokens, 0);
}

#[test]
fn an_adapter_without_a_slot_waits_and_lets_others_pass() {
    let mut engine = engine(|profile| profile.max_adapters = 1);
    let first = engine.submit(with_adapter(1, request(4, 3))).unwrap();
    let other = engine.submit(with_adapter(2, request(4, 1))).unwrap();
    let base = engine.submit(request(4, 1)).unwrap();
    let same = engine.submit(with_adapter(1, request(4, 1))).unwrap();
    engine.start_step(Time::ZERO).unwrap();
    let gauges = engine.gauges();
    assert_eq!((gauges.running, gauges.waiting, gauges.deferred), (3, 1, 1));
    assert_eq!(gauges.adapters, [AdapterId(1)]);
    engine.finish_step();
    let outputs = drain(&mut engine);
    assert_eq!(steps_of(&outputs, first), [0, 1]);
    assert!(
        steps_of(&outputs, base).is_empty() && steps_of(&outputs, same).is_empty(),
        "served in the first step"
    );
    assert_eq!(steps_of(&outputs, other), [2], "as soon as the slot is idle");
    assert_eq!(engine.gauges().deferred, 0);
}

#[test]
fn loading_an_adapter_lengthens_the_step_and_the_idle_one_used_last_stays() {
    let mut engine = engine(|profile| profile.max_adapters = 2);
    let mut now = Time::ZERO;
    let mut took = |adapter: u32| {
        engine.submit(with_adapter(adapter, request(4, 1))).unwrap();
        let (end, _) = step(&mut engine, now).unwrap();
        let span = end.since(now);
        now = end;
        span > Duration::from_millis(5)
    };
    assert_eq!([1, 2, 1, 3, 1, 2].map(&mut took), [true, true, false, true, false, true]);
    engine.unload_adapter(AdapterId(1));
    assert_eq!(engine.gauges().totals.adapter_loads, 4);
    engine.submit(with_adapter(1, request(4, 1))).unwrap();
    drain(&mut engine);
    assert_eq!(engine.gauges().totals.adapter_loads, 5, "an unloaded adapter is loaded again");
}
