//! Sweeps: placement rules at several rates under several seeds.

mod backlog;
mod estimate;
mod json;
mod knee;
mod result;
mod row;
mod seed;
mod state;
mod table;

pub use backlog::{Completion, Completions};
pub use json::sweep_json;
pub use knee::Knee;
pub(crate) use result::names;
pub use result::{Experiment, Origin, Sweep};
pub use row::{Comparison, RowIntervals, SweepRow};
pub use seed::{
    EndpointPoint, EndpointSeries, LatencySummary, MeasureSummary, PERCENTILES, Role, SeedResult,
};
pub use state::State;
pub use table::{bounds_note, sweep_table};
