//! What a front door holds of a request: a ticket while it waits, a guard while it runs.

use std::sync::Arc;

use pointsman_core::{
    Completion, Decision, EndpointId, Event, FailureCause, Fallbacks, PROGRESS_EVERY, Rejection, RequestId,
    Time, Usage,
};
use tokio::sync::oneshot;

use crate::endpoint::PoolEndpoint;
use crate::scheduler::{Caller, SchedulerHandle};

/// What a ticket brings: a placement, or why there is none.
pub(crate) type Answer = Result<Placed, Rejection>;

/// A request that asked for an endpoint. It gets exactly one answer; dropping the ticket withdraws the request.
#[derive(Debug)]
#[must_use = "a dropped ticket withdraws its request"]
pub struct Ticket(State);

#[derive(Debug)]
enum State {
    Answered(Answer),
    Held(Held),
}

impl Ticket {
    pub(crate) const fn answered(answer: Answer) -> Self {
        Self(State::Answered(answer))
    }

    pub(crate) const fn held(held: Held) -> Self {
        Self(State::Held(held))
    }

    /// The answer, where there is one already.
    pub(crate) const fn answer(&self) -> Option<&Answer> {
        match &self.0 {
            State::Answered(answer) => Some(answer),
            State::Held(_) => None,
        }
    }

    /// The placement. Does not suspend when the pool decided at once, and waits while it holds the request.
    ///
    /// # Errors
    /// The reason why the request is not served.
    pub async fn placed(self) -> Result<Placed, Rejection> {
        match self.0 {
            State::Answered(answer) => answer,
            State::Held(held) => held.answer().await,
        }
    }
}

/// The waiting half of a held request.
#[derive(Debug)]
pub(crate) struct Held {
    scheduler: Arc<SchedulerHandle>,
    request: RequestId,
    answer: oneshot::Receiver<Answer>,
    answered: bool,
}

impl Held {
    pub(crate) const fn new(
        scheduler: Arc<SchedulerHandle>,
        request: RequestId,
        answer: oneshot::Receiver<Answer>,
    ) -> Self {
        Self { scheduler, request, answer, answered: false }
    }

    async fn answer(mut self) -> Answer {
        let answer = (&mut self.answer).await;
        self.answered = true;
        // The other half lives in the scheduler that this half keeps alive, and goes only with an answer.
        answer.unwrap_or(Err(Rejection::ShuttingDown))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.answered {
            self.scheduler.abandoned(self.request);
        }
    }
}

/// A placed request: the guard of the load that is reserved for it. Whatever happens to the stream, dropping the guard
/// counts the request out; [`Placed::finish`] and [`Placed::failed`] say how it ended. Dropping takes the pool's lock
/// once and never waits for anything else.
#[derive(Debug)]
pub struct Placed {
    scheduler: Arc<SchedulerHandle>,
    caller: Caller,
    endpoint: Arc<PoolEndpoint>,
    fallbacks: Fallbacks,
    decision: Option<Arc<Decision>>,
    first_token_seen: bool,
    /// When progress was last reported to the core.
    reported: Time,
    /// Whether the core counts this request still.
    counted: bool,
}

impl Placed {
    /// Called under the scheduler's lock.
    pub(crate) fn new(
        scheduler: Arc<SchedulerHandle>,
        caller: Caller,
        endpoint: Arc<PoolEndpoint>,
        fallbacks: Fallbacks,
        decision: Option<Arc<Decision>>,
    ) -> Self {
        scheduler.begin(&endpoint);
        endpoint.series.attempted();
        let reported = Time::ZERO;
        Self {
            scheduler,
            caller,
            endpoint,
            fallbacks,
            decision,
            first_token_seen: false,
            reported,
            counted: true,
        }
    }

    /// Where to send the request.
    #[must_use]
    pub const fn endpoint(&self) -> &Arc<PoolEndpoint> {
        &self.endpoint
    }

    /// Where to next, best first, for doors whose gateway repeats attempts by itself; others ask [`Placed::failed`].
    #[must_use]
    pub fn fallbacks(&self) -> Vec<Arc<PoolEndpoint>> {
        let ids = self.fallbacks.as_slice();
        if ids.is_empty() { Vec::new() } else { self.scheduler.endpoints(self.caller.pool, ids) }
    }

    /// The request's number, for logs and traces.
    #[must_use]
    pub const fn request(&self) -> RequestId {
        self.caller.request
    }

    /// Why there, where the fleet was started with decision records.
    #[must_use]
    pub const fn decision(&self) -> Option<&Arc<Decision>> {
        self.decision.as_ref()
    }

    /// The first output token came: its prefill is over. Further calls change nothing.
    pub fn first_token(&mut self) {
        if !std::mem::replace(&mut self.first_token_seen, true) {
            self.reported = self.scheduler.clock.now();
            self.scheduler.tell(Event::FirstToken { request: self.caller.request });
        }
    }

    /// So many output tokens came until now. Cheap to call for every chunk: the core hears of it every
    /// [`PROGRESS_EVERY`].
    pub fn progress(&mut self, output_tokens: u32) {
        let now = self.scheduler.clock.now();
        if now.since(self.reported) >= PROGRESS_EVERY {
            self.reported = now;
            self.scheduler.tell(Event::Progress { request: self.caller.request, output_tokens });
        }
    }

    /// Another endpoint of the pool serves the request than the one it was placed at: its load moves there. Whether
    /// the pool has such an endpoint; if not, nothing changes.
    pub fn served_elsewhere(&mut self, endpoint: EndpointId) -> bool {
        if endpoint == self.endpoint.id {
            return true;
        }
        match self.scheduler.served_elsewhere(self.caller, &self.endpoint, endpoint) {
            Some(endpoint) => {
                self.endpoint = endpoint;
                true
            }
            None => false,
        }
    }

    /// The attempt failed before anything went to the client. With `repeat`, the ticket brings the next placement or
    /// the final rejection; without, the request is over and the ticket says [`Rejection::AttemptsFailed`].
    pub fn failed(mut self, cause: FailureCause, repeat: bool) -> Ticket {
        self.counted = false;
        self.scheduler.attempt_failed(self.caller, &self.endpoint, cause, repeat)
    }

    /// The request came to its end.
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
