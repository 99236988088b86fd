//! Each in turn, in ascending order of endpoint.

use super::{Candidate, View};
use crate::ids::EndpointId;

/// The cost is the number of turns to wait.
pub(super) fn weigh(view: &View<'_>, turn: Option<EndpointId>, candidates: &mut [Candidate]) -> usize {
    let next =
        turn.map_or(0, |last| candidates.partition_point(|candidate| view.endpoint(candidate).id <= last));
    let len = candidates.len();
    for (position, candidate) in candidates.iter_mut().enumerate() {
        let turns = if position >= next { position - next } else { position + len - next };
        candidate.cost = f64::from(u32::try_from(turns).unwrap_or(u32::MAX));
    }
    len
}
