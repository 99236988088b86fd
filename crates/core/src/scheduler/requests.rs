//! Events about requests.

use super::Scheduler;
use super::endpoints::announce;
use crate::adapters::Residency;
use crate::capacity;
use crate::cast::{count, whole};
use crate::endpoints::{Endpoint, Endpoints, Stride};
use crate::event::Effect;
use crate::ids::{EndpointId, PoolId, RequestId};
use crate::policy::SaturationLimits;
use crate::rates::{DecodeMeasurement, Rates, ResponseMeasurement, Source};
use crate::request::{Completion, FailureCause, Rejection, RequestFacts, Usage};
use crate::requests::{Doubt, Request, RequestState, Requests};
use crate::reservation::Reservation;
use crate::time::{Time, seconds};
use std::time::Duration;

/// Seconds. Outputs of a stream closer together than this measure nothing: engines and sockets bunch tokens.
const SHORTEST_STRETCH: f64 = 0.02;
/// Seconds. A longer pause of a stream was no decoding but a stall.
const LONGEST_STRETCH: f64 = 30.0;
/// Tokens. Longer prompts are compared with what the engines can hold; shorter ones need no look at every endpoint.
const SELDOM_HELD: u32 = 8_192;

impl Scheduler {
    /// A number that is in use already is ignored.
    pub(super) fn arrived(
        &mut self,
        now: Time,
        id: RequestId,
        mut facts: RequestFacts,
        effects: &mut Vec<Effect>,
    ) {
        if self.requests.contains_key(&id) {
            return;
        }
        if facts.prompt_tokens > SELDOM_HELD {
            facts.prompt_tokens = facts.prompt_tokens.min(self.longest_prompt(facts.pool));
        }
        let state = self.pool_mut(facts.pool);
        state.retries.arrived(now);
        let limits = state.policy.saturation;
        if facts.sheddable()
            && let Some(retry_after) = self.saturated(now, facts.pool, &limits)
        {
            effects.push(Effect::Reject { request: id, rejection: Rejection::Saturated { retry_after } });
            return;
        }
        self.place(now, id, Box::new(Request::new(facts)), effects);
    }

    /// Where the pool is saturated, when a retry is worthwhile.
    fn saturated(&mut self, now: Time, pool: PoolId, limits: &SaturationLimits) -> Option<Duration> {
        let stride = self.stride(pool);
        let ready = || self.endpoints.ready_among(pool, stride);
        let saturated = capacity::all_saturated(ready(), limits, now);
        saturated.then(|| capacity::retry_after(ready(), limits, &self.rates.current(now)))
    }

    /// The most tokens that an engine of the pool can hold, as far as known. A prompt's length is a claim of its client.
    fn longest_prompt(&mut self, pool: PoolId) -> u32 {
        let Stride { first, step } = self.stride(pool);
        let all = self.endpoints.all.iter().skip(first).step_by(step);
        let pool = all.filter(|endpoint| endpoint.spec.pools.contains(pool));
        whole(pool.map(|endpoint| endpoint.cache.size()).fold(0.0, f64::max))
    }

    /// The first output ends the prefill; a repeated event is ignored.
    pub(super) fn first_token(&mut self, now: Time, id: RequestId, effects: &mut Vec<Effect>) {
        if let Some((reservation, endpoint)) = dispatched(&mut self.requests, &mut self.endpoints, id)
            && reservation.prefilling
        {
            first_output(now, id, (reservation, &mut *endpoint), 1, &mut self.rates);
            announce(endpoint.health.first_output(id), endpoint, effects);
            self.served(now, id, effects);
        }
    }

    /// Each output after the first measures the decode pace since the one before.
    pub(super) fn progress(
        &mut self,
        now: Time,
        id: RequestId,
        output_tokens: u32,
        effects: &mut Vec<Effect>,
    ) {
        let Some((reservation, endpoint)) = dispatched(&mut self.requests, &mut self.endpoints, id) else {
            return;
        };
        if reservation.prefilling {
            first_output(now, id, (reservation, &mut *endpoint), output_tokens, &mut self.rates);
            announce(endpoint.health.first_output(id), endpoint, effects);
            self.served(now, id, effects);
        } else if learn_pace(now, (reservation, endpoint), output_tokens, &mut self.rates) {
            endpoint.output_seen(now, id, reservation, output_tokens);
        }
    }

    pub(super) fn attempt_failed(
        &mut self,
        now: Time,
        id: RequestId,
        (failed, cause): (EndpointId, FailureCause),
        retry: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        let reservation = request.reservation().copied();
        request.state = RequestState::Waiting;
        // A gateway in front may have tried a fallback. Then it is not known when that was sent.
        let sent = reservation.filter(|reservation| reservation.endpoint == failed);
        let sent = sent.map_or(now, |reservation| reservation.dispatched);
        if cause.is_evidence() {
            let doubt = Doubt { endpoint: failed, sent, cause, counted: true };
            self.failed_at(now, id, &mut request, doubt, effects);
        }
        self.release(now, id, reservation.as_ref(), (&request.facts, None, true), effects);
        if cause.is_evidence() && !request.failed.contains(&failed) {
            request.failed.push(failed);
        }
        let state = self.pool_mut(request.facts.pool);
        let budget = state.policy.retry_budget;
        // A request that is to blame would fail at the next endpoint as well, or take that down too.
        let retry = retry && !request.is_to_blame && request.attempts < budget.max_attempts;
        if retry && state.retries.take(now, &budget) {
            self.place(now, id, request, effects);
        } else {
            self.unsettled(now, id, &mut request, effects);
            effects.push(Effect::Reject { request: id, rejection: Rejection::AttemptsFailed(cause) });
        }
    }

    /// Moves the reservation. At an endpoint that the scheduler does not know nothing is reserved.
    pub(super) fn served_elsewhere(
        &mut self,
        now: Time,
        id: RequestId,
        to: EndpointId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        let from = request.reservation().copied();
        if from.is_none_or(|from| from.endpoint != to) {
            self.release(now, id, from.as_ref(), (&request.facts, None, false), effects);
            request.state = self.reserve(now, id, to, &request.facts);
        }
        self.requests.insert(id, request);
    }

    /// Reserves the load of a request at the endpoint where a gateway sent it.
    fn reserve(&mut self, now: Time, id: RequestId, to: EndpointId, facts: &RequestFacts) -> RequestState {
        let Some(index) = self.endpoints.index(to) else { return RequestState::ServedElsewhere };
        let matched = self.prefixes.find(&self.endpoints, facts, None);
        let reservation = self.reserve_at(index, id, facts, &matched, &self.rates.current(now));
        self.prefixes.spare = matched;
        RequestState::Dispatched(reservation)
    }

    pub(super) fn finished(
        &mut self,
        now: Time,
        id: RequestId,
        completion: Completion,
        usage: Usage,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        if let Some(reservation) = request.reservation().copied() {
            let reservation = &reservation;
            let (endpoint, sent) = (reservation.endpoint, reservation.dispatched);
            match completion {
                Completion::Complete => {
                    self.learn_from_response(now, &request.facts, reservation, usage);
                    if let Some(endpoint) = self.endpoints.get_mut(reservation.endpoint) {
                        self.prefixes.compare(endpoint, reservation, &request.facts, &usage);
                    }
                    self.succeeded_at(now, id, &mut request, (endpoint, sent), effects);
                }
                Completion::Declined => self.declined_at(now, id, &request, (endpoint, sent), effects),
                Completion::Broken(cause) => {
                    let doubt = Doubt { endpoint, sent, cause, counted: true };
                    self.failed_at(now, id, &mut request, doubt, effects);
                }
                Completion::ClientGone => {}
            }
        }
        self.unsettled(now, id, &mut request, effects);
        let silent = request.reservation().is_some_and(|reservation| reservation.pace.output == 0);
        let unserved = match completion {
            Completion::Declined => true,
            Completion::Broken(_) => silent,
            Completion::Complete | Completion::ClientGone => false,
        };
        let facts = (&request.facts, usage.output_tokens, unserved);
        self.release(now, id, request.reservation(), facts, effects);
    }

    pub(super) fn aborted(&mut self, now: Time, id: RequestId, effects: &mut Vec<Effect>) {
        if let Some(mut request) = self.requests.remove(&id) {
            self.unsettled(now, id, &mut request, effects);
            self.release(now, id, request.reservation(), (&request.facts, None, false), effects);
        }
    }

    /// Learns the output length of every response, and the speed from those that were not streamed.
    fn learn_from_response(
        &mut self,
        now: Time,
        facts: &RequestFacts,
        reservation: &Reservation,
        usage: Usage,
    ) {
        let Some(endpoint) = self.endpoints.get_mut(reservation.endpoint) else { return };
        // A stream that is shorter than the interval between two progress reports is measured here.
        if let Some(output) = usage.output_tokens.filter(|_| facts.observes_tokens) {
            learn_pace(now, (reservation, endpoint), output, &mut self.rates);
        }
        let seen = (reservation.pace.output > 0).then_some(reservation.pace.output);
        let most = facts.max_output_tokens.unwrap_or(u32::MAX);
        let output = usage.output_tokens.or(seen).map(|output| output.min(most));
        if let Some(output) = output.filter(|output| *output > 0) {
            self.rates.ended_with(output);
        }
        // What a request claims counts only where it was served.
        let reported = usage
            .prompt_tokens
            .map(|prompt| prompt.saturating_sub(usage.cached_tokens.unwrap_or(reservation.cached)));
        if let Some(uncached) = reported.or(output.map(|_| reservation.uncached)) {
            self.rates.prompted_with(uncached);
        }
        // A response without any count is an error page, or no inference at all.
        let counted = usage.prompt_tokens.is_some() || usage.output_tokens.is_some();
        if facts.observes_tokens || !counted || reservation.residency != Residency::Resident {
            return;
        }
        let cached = usage.cached_tokens.unwrap_or(0);
        let prompt = usage.prompt_tokens.map_or(reservation.uncached, |prompt| prompt.saturating_sub(cached));
        let in_flight = f64::from(endpoint.in_flight());
        let measured = ResponseMeasurement {
            seconds: seconds(now.since(reservation.dispatched)),
            prompt: count(reservation.ahead) + f64::from(prompt),
            output: f64::from(output.unwrap_or(0)),
            requests: f64::midpoint(f64::from(reservation.in_flight_at_dispatch), in_flight),
            context: count(endpoint.context()),
        };
        self.rates.responded(now, &mut endpoint.speed, measured);
    }

    /// Releases a request's load at its endpoint, if it has one. `output` are its output tokens by the engine's count;
    /// `unserved` says that the engine declined the request, or failed before any output: it is not believed to have the
    /// prompt then, or an engine that fails would keep what it attracted.
    fn release(
        &mut self,
        now: Time,
        id: RequestId,
        reservation: Option<&Reservation>,
        of: (&RequestFacts, Option<u32>, bool),
        effects: &mut Vec<Effect>,
    ) {
        let Some(reservation) = reservation else { return };
        self.release_load(now, id, reservation, of);
        if let Some(endpoint) = self.endpoints.get_mut(reservation.endpoint) {
            let changed = endpoint.health.inconclusive(now, id);
            announce(changed, endpoint, effects);
        }
    }

    /// The same, while it is open what the request shows of its endpoint.
    pub(super) fn release_load(
        &mut self,
        now: Time,
        id: RequestId,
        reservation: &Reservation,
        (facts, output, unserved): (&RequestFacts, Option<u32>, bool),
    ) {
        self.pool_mut(facts.pool).rule.end(id);
        let Some(endpoint) = self.endpoints.get_mut(reservation.endpoint) else { return };
        endpoint.end(now, id, reservation);
        self.prefixes.release(endpoint, reservation, facts, output, unserved);
    }
}

/// A dispatched request's reservation and its endpoint, whose counts change together.
fn dispatched<'a>(
    requests: &'a mut Requests,
    endpoints: &'a mut Endpoints,
    id: RequestId,
) -> Option<(&'a mut Reservation, &'a mut Endpoint)> {
    let RequestState::Dispatched(reservation) = &mut requests.get_mut(&id)?.state else { return None };
    let endpoint = endpoints.get_mut(reservation.endpoint)?;
    Some((reservation, endpoint))
}

/// The first output of a request: its prefill is over, and its adapter was loaded before.
fn first_output(
    now: Time,
    id: RequestId,
    (reservation, endpoint): (&mut Reservation, &mut Endpoint),
    output_tokens: u32,
    rates: &mut Rates,
) {
    if let Some(measured) = endpoint.output_seen(now, id, reservation, output_tokens) {
        rates.prefilled(now, &mut endpoint.speed, measured);
    }
    // The engine took the prompt: from the next change on, its blocks evict others.
    if let Some(held) = &mut reservation.held {
        endpoint.cache.unproven -= std::mem::take(&mut held.unproven);
    }
    // The wait for a slot that other adapters use is no measure of the time to load one.
    if matches!(reservation.residency, Residency::Missing | Residency::MissingAndFull) {
        let tokens = count(reservation.ahead) + f64::from(reservation.uncached);
        let without = rates.first_token_after(now, &endpoint.speed, tokens);
        rates.adapter_loaded(seconds(now.since(reservation.dispatched)) - without);
    }
}

/// Learns the decode pace of a stream since its output was last seen. Returns whether that is a measurement.
fn learn_pace(
    now: Time,
    (reservation, endpoint): (&Reservation, &mut Endpoint),
    output_tokens: u32,
    rates: &mut Rates,
) -> bool {
    let mark = reservation.pace;
    let new = output_tokens.saturating_sub(mark.output);
    let stretch = seconds(now.since(mark.at));
    // Without an earlier output there is nothing to measure from.
    if new == 0 || mark.output == 0 || stretch < SHORTEST_STRETCH {
        return false;
    }
    let requests = endpoint.in_flight().saturating_sub(endpoint.prefill.len()).max(1);
    let measured = DecodeMeasurement {
        tokens: f64::from(new),
        seconds: stretch,
        requests: f64::from(requests),
        context: count(endpoint.context().saturating_sub(endpoint.prefill.tokens())),
        prefilled: count(endpoint.prefill.prefilled() - mark.prefilled) / f64::from(new),
    };
    if stretch <= LONGEST_STRETCH {
        rates.decoded(now, &mut endpoint.speed, measured, Source::Stream);
    }
    true
}
