//! `prefix-cache-affinity-filter` of llm-d-router, and the uncached tokens in flight that its scorers count.
//!
//! Source: `pkg/epp/framework/plugins/scheduling/filter/prefixcacheaffinity/plugin.go` with `ttftSource`
//! `prefillThroughput`, as of August 2026 (`ebab68792`).

use super::{Candidate, View, count, to_front};
use crate::policy::Affinity;
use crate::time::seconds;
use pointsman_random::Rng;

/// Moves the endpoints with enough of the prompt cached to the front and returns their number. It keeps all where none
/// has enough, or where prefilling the least loaded holder's tokens in flight at the peak rate takes longer than the least
/// loaded other endpoint's by more than the penalty.
pub(super) fn narrow(
    affinity: &Affinity,
    view: &View<'_>,
    rng: &mut Rng,
    candidates: &mut [Candidate],
) -> usize {
    let all = candidates.len();
    if all <= 1 || affinity.threshold <= 0.0 {
        return all;
    }
    if affinity.exploration_probability > 0.0 && rng.unit() < affinity.exploration_probability {
        return all;
    }
    let sticky = to_front(candidates, |candidate| hit(view, candidate) >= affinity.threshold);
    if sticky == 0 {
        return all;
    }
    let penalty = seconds(affinity.max_ttft_penalty);
    if penalty > 0.0 && sticky < all {
        let wait = |some: &[Candidate]| {
            let tokens = |candidate| view.endpoint(candidate).prefill.tokens();
            count(some.iter().map(tokens).min().unwrap_or(0)) / affinity.peak_prefill_throughput
        };
        let (holders, others) = candidates.split_at(sticky);
        if wait(holders) - wait(others) > penalty {
            return all;
        }
    }
    sticky
}

/// The cached share of the prompt, 0 to 1.
fn hit(view: &View<'_>, candidate: &Candidate) -> f64 {
    let total = f64::from(view.facts.prompt_tokens);
    if total <= 0.0 {
        return 0.0;
    }
    f64::from(view.cached_tokens(candidate)) / total
}

/// Uncached prompt tokens in flight at the endpoint, this request's included: *P + u*.
pub(super) fn tokens_with(view: &View<'_>, candidate: &Candidate) -> f64 {
    count(view.endpoint(candidate).prefill.tokens()) + f64::from(view.uncached_tokens(candidate))
}
