//! Overhead of the gateway: the same load directly, through a bare proxy on the same HTTP stack, and through the gateway, in
//! alternating slices of one run.
//!
//! Stubs, bare proxy and gateway are separate processes, so that their CPU time and memory can be told apart; the load runs in
//! this process on one thread. All share the machine's cores, so absolute latencies include the others' work: compare columns
//! of one run, not runs of different machines.

mod arms;
mod collected;
mod figure;
mod plan;
mod report;

use std::ffi::OsString;
use std::time::Duration;

use crate::measurement::{MeasurementError, until_signal};
use arms::Arms;
pub use figure::{Budget, Figure, Spread};
pub use report::{FigureRow, OverheadReport};

/// Commands that start the servers; the runner appends addresses.
#[derive(Debug, Clone)]
pub struct OverheadCommands {
    /// Instant engines: receives `--listen ADDR --count N` and serves [`crate::stub::Stubs`].
    pub stub: Vec<OsString>,
    /// The bare proxy: receives `--listen ADDR` and `--endpoint URL` per engine and serves
    /// [`crate::bare_proxy`].
    pub bare_proxy: Vec<OsString>,
    /// The gateway: receives `--listen ADDR --admin ADDR` and `--endpoint URL` per engine.
    pub gateway: Vec<OsString>,
}

/// Durations and repetitions of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverheadOptions {
    /// Instant engines behind each proxy.
    pub engines: u16,
    /// Slices per arm and phase; figures are medians over them.
    pub slices: usize,
    /// Duration of a slice at 1,000 requests per second.
    pub paced_slice: Duration,
    /// Duration of a slice of the closed loop.
    pub saturated_slice: Duration,
    /// Duration of a slice of large prompts.
    pub large_slice: Duration,
    /// Events per stream, 10 ms apart.
    pub stream_events: u32,
}

impl OverheadOptions {
    /// About 80 seconds.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            engines: 10,
            slices: 5,
            paced_slice: Duration::from_millis(1_600),
            saturated_slice: Duration::from_millis(1_200),
            large_slice: Duration::from_millis(1_210),
            stream_events: 150,
        }
    }

    /// About 15 seconds: a first look, with wider spreads.
    #[must_use]
    pub const fn quick() -> Self {
        Self {
            paced_slice: Duration::from_millis(300),
            saturated_slice: Duration::from_millis(200),
            large_slice: Duration::from_millis(310),
            stream_events: 20,
            ..Self::full()
        }
    }
}

/// A phase of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// 1,000 small requests per second, Poisson.
    Paced,
    /// Small requests in a closed loop, 64 in flight.
    Saturated,
    /// 400 KB prompts, 10 per second.
    Prompts400Kb,
    /// 1 MB prompts, 5 per second.
    Prompts1Mb,
    /// 15 streams at once, 100 events per second each.
    Streams,
}

impl Phase {
    /// All phases in the order of execution.
    pub const ALL: [Self; 5] =
        [Self::Paced, Self::Saturated, Self::Prompts400Kb, Self::Prompts1Mb, Self::Streams];

    /// The label in progress output.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Paced => "1,000 requests/s",
            Self::Saturated => "64 in flight",
            Self::Prompts400Kb => "400 KB prompts",
            Self::Prompts1Mb => "1 MB prompts",
            Self::Streams => "streams",
        }
    }
}

/// The start of a step, for progress output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The phase.
    pub phase: Phase,
    /// Finished steps.
    pub done: usize,
    /// Total steps.
    pub total: usize,
}

/// Starts the servers, measures all phases and stops the servers. Blocks; it runs its own runtime on a new thread, so it may be
/// called from within another runtime.
///
/// # Errors
/// See [`MeasurementError`]. Started servers are stopped in any case.
pub fn run(
    commands: &OverheadCommands,
    options: OverheadOptions,
    mut on_step: impl FnMut(Step) + Send,
) -> Result<OverheadReport, MeasurementError> {
    std::thread::scope(|scope| {
        let load = std::thread::Builder::new().name("load".to_owned()).spawn_scoped(scope, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(until_signal(measure(commands, options, &mut on_step)))
        })?;
        load.join().unwrap_or_else(|_| {
            Err(MeasurementError::Setup(std::io::Error::other("the load thread ended early")))
        })
    })
}

async fn measure(
    commands: &OverheadCommands,
    options: OverheadOptions,
    on_step: &mut (impl FnMut(Step) + Send),
) -> Result<OverheadReport, MeasurementError> {
    let mut arms = Arms::start(commands, options.engines).await?;
    arms.wait_until_ready().await?;
    arms.note_memory(Figure::ResidentIdleMib)?;
    let total = Phase::ALL.len() * options.slices;
    for (position, phase) in Phase::ALL.into_iter().enumerate() {
        for slice in 0..options.slices {
            on_step(Step { phase, done: position * options.slices + slice, total });
            arms.run_slice(phase, slice, options).await?;
        }
    }
    arms.report(options)
}
