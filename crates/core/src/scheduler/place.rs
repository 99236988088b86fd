//! Placement of a request: choice of an endpoint, reservation of its load, dispatch.

use super::Scheduler;
use super::choice::{Choice, Chosen};
use super::endpoints::announce;
use crate::adapters::Residency;
use crate::cast::whole;
use crate::endpoints::Endpoint;
use crate::event::Effect;
use crate::ids::{ModelKey, RequestId};
use crate::prefix::PrefixMatch;
use crate::rates::CurrentRates;
use crate::request::RequestFacts;
use crate::requests::{Request, RequestState};
use crate::reservation::{PaceMark, Reservation};
use crate::time::Time;

impl Scheduler {
    /// Dispatches the request or rejects it.
    pub(super) fn place(
        &mut self,
        now: Time,
        id: RequestId,
        mut request: Box<Request>,
        effects: &mut Vec<Effect>,
    ) {
        let rates = self.rates.current(now);
        let pool = self.pool_index(request.facts.pool);
        let samples = self.samples() && request.facts.subset.is_none() && self.pools[pool].rule.can_sample();
        let sampled = samples.then_some(&mut self.rng);
        let matched = self.prefixes.find_to_place(&self.endpoints, &mut request, sampled);
        let choice = Choice {
            now,
            request: &request,
            rates: &rates,
            matched: &matched,
            adapter: self.known_adapters.adapter(request.facts.target),
            record: self.config.decisions,
        };
        let chosen =
            choice.make(&mut self.endpoints, &mut self.pools[pool], &mut self.candidates, &mut self.rng);
        match chosen {
            Ok(Chosen { index, fallbacks, decision }) => {
                let reservation = self.reserve_at(index, id, &request.facts, &matched, &rates);
                let (endpoint, uncached) = (reservation.endpoint, reservation.uncached);
                self.pools[pool].rule.chosen(endpoint, uncached);
                let sent_to = &mut self.endpoints.all[index];
                let changed = sent_to.health.sent(now, id);
                announce(changed, sent_to, effects);
                request.attempts += 1;
                request.state = RequestState::Dispatched(reservation);
                self.requests.insert(id, request);
                effects.push(Effect::Dispatch { request: id, endpoint, fallbacks, decision });
            }
            Err(rejection) => effects.push(Effect::Reject { request: id, rejection }),
        }
        self.prefixes.spare = matched;
    }

    /// Reserves the load of a request at the endpoint with this index.
    pub(super) fn reserve_at(
        &mut self,
        index: usize,
        id: RequestId,
        facts: &RequestFacts,
        matched: &PrefixMatch,
        rates: &CurrentRates,
    ) -> Reservation {
        let adapter = self.known_adapters.adapter(facts.target);
        let endpoint = &mut self.endpoints.all[index];
        let mut reservation = reservation(facts, endpoint, matched.cached[index], adapter, rates);
        endpoint.begin(id, &reservation);
        reservation.held = self.prefixes.hold(endpoint, facts, matched);
        self.pool_mut(facts.pool).rule.begin(id, reservation.endpoint, facts);
        reservation
    }
}

/// The load that a request adds to an endpoint with `cached` tokens of its prompt, without blocks in the prefix index.
fn reservation(
    facts: &RequestFacts,
    endpoint: &Endpoint,
    cached: u32,
    adapter: Option<ModelKey>,
    rates: &CurrentRates,
) -> Reservation {
    // Where output is not observed, half of the expected output is its mean over the request's life.
    let unobserved = if facts.observes_tokens { 0 } else { whole(rates.output / 2.0) };
    Reservation {
        endpoint: endpoint.id,
        dispatched: rates.now,
        uncached: facts.prompt_tokens - cached,
        cached,
        context: u64::from(facts.prompt_tokens) + u64::from(unobserved),
        prefilling: facts.observes_tokens,
        ahead: endpoint.prefill.tokens(),
        in_flight_at_dispatch: endpoint.in_flight() + 1,
        adapter,
        residency: adapter.map_or(Residency::Resident, |adapter| endpoint.adapters.residency(adapter)),
        held: None,
        pace: PaceMark::default(),
    }
}
