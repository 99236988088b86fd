//! Events about requests.

use super::Scheduler;
use super::endpoints::announce;
use crate::adapters::Residency;
use crate::cast::count;
use crate::event::Effect;
use crate::ids::{EndpointId, RequestId};
use crate::rates::{DecodeMeasurement, ReplyMeasurement, Source};
use crate::request::{Completion, FailureCause, Rejection, RequestFacts, Usage};
use crate::requests::Request;
use crate::reservation::{PaceMark, Reservation};
use crate::saturation;
use crate::time::{Time, seconds};

/// Two sights of a stream closer than this measure nothing: engines and sockets bunch tokens.
const SHORTEST_STRETCH: f64 = 0.02;
/// A stretch longer than this was no decoding but a stall.
const LONGEST_STRETCH: f64 = 30.0;

impl Scheduler {
    /// A number that is in use already is passed over.
    pub(super) fn arrived(
        &mut self,
        now: Time,
        id: RequestId,
        facts: RequestFacts,
        effects: &mut Vec<Effect>,
    ) {
        if self.requests.contains_key(&id) {
            return;
        }
        let state = self.pool_mut(facts.pool);
        state.repeats.arrived(now);
        let limits = state.policy.saturation;
        if facts.sheddable() && saturation::pool_saturated(&self.endpoints, facts.pool, &limits, now) {
            let prices = self.rates.prices(now);
            let retry_after = saturation::retry_after(&self.endpoints, facts.pool, &limits, &prices);
            effects.push(Effect::Reject { request: id, rejection: Rejection::Saturated { retry_after } });
            return;
        }
        let request = Request { facts, attempts: 0, head_idle: None, failed: Vec::new(), placed: None };
        self.place(now, id, Box::new(request), effects);
    }

    pub(super) fn first_token(&mut self, now: Time, id: RequestId) {
        self.output_seen(now, id, 1);
    }

    /// The first sight of output ends the prefill; each later one measures the pace since the one before.
    fn output_seen(&mut self, now: Time, id: RequestId, output_tokens: u32) {
        let Some(placed) = self.requests.get_mut(&id).and_then(|request| request.placed.as_mut()) else {
            return;
        };
        let Some(endpoint) = self.endpoints.get_mut(placed.endpoint) else { return };
        if !placed.prefilling {
            return;
        }
        placed.prefilling = false;
        endpoint.history.changing(now, endpoint.counts());
        let measured = endpoint.prefill.first_token(now, id);
        if let Some(measured) = measured {
            self.rates.prefilled(now, &mut endpoint.speed, measured);
        }
        // A wait for a slot in use would say little about loading.
        if matches!(placed.residency, Residency::Missing | Residency::MissingAndFull) {
            let tokens = count(placed.ahead) + f64::from(placed.uncached);
            let without = self.rates.first_token_after(now, &endpoint.speed, tokens);
            self.rates.adapter_loaded(seconds(now.since(placed.dispatched)) - without);
        }
        endpoint.context += u64::from(output_tokens);
        placed.context += u64::from(output_tokens);
        placed.pace = PaceMark { at: now, output: output_tokens, prefilled: endpoint.prefill.prefilled() };
    }

    pub(super) fn progress(&mut self, now: Time, id: RequestId, output_tokens: u32) {
        let Some(placed) = self.requests.get(&id).and_then(|request| request.placed) else { return };
        if placed.prefilling {
            self.output_seen(now, id, output_tokens);
            return;
        }
        if !self.learn_pace(now, &placed, output_tokens) {
            return;
        }
        let new = output_tokens - placed.pace.output;
        let Some(endpoint) = self.endpoints.get_mut(placed.endpoint) else { return };
        endpoint.history.changing(now, endpoint.counts());
        endpoint.context += u64::from(new);
        let pace = PaceMark { at: now, output: output_tokens, prefilled: endpoint.prefill.prefilled() };
        if let Some(placed) = self.requests.get_mut(&id).and_then(|request| request.placed.as_mut()) {
            placed.context += u64::from(new);
            placed.pace = pace;
        }
    }

    /// The pace of a stream since the last sight of it; whether that was worth a measurement.
    fn learn_pace(&mut self, now: Time, placed: &Reservation, output_tokens: u32) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(placed.endpoint) else { return false };
        let mark = placed.pace;
        let new = output_tokens.saturating_sub(mark.output);
        let stretch = seconds(now.since(mark.at));
        // A request whose tokens were not to be seen has no mark to measure from.
        if new == 0 || mark.output == 0 || stretch < SHORTEST_STRETCH {
            return false;
        }
        let requests = endpoint.in_flight.saturating_sub(endpoint.prefill.len()).max(1);
        let measured = DecodeMeasurement {
            tokens: f64::from(new),
            seconds: stretch,
            requests: f64::from(requests),
            context: count(endpoint.context.saturating_sub(endpoint.prefill.tokens())),
            prefilled: count(endpoint.prefill.prefilled() - mark.prefilled) / f64::from(new),
        };
        if stretch <= LONGEST_STRETCH {
            self.rates.decoded(now, &mut endpoint.speed, measured, Source::Stream);
        }
        true
    }

    pub(super) fn attempt_failed(
        &mut self,
        now: Time,
        id: RequestId,
        (failed, cause): (EndpointId, FailureCause),
        repeat: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut request) = self.requests.remove(&id) else { return };
        let placed = request.placed.take();
        // A gateway in front may have tried a fallback: then nothing is known of when.
        let sent = placed.filter(|placed| placed.endpoint == failed).map_or(now, |placed| placed.dispatched);
        self.endpoint_failed(now, failed, (id, sent), cause, effects);
        self.release(now, id, placed, (&request.facts, None), effects);
        if !repeat {
            return;
        }
        if !request.failed.contains(&failed) {
            request.failed.push(failed);
        }
        let state = self.pool_mut(request.facts.pool);
        let budget = state.policy.retry_budget;
        if request.attempts < budget.max_attempts && state.repeats.take(now, &budget) {
            self.place(now, id, request, effects);
        } else {
            effects.push(Effect::Reject { request: id, rejection: Rejection::AttemptsFailed(cause) });
        }
    }

    /// The reservation moves; where to is not known to us, nothing is reserved.
    pub(super) fn served_elsewhere(
        &mut self,
        now: Time,
        id: RequestId,
        to: EndpointId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        if request.placed.is_some_and(|placed| placed.endpoint == to) {
            return;
        }
        let from = request.placed.take();
        let facts = request.facts.clone();
        self.release(now, id, from, (&facts, None), effects);
        self.match_prefix(id, &facts);
        let Some(index) = self.endpoints.index(to) else { return };
        let endpoint = &self.endpoints.all()[index];
        let mut placed = self.reservation(now, &facts, endpoint, self.cached[index], &self.rates.prices(now));
        self.endpoints.all_mut()[index].begin(id, &placed);
        placed.held = self.hold_prefix(index, &facts);
        let state = self.pool_mut(facts.pool);
        state.memory.begin(&state.policy.placement, id, to, &facts);
        if let Some(request) = self.requests.get_mut(&id) {
            request.placed = Some(placed);
        }
    }

    pub(super) fn finished(
        &mut self,
        now: Time,
        id: RequestId,
        completion: Completion,
        usage: Usage,
        effects: &mut Vec<Effect>,
    ) {
        let Some(request) = self.requests.remove(&id) else { return };
        if let Some(placed) = &request.placed {
            let sent = (id, placed.dispatched);
            match completion {
                Completion::Complete => {
                    // Streams shorter than the time between two reports of progress tell their pace here.
                    if let Some(output) = usage.output_tokens.filter(|_| request.facts.observes_tokens) {
                        self.learn_pace(now, placed, output);
                    }
                    self.learn_from_reply(now, &request.facts, placed, usage);
                    self.compare_cached(placed, &request.facts, &usage);
                    self.endpoint_served(now, placed.endpoint, sent, effects);
                }
                Completion::Broken(cause) => {
                    self.endpoint_failed(now, placed.endpoint, sent, cause, effects);
                }
                Completion::ClientGone => {}
            }
        }
        self.release(now, id, request.placed, (&request.facts, usage.output_tokens), effects);
    }

    pub(super) fn aborted(&mut self, now: Time, id: RequestId, effects: &mut Vec<Effect>) {
        if let Some(request) = self.requests.remove(&id) {
            self.release(now, id, request.placed, (&request.facts, None), effects);
        }
    }

    /// Output length always; speed where the reply came as a whole and so said nothing before.
    fn learn_from_reply(&mut self, now: Time, facts: &RequestFacts, placed: &Reservation, usage: Usage) {
        let seen = (placed.pace.output > 0).then_some(placed.pace.output);
        let output = usage.output_tokens.or(seen);
        if let Some(output) = output.filter(|output| *output > 0) {
            self.rates.ended_with(output);
        }
        // An answer without any count is an error page, or no inference at all.
        let counted = usage.prompt_tokens.is_some() || usage.output_tokens.is_some();
        let Some(endpoint) = self.endpoints.get_mut(placed.endpoint) else { return };
        if facts.observes_tokens || !counted || placed.residency != Residency::Resident {
            return;
        }
        let cached = usage.cached_tokens.unwrap_or(0);
        let prompt = usage.prompt_tokens.map_or(placed.uncached, |prompt| prompt.saturating_sub(cached));
        let measured = ReplyMeasurement {
            seconds: seconds(now.since(placed.dispatched)),
            prompt: count(placed.ahead) + f64::from(prompt),
            output: f64::from(output.unwrap_or(0)),
            requests: f64::midpoint(f64::from(placed.in_flight_at_dispatch), f64::from(endpoint.in_flight)),
            context: count(endpoint.context),
        };
        self.rates.replied(now, &mut endpoint.speed, measured);
    }

    fn endpoint_served(
        &mut self,
        now: Time,
        id: EndpointId,
        sent: (RequestId, Time),
        effects: &mut Vec<Effect>,
    ) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            let changed = endpoint.health.succeeded(now, sent);
            announce(changed, endpoint, effects);
        }
    }

    fn endpoint_failed(
        &mut self,
        now: Time,
        id: EndpointId,
        sent: (RequestId, Time),
        cause: FailureCause,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            let changed = endpoint.health.failed(now, sent, cause, &mut self.rng);
            announce(changed, endpoint, effects);
        }
    }

    /// Counts a request out of its endpoint. `output` are its output tokens, where the engine told.
    fn release(
        &mut self,
        now: Time,
        id: RequestId,
        placed: Option<Reservation>,
        (facts, output): (&RequestFacts, Option<u32>),
        effects: &mut Vec<Effect>,
    ) {
        let Some(placed) = placed else { return };
        for state in &mut self.pools {
            state.memory.end(id);
        }
        let Some(endpoint) = self.endpoints.get_mut(placed.endpoint) else { return };
        endpoint.end(now, id, &placed);
        let changed = endpoint.health.inconclusive(now, id);
        announce(changed, endpoint, effects);
        self.release_prefix(&placed, facts, output);
        self.endpoints.forget_if_done(placed.endpoint);
    }
}
