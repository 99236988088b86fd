//! Ways in which other routers failed, to be brought back in tests: with one of them switched on, a check must fail
//! that holds without. This code is compiled for this crate's own tests only.

use super::cache_aware::is_out_of_balance;
use super::{Candidate, Memory, View, count, least_cost, least_request, scraped};
use crate::policy::CacheAware;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing but what is in flight tells endpoints apart, and equals go to the first: where each request ends before
    /// the next one comes, one endpoint gets them all (448 and 0; Infera pull request 103).
    NoLoadBetweenRequests,
    /// A health probe sets the endpoint's load counters to zero (vllm-project/router issue 197).
    ProbesZeroLoad,
    /// One endpoint out of balance turns affinity off for all (vllm-project/router pull request 238).
    FleetWideGate,
    /// A prompt that nobody holds goes where the least was ever sent (sglang pull request 14305).
    SmallestTreeOnMiss,
    /// Load is what the engines' gauges last said, so that all routers choose the same endpoint until the next reading
    /// (Dynamo issues 589 and 7836, pull request 9688).
    GaugesAlone,
}

impl Failure {
    /// What the default placement would do with this failure in it.
    pub(super) fn weigh(self, view: &View<'_>, memory: &mut Memory, candidates: &mut [Candidate]) -> usize {
        match self {
            Self::NoLoadBetweenRequests => {
                let cost = |candidate: &Candidate| {
                    f64::from(view.uncached_tokens(candidate)) + count(view.endpoint(candidate).context())
                };
                first_of_least(candidates, cost)
            }
            // It is in the accounting.
            Self::ProbesZeroLoad => least_cost::weigh(view, candidates),
            Self::FleetWideGate if is_out_of_balance(&TIGHT, candidates) => least_request::weigh(candidates),
            Self::FleetWideGate => least_cost::weigh(view, candidates),
            Self::SmallestTreeOnMiss => {
                memory.trees.keep(view);
                if candidates.iter().any(|candidate| view.cached_tokens(candidate) > 0) {
                    return least_cost::weigh(view, candidates);
                }
                first_of_least(candidates, |candidate| count(memory.trees.size(view.endpoint(candidate).id)))
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

/// The thresholds of the report.
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
