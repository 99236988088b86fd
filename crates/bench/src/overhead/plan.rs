//! The load of each phase of `bench overhead`.

use super::{OverheadOptions, Phase};
use crate::measurement::load::{SMALL_PROMPT, concurrent_streams, stub_workload};
use crate::workload::{OfferedLoad, Plan, WorkloadError};

/// The plan of one slice, the same for every arm; `None` for the closed loop.
pub(super) fn plan(
    phase: Phase,
    slice: usize,
    options: OverheadOptions,
) -> Result<Option<Plan>, WorkloadError> {
    let large = |rate, tokens| stub_workload(OfferedLoad::constant(rate), options.large_slice, tokens);
    let workload = match phase {
        Phase::Paced => stub_workload(OfferedLoad::poisson(1_000.0), options.paced_slice, SMALL_PROMPT),
        Phase::Saturated => return Ok(None),
        Phase::Prompts400Kb => large(10.0, 100_000),
        Phase::Prompts1Mb => large(5.0, 250_000),
        Phase::Streams => concurrent_streams(options.stream_events),
    };
    workload.plan(slice as u64 + 1).map(Some)
}
