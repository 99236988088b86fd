//! One state scheduler of the core behind its lock, and the delivery of what it decides.

mod effects;
mod members;
mod timer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pointsman_core::{
    Completion, Effect, EndpointId, Event, FailureCause, Health, PoolId, Rejection, RequestFacts, RequestId,
    Scheduler, SchedulerConfig, SchedulerSnapshot, Time, Usage,
};
use tokio::sync::oneshot;

use crate::activity::Activity;
use crate::clock::Clock;
use crate::endpoint::PoolEndpoint;
use crate::record::{PoolLog, Pseudonymizer};
use crate::serving::Serving;
use crate::ticket::{Answer, Held, Ticket};

pub(crate) use timer::Timer;

/// A state scheduler with all pools that share its endpoints.
#[derive(Debug)]
pub(crate) struct SchedulerHandle {
    /// Its number in the fleet and in event logs.
    pub(crate) number: u32,
    pub(crate) clock: Clock,
    requests: Arc<RequestCounts>,
    timer: Arc<Timer>,
    /// Where there is an event log, its key.
    pseudonymizer: Option<Arc<Pseudonymizer>>,
    inner: Mutex<Inner>,
    /// Who serves what in each pool. Never locked together with `inner`.
    serving: Mutex<BTreeMap<PoolId, Arc<Serving>>>,
}

/// What is counted over all state schedulers of a fleet.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    made: AtomicU64,
    in_flight: AtomicU64,
}

impl RequestCounts {
    /// Numbers are unique in the fleet, so that the logs of several schedulers can be read together.
    fn next(&self) -> RequestId {
        RequestId(self.made.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Inner {
    pool: Scheduler,
    /// Reused from event to event.
    effects: Vec<Effect>,
    /// Requests that the core holds.
    held: BTreeMap<RequestId, Waiting>,
    /// The endpoints of each pool, those included that it lost but that still have requests.
    members: BTreeMap<PoolId, Vec<Arc<PoolEndpoint>>>,
    /// Requests that the core dispatched where nobody waits: they are given back before the lock is.
    orphans: Vec<RequestId>,
    /// Endpoints that take nothing new and go when their last request does.
    leaving: Vec<(EndpointId, Arc<Activity>)>,
    log: Option<PoolLog>,
}

#[derive(Debug)]
struct Waiting {
    caller: Caller,
    since: Time,
    answer: oneshot::Sender<Answer>,
}

/// What an event led to besides the answer to its own request: carried out after the lock is released.
#[derive(Debug, Default)]
struct Deliveries {
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    health: Vec<(Arc<PoolEndpoint>, Health, bool)>,
}

/// Who asks for an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) request: RequestId,
    pub(crate) pool: PoolId,
    /// Whether it was limited to the endpoints that list its model, by us and not by its door.
    pub(crate) narrowed: bool,
}

/// The request on whose behalf an event is handled: its answer needs no channel.
#[derive(Clone, Copy)]
struct Own {
    caller: Caller,
    since: Time,
}

impl SchedulerHandle {
    pub(crate) fn new(
        number: u32,
        config: SchedulerConfig,
        clock: Clock,
        requests: Arc<RequestCounts>,
        log: Option<PoolLog>,
    ) -> Arc<Self> {
        let pseudonymizer = log.as_ref().map(|log| Arc::clone(log.pseudonymizer()));
        let inner = Inner {
            pool: Scheduler::new(config),
            effects: Vec::new(),
            held: BTreeMap::new(),
            members: BTreeMap::new(),
            orphans: Vec::new(),
            leaving: Vec::new(),
            log,
        };
        let (timer, serving) = (Arc::default(), Mutex::default());
        Arc::new(Self { number, clock, requests, timer, pseudonymizer, inner: Mutex::new(inner), serving })
    }

    pub(crate) fn timer(&self) -> &Arc<Timer> {
        &self.timer
    }

    /// A panic while the lock was held cannot leave the core half changed in a way that later calls would mind more
    /// than a gateway without a pool.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for an endpoint; `narrowed` as in [`Caller`].
    pub(crate) fn place(self: &Arc<Self>, facts: RequestFacts, narrowed: bool) -> Ticket {
        let facts = match &self.pseudonymizer {
            Some(pseudonymizer) => pseudonymizer.facts(facts),
            None => facts,
        };
        let request = self.requests.next();
        let caller = Caller { request, pool: facts.pool, narrowed };
        let own = Own { caller, since: self.clock.now() };
        self.ask(own, Event::Arrived { request, facts }, None)
    }

    /// Reports a failed attempt and asks for the next endpoint.
    pub(crate) fn attempt_failed(
        self: &Arc<Self>,
        caller: Caller,
        endpoint: &PoolEndpoint,
        cause: FailureCause,
        repeat: bool,
    ) -> Ticket {
        endpoint.series.failed(cause);
        let event = Event::AttemptFailed { request: caller.request, endpoint: endpoint.id, cause, repeat };
        let own = Own { caller, since: self.clock.now() };
        let ticket = self.ask(own, event, Some((endpoint, (!repeat).then_some(cause))));
        match ticket.answer() {
            Some(Ok(_)) => endpoint.pool.retried(cause),
            Some(Err(Rejection::AttemptsFailed(_))) if repeat => endpoint.pool.retry_denied(),
            Some(Err(_)) | None => {}
        }
        ticket
    }

    /// A request was placed: called under the lock, as is [`SchedulerHandle::end`], so that a leaving endpoint goes exactly
    /// with its last request.
    pub(crate) fn begin(&self, endpoint: &PoolEndpoint) {
        endpoint.activity.begin();
        self.requests.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, endpoint: &PoolEndpoint) {
        endpoint.activity.end();
        self.requests.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Handles an event that dispatches or rejects its own request, now or later. `left` is the endpoint that the
    /// request leaves, and the cause that ends the request there and then unless the core says otherwise.
    fn ask(
        self: &Arc<Self>,
        own: Own,
        event: Event,
        left: Option<(&PoolEndpoint, Option<FailureCause>)>,
    ) -> Ticket {
        let mut deliveries = Deliveries::default();
        let mut inner = self.lock();
        if let Some((endpoint, _)) = left {
            self.end(endpoint);
        }
        let answer = self.step(&mut inner, event, Some(own), &mut deliveries);
        let answer = answer.or_else(|| Some(Err(Rejection::AttemptsFailed(left?.1?))));
        let ticket = match answer {
            Some(answer) => Ticket::answered(answer),
            None => {
                let (sender, receiver) = oneshot::channel();
                let waiting = Waiting { caller: own.caller, since: own.since, answer: sender };
                inner.held.insert(own.caller.request, waiting);
                Ticket::held(Held::new(Arc::clone(self), own.caller.request, receiver))
            }
        };
        self.sweep(&mut inner, &mut deliveries);
        drop(inner);
        Self::deliver(deliveries);
        ticket
    }

    /// Handles an event that answers no request of its own.
    pub(crate) fn tell(self: &Arc<Self>, event: Event) {
        let mut deliveries = Deliveries::default();
        let mut inner = self.lock();
        self.step(&mut inner, event, None, &mut deliveries);
        drop(inner);
        Self::deliver(deliveries);
    }

    /// A dispatched request came to its end.
    pub(crate) fn finished(
        self: &Arc<Self>,
        request: RequestId,
        endpoint: &PoolEndpoint,
        completion: Completion,
        usage: Usage,
    ) {
        if let Completion::Broken(cause) = completion {
            endpoint.series.failed(cause);
        }
        self.ended(endpoint, Event::Finished { request, completion, usage });
    }

    /// A dispatched request was given up.
    pub(crate) fn aborted(self: &Arc<Self>, request: RequestId, endpoint: &PoolEndpoint) {
        self.ended(endpoint, Event::Aborted { request });
    }

    fn ended(self: &Arc<Self>, endpoint: &PoolEndpoint, event: Event) {
        let mut deliveries = Deliveries::default();
        let mut inner = self.lock();
        self.end(endpoint);
        self.step(&mut inner, event, None, &mut deliveries);
        self.sweep(&mut inner, &mut deliveries);
        drop(inner);
        Self::deliver(deliveries);
    }

    /// Another endpoint than the one told serves the request: it is counted there from now on.
    pub(crate) fn served_elsewhere(
        self: &Arc<Self>,
        Caller { request, pool, .. }: Caller,
        from: &PoolEndpoint,
        to: EndpointId,
    ) -> Option<Arc<PoolEndpoint>> {
        let mut deliveries = Deliveries::default();
        let mut inner = self.lock();
        let endpoint = inner.member(pool, to)?;
        endpoint.activity.begin();
        from.activity.end();
        self.step(&mut inner, Event::ServedElsewhere { request, endpoint: to }, None, &mut deliveries);
        self.sweep(&mut inner, &mut deliveries);
        drop(inner);
        Self::deliver(deliveries);
        Some(endpoint)
    }

    /// A ticket was dropped while its request was held. Where the answer came first, it goes with the channel.
    pub(crate) fn abandoned(self: &Arc<Self>, request: RequestId) {
        let mut deliveries = Deliveries::default();
        let mut inner = self.lock();
        if inner.held.remove(&request).is_some() {
            self.step(&mut inner, Event::Aborted { request }, None, &mut deliveries);
        }
        drop(inner);
        Self::deliver(deliveries);
    }

    /// What the core knows, at this moment.
    pub(crate) fn snapshot(&self) -> (Time, SchedulerSnapshot) {
        let inner = self.lock();
        let now = self.clock.now();
        (now, inner.pool.snapshot(now))
    }

    /// The timers' one way in: the times that have come were taken out already.
    pub(crate) fn wake(self: &Arc<Self>) {
        self.tell(Event::Timer);
    }
}

#[cfg(test)]
mod tests;
