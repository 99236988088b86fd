//! A generation of the configuration, in force until the next one.

use std::sync::Arc;

use pointsman_config::models::ModelRules;
use pointsman_config::{ObjectName, PoolIndex, World};
use pointsman_core::{EndpointId, PoolId, RequestFacts, RetryBudget};
use pointsman_protocol::ServedModel;
use pointsman_protocol::models::merge_models;
use pointsman_telemetry::PoolSeries;

use crate::decisions::RequestDecisions;
use crate::endpoint::PoolEndpoint;
use crate::model_index::ModelIndex;
use crate::scheduler::SchedulerHandle;
use crate::ticket::Ticket;

/// A configuration with the handles of its pools. A request uses the generation that it arrived under to its end.
#[derive(Debug)]
pub struct Generation {
    /// Counts up from 1 with each configuration applied; 0 is the empty one before the first.
    pub number: u64,
    /// The configuration.
    pub world: World,
    /// The pools, in the order of [`World::pools`].
    pub pools: Vec<Arc<PoolHandle>>,
    /// The number of objects that have errors and so were left out, or kept in their last valid version.
    pub problems: usize,
}

impl Generation {
    /// The base model of an adapter that an engine of any pool lists; `None` for other models.
    #[must_use]
    pub fn base_model(&self, name: &str) -> Option<String> {
        let mut endpoints = self.pools.iter().flat_map(|pool| pool.endpoints.iter());
        endpoints.find_map(|endpoint| {
            endpoint
                .served
                .list()
                .iter()
                .find(|model| model.id == name)
                .and_then(|model| model.parent.clone())
        })
    }

    /// The pool that a route of this generation leads to.
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> Option<&Arc<PoolHandle>> {
        self.pools.get(index.0)
    }
}

/// A pool of one generation.
#[derive(Debug)]
pub struct PoolHandle {
    /// The InferencePool's name.
    pub name: ObjectName,
    /// The pool's number in its scheduler.
    pub pool_id: PoolId,
    pub(crate) scheduler: Arc<SchedulerHandle>,
    /// Its endpoints in this generation, in ascending order of id.
    pub endpoints: Arc<[Arc<PoolEndpoint>]>,
    /// Its metric series.
    pub series: Arc<PoolSeries>,
    pub(crate) models: Arc<ModelIndex>,
    /// Its model rules.
    pub rules: Arc<ModelRules>,
    /// How many attempts may be retried.
    pub retry_budget: RetryBudget,
}

impl PoolHandle {
    /// Asks for an endpoint. `facts.pool` is set here.
    ///
    /// Where some but not all engines of the pool list the target model, the request goes only to those that do and to
    /// those whose list is not known yet, unless `facts.subset` limits it already. If all of these are ejected, the one
    /// that may return soonest is tried, as in a pool without others; if all of them drain, the rejection is
    /// [`Rejection::NoReadyEndpoint`](pointsman_core::Rejection::NoReadyEndpoint). A request for a model that no engine
    /// lists may go to any of them, whose error response is the most precise one.
    pub fn place(&self, facts: RequestFacts) -> Ticket {
        self.place_with_id(facts, || None)
    }

    /// Asks for an endpoint, as [`PoolHandle::place`] does, and calls `client_id` for the request's ID by its client
    /// (`x-request-id`) if the fleet keeps decisions ([`FleetOptions::decisions`](crate::FleetOptions::decisions)).
    pub fn place_with_id<'a>(
        &self,
        mut facts: RequestFacts,
        client_id: impl FnOnce() -> Option<&'a [u8]>,
    ) -> Ticket {
        facts.pool = self.pool_id;
        let wide = facts.subset.is_none();
        if wide && let Some(target) = facts.target {
            facts.subset = self.models.endpoints_for(target);
        }
        let narrowed = wide && facts.subset.is_some();
        self.scheduler.place(facts, narrowed, |request, now| {
            let (pool, endpoints) = (Arc::clone(&self.series), Arc::clone(&self.endpoints));
            RequestDecisions::new(request, client_id(), pool, endpoints, now)
        })
    }

    /// One of its endpoints; `None` where this generation does not have it.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<PoolEndpoint>> {
        let position = self.endpoints.binary_search_by_key(&id, |endpoint| endpoint.id).ok()?;
        self.endpoints.get(position)
    }

    /// The model of requests that name none: the rules' default, or, where undeclared models are served, the only base
    /// model that its engines list.
    #[must_use]
    pub fn default_model(&self) -> Option<Arc<str>> {
        if let Some(declared) = self.rules.default_model() {
            return Some(Arc::clone(declared));
        }
        if self.rules.rejects_undeclared() {
            return None;
        }
        let lists: Vec<_> = self.endpoints.iter().map(|endpoint| endpoint.served.list()).collect();
        let mut bases = lists.iter().flat_map(|list| list.iter()).filter(|model| model.parent.is_none());
        let first = &bases.next()?.id;
        bases.all(|model| model.id == *first).then(|| Arc::from(first.as_str()))
    }

    /// The models that its engines list, each name once, in order, with the shortest context of any engine.
    #[must_use]
    pub fn served_models(&self) -> Vec<ServedModel> {
        merge_models(self.endpoints.iter().flat_map(|endpoint| endpoint.served.list().as_ref().clone()))
    }
}
