//! The engines' gauges as last scraped, however old, for rules without another measure of load; 0 before a scrape.

use super::{Candidate, View};
use crate::endpoint::LoadReport;

/// The endpoint's last scraped gauges.
fn report<'a>(view: &View<'a>, candidate: &Candidate) -> Option<&'a LoadReport> {
    view.endpoints[candidate.index].gauge.as_ref().map(|gauge| &gauge.report)
}

/// Requests waiting in the engine.
pub(super) fn waiting(view: &View<'_>, candidate: &Candidate) -> u32 {
    report(view, candidate).and_then(|report| report.waiting).unwrap_or(0)
}

/// Requests in the running batch.
pub(super) fn running(view: &View<'_>, candidate: &Candidate) -> u32 {
    report(view, candidate).and_then(|report| report.running).unwrap_or(0)
}

/// Use of the KV cache, 0 to 1.
pub(super) fn kv_use(view: &View<'_>, candidate: &Candidate) -> f64 {
    report(view, candidate).and_then(|report| report.kv_use).unwrap_or(0.0)
}

/// Whether the engine runs requests for the target as an adapter.
pub(super) fn runs_target(view: &View<'_>, candidate: &Candidate) -> bool {
    let adapters = report(view, candidate).and_then(|report| report.adapters.as_ref());
    adapters.is_some_and(|adapters| view.facts.target.is_some_and(|target| adapters.active.contains(&target)))
}

/// Whether the engine has a free adapter slot.
pub(super) fn has_room(view: &View<'_>, candidate: &Candidate) -> bool {
    let adapters = report(view, candidate).and_then(|report| report.adapters.as_ref());
    adapters.is_some_and(|adapters| {
        u32::try_from(adapters.active.len()).is_ok_and(|active| active < adapters.max_adapters)
    })
}
