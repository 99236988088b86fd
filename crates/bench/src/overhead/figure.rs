//! The figures of `bench overhead` and their budgets.

use pointsman_report::{count, mebibytes, median, micros, millis, per_second};
use serde::Serialize;

/// A measured figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// p50 minus that of the direct path at 1,000 requests per second, milliseconds.
    AddedP50Ms,
    /// p99 minus that of the direct path at 1,000 requests per second, milliseconds.
    AddedP99Ms,
    /// CPU time per small request at 1,000 requests per second, milliseconds.
    CpuMsPerRequest,
    /// Requests per second with 64 in flight.
    SaturatedPerSecond,
    /// CPU time per small request with 64 in flight, milliseconds.
    SaturatedCpuMsPerRequest,
    /// CPU time per request of a 400 KB prompt, milliseconds.
    #[serde(rename = "cpu_ms_per_400kb_prompt")]
    CpuMsPer400Kb,
    /// CPU time per request of a 1 MB prompt, milliseconds.
    #[serde(rename = "cpu_ms_per_1mb_prompt")]
    CpuMsPer1Mb,
    /// CPU time per streamed chunk at about 1,500 per second, microseconds.
    CpuUsPerChunk,
    /// Resident memory before the load, MiB.
    ResidentIdleMib,
    /// Resident memory after the load, MiB.
    ResidentLoadedMib,
    /// Requests without a complete response.
    Failed,
}

/// The budget of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// At most this, in the figure's unit.
    AtMost(f64),
    /// At least this share of the bare proxy's figure.
    AtLeastTimesBareProxy(f64),
    /// At most this multiple of the bare proxy's figure.
    AtMostTimesBareProxy(f64),
    /// None: for information.
    None,
}

impl Figure {
    /// All figures, in the order of the table.
    pub const ALL: [Self; 11] = [
        Self::AddedP50Ms,
        Self::AddedP99Ms,
        Self::CpuMsPerRequest,
        Self::SaturatedPerSecond,
        Self::SaturatedCpuMsPerRequest,
        Self::CpuMsPer400Kb,
        Self::CpuMsPer1Mb,
        Self::CpuUsPerChunk,
        Self::ResidentIdleMib,
        Self::ResidentLoadedMib,
        Self::Failed,
    ];

    /// The label, and the project's budget, which holds on two cores that all processes share.
    pub(super) const fn label_and_budget(self) -> (&'static str, Budget) {
        match self {
            Self::AddedP50Ms => ("added p50, 1,000 req/s", Budget::AtMost(0.2)),
            Self::AddedP99Ms => ("added p99, 1,000 req/s", Budget::AtMost(2.0)),
            Self::CpuMsPerRequest => ("CPU per request, 1,000 req/s", Budget::AtMost(0.1)),
            Self::SaturatedPerSecond => ("requests, 64 in flight", Budget::AtLeastTimesBareProxy(0.6)),
            Self::SaturatedCpuMsPerRequest => ("CPU per request, 64 in flight", Budget::AtMost(0.039)),
            Self::CpuMsPer400Kb => ("CPU per 400 KB prompt", Budget::AtMost(1.5)),
            Self::CpuMsPer1Mb => ("CPU per 1 MB prompt", Budget::AtMost(3.0)),
            Self::CpuUsPerChunk => ("CPU per streamed chunk", Budget::AtMostTimesBareProxy(1.2)),
            Self::ResidentIdleMib => ("memory, idle", Budget::AtMost(64.0)),
            Self::ResidentLoadedMib => ("memory, after the load", Budget::None),
            Self::Failed => ("failed requests", Budget::AtMost(0.0)),
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and sizes")]
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::AddedP50Ms
            | Self::AddedP99Ms
            | Self::CpuMsPerRequest
            | Self::SaturatedCpuMsPerRequest
            | Self::CpuMsPer400Kb
            | Self::CpuMsPer1Mb => millis(Some(value)),
            Self::SaturatedPerSecond => per_second(Some(value)),
            Self::CpuUsPerChunk => micros(Some(value)),
            Self::ResidentIdleMib | Self::ResidentLoadedMib => mebibytes(Some((value * MIB) as u64)),
            Self::Failed => count(value as u64),
        }
    }
}

pub(super) const MIB: f64 = 1_048_576.0;

/// A figure over the slices of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The figure.
    pub median: f64,
    /// The least slice.
    pub least: f64,
    /// The greatest slice.
    pub greatest: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Self { median: median(values)?, least, greatest })
    }

    /// The least and the greatest slice, where they differ.
    pub(crate) fn range(self, show: impl Fn(f64) -> String) -> String {
        if self.least < self.greatest {
            format!("{} to {}", show(self.least), show(self.greatest))
        } else {
            String::new()
        }
    }
}
