//! The choice of an endpoint for one request: candidates, the pool's rule, fallbacks and the record.

use std::sync::Arc;

use super::PoolState;
use super::sample;
use crate::capacity;
use crate::decision::{CandidateCost, Decision};
use crate::endpoints::{Endpoint, Endpoints};
use crate::event::Fallbacks;
use crate::health::Availability;
use crate::ids::{EndpointId, ModelKey};
use crate::placement::{self, Candidate, Rule, Ties, View};
use crate::prefix::PrefixMatch;
use crate::rates::CurrentRates;
use crate::request::Rejection;
use crate::requests::Request;
use crate::time::{Time, seconds};
use pointsman_random::Rng;

/// Weight of one arrival in the mean share of endpoints that prefill.
const PER_ARRIVAL: f64 = 0.02;

/// Seconds added to the cost of an ejected endpoint that failed the request before: longer than any back-off.
const FAILED_BEFORE: f64 = 1e6;

/// The endpoints that are eligible, in order of preference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eligible {
    /// Those that are ready or due for a trial, and have not failed this request.
    Untried,
    /// The same with those that have failed it.
    Ready,
    /// Ejected ones too, as a last resort.
    Ejected,
}

/// The inputs of a choice.
pub(super) struct Choice<'a> {
    pub(super) now: Time,
    pub(super) request: &'a Request,
    pub(super) rates: &'a CurrentRates,
    pub(super) matched: &'a PrefixMatch,
    /// The request's target, where it is an adapter.
    pub(super) adapter: Option<ModelKey>,
    /// Whether the choice is recorded.
    pub(super) record: bool,
}

/// The chosen endpoint.
pub(super) struct Chosen {
    /// Its index among the scheduler's endpoints.
    pub(super) index: usize,
    pub(super) fallbacks: Fallbacks,
    pub(super) decision: Option<Arc<Decision>>,
}

impl Choice<'_> {
    /// Chooses an endpoint. The prefill clocks of the endpoints are brought up to now; `candidates` is a reused buffer.
    pub(super) fn make(
        &self,
        endpoints: &mut Endpoints,
        pool: &mut PoolState,
        candidates: &mut Vec<Candidate>,
        rng: &mut Rng,
    ) -> Result<Chosen, Rejection> {
        let facts = &self.request.facts;
        let eligible = self.gather(endpoints, candidates).ok_or(match facts.subset {
            Some(_) => Rejection::EmptySubset,
            None => Rejection::NoReadyEndpoint,
        })?;
        let all = &endpoints.all;
        if eligible == Eligible::Untried && facts.subset.is_none() {
            observe_prefill(all, candidates, &mut pool.prefill_busy);
        }
        let view = View {
            endpoints: all,
            rates: self.rates,
            facts,
            matched: self.matched,
            prefill_busy: pool.prefill_busy,
            adapter: self.adapter,
        };
        // Ejected endpoints are compared by the time until they may return, whatever the pool's rule.
        let rule = (eligible != Eligible::Ejected).then_some(&mut pool.rule);
        let (weighed, ties) = match rule {
            Some(rule) => (rule.weigh(&view, rng, candidates), rule.ties(self.rates)),
            None => (Some(self.weigh_ejected(all, candidates)), Ties::FEWEST),
        };
        let Some(weighed) = weighed else {
            let limits = &pool.policy.saturation;
            let retry_after = capacity::retry_after(endpoints.ready(facts.pool), limits, self.rates);
            return Err(Rejection::Saturated { retry_after });
        };
        let weighed = weighed.clamp(1, candidates.len());
        let best = placement::least(&candidates[..weighed], ties, rng).ok_or(Rejection::NoReadyEndpoint)?;
        let rule = (eligible != Eligible::Ejected).then_some(&pool.rule);
        let decision = self.record.then(|| Arc::new(record(&view, rule, candidates, weighed, best)));
        let index = candidates[best].index;
        Ok(Chosen { index, fallbacks: fallbacks(all, candidates, weighed, best), decision })
    }

    /// Fills the candidates in ascending order of endpoint; `None` where there is none at all.
    fn gather(&self, endpoints: &mut Endpoints, candidates: &mut Vec<Candidate>) -> Option<Eligible> {
        for eligible in [Eligible::Untried, Eligible::Ready, Eligible::Ejected] {
            if eligible == Eligible::Ready && self.request.failed.is_empty() {
                continue;
            }
            candidates.clear();
            let sample = &self.matched.sample;
            if eligible == Eligible::Untried && !sample.is_empty() {
                for index in sample.iter().copied() {
                    candidates.extend(self.candidate(eligible, index, &mut endpoints.all[index]));
                }
                if candidates.len() >= sample::FEWEST {
                    return Some(eligible);
                }
                candidates.clear();
            }
            match &self.request.facts.subset {
                None => {
                    for (index, endpoint) in endpoints.all.iter_mut().enumerate() {
                        candidates.extend(self.candidate(eligible, index, endpoint));
                    }
                }
                Some(subset) => {
                    for id in subset.iter() {
                        let Some(index) = endpoints.index(*id) else { continue };
                        let endpoint = &mut endpoints.all[index];
                        candidates.extend(self.candidate(eligible, index, endpoint));
                    }
                    candidates.sort_unstable_by_key(|candidate| candidate.index);
                    candidates.dedup_by_key(|candidate| candidate.index);
                }
            }
            if !candidates.is_empty() {
                return Some(eligible);
            }
        }
        None
    }

    /// The endpoint as a candidate, if it is eligible; its prefill clock is brought up to now.
    fn candidate(&self, eligible: Eligible, index: usize, endpoint: &mut Endpoint) -> Option<Candidate> {
        if !endpoint.spec.pools.contains(self.request.facts.pool) {
            return None;
        }
        let ready = match endpoint.availability(self.now)? {
            Availability::Ready | Availability::TrialDue => true,
            Availability::Out(_) => false,
        };
        let is_eligible = match eligible {
            Eligible::Untried => ready && !self.request.failed.contains(&endpoint.id),
            Eligible::Ready => ready,
            Eligible::Ejected => true,
        };
        if !is_eligible {
            return None;
        }
        if endpoint.prefill.needs_clock() {
            let rate = 1.0 / self.rates.seconds_per_prompt_token(&endpoint.speed);
            endpoint.prefill.run_clock(self.now, rate);
        }
        Some(Candidate { index, cost: 0.0, in_flight: endpoint.in_flight() })
    }

    /// The cost is the time until the endpoint may return; those that failed the request before come last.
    fn weigh_ejected(&self, endpoints: &[Endpoint], candidates: &mut [Candidate]) -> usize {
        for candidate in candidates.iter_mut() {
            let endpoint = &endpoints[candidate.index];
            let wait = match endpoint.availability(self.now) {
                Some(Availability::Out(until)) => seconds(until.since(self.now)),
                Some(Availability::Ready | Availability::TrialDue) | None => 0.0,
            };
            let failed = self.request.failed.contains(&endpoint.id);
            candidate.cost = wait + if failed { FAILED_BEFORE } else { 0.0 };
        }
        candidates.len()
    }
}

/// Updates the mean share of endpoints that prefill by the share among the candidates.
fn observe_prefill(endpoints: &[Endpoint], candidates: &[Candidate], mean: &mut f64) {
    let prefills = |candidate: &&Candidate| endpoints[candidate.index].prefill.len() > 0;
    let share = candidates.iter().filter(prefills).count() as f64 / candidates.len().max(1) as f64;
    *mean += PER_ARRIVAL * (share - *mean);
}

/// The best of the other candidates: first those that the rule compared, in the order of their costs.
fn fallbacks(endpoints: &[Endpoint], candidates: &mut [Candidate], weighed: usize, best: usize) -> Fallbacks {
    let mut fallbacks = Fallbacks::default();
    candidates.swap(0, best);
    let (weighed, others) = candidates.split_at_mut(weighed);
    for group in [&mut weighed[1..], others] {
        for position in 0..group.len().min(Fallbacks::CAPACITY - fallbacks.as_slice().len()) {
            let key = |candidate: &Candidate| (candidate.cost, candidate.in_flight, candidate.index);
            let mut least = position;
            for other in position + 1..group.len() {
                if key(&group[other]) < key(&group[least]) {
                    least = other;
                }
            }
            group.swap(position, least);
            fallbacks.push(endpoints[group[position].index].id);
        }
    }
    fallbacks
}

/// The record of the choice of the candidate at `best` among the first `weighed` ones. Without a rule there are no terms.
fn record(
    view: &View<'_>,
    rule: Option<&Rule>,
    candidates: &[Candidate],
    weighed: usize,
    best: usize,
) -> Decision {
    let id = |candidate: &Candidate| -> EndpointId { view.endpoints[candidate.index].id };
    let cost = |candidate: &Candidate| CandidateCost {
        endpoint: id(candidate),
        cost: candidate.cost,
        terms: rule.map_or_else(Vec::new, |rule| rule.terms(view, candidates, candidate)),
        in_flight: candidate.in_flight,
        pending_tokens: view.endpoints[candidate.index].prefill.tokens(),
        cached_tokens: view.matched.cached[candidate.index],
    };
    let mut costs: Vec<CandidateCost> = candidates[..weighed].iter().map(cost).collect();
    costs.sort_unstable_by_key(|candidate| candidate.endpoint);
    Decision { chosen: id(&candidates[best]), candidates: costs }
}
