//! The pooled server: one engine with the memory, bandwidth and compute of the whole fleet.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::Time;

use crate::engine::{Batch, EngineProfile};
use crate::scenario::{EngineSpec, Scenario};

/// The scenario with a pooled server in place of its fleet and without changes.
///
/// Costs that grow with the batch are divided by N; the fixed cost of a step (weights, host) is paid once. A batch N times
/// as large then takes as long as the batches of a perfectly balanced fleet, so no fleet of these engines is faster. A
/// mixed fleet is pooled as copies of its fastest engine.
pub(in crate::simulate) fn pooled_server(scenario: &Scenario) -> Option<Scenario> {
    let usual = Batch { tokens: 256, context: 256 * 512, pairs: 0.0, sequences: 256 };
    let time = |spec: &&EngineSpec| spec.profile.step.of(&usual).mul_f64(spec.slowness);
    let fastest = scenario.fleet.iter().min_by_key(time)?;
    let profile = pooled_profile(&fastest.profile, &scenario.fleet);
    let spec = EngineSpec {
        profile: Arc::new(profile),
        slowness: fastest.slowness,
        joins: Time::ZERO,
        changes: Vec::new(),
    };
    let mut pooled = Scenario { fleet: vec![spec], ..scenario.clone() };
    pooled.information.network_delay = Duration::ZERO;
    Some(pooled)
}

fn pooled_profile(fastest: &EngineProfile, fleet: &[EngineSpec]) -> EngineProfile {
    let mut pooled = fastest.clone();
    let count = u32::try_from(fleet.len()).unwrap_or(u32::MAX);
    let share = 1.0 / f64::from(count);
    let sum = |figure: fn(&EngineProfile) -> u32| {
        fleet.iter().map(|spec| figure(&spec.profile)).fold(0_u32, u32::saturating_add)
    };
    for piece in &mut pooled.step.linear {
        piece.up_to_tokens = piece.up_to_tokens.saturating_mul(count);
        piece.per_token_ns *= share;
    }
    pooled.step.context_ns *= share;
    pooled.step.attention_ns *= share;
    pooled.step.sequence_ns *= share;
    pooled.blocks = sum(|profile| profile.blocks);
    pooled.max_sequences = sum(|profile| profile.max_sequences);
    pooled.max_batched_tokens = sum(|profile| profile.max_batched_tokens);
    pooled.max_adapters = sum(|profile| profile.max_adapters);
    pooled.max_model_len = fleet.iter().map(|spec| spec.profile.max_model_len).max().unwrap_or(0);
    pooled
}
