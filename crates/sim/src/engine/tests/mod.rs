//! The scheduling rules on small engines.

mod invariants;
mod profiles;
mod scheduling;
mod sharing;

use std::sync::Arc;

use pointsman_core::{BlockHash, Time};

use super::{AdapterId, BuiltinProfile, Detail, Engine, EngineProfile, Request, SequenceId, StepOutput};

/// The tiny engine with blocks of four tokens and some changes.
fn engine(change: impl FnOnce(&mut EngineProfile)) -> Engine {
    let mut profile = BuiltinProfile::Tiny.load().unwrap();
    profile.block_size = 4;
    change(&mut profile);
    Engine::new(Arc::new(profile.checked().unwrap()), Detail::EveryToken)
}

fn request(prompt_tokens: u32, output_tokens: u32) -> Request {
    Request { prompt_tokens, output_tokens, hashes: Arc::from([]), adapter: None }
}

fn hashed(prompt_tokens: u32, output_tokens: u32, hashes: impl IntoIterator<Item = u64>) -> Request {
    let hashes = hashes.into_iter().map(BlockHash).collect();
    Request { prompt_tokens, output_tokens, hashes, adapter: None }
}

fn with_adapter(adapter: u32, request: Request) -> Request {
    Request { adapter: Some(AdapterId(adapter)), ..request }
}

/// Runs one step; returns its outputs and end.
fn step(engine: &mut Engine, now: Time) -> Option<(Time, Vec<StepOutput>)> {
    let step = engine.start_step(now)?;
    Some((step.ends_at, engine.finish_step().to_vec()))
}

/// Runs until the engine is idle; returns every output with the number of its step.
fn drain(engine: &mut Engine) -> Vec<(usize, StepOutput)> {
    let (mut now, mut all) = (Time::ZERO, Vec::new());
    for number in 0..100_000 {
        let Some((end, outputs)) = step(engine, now) else { return all };
        now = end;
        all.extend(outputs.into_iter().map(|output| (number, output)));
    }
    panic!("the engine does not come to rest");
}

/// Numbers of the steps that produced tokens of this sequence.
fn steps_of(outputs: &[(usize, StepOutput)], id: SequenceId) -> Vec<usize> {
    outputs.iter().filter(|(_, output)| output.id == id).map(|(step, _)| *step).collect()
}
