//! A scheduler with a clock, driven event by event.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod engines;

use std::time::Duration;

use pointsman_core::{
    Completion, Effect, EndpointId, EndpointSpec, Event, FailureCause, Health, LoadReport, Placement, PoolId,
    PoolPolicy, PoolSet, Rejection, RequestFacts, RequestId, Scheduler, SchedulerConfig, Time, Usage,
};

pub(crate) const POOL: PoolId = PoolId(0);

pub(crate) struct Driver {
    pub(crate) pool: Scheduler,
    pub(crate) now: Time,
    pub(crate) effects: Vec<Effect>,
    next: u64,
    told: u64,
}

impl Driver {
    /// A scheduler with endpoints numbered from 0.
    pub(crate) fn new(endpoints: u32, placement: Placement) -> Self {
        Self::with_policy(endpoints, PoolPolicy { placement, ..PoolPolicy::default() })
    }

    pub(crate) fn with_policy(endpoints: u32, policy: PoolPolicy) -> Self {
        let pool = Scheduler::new(SchedulerConfig { seed: 7, decisions: true });
        let now = Time::ZERO + Duration::from_secs(1_000);
        let mut driver = Self { pool, now, effects: Vec::new(), next: 0, told: 0 };
        driver.tell(Event::PoolPolicyChanged { pool: POOL, policy });
        for endpoint in 0..endpoints {
            driver.up(endpoint);
        }
        driver
    }

    pub(crate) fn up(&mut self, endpoint: u32) {
        let spec = EndpointSpec { pools: PoolSet::of(POOL) };
        self.tell(Event::EndpointUp { endpoint: EndpointId(endpoint), spec });
    }

    /// Handles an event and checks the invariants. Returns the effects of this event alone.
    pub(crate) fn tell(&mut self, event: Event) -> &[Effect] {
        self.effects.clear();
        self.pool.handle(self.now, event, &mut self.effects);
        self.told += 1;
        // A check takes time in proportion to the requests: in long runs only some events are checked.
        if self.told < 1_000 || self.told.is_multiple_of(100) {
            self.pool.check_invariants().unwrap();
        }
        &self.effects
    }

    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now = self.now + Duration::from_millis(milliseconds);
    }

    /// Lets a request arrive. Returns its number and the answer.
    pub(crate) fn arrive(&mut self, facts: RequestFacts) -> (RequestId, Result<u32, Rejection>) {
        let request = RequestId(self.next);
        self.next += 1;
        self.tell(Event::Arrived { request, facts });
        (request, self.answer(request).expect("each arrival is answered"))
    }

    /// The last event's answer to a request.
    pub(crate) fn answer(&self, request: RequestId) -> Option<Result<u32, Rejection>> {
        let mut answers = self.effects.iter().filter_map(|effect| match effect {
            Effect::Dispatch { request: id, endpoint, .. } if *id == request => Some(Ok(endpoint.0)),
            Effect::Reject { request: id, rejection } if *id == request => Some(Err(*rejection)),
            Effect::Dispatch { .. }
            | Effect::Reject { .. }
            | Effect::WakeAt(_)
            | Effect::HealthChanged { .. }
            | Effect::EndpointGone { .. } => None,
        });
        let answer = answers.next();
        assert!(answers.next().is_none(), "one answer");
        answer
    }

    /// Lets a request arrive that must be dispatched.
    pub(crate) fn dispatch(&mut self, facts: RequestFacts) -> (RequestId, u32) {
        let (request, answer) = self.arrive(facts);
        (request, answer.expect("dispatched"))
    }

    pub(crate) fn fail(
        &mut self,
        request: RequestId,
        endpoint: u32,
        cause: FailureCause,
    ) -> Option<Result<u32, Rejection>> {
        self.tell(Event::AttemptFailed { request, endpoint: EndpointId(endpoint), cause, retry: true });
        self.answer(request)
    }

    pub(crate) fn finish(&mut self, request: RequestId) {
        self.tell(Event::Finished { request, completion: Completion::Complete, usage: Usage::default() });
    }

    pub(crate) fn broken(&mut self, request: RequestId, cause: FailureCause) {
        self.tell(Event::Finished {
            request,
            completion: Completion::Broken(cause),
            usage: Usage::default(),
        });
    }

    pub(crate) fn load(&mut self, endpoint: u32, report: LoadReport) {
        let report = LoadReport { taken: self.now, ..report };
        self.tell(Event::Load { endpoint: EndpointId(endpoint), report });
    }

    pub(crate) fn health(&self, endpoint: u32) -> Health {
        let snapshot = self.pool.snapshot(self.now);
        snapshot.endpoints.iter().find(|known| known.endpoint.0 == endpoint).expect("known").health
    }

    pub(crate) fn in_flight(&self) -> Vec<u32> {
        self.pool.snapshot(self.now).endpoints.iter().map(|endpoint| endpoint.in_flight).collect()
    }
}

/// A streaming request with a prompt of this length.
pub(crate) fn stream(prompt_tokens: u32) -> RequestFacts {
    RequestFacts { prompt_tokens, observes_tokens: true, ..RequestFacts::unknown(POOL) }
}
