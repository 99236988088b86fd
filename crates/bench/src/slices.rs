//! Two arms, the same arrivals, in alternating slices.

use std::sync::Arc;
use std::time::Duration;

use pointsman_report::{Change, PairedSlices, Rng, RunReport, Slice};

use crate::client::{Client, Connections, Target};
use crate::run::{LoadOptions, Progress, RunError, run_plan};
use crate::workload::Plan;

/// One of the two ways that load takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// The run's name in reports, for example `kubernetes-service`.
    pub name: String,
    /// Where its load goes.
    pub target: Target,
}

/// How a plan is cut and run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceOptions {
    /// How many windows the plan is cut into; each arm runs each window once. Below
    /// [`pointsman_report::MIN_UNITS`] there are no intervals.
    pub slices: usize,
    /// Run the first window in both arms once more, before everything else and without counting it.
    pub warm_up: bool,
    /// A pause after each slice, once its last answer has come.
    pub settle: Duration,
    /// How each slice is run. Its `salt` is the base from which each slice gets its own.
    pub load: LoadOptions,
}

/// Where a comparison stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceStart<'a> {
    /// The arm that starts now.
    pub arm: &'a str,
    /// Which of the arm's slices, counted from zero; `None` for the warm-up.
    pub slice: Option<usize>,
    /// How many slices each arm runs.
    pub slices: usize,
}

/// What two arms did with the same arrivals.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedResult {
    /// The arms' names, baseline first.
    pub names: [String; 2],
    /// A pair of slices per window of the plan.
    pub pairs: PairedSlices,
}

impl PairedResult {
    /// Both runs as scripts read them; the second holds the paired intervals. `seed` draws the
    /// bootstrap's resamples.
    #[must_use]
    pub fn runs(&self, seed: u64) -> [RunReport; 2] {
        let [baseline, candidate] = &self.names;
        self.pairs.runs([baseline, candidate], &mut Rng::seeded(seed))
    }

    /// What the second arm changes in each latency row.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.pairs.changes()
    }
}

/// Runs a plan's windows through two arms, baseline first, in the order AB BA AB …, so that neither
/// arm always follows the other and a drift of the machine falls on both.
///
/// Within a pair both arms get the same arrivals, models and lengths; the words of the prompts
/// differ, so that an engine's prefix cache, filled by one arm, cannot serve the other. Each slice
/// opens connections of its own, drawn anew where they are pinned: one draw's luck is not an arm's
/// merit. A slice ends when its last answer has come.
///
/// # Errors
/// When a slice cannot start.
pub async fn run_slices(
    arms: &[Arm; 2],
    plan: &Plan,
    options: SliceOptions,
    progress: &Arc<Progress>,
    mut on_start: impl FnMut(SliceStart<'_>),
) -> Result<PairedResult, RunError> {
    let windows: Vec<Arc<Plan>> = plan.slices(options.slices).into_iter().map(Arc::new).collect();
    let mut salts = Rng::seeded(options.load.salt);
    if options.warm_up
        && let Some(first) = windows.first()
    {
        for arm in arms {
            on_start(SliceStart { arm: &arm.name, slice: None, slices: windows.len() });
            run_slice(arm, first, options, salts.next_u64(), progress).await?;
        }
    }
    let mut pairs = Vec::with_capacity(windows.len());
    for (index, window) in windows.iter().enumerate() {
        let mut pair = [Slice::default(), Slice::default()];
        let order = if index % 2 == 0 { [0, 1] } else { [1, 0] };
        for position in order {
            if let (Some(arm), Some(slice)) = (arms.get(position), pair.get_mut(position)) {
                on_start(SliceStart { arm: &arm.name, slice: Some(index), slices: windows.len() });
                *slice = run_slice(arm, window, options, salts.next_u64(), progress).await?;
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
