//! A session's view of its pool.

use std::sync::Arc;

use pointsman_core::{Completion, EndpointId, Usage};
use pointsman_exchange::{EngineRequest, ParsedRequest, Refusal};

use crate::address::SubsetHint;

/// The pool of a session. Placement itself is requested by [`Next::Place`](super::Next::Place).
pub trait Pool {
    /// Holds the load that is reserved for a request.
    type Guard: Guard;

    /// Applies the pool's model rules. `administration` says whether engines' administration paths are allowed; `path` is
    /// the request's, with its query.
    ///
    /// # Errors
    /// Those of [`ParsedRequest::resolve`].
    fn resolve(
        &self,
        request: ParsedRequest,
        administration: bool,
        path: &str,
    ) -> Result<EngineRequest, Refusal>;

    /// The pool's endpoints whose addresses are in the list, in ascending order.
    fn subset(&self, hint: &SubsetHint) -> Arc<[EndpointId]>;

    /// The endpoint at an address, as gateways write it.
    fn endpoint_at(&self, address: &str) -> Option<EndpointId> {
        self.subset(&SubsetHint::of([address])).first().copied()
    }

    /// Notes that `endpoint` stored the response `id`.
    fn remember_response(&self, id: &str, endpoint: EndpointId);
}

/// The load that is reserved for one request. Dropping it counts the request out as aborted.
pub trait Guard {
    /// The endpoint at which the request is counted.
    fn endpoint(&self) -> EndpointId;

    /// `ip:port` of the endpoint and of its fallbacks, best first.
    fn destinations(&self) -> Vec<String>;

    /// Reports the first output token.
    fn first_token(&mut self);

    /// Reports the number of output tokens so far.
    fn progress(&mut self, output_tokens: u32);

    /// Reports that the gateway sent the request to another endpoint than the one placed.
    fn served_by(&mut self, endpoint: EndpointId);

    /// Reports that no engine is known to have answered: nothing counts against the endpoint, which is probed instead.
    fn unserved(self);

    /// Reports the end of the request.
    fn finish(self, completion: Completion, usage: Usage);
}
