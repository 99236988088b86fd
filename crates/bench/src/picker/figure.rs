//! The figures of `bench epp` and their targets.

use pointsman_report::{count, mebibytes, micros, millis, per_second, percent};
use serde::Serialize;

use super::PickerPhase;

/// A measured figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "of", content = "phase")]
pub enum PickerFigure {
    /// End-to-end p50 in milliseconds.
    P50(PickerPhase),
    /// End-to-end p90 in milliseconds.
    P90(PickerPhase),
    /// End-to-end p99 in milliseconds.
    P99(PickerPhase),
    /// Requests per second of a closed loop.
    PerSecond(PickerPhase),
    /// CPU time of the picker: milliseconds per request, or microseconds per chunk of streams.
    PickerCpu(PickerPhase),
    /// CPU time of Envoy, the same.
    EnvoyCpu(PickerPhase),
    /// CPU cores used by a picker with many endpoints and no requests.
    IdleCores,
    /// Resident memory of the picker after all phases, in MiB.
    ResidentMib,
    /// Requests without a complete response.
    Failed,
}

/// The target of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At most this, in the figure's unit.
    AtMost(f64),
    /// At most this multiple of the bare picker's.
    AtMostTimesBare(f64),
    /// At least this share of the bare picker's.
    AtLeastTimesBare(f64),
    /// At most this much more than the bare picker's, in the figure's unit.
    AtMostOverBare(f64),
    /// No worse than the bare picker's worst slice.
    WithinBareRange,
    /// None: for information.
    None,
}

pub(super) const MIB: f64 = 1_048_576.0;

impl PickerFigure {
    /// The figures of one phase, in the order of the table.
    pub(super) fn of(phase: PickerPhase) -> Vec<Self> {
        let cpu = [Self::PickerCpu(phase), Self::EnvoyCpu(phase)];
        let latency = [Self::P50(phase), Self::P90(phase), Self::P99(phase)];
        match phase {
            PickerPhase::Paced100 | PickerPhase::Paced300 | PickerPhase::Paced1000 => {
                latency.into_iter().chain(cpu).collect()
            }
            PickerPhase::Saturated => std::iter::once(Self::PerSecond(phase)).chain(cpu).collect(),
            PickerPhase::Prompts10Kb
            | PickerPhase::Prompts100Kb
            | PickerPhase::Prompts400Kb
            | PickerPhase::Prompts1Mb => std::iter::once(Self::P50(phase)).chain(cpu).collect(),
            PickerPhase::Streams => cpu.to_vec(),
        }
    }

    /// The project's target, for a machine of two cores that all processes share.
    #[must_use]
    pub const fn target(self) -> Target {
        use PickerPhase::{
            Paced100, Paced300, Paced1000, Prompts1Mb, Prompts10Kb, Prompts100Kb, Prompts400Kb, Saturated,
            Streams,
        };
        match self {
            Self::PickerCpu(Paced100 | Paced300 | Paced1000) => Target::AtMostTimesBare(1.5),
            Self::P50(Paced1000) => Target::AtMostOverBare(0.1),
            Self::P90(Paced1000) => Target::AtMostOverBare(0.3),
            Self::P99(Paced1000) => Target::WithinBareRange,
            Self::PerSecond(Saturated) => Target::AtLeastTimesBare(0.95),
            Self::P50(Prompts400Kb) => Target::AtMost(4.0),
            Self::PickerCpu(Prompts400Kb) => Target::AtMost(2.0),
            Self::P50(Prompts1Mb) => Target::AtMost(8.0),
            Self::PickerCpu(Prompts1Mb) => Target::AtMost(4.0),
            Self::PickerCpu(Streams) => Target::AtMostTimesBare(1.1),
            Self::IdleCores => Target::AtMost(0.02),
            Self::ResidentMib => Target::AtMost(40.0),
            Self::Failed => Target::AtMost(0.0),
            Self::P50(Paced100 | Paced300 | Saturated | Prompts10Kb | Prompts100Kb | Streams)
            | Self::P90(_)
            | Self::P99(_)
            | Self::PerSecond(_)
            | Self::PickerCpu(Saturated | Prompts10Kb | Prompts100Kb)
            | Self::EnvoyCpu(_) => Target::None,
        }
    }

    pub(super) fn label(self) -> String {
        match self {
            Self::P50(phase) => format!("{}: p50", phase.label()),
            Self::P90(phase) => format!("{}: p90", phase.label()),
            Self::P99(phase) => format!("{}: p99", phase.label()),
            Self::PerSecond(phase) => format!("{}: requests", phase.label()),
            Self::PickerCpu(phase) => format!("{}: picker's CPU", phase.label()),
            Self::EnvoyCpu(phase) => format!("{}: Envoy's CPU", phase.label()),
            Self::IdleCores => "idle, 100 endpoints: cores".to_owned(),
            Self::ResidentMib => "memory of the picker, after all".to_owned(),
            Self::Failed => "failed requests".to_owned(),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and sizes")]
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::PickerCpu(PickerPhase::Streams) | Self::EnvoyCpu(PickerPhase::Streams) => {
                micros(Some(value))
            }
            Self::P50(_) | Self::P90(_) | Self::P99(_) | Self::PickerCpu(_) | Self::EnvoyCpu(_) => {
                millis(Some(value))
            }
            Self::PerSecond(_) => per_second(Some(value)),
            Self::IdleCores => percent(Some(value)),
            Self::ResidentMib => mebibytes(Some((value * MIB) as u64)),
            Self::Failed => count(value as u64),
        }
    }
}
