//! The requests that are under way.

use crate::ids::{EndpointId, IdMap, RequestId};
use crate::request::{FailureCause, RequestFacts};
use crate::reservation::Reservation;
use crate::time::Time;

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
    /// Failures of it for which it may be to blame itself.
    pub(crate) doubts: Vec<Doubt>,
    /// Whether several endpoints failed it alike, so that it is to blame.
    pub(crate) is_to_blame: bool,
    pub(crate) state: RequestState,
}

/// A failure of a request, as long as it is open whether the endpoint or the request is the cause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    pub(crate) endpoint: EndpointId,
    /// When the request was sent there.
    pub(crate) sent: Time,
    pub(crate) cause: FailureCause,
    /// Whether it counts against the endpoint until the request shows to be the cause; otherwise only once another
    /// endpoint serves the request.
    pub(crate) counted: bool,
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
        Self {
            facts,
            attempts: 0,
            prefix_idle: None,
            failed: Vec::new(),
            doubts: Vec::new(),
            is_to_blame: false,
            state: RequestState::Waiting,
        }
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
