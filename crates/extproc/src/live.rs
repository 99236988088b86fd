//! Sessions' view of a fleet's pool.

use std::sync::Arc;

use pointsman_core::{Completion, EndpointId, Usage};
use pointsman_door::Door;
use pointsman_exchange::{EngineRequest, ParsedRequest, Refusal};
use pointsman_fleet::{Placed, PoolHandle};

use crate::address::SubsetHint;
use crate::session::{Guard, Pool};

/// A pool, in the generation of the configuration under which the stream began.
#[derive(Debug)]
pub(crate) struct LivePool {
    pub(crate) handle: Arc<PoolHandle>,
    pub(crate) door: Arc<Door>,
}

impl Pool for LivePool {
    type Guard = LiveGuard;

    fn resolve(
        &self,
        request: ParsedRequest,
        administration: bool,
        path: &str,
    ) -> Result<EngineRequest, Refusal> {
        self.door.resolve(&self.handle, request, self.door.draw(), administration, path)
    }

    fn subset(&self, hint: &SubsetHint) -> Arc<[EndpointId]> {
        let listed = self.handle.endpoints.iter().filter(|endpoint| {
            let address = &endpoint.address;
            let reached =
                || endpoint.activity.reached().is_some_and(|reached| hint.contains_address(reached));
            hint.contains(&address.host, address.port) || reached()
        });
        listed.map(|endpoint| endpoint.id).collect()
    }

    fn endpoint_at(&self, address: &str) -> Option<EndpointId> {
        // Most gateways format addresses as `authority` does, which saves parsing all of them.
        let same = self.handle.endpoints.iter().find(|endpoint| &*endpoint.authority == address);
        same.map(|endpoint| endpoint.id).or_else(|| self.subset(&SubsetHint::of([address])).first().copied())
    }

    fn remember_response(&self, id: &str, endpoint: EndpointId) {
        self.door.remember_response(id, endpoint);
    }
}

/// The fleet's guard of one request.
#[derive(Debug)]
pub(crate) struct LiveGuard(pub(crate) Placed);

impl Guard for LiveGuard {
    fn endpoint(&self) -> EndpointId {
        self.0.endpoint().id
    }

    fn destinations(&self) -> Vec<String> {
        let mut destinations = vec![self.0.endpoint().destination()];
        destinations.extend(self.0.fallbacks().iter().map(|endpoint| endpoint.destination()));
        destinations
    }

    fn first_token(&mut self) {
        self.0.first_token();
    }

    fn progress(&mut self, output_tokens: u32) {
        self.0.progress(output_tokens);
    }

    fn served_by(&mut self, endpoint: EndpointId) {
        self.0.served_elsewhere(endpoint);
    }

    fn unserved(self) {
        self.0.unserved();
    }

    fn finish(self, completion: Completion, usage: Usage) {
        self.0.finish(completion, usage);
    }
}
