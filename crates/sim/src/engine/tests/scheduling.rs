//! Token budget, sequence slots, order and preemption.

use pointsman_core::Time;

use super::{drain, engine, request, step, steps_of};
use crate::engine::{Detail, Engine, SubmitError};

#[test]
fn a_request_yields_its_first_token_after_prefill_and_then_one_per_step() {
    let mut engine = engine(|_| {});
    let id = engine.submit(request(10, 3)).unwrap();
    let outputs = drain(&mut engine);
    assert_eq!(steps_of(&outputs, id), [0, 1, 2]);
    assert!(outputs[0].1.first && !outputs[0].1.finished);
    assert!(!outputs[1].1.first && !outputs[1].1.finished);
    assert!(outputs[2].1.finished && outputs[2].1.generated == 3);
}

#[test]
fn one_token_is_first_and_last_and_none_ends_with_the_prompt() {
    let mut engine = engine(|_| {});
    let one = engine.submit(request(5, 1)).unwrap();
    let none = engine.submit(request(5, 0)).unwrap();
    let outputs = drain(&mut engine);
    let of = |id| outputs.iter().find(|(_, output)| output.id == id).unwrap().1;
    assert!(of(one).first && of(one).finished && of(one).generated == 1);
    assert!(!of(none).first && of(none).finished && of(none).generated == 0);
    assert_eq!(engine.gauges().totals.generated_tokens, 1);
    assert_eq!(engine.gauges().totals.prompt_tokens, 10);
}

#[test]
fn a_long_prompt_is_computed_in_chunks_of_the_budget_left_by_the_decodes() {
    let mut engine = engine(|profile| profile.max_batched_tokens = 16);
    let short = engine.submit(request(6, 8)).unwrap();
    let long = engine.submit(request(50, 2)).unwrap();
    let outputs = drain(&mut engine);
    // 10 tokens of the long prompt beside the short one, then 15 beside each decode: 10 + 15 + 15 + 10.
    assert_eq!(steps_of(&outputs, long), [3, 4]);
    assert_eq!(steps_of(&outputs, short), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn sequence_slots_bound_the_batch() {
    let mut engine = engine(|profile| profile.max_sequences = 2);
    let ids: Vec<_> = (0..3).map(|_| engine.submit(request(4, 2)).unwrap()).collect();
    engine.start_step(Time::ZERO).unwrap();
    assert_eq!((engine.gauges().running, engine.gauges().waiting), (2, 1));
    engine.finish_step();
    let outputs = drain(&mut engine);
    assert_eq!(steps_of(&outputs, ids[2]), [1, 2], "the third takes the slot that is free after two steps");
}

#[test]
fn the_first_in_the_queue_blocks_the_others() {
    let mut engine = engine(|profile| profile.blocks = 10);
    let first = engine.submit(request(28, 4)).unwrap();
    let large = engine.submit(request(24, 1)).unwrap();
    let small = engine.submit(request(4, 1)).unwrap();
    let outputs = drain(&mut engine);
    assert_eq!(steps_of(&outputs, first), [0, 1, 2, 3]);
    assert_eq!(steps_of(&outputs, large), [4]);
    assert_eq!(
        steps_of(&outputs, small),
        [4],
        "three blocks were free for it, but it was not the first in the queue"
    );
}

#[test]
fn when_blocks_run_out_the_last_of_the_batch_starts_over() {
    let mut engine = engine(|profile| profile.blocks = 6);
    let first = engine.submit(request(8, 12)).unwrap();
    let second = engine.submit(request(8, 12)).unwrap();
    let outputs = drain(&mut engine);
    assert!(engine.gauges().totals.preemptions >= 1);
    let gaps = |id| steps_of(&outputs, id).windows(2).map(|pair| pair[1] - pair[0]).max();
    assert_eq!(gaps(first), Some(1), "the first never waits");
    assert!(gaps(second) > Some(1), "the second loses its blocks and starts over");
    assert_eq!(steps_of(&outputs, second).len(), 12, "no token is given twice");
    assert_eq!(outputs.iter().filter(|(_, output)| output.id == second && output.first).count(), 1);
}

#[test]
fn no_sequence_is_admitted_in_a_step_with_preemption() {
    let mut engine = engine(|profile| profile.blocks = 6);
    engine.submit(request(8, 12)).unwrap();
    engine.submit(request(8, 12)).unwrap();
    let mut now = Time::ZERO;
    while engine.gauges().totals.preemptions == 0 {
        now = engine.start_step(now).unwrap().ends_at;
        engine.finish_step();
    }
    assert_eq!((engine.gauges().running, engine.gauges().waiting), (1, 1));
}

#[test]
fn what_can_never_be_served_is_refused() {
    let mut engine = engine(|profile| {
        profile.blocks = 10;
        profile.max_model_len = 100;
    });
    assert_eq!(engine.submit(request(0, 5)).unwrap_err(), SubmitError::EmptyPrompt);
    assert_eq!(engine.submit(request(99, 2)).unwrap_err(), SubmitError::TooLong { tokens: 101, limit: 100 });
    assert_eq!(engine.submit(request(40, 1)).unwrap_err(), SubmitError::NeverFits { needed: 11, blocks: 10 });
    assert!(engine.submit(request(39, 1)).is_ok());
}

#[test]
fn an_aborted_request_leaves_at_once_in_every_phase() {
    let mut engine = engine(|profile| {
        profile.max_sequences = 2;
        profile.max_batched_tokens = 16;
    });
    let ids: Vec<_> = [8, 100, 8].map(|prompt| engine.submit(request(prompt, 20)).unwrap()).into();
    let (now, _) = step(&mut engine, Time::ZERO).unwrap();
    engine.start_step(now).unwrap();
    for id in ids {
        assert!(engine.abort(id), "decoding, prefilling in a step, waiting");
        assert!(!engine.abort(id), "a second time there is nothing to drop");
    }
    assert!(engine.finish_step().is_empty());
    let gauges = engine.gauges();
    assert_eq!((gauges.running, gauges.waiting, gauges.kv_usage), (0, 0, 0.0));
    assert!(engine.start_step(now).is_none());
}

#[test]
fn milestones_are_the_first_tokens_and_ends_of_the_full_report() {
    let run = |detail| {
        let mut engine = Engine::new(engine(|profile| profile.blocks = 40).profile().clone().into(), detail);
        for number in 0..30 {
            engine.submit(request(5 + number * 3 % 17, 1 + number * 7 % 23)).unwrap();
        }
        drain(&mut engine)
    };
    let milestones = run(Detail::Milestones);
    let mut full = run(Detail::EveryToken);
    full.retain(|(_, output)| output.first || output.finished);
    let sorted = |mut outputs: Vec<(usize, crate::engine::StepOutput)>| {
        outputs.sort_by_key(|(step, output)| (*step, output.id));
        outputs
    };
    assert_eq!(sorted(milestones), sorted(full));
}

#[test]
fn a_started_step_is_not_started_again() {
    let mut engine = engine(|_| {});
    engine.submit(request(4, 2)).unwrap();
    assert!(engine.start_step(Time::ZERO).is_some());
    assert!(engine.start_step(Time::ZERO).is_none());
    assert_eq!(engine.finish_step().len(), 1);
    assert!(engine.finish_step().is_empty());
}
