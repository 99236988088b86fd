//! From the core's effects to answers, timers and signs.

use std::sync::Arc;

use pointsman_core::{Decision, Effect, EndpointId, Event, Fallbacks, Rejection, RequestId};

use super::{Deliveries, Inner, Own, SchedulerHandle};
use crate::ticket::{Answer, Placed};

type Reply = Result<(EndpointId, Fallbacks, Option<Arc<Decision>>), Rejection>;

impl SchedulerHandle {
    /// Feeds one event to the core and sorts its effects; returns the answer to the event's own request.
    pub(super) fn step(
        self: &Arc<Self>,
        inner: &mut Inner,
        event: Event,
        own: Option<Own>,
        deliveries: &mut Deliveries,
    ) -> Option<Answer> {
        let mut answer = self.handle(inner, event, own, deliveries);
        while let Some(request) = inner.orphans.pop() {
            let other = self.handle(inner, Event::Aborted { request }, own, deliveries);
            answer = answer.or(other);
        }
        answer
    }

    fn handle(
        self: &Arc<Self>,
        inner: &mut Inner,
        event: Event,
        own: Option<Own>,
        deliveries: &mut Deliveries,
    ) -> Option<Answer> {
        let now = self.clock.now();
        let mut effects = std::mem::take(&mut inner.effects);
        if let Some(log) = &mut inner.log {
            log.event(now, &event);
        }
        inner.pool.handle(now, event, &mut effects);
        if let Some(log) = &mut inner.log {
            log.effects(&effects);
        }
        let mut answer = None;
        for effect in effects.drain(..) {
            if let Some(found) = self.sort(inner, effect, own, deliveries) {
                answer = Some(found);
            }
        }
        inner.effects = effects;
        answer
    }

    fn sort(
        self: &Arc<Self>,
        inner: &mut Inner,
        effect: Effect,
        own: Option<Own>,
        deliveries: &mut Deliveries,
    ) -> Option<Answer> {
        match effect {
            Effect::Dispatch { request, endpoint, fallbacks, decision } => {
                self.reply(inner, request, Ok((endpoint, fallbacks, decision)), own, deliveries)
            }
            Effect::Reject { request, rejection } => {
                self.reply(inner, request, Err(rejection), own, deliveries)
            }
            Effect::WakeAt(time) => {
                self.timer.wake_at(time);
                None
            }
            Effect::HealthChanged { endpoint, health } => {
                for (position, pool_endpoint) in inner.pool_endpoints(endpoint).enumerate() {
                    // Pools that share an endpoint share its activity: the first one hears the news for all.
                    let news = crate::health::note(&pool_endpoint.activity, health) && position == 0;
                    deliveries.health.push((pool_endpoint, health, news));
                }
                None
            }
            // Reserved for flow control, which does not exist yet: the core never asks for it.
            Effect::Evict { .. } => None,
        }
    }

    /// Makes a request's answer and hands it to its ticket, or back where the request is the event's own.
    fn reply(
        self: &Arc<Self>,
        inner: &mut Inner,
        request: RequestId,
        reply: Reply,
        own: Option<Own>,
        deliveries: &mut Deliveries,
    ) -> Option<Answer> {
        let (caller, since, channel) = match own {
            Some(own) if own.caller.request == request => (own.caller, own.since, None),
            Some(_) | None => match inner.held.remove(&request) {
                Some(held) => (held.caller, held.since, Some(held.answer)),
                None => {
                    inner.orphans.extend(reply.is_ok().then_some(request));
                    return None;
                }
            },
        };
        let answer = match reply {
            // The client asked for no limit, and is not told of one.
            Err(Rejection::EmptySubset) if caller.narrowed => Err(Rejection::NoReadyEndpoint),
            Err(rejection) => Err(rejection),
            Ok((endpoint, fallbacks, decision)) => match inner.member(caller.pool, endpoint) {
                Some(endpoint) => {
                    endpoint.pool.decided(self.clock.now().since(since));
                    Ok(Placed::new(Arc::clone(self), caller, endpoint, fallbacks, decision))
                }
                None => {
                    inner.orphans.push(request);
                    Err(Rejection::NoReadyEndpoint)
                }
            },
        };
        match channel {
            None => Some(answer),
            Some(channel) => {
                deliveries.answers.push((channel, answer));
                None
            }
        }
    }

    /// Carries out what must not happen under the lock. An answer that nobody waits for any more is dropped here,
    /// which gives the placement back.
    pub(super) fn deliver(deliveries: Deliveries) {
        for (channel, answer) in deliveries.answers {
            drop(channel.send(answer));
        }
        for (endpoint, health, news) in deliveries.health {
            crate::health::report(&endpoint, health, news);
        }
    }
}
