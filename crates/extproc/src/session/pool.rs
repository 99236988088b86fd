//! What a session sees of its pool.

use std::sync::Arc;

use pointsman_config::models::ModelRules;
use pointsman_core::{Completion, EndpointId, PoolId, Usage};

use crate::address::SubsetHint;

/// A pool, as one session sees it. Placement itself is asked for by [`Next::Ask`](super::Next::Ask).
pub trait Pool {
    /// What holds the load that is reserved for a request.
    type Guard: Guard;

    /// The pool's model rules.
    fn rules(&self) -> &ModelRules;

    /// The pool's place in its state machine.
    fn pool_id(&self) -> PoolId;

    /// The pool's endpoints that a list of addresses names, in ascending order.
    fn within(&self, hint: &SubsetHint) -> Arc<[EndpointId]>;

    /// The endpoint at an address, as gateways write it.
    fn at(&self, address: &str) -> Option<EndpointId> {
        self.within(&SubsetHint::of([address])).first().copied()
    }

    /// The endpoint that holds a stored response.
    fn holder(&self, response: &str) -> Option<EndpointId>;

    /// An endpoint stored a response under this id.
    fn stored(&self, response: &str, endpoint: EndpointId);
}

/// The load that is reserved for one request. Dropping it counts the request out as aborted.
pub trait Guard {
    /// Where the request is counted now.
    fn endpoint(&self) -> EndpointId;

    /// `ip:port` of where to send the request, and of where to next, best first.
    fn destinations(&self) -> Vec<String>;

    /// The first output token came.
    fn first_token(&mut self);

    /// So many output tokens came until now.
    fn progress(&mut self, output_tokens: u32);

    /// The gateway sent the request to another endpoint than told.
    fn served_by(&mut self, endpoint: EndpointId);

    /// The request came to its end.
    fn finish(self, completion: Completion, usage: Usage);
}
