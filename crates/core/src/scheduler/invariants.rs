//! The invariants that hold after every event, whatever the events were.

use std::collections::BTreeMap;

use super::Scheduler;
use crate::endpoints::{Endpoint, Lifecycle};
use crate::ids::{BlockHash, EndpointId, RequestId};
use crate::prefix::Holder;
use crate::reservation::Reservation;

/// An invariant that does not hold: a bug of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvariantBroken {
    /// An endpoint's count is not the sum over the requests on it.
    #[error("endpoint {0:?}: {1} is {2}, but the requests on it make {3}")]
    Count(EndpointId, &'static str, u64, u64),
    /// A request is counted on an endpoint that the scheduler does not have.
    #[error("request {0:?} is counted on unknown endpoint {1:?}")]
    UnknownEndpoint(RequestId, EndpointId),
    /// The endpoints are not in ascending order.
    #[error("endpoint {0:?} is out of order")]
    Order(EndpointId),
    /// An endpoint that takes no new requests and has none left was kept.
    #[error("endpoint {0:?} drained and is still there")]
    Kept(EndpointId),
    /// A learned figure is not finite and positive.
    #[error("endpoint {0:?}: {1} is not finite and positive")]
    Figure(EndpointId, &'static str),
    /// A placement rule counts a request at an endpoint where it is not.
    #[error("a placement rule counts request {0:?} at endpoint {1:?}, where it is not")]
    Remembered(RequestId, EndpointId),
    /// The prefix index contradicts itself, or the endpoints that it is about.
    #[error("prefix index: {0}")]
    PrefixIndex(&'static str),
}

#[derive(Default)]
struct Sums {
    requests: u64,
    context: u64,
    cached: u64,
    adapters: u64,
    indexed: u64,
    unproven: u64,
    prefilling: u64,
    prefilling_tokens: u64,
}

impl Scheduler {
    fn reservation_of(&self, request: RequestId) -> Option<&Reservation> {
        self.requests.get(&request)?.reservation()
    }

    /// Compares every count with the sum over the requests. For tests and simulations: its time is proportional to
    /// all requests.
    ///
    /// # Errors
    ///
    /// The first invariant found broken.
    pub fn check_invariants(&self) -> Result<(), InvariantBroken> {
        self.check_rules()?;
        let holders: Vec<_> =
            self.endpoints.all.iter().filter_map(|endpoint| endpoint.cache.holder).collect();
        self.prefixes.index.check(&holders).map_err(InvariantBroken::PrefixIndex)?;
        self.prefixes.index.check_pins(self.pinned()).map_err(InvariantBroken::PrefixIndex)?;
        let mut sums = self.sums()?;
        let mut last = None;
        for endpoint in &self.endpoints.all {
            let id = endpoint.id;
            if last >= Some(id) {
                return Err(InvariantBroken::Order(id));
            }
            last = Some(id);
            self.check_endpoint(endpoint, &sums.remove(&id).unwrap_or_default())?;
        }
        Ok(())
    }

    /// The prompt blocks that requests in flight pin, with their holders.
    fn pinned(&self) -> impl Iterator<Item = (Holder, &[BlockHash])> {
        self.requests.values().filter_map(|request| {
            let held = request.reservation()?.held.filter(|held| held.pinned)?;
            Some((held.holder, request.facts.blocks.get(..held.blocks as usize)?))
        })
    }

    /// The sums over the requests under way, per endpoint.
    fn sums(&self) -> Result<BTreeMap<EndpointId, Sums>, InvariantBroken> {
        let mut sums: BTreeMap<EndpointId, Sums> = BTreeMap::new();
        for (id, request) in &self.requests {
            let Some(reservation) = request.reservation() else { continue };
            if self.endpoints.index(reservation.endpoint).is_none() {
                return Err(InvariantBroken::UnknownEndpoint(*id, reservation.endpoint));
            }
            let sum = sums.entry(reservation.endpoint).or_default();
            sum.requests += 1;
            sum.context += reservation.context;
            sum.cached += u64::from(reservation.cached);
            sum.adapters += u64::from(reservation.adapter.is_some());
            sum.indexed += reservation.held.map_or(0, |held| held.tokens);
            sum.unproven += reservation.held.map_or(0, |held| held.unproven);
        }
        for endpoint in &self.endpoints.all {
            let sum = sums.entry(endpoint.id).or_default();
            for (request, tokens) in endpoint.prefill.requests() {
                let here = self.reservation_of(request).filter(|it| it.endpoint == endpoint.id);
                if here.is_some_and(|reservation| reservation.uncached == tokens) {
                    sum.prefilling += 1;
                    sum.prefilling_tokens += u64::from(tokens);
                }
            }
        }
        Ok(sums)
    }

    fn check_endpoint(&self, endpoint: &Endpoint, sum: &Sums) -> Result<(), InvariantBroken> {
        let id = endpoint.id;
        for (name, count, expected) in [
            ("requests in flight", u64::from(endpoint.in_flight()), sum.requests),
            ("tokens of context", endpoint.context(), sum.context),
            ("cached tokens", endpoint.cached(), sum.cached),
            ("tokens of prompts in the index", endpoint.cache.indexed, sum.indexed),
            ("tokens of unproven prompts", endpoint.cache.unproven, sum.unproven),
            ("requests for adapters", u64::from(endpoint.adapters.in_flight()), sum.adapters),
            ("prompts to prefill", u64::from(endpoint.prefill.len()), sum.prefilling),
            ("prompt tokens to prefill", endpoint.prefill.tokens(), sum.prefilling_tokens),
        ] {
            if count != expected {
                return Err(InvariantBroken::Count(id, name, count, expected));
            }
        }
        if endpoint.lifecycle() != Lifecycle::Up && endpoint.in_flight() == 0 {
            return Err(InvariantBroken::Kept(id));
        }
        let rates = self.rates.current(crate::time::Time::ZERO);
        for (name, figure) in [
            ("seconds per prompt token", rates.seconds_per_prompt_token(&endpoint.speed)),
            ("seconds per output token", rates.step(&endpoint.speed, 1.0, 0.0)),
        ] {
            if !(figure.is_finite() && figure > 0.0) {
                return Err(InvariantBroken::Figure(id, name));
            }
        }
        Ok(())
    }

    fn check_rules(&self) -> Result<(), InvariantBroken> {
        for (request, endpoint) in self.pools.iter().flat_map(|state| state.rule.requests()) {
            if self.reservation_of(request).is_none_or(|reservation| reservation.endpoint != endpoint) {
                return Err(InvariantBroken::Remembered(request, endpoint));
            }
        }
        Ok(())
    }
}
