//! The load of each phase of `bench epp`.

use super::{PickerOptions, PickerPhase};
use crate::measurement::load::{SMALL_PROMPT, concurrent_streams, stub_workload};
use crate::workload::{OfferedLoad, Plan, WorkloadError};

/// The plan of one slice, the same for every arm; `None` for the closed loop.
pub(super) fn plan(
    phase: PickerPhase,
    slice: usize,
    options: PickerOptions,
) -> Result<Option<Plan>, WorkloadError> {
    let paced = |rate| stub_workload(OfferedLoad::poisson(rate), options.paced_slice, SMALL_PROMPT);
    let large = |rate, tokens| stub_workload(OfferedLoad::constant(rate), options.large_slice, tokens);
    let workload = match phase {
        PickerPhase::Paced100 => paced(100.0),
        PickerPhase::Paced300 => paced(300.0),
        PickerPhase::Paced1000 => paced(1_000.0),
        PickerPhase::Saturated => return Ok(None),
        PickerPhase::Prompts10Kb => large(20.0, 2_500),
        PickerPhase::Prompts100Kb => large(20.0, 25_000),
        PickerPhase::Prompts400Kb => large(10.0, 100_000),
        PickerPhase::Prompts1Mb => large(5.0, 250_000),
        PickerPhase::Streams => concurrent_streams(options.stream_events),
    };
    workload.plan(slice as u64 + 1).map(Some)
}
