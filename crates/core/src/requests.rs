//! The requests that are under way.

use crate::ids::{EndpointId, IdMap, RequestId};
use crate::request::RequestFacts;
use crate::reservation::Reservation;

/// A request from its arrival to its end.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) facts: RequestFacts,
    /// Attempts made so far, the present one included.
    pub(crate) attempts: u32,
    /// Prompts that came, as it did, since its head was last asked for; `None` where nobody had any of it.
    pub(crate) head_idle: Option<u32>,
    /// Endpoints that failed it.
    pub(crate) failed: Vec<EndpointId>,
    /// Where it is; `None` while it is served by an endpoint that the pool does not know.
    pub(crate) placed: Option<Reservation>,
}

/// All requests under way, each in its own place: a table of some hundred thousand doubles in little time. Never iterated
/// where the order could show.
pub(crate) type Requests = IdMap<RequestId, Box<Request>>;
