//! Statistics, tables, JSON, plots and pages from simulated or measured results. Pure.
//!
//! The times of a request are a [`Timing`], those of a run [`Latencies`]. Two arms that replayed the same
//! arrivals are [`PairedSlices`], with bootstrap intervals of their difference. A [`RunReport`] is the JSON
//! of a run, a [`Table`] its text.
//!
//! A [`Sweep`] of [`SeedResult`]s, of policies at several rates under several seeds, becomes tables
//! ([`sweep::sweep_table`]), JSON ([`sweep::sweep_json`]), plots ([`plot::plots`]), a page ([`html`]) or files
//! for other tools ([`export`]); [`report_files`] returns all of them.
//!
//! Randomness is an argument ([`Rng`]), so the same results and seed give the same report.
//!
//! Must not know: how results were obtained, files, clocks.

mod bootstrap;
mod comparison;
pub mod export;
mod files;
mod interval;
mod latency;
mod markup;
mod measure;
mod number;
mod page;
mod paired;
pub mod plot;
mod quantile;
mod run;
mod slice;
pub mod sweep;
mod table;

pub use bootstrap::{MIN_UNITS, bootstrap};
pub use comparison::comparison_table;
pub use files::{ReportFile, report_files};
pub use interval::Interval;
pub use latency::{Latencies, Statistic, Timing};
pub use measure::Measure;
pub use number::{count, mebibytes, micros, millis, per_second, percent};
pub use page::html;
pub use paired::{Change, PairedSlices};
pub use pointsman_random::Rng;
pub use quantile::{Level, Quantiles, Samples, median};
pub use run::{Intervals, LatencyRows, RunReport, Runs, run_table};
pub use slice::Slice;
pub use sweep::{Experiment, SeedResult, Sweep, SweepRow};
pub use table::Table;
