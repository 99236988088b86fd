//! Statistics, tables, JSON, plots and pages from results, simulated or measured. Pure.
//!
//! The way of a result: each request's times become a [`Timing`]; a run's timings become
//! [`Latencies`]; two arms that replayed the same arrivals become [`PairedSlices`], whose
//! bootstrap says how sure a difference is; what a script reads is a [`RunReport`]; what a
//! person reads is a [`Table`].
//!
//! Policies at several rates under several seeds become a [`Sweep`] of [`SeedResult`]s: a table
//! ([`sweep::sweep_table`]), JSON ([`sweep::sweep_json`]), plots ([`plot::plots`]), a page ([`html`]),
//! files for other tools' notebooks ([`export`]), or all of them in a folder ([`report_files`]).
//!
//! Nothing here reads a clock or draws from global randomness: a [`Rng`] is an argument,
//! so the same results and the same seed print the same report.

mod bootstrap;
pub mod export;
mod files;
mod latency;
mod markup;
mod number;
mod page;
mod paired;
pub mod plot;
mod quantile;
mod run;
pub mod sweep;
mod table;

pub use bootstrap::{Interval, MIN_UNITS, bootstrap};
pub use files::{ReportFile, report_files};
pub use latency::{Latencies, Statistic, Timing};
pub use number::{count, mebibytes, micros, millis, per_second, percent};
pub use page::html;
pub use paired::{Change, PairedSlices, Slice};
pub use pointsman_random::Rng;
pub use quantile::{Level, Quantiles, Samples, median};
pub use run::{Intervals, LatencyRows, RunReport, Runs, comparison_table, run_table};
pub use sweep::{Experiment, SeedResult, Sweep, SweepRow};
pub use table::{Align, Table};

/// What was timed. The words are those of the serving literature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Time to first token: from the intended send time to the first generated token.
    Ttft,
    /// Time per output token after the first: `(E2E − TTFT) / (output − 1)`.
    Tpot,
    /// Normalised time per output token: `E2E / output`, what LPG calls per-output-token latency.
    Ntpot,
    /// End to end: from the intended send time to the last byte.
    E2e,
    /// Inter-token latency: every gap between two tokens, pooled over all requests.
    Itl,
}

impl Measure {
    /// The measures of one request, in the order in which reports print them.
    pub const PER_REQUEST: [Self; 4] = [Self::Ttft, Self::Tpot, Self::Ntpot, Self::E2e];

    /// The JSON key, for example `ttft_ms`.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Ttft => "ttft_ms",
            Self::Tpot => "tpot_ms",
            Self::Ntpot => "ntpot_ms",
            Self::E2e => "e2e_ms",
            Self::Itl => "itl_ms",
        }
    }

    /// The name that tables print.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ttft => "TTFT",
            Self::Tpot => "TPOT",
            Self::Ntpot => "NTPOT",
            Self::E2e => "E2E",
            Self::Itl => "ITL",
        }
    }
}
