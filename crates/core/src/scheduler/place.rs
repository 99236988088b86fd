//! From a request to a dispatch.

use std::sync::Arc;

use super::endpoints::announce;
use super::{PoolState, Scheduler};
use crate::adapters::Residency;
use crate::cast::whole;
use crate::decision::{CandidateCost, CostTerm, Decision};
use crate::endpoints::Endpoint;
use crate::event::{Effect, Fallbacks};
use crate::health::Availability;
use crate::ids::{EndpointId, ModelKey, RequestId};
use crate::placement::{self, Candidate, Ties, View};
use crate::policy::PoolPolicy;
use crate::rates::Prices;
use crate::request::{Rejection, RequestFacts};
use crate::requests::{Request, RequestState};
use crate::reservation::{PaceMark, Reservation};
use crate::saturation;
use crate::time::{Time, seconds};

/// Which endpoints may be candidates, from the wished to the last resort.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Among {
    /// Those that are ready, or due for a trial, and have not failed this request.
    Fresh,
    /// Those that failed it included.
    Ready,
    /// Those left alone after a failure: better than no hope.
    LastResort,
}

/// What one arrival counts in the share of endpoints that prefill.
const PER_ARRIVAL: f64 = 0.02;

/// Seconds; longer than any back-off.
const TRIED_ALREADY: f64 = 1e6;

impl Scheduler {
    /// Dispatches the request, or rejects it.
    pub(super) fn place(
        &mut self,
        now: Time,
        id: RequestId,
        mut request: Box<Request>,
        effects: &mut Vec<Effect>,
    ) {
        let prices = self.rates.prices(now);
        self.match_prefix_to_place(id, &mut request);
        let chosen = match self.choose(now, &request, &prices) {
            Ok(chosen) => chosen,
            Err(rejection) => {
                effects.push(Effect::Reject { request: id, rejection });
                return;
            }
        };
        let endpoint = &self.endpoints.all()[chosen.index];
        let (endpoint_id, decision) = (endpoint.id, chosen.decision);
        let cached = self.cached[chosen.index];
        let mut placed = self.reservation(now, &request.facts, endpoint, cached, &prices);
        self.rates.sent_with(placed.uncached);
        request.attempts += 1;
        let state = self.pool_mut(request.facts.pool);
        state.rule.chosen(endpoint_id, placed.uncached);
        state.rule.begin(id, endpoint_id, &request.facts);
        let endpoint = &mut self.endpoints.all_mut()[chosen.index];
        endpoint.begin(id, &placed);
        let changed = endpoint.health.sent(now, id);
        announce(changed, endpoint, effects);
        placed.held = self.hold_prefix(chosen.index, &request.facts);
        request.state = RequestState::Dispatched(placed);
        self.requests.insert(id, request);
        effects.push(Effect::Dispatch {
            request: id,
            endpoint: endpoint_id,
            fallbacks: chosen.fallbacks,
            decision,
        });
    }

    /// What a request takes of an endpoint that is about to get it and has `cached` tokens of its prompt.
    pub(super) fn reservation(
        &self,
        now: Time,
        facts: &RequestFacts,
        endpoint: &Endpoint,
        cached: u32,
        prices: &Prices,
    ) -> Reservation {
        let adapter = self.adapter(facts);
        // Where output cannot be seen growing, half of what is expected is its mean over the request's life.
        let unseen = if facts.observes_tokens { 0 } else { whole(prices.output / 2.0) };
        Reservation {
            endpoint: endpoint.id,
            dispatched: now,
            uncached: facts.prompt_tokens - cached,
            cached,
            context: u64::from(facts.prompt_tokens) + u64::from(unseen),
            prefilling: facts.observes_tokens,
            ahead: endpoint.prefill.tokens(),
            in_flight_at_dispatch: endpoint.in_flight() + 1,
            adapter,
            residency: adapter.map_or(Residency::Resident, |adapter| endpoint.adapters.residency(adapter)),
            held: None,
            pace: PaceMark::default(),
        }
    }

    /// The target, where it is known as an adapter.
    fn adapter(&self, facts: &RequestFacts) -> Option<ModelKey> {
        facts.target.filter(|target| self.known_adapters.contains(*target))
    }

    fn choose(&mut self, now: Time, request: &Request, prices: &Prices) -> Result<Chosen, Rejection> {
        let facts = &request.facts;
        let pool = self.pool_index(facts.pool);
        let among = self.gather(now, request, prices).ok_or(match facts.subset {
            Some(_) => Rejection::EmptySubset,
            None => Rejection::NoReadyEndpoint,
        })?;
        if among == Among::Fresh && facts.subset.is_none() {
            self.observe_prefill(pool);
        }
        let view = View {
            endpoints: self.endpoints.all(),
            prices,
            facts,
            cached: &self.cached,
            reuse: self.prefixes.reuse(),
            prefill_busy: self.pools[pool].prefill_busy,
            adapter: self.adapter(facts),
        };
        let PoolState { policy: PoolPolicy { saturation, .. }, rule, .. } = &mut self.pools[pool];
        let weighed = if among == Among::LastResort {
            Ok(weigh_last_resort(now, view.endpoints, &request.failed, &mut self.candidates))
        } else {
            rule.weigh(&view, &mut self.rng, &mut self.candidates)
        };
        let Ok(weighed) = weighed else {
            let retry_after = saturation::retry_after(&self.endpoints, facts.pool, saturation, prices);
            return Err(Rejection::Saturated { retry_after });
        };
        let weighed = weighed.clamp(1, self.candidates.len());
        let ties = if among == Among::LastResort { Ties::FEWEST } else { rule.ties(prices) };
        let best = placement::least(&self.candidates[..weighed], ties, &mut self.rng)
            .ok_or(Rejection::NoReadyEndpoint)?;
        let decision = self.config.decisions.then(|| {
            let terms = |candidate: &Candidate| match among {
                Among::Fresh | Among::Ready => rule.terms(&view, &self.candidates, candidate),
                Among::LastResort => Vec::new(),
            };
            Arc::new(record(&view, &self.candidates, weighed, best, terms))
        });
        let index = self.candidates[best].index;
        let fallbacks = fallbacks(view.endpoints, &mut self.candidates, weighed, best);
        Ok(Chosen { index, fallbacks, decision })
    }

    /// Takes in how many of the candidates prefill as the request comes.
    fn observe_prefill(&mut self, pool: usize) {
        let endpoints = self.endpoints.all();
        let prefills = |candidate: &&Candidate| endpoints[candidate.index].prefill.len() > 0;
        let share =
            self.candidates.iter().filter(prefills).count() as f64 / self.candidates.len().max(1) as f64;
        let mean = &mut self.pools[pool].prefill_busy;
        *mean += PER_ARRIVAL * (share - *mean);
    }

    /// Fills the candidates in ascending order of endpoint; `None` where there is none at all.
    fn gather(&mut self, now: Time, request: &Request, prices: &Prices) -> Option<Among> {
        for among in [Among::Fresh, Among::Ready, Among::LastResort] {
            if among == Among::Ready && request.failed.is_empty() {
                continue;
            }
            self.candidates.clear();
            match &request.facts.subset {
                None => {
                    for (index, endpoint) in self.endpoints.all_mut().iter_mut().enumerate() {
                        self.candidates.extend(candidate(now, request, prices, among, index, endpoint));
                    }
                }
                Some(subset) => {
                    for id in subset.iter() {
                        let Some(index) = self.endpoints.index(*id) else { continue };
                        let endpoint = &mut self.endpoints.all_mut()[index];
                        self.candidates.extend(candidate(now, request, prices, among, index, endpoint));
                    }
                    self.candidates.sort_unstable_by_key(|candidate| candidate.index);
                    self.candidates.dedup_by_key(|candidate| candidate.index);
                }
            }
            if !self.candidates.is_empty() {
                return Some(among);
            }
        }
        None
    }
}

struct Chosen {
    index: usize,
    fallbacks: Fallbacks,
    decision: Option<Arc<Decision>>,
}

/// The endpoint as a candidate, where it is one; its prefill clock is brought up to now.
fn candidate(
    now: Time,
    request: &Request,
    prices: &Prices,
    among: Among,
    index: usize,
    endpoint: &mut Endpoint,
) -> Option<Candidate> {
    if !endpoint.spec.pools.contains(request.facts.pool) {
        return None;
    }
    let ready = match endpoint.availability(now)? {
        Availability::Ready | Availability::TrialDue => true,
        Availability::Out(_) => false,
    };
    let wanted = match among {
        Among::Fresh => ready && !request.failed.contains(&endpoint.id),
        Among::Ready => ready,
        Among::LastResort => true,
    };
    if !wanted {
        return None;
    }
    if endpoint.prefill.needs_clock() {
        let rate = 1.0 / prices.seconds_per_prompt_token(&endpoint.speed);
        endpoint.prefill.run_clock(now, rate);
    }
    Some(Candidate { index, cost: 0.0, in_flight: endpoint.in_flight() })
}

/// The one that may return soonest, of those that have not failed this request.
fn weigh_last_resort(
    now: Time,
    endpoints: &[Endpoint],
    failed: &[EndpointId],
    candidates: &mut [Candidate],
) -> usize {
    for candidate in candidates.iter_mut() {
        let endpoint = &endpoints[candidate.index];
        let wait = match endpoint.availability(now) {
            Some(Availability::Out(until)) => seconds(until.since(now)),
            Some(Availability::Ready | Availability::TrialDue) | None => 0.0,
        };
        let again = if failed.contains(&endpoint.id) { TRIED_ALREADY } else { 0.0 };
        candidate.cost = wait + again;
    }
    candidates.len()
}

/// The best of the others: first those the policy weighed.
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

/// The record of a decision for the candidate at `best`, of the first `weighed` ones.
fn record(
    view: &View<'_>,
    candidates: &[Candidate],
    weighed: usize,
    best: usize,
    terms: impl Fn(&Candidate) -> Vec<CostTerm>,
) -> Decision {
    let id = |candidate: &Candidate| -> EndpointId { view.endpoints[candidate.index].id };
    let cost = |candidate: &Candidate| CandidateCost {
        endpoint: id(candidate),
        cost: candidate.cost,
        terms: terms(candidate),
        in_flight: candidate.in_flight,
        pending_tokens: view.endpoints[candidate.index].prefill.tokens(),
        cached_tokens: view.cached[candidate.index],
    };
    let mut costs: Vec<CandidateCost> = candidates[..weighed].iter().map(cost).collect();
    costs.sort_unstable_by_key(|candidate| candidate.endpoint);
    Decision { chosen: id(&candidates[best]), candidates: costs }
}
