//! Overhead of the endpoint picker: the same load through Envoy alone, through Envoy with a bare picker, and through Envoy with
//! the picker, with and without response bodies and with a cluster that reads one destination, in alternating slices of one run.
//!
//! Engine stubs, Envoys and pickers are separate processes, the Envoys with one worker each, so that their CPU time can be told
//! apart; the load runs in this process on one thread. All share the machine's cores: compare columns of one run, not runs of
//! different machines.

mod arms;
mod collected;
mod figure;
mod memory;
mod plan;
mod report;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::measurement::{MeasurementError, until_signal};

pub use figure::{PickerFigure, Target};
pub use memory::{MemoryLoad, MemoryReport, MemoryRow, MemoryVerdict, run_memory};
pub use report::{PickerReport, PickerRow};

use arms::Arms;

/// Commands that start the servers; the runner appends addresses.
#[derive(Debug, Clone)]
pub struct PickerCommands {
    /// Instant engines: receives `--listen ADDR --count N`.
    pub stub: Vec<OsString>,
    /// The bare picker: receives `--listen ADDR` and `--endpoint ADDR` per engine.
    pub bare_picker: Vec<OsString>,
    /// The picker: receives ports, `--endpoint URL` per engine and, to print Envoy's bootstrap, `--print-envoy-config`.
    pub picker: Vec<OsString>,
    /// Envoy's binary.
    pub envoy: PathBuf,
    /// An empty folder for Envoy bootstrap files.
    pub folder: PathBuf,
}

/// Durations and repetitions of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickerOptions {
    /// Instant engines behind each Envoy.
    pub engines: u16,
    /// Instant engines behind the idle picker.
    pub idle_engines: u16,
    /// Slices per arm and phase; figures are medians over them.
    pub slices: usize,
    /// Duration of a slice of small requests.
    pub paced_slice: Duration,
    /// Duration of a slice of the closed loop.
    pub saturated_slice: Duration,
    /// Duration of a slice of large prompts.
    pub large_slice: Duration,
    /// Events per stream, 10 ms apart.
    pub stream_events: u32,
    /// Duration of the idle measurement.
    pub idle: Duration,
}

impl PickerOptions {
    /// About six minutes.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            engines: 10,
            idle_engines: 100,
            slices: 7,
            paced_slice: Duration::from_millis(1_500),
            saturated_slice: Duration::from_millis(1_000),
            large_slice: Duration::from_millis(1_500),
            stream_events: 500,
            idle: Duration::from_secs(20),
        }
    }

    /// About one minute: a first look, with wider spreads.
    #[must_use]
    pub const fn quick() -> Self {
        Self {
            slices: 3,
            paced_slice: Duration::from_millis(600),
            saturated_slice: Duration::from_millis(300),
            large_slice: Duration::from_millis(600),
            stream_events: 100,
            idle: Duration::from_secs(5),
            ..Self::full()
        }
    }
}

/// A phase of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PickerPhase {
    /// 1 KB prompts, 100 per second, Poisson.
    Paced100,
    /// The same, 300 per second.
    Paced300,
    /// The same, 1,000 per second.
    Paced1000,
    /// 1 KB prompts in a closed loop, 64 in flight.
    Saturated,
    /// 10 KB prompts, 20 per second.
    Prompts10Kb,
    /// 100 KB prompts, 20 per second.
    Prompts100Kb,
    /// 400 KB prompts, 10 per second.
    Prompts400Kb,
    /// 1 MB prompts, 5 per second.
    Prompts1Mb,
    /// 15 streams at once, 100 events per second each.
    Streams,
}

impl PickerPhase {
    /// All phases in the order of execution.
    pub const ALL: [Self; 9] = [
        Self::Paced100,
        Self::Paced300,
        Self::Paced1000,
        Self::Saturated,
        Self::Prompts10Kb,
        Self::Prompts100Kb,
        Self::Prompts400Kb,
        Self::Prompts1Mb,
        Self::Streams,
    ];

    /// The label in progress output and tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Paced100 => "1 KB, 100 req/s",
            Self::Paced300 => "1 KB, 300 req/s",
            Self::Paced1000 => "1 KB, 1,000 req/s",
            Self::Saturated => "1 KB, 64 in flight",
            Self::Prompts10Kb => "10 KB, 20 req/s",
            Self::Prompts100Kb => "100 KB, 20 req/s",
            Self::Prompts400Kb => "400 KB, 10 req/s",
            Self::Prompts1Mb => "1 MB, 5 req/s",
            Self::Streams => "streams, 1,500 chunks/s",
        }
    }
}

/// The start of a step, for progress output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickerStep {
    /// The phase; `None` while nothing is sent.
    pub phase: Option<PickerPhase>,
    /// Finished steps.
    pub done: usize,
    /// Total steps.
    pub total: usize,
}

/// Starts the servers, measures these phases and stops the servers. Idle CPU use is measured only together with all phases.
/// Blocks; it runs its own single-threaded runtime.
///
/// # Errors
/// See [`MeasurementError`]. Started servers are stopped in any case.
pub fn run_picker(
    commands: &PickerCommands,
    options: PickerOptions,
    phases: &[PickerPhase],
    on_step: impl FnMut(PickerStep),
) -> Result<PickerReport, MeasurementError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(until_signal(measure(commands, options, phases, on_step)))
}

async fn measure(
    commands: &PickerCommands,
    options: PickerOptions,
    phases: &[PickerPhase],
    mut on_step: impl FnMut(PickerStep),
) -> Result<PickerReport, MeasurementError> {
    let total = phases.len() * options.slices + 1;
    on_step(PickerStep { phase: None, done: 0, total });
    let all = PickerPhase::ALL.iter().all(|phase| phases.contains(phase));
    let idle = if all { Some(arms::idle_cores(commands, options).await?) } else { None };
    let mut arms = Arms::start(commands, options.engines).await?;
    arms.wait_until_ready().await?;
    for (position, phase) in phases.iter().enumerate() {
        for slice in 0..options.slices {
            on_step(PickerStep { phase: Some(*phase), done: 1 + position * options.slices + slice, total });
            arms.run_slice(*phase, slice, options).await?;
        }
    }
    arms.report(options, idle)
}
