//! One engine with the memory, bandwidth and compute of the whole fleet.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::Time;

use crate::engine::{Batch, EngineProfile};
use crate::scenario::{Member, Scenario};

/// The scenario with one pooled server in place of its fleet, which nothing happens to.
///
/// What grows with load costs an N-th; what each step costs anyway, weights and host, is paid once. A batch of N times
/// the size then takes as long as a perfectly balanced fleet's, so no fleet of these engines can be faster. Of a mixed
/// fleet the fastest engine stands for all.
pub(in crate::simulate) fn pooled_server(scenario: &Scenario) -> Option<Scenario> {
    let usual = Batch { tokens: 256, context: 256 * 512, pairs: 0.0, sequences: 256 };
    let time = |member: &&Member| member.profile.step.of(&usual).mul_f64(member.slowness);
    let fastest = scenario.fleet.iter().min_by_key(time)?;
    let profile = pooled_profile(&fastest.profile, &scenario.fleet);
    let member = Member {
        profile: Arc::new(profile),
        slowness: fastest.slowness,
        joins: Time::ZERO,
        changes: Vec::new(),
    };
    let mut pooled = Scenario { fleet: vec![member], ..scenario.clone() };
    pooled.information.network_delay = Duration::ZERO;
    Some(pooled)
}

fn pooled_profile(fastest: &EngineProfile, fleet: &[Member]) -> EngineProfile {
    let mut pooled = fastest.clone();
    let count = u32::try_from(fleet.len()).unwrap_or(u32::MAX);
    let share = 1.0 / f64::from(count);
    let sum = |figure: fn(&EngineProfile) -> u32| {
        fleet.iter().map(|member| figure(&member.profile)).fold(0_u32, u32::saturating_add)
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
    pooled.max_model_len = fleet.iter().map(|member| member.profile.max_model_len).max().unwrap_or(0);
    pooled
}
