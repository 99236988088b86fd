//! Whose fault a failure is: the endpoint's or the request's.
//!
//! A request that fails alike at two endpoints is to blame itself: neither endpoint is, and it is not sent to a third. A
//! client error (4xx) is taken for the request's fault until another endpoint serves the same request. Where an endpoint
//! gives many of them in a row, requests that may be sent again are given to another endpoint for a second opinion; where
//! that is not possible, the answers of the other endpoints in the same time are compared.

use super::Scheduler;
use super::endpoints::announce;
use crate::endpoints::{Endpoint, Lifecycle};
use crate::event::Effect;
use crate::ids::{EndpointId, PoolSet, RequestId};
use crate::request::FailureCause;
use crate::requests::{Doubt, Request, RequestState};
use crate::time::Time;

/// The requests that other endpoints must have served recently, for client errors at one endpoint to be its own.
const SERVED_BY_OTHERS: f64 = 2.0;
/// The largest part of the client errors among the answers of those.
const DECLINED_BY_OTHERS: f64 = 0.25;

impl Scheduler {
    /// An attempt or a response failed. It counts against the endpoint, unless the request failed alike at another one: then
    /// the earlier failures are taken back as well.
    pub(super) fn failed_at(
        &mut self,
        now: Time,
        id: RequestId,
        request: &mut Request,
        doubt: Doubt,
        effects: &mut Vec<Effect>,
    ) {
        if self.blame_request(now, id, request, doubt, effects) {
            return;
        }
        self.count_failure(now, id, doubt, effects);
        if doubt.cause.may_follow_the_request() {
            request.doubts.push(doubt);
        }
    }

    /// An engine's answer is held back. Where its endpoint gives many like it, another endpoint is asked.
    pub(super) fn error_answered(
        &mut self,
        now: Time,
        id: RequestId,
        cause: FailureCause,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        let Some(reservation) = request.reservation().copied() else {
            self.requests.insert(id, request);
            return;
        };
        let (endpoint, sent) = (reservation.endpoint, reservation.dispatched);
        let doubt = Doubt { endpoint, sent, cause, counted: false };
        if self.blame_request(now, id, &mut request, doubt, effects)
            || !self.wants_second_opinion(now, &request, doubt)
        {
            self.requests.insert(id, request);
            return;
        }
        request.state = RequestState::Waiting;
        request.failed.push(endpoint);
        request.doubts.push(doubt);
        self.release_load(now, id, &reservation, (&request.facts, None, true));
        self.place(now, id, request, effects);
    }

    /// Whether another endpoint is to be asked, and can be. Takes a retry from the budget then.
    fn wants_second_opinion(&mut self, now: Time, request: &Request, doubt: Doubt) -> bool {
        let endpoint = self.endpoints.index(doubt.endpoint).and_then(|index| self.endpoints.all.get(index));
        if !endpoint.is_some_and(|endpoint| endpoint.health.wants_second_opinion(doubt.cause)) {
            return false;
        }
        let facts = &request.facts;
        let untried = |endpoint: &&Endpoint| {
            let listed = facts.subset.as_ref().is_none_or(|subset| subset.contains(&endpoint.id));
            listed && endpoint.id != doubt.endpoint && !request.failed.contains(&endpoint.id)
        };
        if self.endpoints.ready(facts.pool).find(untried).is_none() {
            return false;
        }
        let pool = facts.pool;
        let state = self.pool_mut(pool);
        let budget = state.policy.retry_budget;
        request.attempts < budget.max_attempts && state.retries.take(now, &budget)
    }

    /// The request's first output came.
    pub(super) fn served(&mut self, now: Time, id: RequestId, effects: &mut Vec<Effect>) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        for doubt in std::mem::take(&mut request.doubts) {
            if !doubt.counted {
                self.count_failure(now, id, doubt, effects);
            }
        }
    }

    /// The request was served to its end.
    pub(super) fn succeeded_at(
        &mut self,
        now: Time,
        id: RequestId,
        request: &mut Request,
        (endpoint, sent): (EndpointId, Time),
        effects: &mut Vec<Effect>,
    ) {
        for doubt in std::mem::take(&mut request.doubts) {
            if !doubt.counted {
                self.count_failure(now, id, doubt, effects);
            }
        }
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            let changed = endpoint.health.succeeded(now, (id, sent));
            announce(changed, endpoint, effects);
        }
    }

    /// The request was answered with a client error.
    pub(super) fn declined_at(
        &mut self,
        now: Time,
        id: RequestId,
        request: &Request,
        (at, sent): (EndpointId, Time),
        effects: &mut Vec<Effect>,
    ) {
        if request.is_to_blame {
            return;
        }
        let Some(endpoint) = self.endpoints.get_mut(at) else { return };
        let pools = endpoint.spec.pools;
        let suspicious = endpoint.health.declined(now, (id, sent));
        if suspicious && self.others_serve(now, at, pools) && self.may_eject(at, pools) {
            let Some(endpoint) = self.endpoints.get_mut(at) else { return };
            let changed = endpoint.health.declines_all(now, id, &mut self.rng);
            announce(changed, endpoint, effects);
        }
    }

    /// The request is over, or is tried no more: what is still open says nothing.
    pub(super) fn unsettled(
        &mut self,
        now: Time,
        id: RequestId,
        request: &mut Request,
        effects: &mut Vec<Effect>,
    ) {
        for doubt in std::mem::take(&mut request.doubts) {
            if !doubt.counted
                && let Some(endpoint) = self.endpoints.get_mut(doubt.endpoint)
            {
                let changed = endpoint.health.inconclusive(now, id);
                announce(changed, endpoint, effects);
            }
        }
    }

    /// Whether the request failed at another endpoint as it does now. Takes those failures back then.
    fn blame_request(
        &mut self,
        now: Time,
        id: RequestId,
        request: &mut Request,
        doubt: Doubt,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let alike = |other: &Doubt| other.cause == doubt.cause && other.endpoint != doubt.endpoint;
        if !doubt.cause.may_follow_the_request() || !request.doubts.iter().any(alike) {
            return request.is_to_blame;
        }
        request.is_to_blame = true;
        let uncounted = Doubt { counted: false, ..doubt };
        for cleared in std::mem::take(&mut request.doubts).into_iter().chain([uncounted]) {
            if let Some(endpoint) = self.endpoints.get_mut(cleared.endpoint) {
                let mut changed = endpoint.health.cleared(now, cleared.cause, cleared.counted);
                changed |= cleared.endpoint != doubt.endpoint && endpoint.health.inconclusive(now, id);
                announce(changed, endpoint, effects);
            }
        }
        true
    }

    fn count_failure(&mut self, now: Time, id: RequestId, doubt: Doubt, effects: &mut Vec<Effect>) {
        let Doubt { endpoint, sent, cause, .. } = doubt;
        let Some(index) = self.endpoints.index(endpoint) else { return };
        let pools = self.endpoints.all[index].spec.pools;
        let may_eject = cause.is_the_endpoints() || self.may_eject(endpoint, pools);
        let endpoint = &mut self.endpoints.all[index];
        let changed = endpoint.health.failed(now, (id, sent), cause, may_eject, &mut self.rng);
        announce(changed, endpoint, effects);
    }

    /// Whether an endpoint may be ejected for failures that requests can provoke. At most half of the endpoints are out then,
    /// the odd one included, and never all.
    fn may_eject(&self, id: EndpointId, pools: PoolSet) -> bool {
        let (mut all, mut out) = (1_usize, 1);
        for endpoint in self.others(id, pools) {
            all += 1;
            out += usize::from(!endpoint.is_ready());
        }
        out <= all.div_ceil(2).min(all - 1)
    }

    /// Whether the other endpoints serve what this one declines.
    fn others_serve(&self, now: Time, id: EndpointId, pools: PoolSet) -> bool {
        let (mut served, mut declined) = (0.0, 0.0);
        for endpoint in self.others(id, pools) {
            let (some, none) = endpoint.health.recently(now);
            served += some;
            declined += none;
        }
        served >= SERVED_BY_OTHERS && declined <= DECLINED_BY_OTHERS * served
    }

    /// The other endpoints of these pools that take requests, or would if they were not ejected.
    fn others(&self, id: EndpointId, pools: PoolSet) -> impl Iterator<Item = &Endpoint> {
        let selected = move |endpoint: &&Endpoint| {
            endpoint.id != id && endpoint.lifecycle() == Lifecycle::Up && endpoint.spec.pools.overlaps(pools)
        };
        self.endpoints.all.iter().filter(selected)
    }
}
