//! Carries out the core's effects: placement results, timers, health changes.

use std::sync::Arc;

use pointsman_core::{Decision, Effect, EndpointId, Event, Fallbacks, Rejection, RequestId};

use super::{Caller, Deliveries, Inner, SchedulerHandle};
use crate::ticket::{Placed, PlacementResult};

/// A dispatch or a rejection of the core.
type Resolution = Result<(EndpointId, Fallbacks, Option<Arc<Decision>>), Rejection>;

impl SchedulerHandle {
    /// Handles one event and the aborts that it causes. Returns the result for `caller`, if there is one already.
    pub(super) fn step(
        self: &Arc<Self>,
        inner: &mut Inner,
        event: Event,
        caller: Option<Caller>,
        deliveries: &mut Deliveries,
    ) -> Option<PlacementResult> {
        let mut result = self.handle(inner, event, caller, deliveries);
        while let Some(request) = inner.unclaimed.pop() {
            let other = self.handle(inner, Event::Aborted { request }, caller, deliveries);
            result = result.or(other);
        }
        result
    }

    fn handle(
        self: &Arc<Self>,
        inner: &mut Inner,
        event: Event,
        caller: Option<Caller>,
        deliveries: &mut Deliveries,
    ) -> Option<PlacementResult> {
        let now = self.clock.now();
        let mut effects = std::mem::take(&mut inner.effects);
        if let Some(log) = &mut inner.log {
            log.event(now, &event);
        }
        inner.core.handle(now, event, &mut effects);
        if let Some(log) = &mut inner.log {
            log.effects(&effects);
        }
        let mut result = None;
        for effect in effects.drain(..) {
            if let Some(found) = self.apply(inner, effect, caller, deliveries) {
                result = Some(found);
            }
        }
        inner.effects = effects;
        result
    }

    fn apply(
        self: &Arc<Self>,
        inner: &mut Inner,
        effect: Effect,
        caller: Option<Caller>,
        deliveries: &mut Deliveries,
    ) -> Option<PlacementResult> {
        match effect {
            Effect::Dispatch { request, endpoint, fallbacks, decision } => {
                self.resolve(inner, request, Ok((endpoint, fallbacks, decision)), caller, deliveries)
            }
            Effect::Reject { request, rejection } => {
                self.resolve(inner, request, Err(rejection), caller, deliveries)
            }
            Effect::WakeAt(time) => {
                self.timer.wake_at(time);
                None
            }
            Effect::HealthChanged { endpoint, health } => {
                for (position, pool_endpoint) in inner.pool_endpoints(endpoint).enumerate() {
                    // Pools that share an endpoint share its activity, so the change is logged for the first one only.
                    let logged =
                        crate::health::update_probing(&pool_endpoint.activity, health) && position == 0;
                    deliveries.health.push((pool_endpoint, health, logged));
                }
                None
            }
            Effect::EndpointGone { endpoint } => {
                inner.gone(endpoint);
                None
            }
        }
    }

    /// Turns a resolution into a result and hands it to the request's ticket, or back where the request is the caller's.
    fn resolve(
        self: &Arc<Self>,
        inner: &mut Inner,
        request: RequestId,
        resolution: Resolution,
        caller: Option<Caller>,
        deliveries: &mut Deliveries,
    ) -> Option<PlacementResult> {
        let (caller, sender) = match caller {
            Some(caller) if caller.request == request => (caller, None),
            Some(_) | None => match inner.pending.remove(&request) {
                Some(pending) => (pending.caller, Some(pending.sender)),
                None => {
                    inner.unclaimed.extend(resolution.is_ok().then_some(request));
                    return None;
                }
            },
        };
        let (resolution, record) = match resolution {
            Ok((endpoint, fallbacks, decision)) => (Ok((endpoint, fallbacks)), decision.map(Ok)),
            Err(rejection) => (Err(rejection), Some(Err(rejection))),
        };
        if let (Some(decisions), Some(record)) = (&self.decisions, record) {
            decisions.placed(request, self.clock.now(), record);
        }
        let result = match resolution {
            // The client asked for no subset, so a rejection must not name one.
            Err(Rejection::EmptySubset) if caller.narrowed => Err(Rejection::NoReadyEndpoint),
            Err(rejection) => Err(rejection),
            Ok((endpoint, fallbacks)) => match inner.member(caller.pool, endpoint) {
                Some(endpoint) => {
                    endpoint.pool.decided(self.clock.now().since(caller.asked_at));
                    Ok(Placed::new(Arc::clone(self), caller, endpoint, fallbacks))
                }
                None => {
                    inner.unclaimed.push(request);
                    Err(Rejection::NoReadyEndpoint)
                }
            },
        };
        match sender {
            None => Some(result),
            Some(sender) => {
                deliveries.placements.push((sender, result));
                None
            }
        }
    }

    /// Carries out what must not happen under the lock. A result whose receiver is gone is dropped here, which aborts
    /// the request.
    pub(super) fn deliver(deliveries: Deliveries) {
        for (sender, result) in deliveries.placements {
            drop(sender.send(result));
        }
        for (endpoint, health, logged) in deliveries.health {
            crate::health::report(&endpoint, health, logged);
        }
    }
}
