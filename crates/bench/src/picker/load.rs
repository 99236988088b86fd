use std::time::Duration;

use super::{PickerOptions, PickerPhase};
use crate::workload::{
    Arrivals, GenerationApi, Lengths, Plan, Source, WeightedModel, Workload, WorkloadError,
};

/// A small prompt in tokens: about 1 KB of body.
pub(super) const SMALL: u32 = 230;
/// Streams at once; with an event every 10 ms each, 1,500 events per second.
const STREAMS: f64 = 15.0;

/// The plan of one slice, the same for every arm; none for the closed loop.
pub(super) fn plan(
    phase: PickerPhase,
    slice: usize,
    options: PickerOptions,
) -> Result<Option<Plan>, WorkloadError> {
    let paced = |rate| workload(Arrivals::Poisson { rate }, options.paced_slice, SMALL);
    let large = |rate, tokens| workload(Arrivals::Constant { rate }, options.large_slice, tokens);
    let workload = match phase {
        PickerPhase::Paced100 => paced(100.0),
        PickerPhase::Paced300 => paced(300.0),
        PickerPhase::Paced1000 => paced(1_000.0),
        PickerPhase::Saturated => return Ok(None),
        PickerPhase::Prompts10Kb => large(20.0, 2_500),
        PickerPhase::Prompts100Kb => large(20.0, 25_000),
        PickerPhase::Prompts400Kb => large(10.0, 100_000),
        PickerPhase::Prompts1Mb => large(5.0, 250_000),
        PickerPhase::Streams => {
            // All start within 150 ms, spread over the phases of the engines' 10 ms.
            let start = Arrivals::Constant { rate: STREAMS / 0.15 };
            let mut streams = workload(start, Duration::from_millis(151), SMALL);
            streams.stream_share = 1.0;
            streams.source = source(SMALL, options.stream_events);
            streams
        }
    };
    workload.plan(slice as u64 + 1).map(Some)
}

pub(super) fn workload(arrivals: Arrivals, duration: Duration, prompt: u32) -> Workload {
    Workload {
        arrivals,
        duration,
        source: source(prompt, 12),
        models: vec![WeightedModel { name: "stub".into(), weight: 1.0 }],
        stream_share: 0.0,
        api: GenerationApi::ChatCompletions,
        ignore_eos: false,
    }
}

pub(super) fn source(prompt: u32, output: u32) -> Source {
    Source::Generated {
        prompt: Lengths::Constant(prompt),
        output: Lengths::Constant(output),
        shared_prefix: None,
    }
}
