//! Round robin, in ascending order of endpoint.

use super::{Candidate, View};
use crate::ids::EndpointId;

/// The endpoint that was chosen last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn(Option<EndpointId>);

impl Turn {
    pub(super) const fn took(&mut self, endpoint: EndpointId) {
        self.0 = Some(endpoint);
    }

    /// The position of the first candidate after it, or the number of candidates. They are in ascending order of endpoint.
    pub(super) fn next(self, view: &View<'_>, candidates: &[Candidate]) -> usize {
        self.0.map_or(0, |last| candidates.partition_point(|candidate| view.endpoint(candidate).id <= last))
    }
}

/// The cost is the number of turns until the endpoint's own.
pub(super) fn weigh(view: &View<'_>, turn: Turn, candidates: &mut [Candidate]) -> usize {
    let next = turn.next(view, candidates);
    let len = candidates.len();
    for (position, candidate) in candidates.iter_mut().enumerate() {
        let turns = if position >= next { position - next } else { position + len - next };
        candidate.cost = f64::from(u32::try_from(turns).unwrap_or(u32::MAX));
    }
    len
}
