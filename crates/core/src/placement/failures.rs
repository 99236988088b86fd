//! Failures that other routers had in production, reintroduced for tests: with one of them switched on, a check must
//! fail that passes without. Compiled for this crate's own tests only.

use super::cache_aware::{Trees, is_out_of_balance};
use super::{Candidate, View, count, least_cost, least_request, scraped};
use crate::policy::CacheAware;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Endpoints differ by requests in flight only, and ties go to the first: where each request ends before the next one
    /// arrives, one endpoint gets all of them (448 and 0; Infera pull request 103).
    NoLoadBetweenRequests,
    /// A health probe sets the endpoint's load counters to zero (vllm-project/router issue 197).
    ProbesZeroLoad,
    /// One endpoint out of balance turns affinity off for all (vllm-project/router pull request 238).
    FleetWideGate,
    /// A prompt that is cached nowhere goes to the endpoint that was ever sent the least (sglang pull request 14305).
    SmallestTreeOnMiss,
    /// Load is the engines' last scraped gauge, so that all routers choose the same endpoint until the next scrape
    /// (Dynamo issues 589 and 7836, pull request 9688).
    GaugesAlone,
}

impl Failure {
    /// Sets the costs as the default rule with this failure would.
    pub(super) fn weigh(self, view: &View<'_>, trees: &mut Trees, candidates: &mut [Candidate]) -> usize {
        match self {
            Self::NoLoadBetweenRequests => {
                let cost = |candidate: &Candidate| {
                    f64::from(view.uncached_tokens(candidate)) + count(view.endpoint(candidate).context())
                };
                first_of_least(candidates, cost)
            }
            // This failure is in the accounting.
            Self::ProbesZeroLoad => least_cost::weigh(view, candidates),
            Self::FleetWideGate if is_out_of_balance(&TIGHT, candidates) => least_request::weigh(candidates),
            Self::FleetWideGate => least_cost::weigh(view, candidates),
            Self::SmallestTreeOnMiss => {
                trees.keep(view);
                if candidates.iter().any(|candidate| view.cached_tokens(candidate) > 0) {
                    return least_cost::weigh(view, candidates);
                }
                first_of_least(candidates, |candidate| count(trees.size(view.endpoint(candidate).id)))
            }
            Self::GaugesAlone => {
                let load = |candidate: &Candidate| {
                    f64::from(scraped::running(view, candidate))
                        + f64::from(scraped::waiting(view, candidate))
                };
                first_of_least(candidates, load)
            }
        }
    }
}

/// The thresholds of the upstream issue.
const TIGHT: CacheAware =
    CacheAware { cache_threshold: 0.5, balance_abs_threshold: 4, balance_rel_threshold: 1.1 };

fn first_of_least(candidates: &mut [Candidate], cost: impl Fn(&Candidate) -> f64) -> usize {
    for candidate in candidates.iter_mut() {
        candidate.cost = cost(candidate);
    }
    let cost = |position: &usize| candidates[*position].cost;
    let first = (0..candidates.len()).min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(0);
    candidates.swap(0, first);
    1
}
