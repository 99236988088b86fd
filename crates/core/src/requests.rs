//! The requests that are under way.

use crate::ids::{EndpointId, IdMap, RequestId};
use crate::request::RequestFacts;
use crate::reservation::Reservation;

/// A request from its arrival to its end; one that is over is in no table.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) facts: RequestFacts,
    /// Attempts made so far, the present one included.
    pub(crate) attempts: u32,
    /// Prompts since the last use of its longest cached prefix, at its arrival; `None` where none was cached.
    pub(crate) prefix_idle: Option<u32>,
    /// Endpoints that failed it.
    pub(crate) failed: Vec<EndpointId>,
    pub(crate) state: RequestState,
}

/// Where a request is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RequestState {
    /// It has no endpoint: it arrived, or its last attempt failed.
    Waiting,
    /// It was sent to an endpoint, where its load is reserved.
    Dispatched(Reservation),
    /// A gateway sent it to an endpoint that this scheduler does not know: nothing is reserved.
    ServedElsewhere,
}

impl Request {
    pub(crate) const fn new(facts: RequestFacts) -> Self {
        Self { facts, attempts: 0, prefix_idle: None, failed: Vec::new(), state: RequestState::Waiting }
    }

    /// Its reservation, where it is dispatched.
    pub(crate) const fn reservation(&self) -> Option<&Reservation> {
        match &self.state {
            RequestState::Dispatched(reservation) => Some(reservation),
            RequestState::Waiting | RequestState::ServedElsewhere => None,
        }
    }
}

/// All requests under way. Boxed, so that a table of some hundred thousand grows fast. Not iterated where order counts.
pub(crate) type Requests = IdMap<RequestId, Box<Request>>;
