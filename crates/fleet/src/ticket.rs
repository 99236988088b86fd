//! One request's placement as a front door holds it: a [`Ticket`] until the scheduler decides, then a [`Placed`] guard
//! until the request ends.

use std::sync::Arc;

use pointsman_core::{
    Completion, EndpointId, Event, FailureCause, Fallbacks, PROGRESS_EVERY, Rejection, RequestId, Time, Usage,
};
use tokio::sync::oneshot;

use crate::endpoint::PoolEndpoint;
use crate::scheduler::{Caller, SchedulerHandle};

/// The outcome of a placement: the guard of a placed request, or the reason why the request is not served.
pub type PlacementResult = Result<Placed, Rejection>;

/// A request that asked for an endpoint. It gets exactly one [`PlacementResult`]; dropping the ticket withdraws the
/// request.
///
/// A ticket needs no tokio runtime. A synchronous caller takes the result with [`Ticket::try_placed`]; while that hands
/// the ticket back, the future of [`Ticket::placed`] can be polled on any executor, and its waker is called from the
/// thread that dispatches the request.
#[derive(Debug)]
#[must_use = "a dropped ticket withdraws its request"]
pub struct Ticket(State);

#[derive(Debug)]
enum State {
    Decided(PlacementResult),
    Pending(PendingTicket),
}

impl Ticket {
    pub(crate) const fn decided(result: PlacementResult) -> Self {
        Self(State::Decided(result))
    }

    pub(crate) const fn pending(ticket: PendingTicket) -> Self {
        Self(State::Pending(ticket))
    }

    /// The result, if the scheduler decided before the ticket was made.
    pub(crate) const fn result(&self) -> Option<&PlacementResult> {
        match &self.0 {
            State::Decided(result) => Some(result),
            State::Pending(_) => None,
        }
    }

    /// The result without waiting.
    ///
    /// # Errors
    /// The ticket itself, while the scheduler holds the request.
    pub fn try_placed(self) -> Result<PlacementResult, Self> {
        match self.0 {
            State::Decided(result) => Ok(result),
            State::Pending(ticket) => ticket.try_result().map_err(Self::pending),
        }
    }

    /// The result, awaited while the scheduler holds the request. Does not suspend where [`Ticket::try_placed`] would
    /// succeed.
    ///
    /// # Errors
    /// The reason why the request is not served.
    pub async fn placed(self) -> PlacementResult {
        match self.0 {
            State::Decided(result) => result,
            State::Pending(ticket) => ticket.result().await,
        }
    }
}

/// The receiving end of a request that the scheduler holds.
#[derive(Debug)]
pub(crate) struct PendingTicket {
    scheduler: Arc<SchedulerHandle>,
    request: RequestId,
    receiver: oneshot::Receiver<PlacementResult>,
    resolved: bool,
}

impl PendingTicket {
    pub(crate) const fn new(
        scheduler: Arc<SchedulerHandle>,
        request: RequestId,
        receiver: oneshot::Receiver<PlacementResult>,
    ) -> Self {
        Self { scheduler, request, receiver, resolved: false }
    }

    async fn result(mut self) -> PlacementResult {
        let result = (&mut self.receiver).await;
        self.resolve(result.ok())
    }

    fn try_result(mut self) -> Result<PlacementResult, Self> {
        match self.receiver.try_recv() {
            Ok(result) => Ok(self.resolve(Some(result))),
            Err(oneshot::error::TryRecvError::Closed) => Ok(self.resolve(None)),
            Err(oneshot::error::TryRecvError::Empty) => Err(self),
        }
    }

    fn resolve(&mut self, result: Option<PlacementResult>) -> PlacementResult {
        self.resolved = true;
        // The sender belongs to the scheduler, which `self` keeps alive, and is consumed only by sending.
        result.unwrap_or(Err(Rejection::NoReadyEndpoint))
    }
}

impl Drop for PendingTicket {
    fn drop(&mut self) {
        if !self.resolved {
            self.scheduler.withdraw(self.request);
        }
    }
}

/// A placed request: the guard of the load that is reserved for it. Dropping it counts the request out as aborted;
/// [`Placed::finish`] and [`Placed::failed`] report another end. Each of these takes the scheduler's lock once and
/// waits for nothing else, so a guard may be dropped on any thread.
#[derive(Debug)]
pub struct Placed {
    scheduler: Arc<SchedulerHandle>,
    caller: Caller,
    endpoint: Arc<PoolEndpoint>,
    fallbacks: Fallbacks,
    first_token_seen: bool,
    /// The time of the last progress event.
    reported: Time,
    /// Whether the core still counts this request.
    counted: bool,
}

impl Placed {
    /// Called under the scheduler's lock.
    pub(crate) fn new(
        scheduler: Arc<SchedulerHandle>,
        caller: Caller,
        endpoint: Arc<PoolEndpoint>,
        fallbacks: Fallbacks,
    ) -> Self {
        scheduler.begin(&endpoint);
        endpoint.series.attempted();
        let reported = Time::ZERO;
        Self { scheduler, caller, endpoint, fallbacks, first_token_seen: false, reported, counted: true }
    }

    /// The endpoint to send the request to.
    #[must_use]
    pub const fn endpoint(&self) -> &Arc<PoolEndpoint> {
        &self.endpoint
    }

    /// The endpoints to try next, best first, for gateways that retry by themselves. A door that retries itself calls
    /// [`Placed::failed`] instead.
    #[must_use]
    pub fn fallbacks(&self) -> Vec<Arc<PoolEndpoint>> {
        let ids = self.fallbacks.as_slice();
        if ids.is_empty() { Vec::new() } else { self.scheduler.endpoints(self.caller.pool, ids) }
    }

    /// The request's number, unique in the fleet.
    #[must_use]
    pub const fn request(&self) -> RequestId {
        self.caller.request
    }

    /// Reports the first output token, which ends the request's prefill. Further calls change nothing.
    pub fn first_token(&mut self) {
        if !std::mem::replace(&mut self.first_token_seen, true) {
            self.reported = self.scheduler.clock.now();
            self.scheduler.tell(Event::FirstToken { request: self.caller.request });
        }
    }

    /// Reports the number of output tokens so far. Cheap enough to call for every chunk: it reaches the core at most
    /// once per [`PROGRESS_EVERY`].
    pub fn progress(&mut self, output_tokens: u32) {
        let now = self.scheduler.clock.now();
        if now.since(self.reported) >= PROGRESS_EVERY {
            self.reported = now;
            self.scheduler.tell(Event::Progress { request: self.caller.request, output_tokens });
        }
    }

    /// Moves the request's load to the endpoint that serves it instead of the one it was placed at, which is probed.
    /// Returns whether the pool has that endpoint; nothing changes where it does not.
    pub fn served_elsewhere(&mut self, endpoint: EndpointId) -> bool {
        if endpoint == self.endpoint.id {
            return true;
        }
        match self.scheduler.served_elsewhere(self.caller, &self.endpoint, endpoint) {
            Some(endpoint) => {
                // A gateway turns to a fallback when it cannot connect to the first choice.
                self.endpoint.activity.suspect();
                self.endpoint = endpoint;
                true
            }
            None => false,
        }
    }

    /// Reports that no engine is known to have answered, as where a gateway in front answered by itself. Nothing counts
    /// against the endpoint, which is probed instead.
    pub fn unserved(self) {
        self.endpoint.activity.suspect();
    }

    /// Reports that the attempt failed before any of the response went to the client. With `retry`, the ticket brings
    /// the next placement or the final rejection; without, the request is over and the ticket's result is
    /// [`Rejection::AttemptsFailed`].
    pub fn failed(mut self, cause: FailureCause, retry: bool) -> Ticket {
        self.counted = false;
        self.scheduler.attempt_failed(self.caller, &self.endpoint, cause, retry)
    }

    /// Reports an engine's answer with an error for which the request may be to blame, which the caller holds back. `Ok` is
    /// the result of another placement, where another endpoint is to be asked; otherwise the answer is to be passed on.
    ///
    /// # Errors
    /// The guard itself, where the answer is to be passed on.
    pub fn error_answered(mut self, cause: FailureCause) -> Result<PlacementResult, Self> {
        match self.scheduler.error_answered(self.caller, &self.endpoint, cause) {
            Some(result) => {
                self.counted = false;
                Ok(result)
            }
            None => Err(self),
        }
    }

    /// Reports the end of the request.
    pub fn finish(mut self, completion: Completion, usage: Usage) {
        self.counted = false;
        self.scheduler.finished(self.caller.request, &self.endpoint, completion, usage);
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        if self.counted {
            self.scheduler.aborted(self.caller.request, &self.endpoint);
        }
    }
}
