//! Comparison of two arms with the same arrivals in alternating slices.

use std::sync::Arc;
use std::time::Duration;

use pointsman_report::{PairedSlices, Rng, RunReport, Slice};

use crate::client::{Client, Connections, Target};
use crate::run::{LoadOptions, Progress, RunError, run_plan};
use crate::workload::Plan;

/// One of the two compared targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// The run's name in reports, for example `kubernetes-service`.
    pub name: String,
    /// The destination of its load.
    pub target: Target,
}

/// Options of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceOptions {
    /// Number of windows of the plan; each arm runs each window once. Below [`pointsman_report::MIN_UNITS`] there are no
    /// intervals.
    pub slices: usize,
    /// Whether to run the first window in both arms before, without counting it.
    pub warm_up: bool,
    /// Pause after the last response of each slice.
    pub settle: Duration,
    /// Options of each slice's run. Each slice derives its own `salt` from this one.
    pub load: LoadOptions,
}

/// A step of a comparison, for progress output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SliceEvent<'a> {
    /// A slice starts.
    Started {
        /// Index of the arm.
        arm: usize,
        /// Index of the slice, from 0; `None` for the warm-up.
        slice: Option<usize>,
    },
    /// A slice that counts has ended with its last response.
    Finished {
        /// Index of the arm.
        arm: usize,
        /// Index of the slice, from 0.
        slice: usize,
        /// Its result.
        result: &'a Slice,
    },
}

/// Results of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedResult {
    /// The arms' names, baseline first.
    pub names: [String; 2],
    /// A pair of slices per window of the plan.
    pub pairs: PairedSlices,
}

impl PairedResult {
    /// Reports of both runs; the second has the paired intervals. `seed` seeds the bootstrap.
    #[must_use]
    pub fn runs(&self, seed: u64) -> [RunReport; 2] {
        let [baseline, candidate] = &self.names;
        self.pairs.runs([baseline, candidate], &mut Rng::seeded(seed))
    }
}

/// Runs a plan's windows through two arms, baseline first, in the order AB BA AB …, so that neither arm always follows the
/// other and drift of the machine affects both.
///
/// Both arms of a pair get the same arrivals, models and lengths, but different words, so that an engine's prefix cache filled
/// by one arm does not serve the other. Each slice opens its own connections; pinned ones are drawn anew, so that a single
/// draw does not decide the comparison. A slice ends with its last response.
///
/// # Errors
/// When a slice cannot start.
pub async fn run_slices(
    arms: &[Arm; 2],
    plan: &Plan,
    options: SliceOptions,
    progress: &Arc<Progress>,
    mut on_event: impl FnMut(SliceEvent<'_>),
) -> Result<PairedResult, RunError> {
    let windows: Vec<Arc<Plan>> = plan.slices(options.slices).into_iter().map(Arc::new).collect();
    let mut salts = Rng::seeded(options.load.salt);
    if options.warm_up
        && let Some(first) = windows.first()
    {
        for (index, arm) in arms.iter().enumerate() {
            on_event(SliceEvent::Started { arm: index, slice: None });
            run_slice(arm, first, options, salts.next_u64(), progress).await?;
        }
    }
    let mut pairs = Vec::with_capacity(windows.len());
    for (index, window) in windows.iter().enumerate() {
        let mut pair = [Slice::default(), Slice::default()];
        let order = if index % 2 == 0 { [0, 1] } else { [1, 0] };
        for position in order {
            if let (Some(arm), Some(slice)) = (arms.get(position), pair.get_mut(position)) {
                on_event(SliceEvent::Started { arm: position, slice: Some(index) });
                *slice = run_slice(arm, window, options, salts.next_u64(), progress).await?;
                on_event(SliceEvent::Finished { arm: position, slice: index, result: slice });
            }
        }
        pairs.push(pair);
    }
    let names = [arms[0].name.clone(), arms[1].name.clone()];
    Ok(PairedResult { names, pairs: PairedSlices::new(pairs) })
}

async fn run_slice(
    arm: &Arm,
    window: &Arc<Plan>,
    options: SliceOptions,
    salt: u64,
    progress: &Arc<Progress>,
) -> Result<Slice, RunError> {
    let connections = match arm.target.connections {
        Connections::Pool => Connections::Pool,
        Connections::Pinned { count, seed } => Connections::Pinned { count, seed: seed ^ salt },
    };
    let client = Client::new(&Target { connections, ..arm.target.clone() });
    let result = run_plan(window, &client, LoadOptions { salt, ..options.load }, progress).await?;
    tokio::time::sleep(options.settle).await;
    Ok(result.slice())
}
