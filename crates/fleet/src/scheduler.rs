//! Drives one [`Scheduler`] of the core: handles its events one at a time under a lock and delivers their effects.

mod effects;
mod members;
mod timer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pointsman_core::{
    Completion, Effect, EndpointId, Event, FailureCause, Health, PoolId, Rejection, RequestFacts, RequestId,
    Scheduler, SchedulerConfig, SchedulerSnapshot, SnapshotInSteps, Time, Usage,
};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::decisions::{DecisionLog, RequestDecisions};
use crate::endpoint::PoolEndpoint;
use crate::model_index::ModelIndex;
use crate::record::{Pseudonymizer, SchedulerLog};
use crate::ticket::{PendingTicket, PlacementResult, Ticket};

pub(crate) use timer::Timer;

/// Endpoints of a snapshot that are read while the lock is held: some tens of microseconds.
const ENDPOINTS_PER_LOCK: usize = 128;

/// A scheduler with all pools that share its endpoints.
#[derive(Debug)]
pub(crate) struct SchedulerHandle {
    /// Its number in the fleet and in event logs.
    pub(crate) number: u32,
    pub(crate) clock: Clock,
    requests: Arc<RequestCounts>,
    pub(crate) timer: Arc<Timer>,
    /// Replaces block hashes before the core sees them, while an event log is recorded.
    pseudonymizer: Option<Arc<Pseudonymizer>>,
    decisions: Option<Arc<DecisionLog>>,
    inner: Mutex<Inner>,
    /// Which endpoints list which model, by pool. Never locked together with `inner`.
    models: Mutex<BTreeMap<PoolId, Arc<ModelIndex>>>,
}

/// Request counts over all schedulers of a fleet.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    arrived: AtomicU64,
    in_flight: AtomicU64,
}

impl RequestCounts {
    /// The next request number. Numbers are unique in the fleet, so that the logs of several schedulers can be read
    /// together.
    fn next(&self) -> RequestId {
        RequestId(self.arrived.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Inner {
    core: Scheduler,
    /// Reused from event to event.
    effects: Vec<Effect>,
    /// Requests that the core holds.
    pending: BTreeMap<RequestId, PendingRequest>,
    /// The endpoints of each pool, including those that it lost but that still have requests.
    members: BTreeMap<PoolId, Vec<Arc<PoolEndpoint>>>,
    /// Requests that the core dispatched after their ticket was dropped. They are aborted before the lock is released.
    unclaimed: Vec<RequestId>,
    /// Draining endpoints that still have requests.
    draining: BTreeSet<EndpointId>,
    log: Option<SchedulerLog>,
}

/// The sending end of a [`PendingTicket`].
#[derive(Debug)]
struct PendingRequest {
    caller: Caller,
    sender: oneshot::Sender<PlacementResult>,
}

/// Effects to carry out after the lock is released.
#[derive(Debug, Default)]
struct Deliveries {
    placements: Vec<(oneshot::Sender<PlacementResult>, PlacementResult)>,
    /// The endpoint, its health, and whether the change is logged.
    health: Vec<(Arc<PoolEndpoint>, Health, bool)>,
}

/// The request that an event asks an endpoint for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) request: RequestId,
    pub(crate) pool: PoolId,
    /// Whether [`PoolHandle::place`](crate::PoolHandle::place) limited it to the endpoints that list its model. Its
    /// door set no limit then.
    pub(crate) narrowed: bool,
    /// When this placement was asked for.
    pub(crate) asked_at: Time,
}

impl SchedulerHandle {
    pub(crate) fn new(
        number: u32,
        config: SchedulerConfig,
        clock: Clock,
        requests: Arc<RequestCounts>,
        log: Option<SchedulerLog>,
        decisions: Option<Arc<DecisionLog>>,
    ) -> Arc<Self> {
        let pseudonymizer = log.as_ref().map(|log| Arc::clone(log.pseudonymizer()));
        let inner = Inner {
            core: Scheduler::new(config),
            effects: Vec::new(),
            pending: BTreeMap::new(),
            members: BTreeMap::new(),
            unclaimed: Vec::new(),
            draining: BTreeSet::new(),
            log,
        };
        let (timer, models, inner) = (Arc::default(), Mutex::default(), Mutex::new(inner));
        Arc::new(Self { number, clock, requests, timer, pseudonymizer, decisions, inner, models })
    }

    /// The state, also after a panic in an earlier event: the core's counts may be off by that event, which costs less
    /// than a pool that serves nothing until the process restarts.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` under the lock, then carries out what must not happen there.
    fn locked<T>(&self, work: impl FnOnce(&mut Inner, &mut Deliveries) -> T) -> T {
        let mut deliveries = Deliveries::default();
        let result = work(&mut self.lock(), &mut deliveries);
        Self::deliver(deliveries);
        result
    }

    /// Asks for an endpoint. `narrowed` is [`Caller::narrowed`]; `describe` makes the request's entry in the decision log,
    /// where there is one.
    pub(crate) fn place(
        self: &Arc<Self>,
        facts: RequestFacts,
        narrowed: bool,
        describe: impl FnOnce(RequestId, Time) -> RequestDecisions,
    ) -> Ticket {
        let facts = match &self.pseudonymizer {
            Some(pseudonymizer) => pseudonymizer.pseudonymize(facts),
            None => facts,
        };
        let (request, pool) = (self.requests.next(), facts.pool);
        let caller = Caller { request, pool, narrowed, asked_at: self.clock.now() };
        if let Some(decisions) = &self.decisions {
            decisions.begin(describe(request, caller.asked_at));
        }
        self.ask(caller, Event::Arrived { request, facts }, None)
    }

    /// Reports a failed attempt and asks for the next endpoint.
    pub(crate) fn attempt_failed(
        self: &Arc<Self>,
        caller: Caller,
        endpoint: &PoolEndpoint,
        cause: FailureCause,
        retry: bool,
    ) -> Ticket {
        if cause.is_evidence() {
            endpoint.series.failed(cause);
        }
        let event = Event::AttemptFailed { request: caller.request, endpoint: endpoint.id, cause, retry };
        let caller = Caller { asked_at: self.clock.now(), ..caller };
        let ticket = self.ask(caller, event, Some(endpoint));
        match ticket.result() {
            Some(Ok(_)) => endpoint.pool.retried(cause),
            Some(Err(Rejection::AttemptsFailed(_))) if retry => endpoint.pool.retry_denied(),
            Some(Err(_)) | None => {}
        }
        ticket
    }

    /// Reports an answer that is held back. Returns the result of another placement, where one is made.
    pub(crate) fn error_answered(
        self: &Arc<Self>,
        caller: Caller,
        endpoint: &PoolEndpoint,
        cause: FailureCause,
    ) -> Option<PlacementResult> {
        let event = Event::ErrorAnswered { request: caller.request, cause };
        let caller = Caller { asked_at: self.clock.now(), ..caller };
        let result = self.locked(|inner, deliveries| {
            let result = self.step(inner, event, Some(caller), deliveries)?;
            self.end(endpoint);
            Some(result)
        })?;
        if result.is_ok() {
            endpoint.pool.retried(cause);
        }
        Some(result)
    }

    /// Counts a request in.
    pub(crate) fn begin(&self, endpoint: &PoolEndpoint) {
        endpoint.activity.begin();
        self.requests.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, endpoint: &PoolEndpoint) {
        endpoint.activity.end();
        self.requests.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Handles an event that dispatches or rejects the caller's request, now or later. `left` is the endpoint that the
    /// request leaves.
    fn ask(self: &Arc<Self>, caller: Caller, event: Event, left: Option<&PoolEndpoint>) -> Ticket {
        self.locked(|inner, deliveries| {
            if let Some(endpoint) = left {
                self.end(endpoint);
            }
            if let Some(result) = self.step(inner, event, Some(caller), deliveries) {
                return Ticket::decided(result);
            }
            let (sender, receiver) = oneshot::channel();
            inner.pending.insert(caller.request, PendingRequest { caller, sender });
            Ticket::pending(PendingTicket::new(Arc::clone(self), caller.request, receiver))
        })
    }

    /// Handles an event on behalf of no request that waits.
    pub(crate) fn tell(self: &Arc<Self>, event: Event) {
        self.locked(|inner, deliveries| drop(self.step(inner, event, None, deliveries)));
    }

    /// Reports the end of a dispatched request.
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

    /// Reports that a dispatched request was abandoned.
    pub(crate) fn aborted(self: &Arc<Self>, request: RequestId, endpoint: &PoolEndpoint) {
        self.ended(endpoint, Event::Aborted { request });
    }

    fn ended(self: &Arc<Self>, endpoint: &PoolEndpoint, event: Event) {
        self.locked(|inner, deliveries| {
            self.end(endpoint);
            self.step(inner, event, None, deliveries);
        });
    }

    /// Moves a request to another endpoint of its pool that serves it; `None` where the pool does not have that one.
    pub(crate) fn served_elsewhere(
        self: &Arc<Self>,
        Caller { request, pool, .. }: Caller,
        from: &PoolEndpoint,
        to: EndpointId,
    ) -> Option<Arc<PoolEndpoint>> {
        self.locked(|inner, deliveries| {
            let endpoint = inner.member(pool, to)?;
            endpoint.activity.begin();
            from.activity.end();
            self.step(inner, Event::ServedElsewhere { request, endpoint: to }, None, deliveries);
            Some(endpoint)
        })
    }

    /// Aborts the request of a dropped ticket, unless its result was sent first: then the channel drops the guard.
    pub(crate) fn withdraw(self: &Arc<Self>, request: RequestId) {
        self.locked(|inner, deliveries| {
            if inner.pending.remove(&request).is_some() {
                self.step(inner, Event::Aborted { request }, None, deliveries);
            }
        });
    }

    /// The core's state, and the time of the snapshot. Placements go on in between: the lock is held for some endpoints at a
    /// time.
    pub(crate) fn snapshot(&self) -> (Time, SchedulerSnapshot) {
        let mut steps = SnapshotInSteps::default();
        while !steps.is_complete() {
            let inner = self.lock();
            inner.core.snapshot_step(self.clock.now(), &mut steps, ENDPOINTS_PER_LOCK);
            drop(inner);
            // Who waits for the lock comes first.
            std::thread::yield_now();
        }
        let now = self.clock.now();
        let snapshot = steps.finish();
        (now, snapshot.unwrap_or_else(|| self.lock().core.snapshot(now)))
    }
}

#[cfg(test)]
mod tests;
