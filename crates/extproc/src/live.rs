//! A pool of the fleet, as a session sees it.

use std::sync::Arc;

use pointsman_config::models::ModelRules;
use pointsman_core::{Completion, EndpointId, PoolId, Usage};
use pointsman_fleet::{Placed, PoolHandle};

use crate::address::SubsetHint;
use crate::session::{Guard, Pool};
use crate::shared::Shared;

/// One pool, in the generation of the configuration that its request began under.
#[derive(Debug)]
pub(crate) struct LivePool {
    handle: Arc<PoolHandle>,
    rules: Arc<ModelRules>,
    shared: Arc<Shared>,
}

impl LivePool {
    pub(crate) const fn new(handle: Arc<PoolHandle>, rules: Arc<ModelRules>, shared: Arc<Shared>) -> Self {
        Self { handle, rules, shared }
    }

    pub(crate) const fn handle(&self) -> &Arc<PoolHandle> {
        &self.handle
    }
}

impl Pool for LivePool {
    type Guard = LiveGuard;

    fn rules(&self) -> &ModelRules {
        &self.rules
    }

    fn pool_id(&self) -> PoolId {
        self.handle.pool_id()
    }

    fn within(&self, hint: &SubsetHint) -> Arc<[EndpointId]> {
        let listed = self.handle.endpoints().iter().filter(|endpoint| {
            let address = &endpoint.address;
            hint.contains(&address.host, address.port)
        });
        listed.map(|endpoint| endpoint.id).collect()
    }

    /// Gateways mostly write an address as we do.
    fn at(&self, address: &str) -> Option<EndpointId> {
        let same = self.handle.endpoints().iter().find(|endpoint| endpoint.authority() == address);
        same.map(|endpoint| endpoint.id).or_else(|| self.within(&SubsetHint::of([address])).first().copied())
    }

    fn holder(&self, response: &str) -> Option<EndpointId> {
        self.shared.stored().holder(self.shared.fleet.now(), response)
    }

    fn stored(&self, response: &str, endpoint: EndpointId) {
        self.shared.stored().insert(self.shared.fleet.now(), response, endpoint);
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
        let mut destinations = vec![self.0.endpoint().authority().to_owned()];
        destinations.extend(self.0.fallbacks().iter().map(|endpoint| endpoint.authority().to_owned()));
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

    fn finish(self, completion: Completion, usage: Usage) {
        self.0.finish(completion, usage);
    }
}
