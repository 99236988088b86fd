//! One generation of the configuration, in force until the next.

use std::sync::Arc;

use pointsman_config::{ObjectName, PoolIndex, World};
use pointsman_core::{EndpointId, PoolId, RequestFacts};
use pointsman_protocol::ServedModel;
use pointsman_protocol::models::merge_models;
use pointsman_telemetry::PoolSeries;

use crate::endpoint::PoolEndpoint;
use crate::scheduler::SchedulerHandle;
use crate::serving::Serving;
use crate::ticket::Ticket;

/// A configuration with the pools that carry it out. Requests that began under one generation end under it.
#[derive(Debug)]
pub struct Generation {
    /// Counts up from 1 with each configuration applied; 0 is the empty one before the first.
    pub number: u64,
    /// The configuration.
    pub world: World,
    /// The pools, in the order of [`World::pools`].
    pub pools: Vec<Arc<PoolHandle>>,
    /// How many objects were left out or kept from before because they have mistakes.
    pub problems: usize,
}

impl Generation {
    /// The pool that a route of this generation leads to.
    #[must_use]
    pub fn pool(&self, index: PoolIndex) -> Option<&Arc<PoolHandle>> {
        self.pools.get(index.0)
    }
}

/// A pool of one generation.
#[derive(Debug)]
pub struct PoolHandle {
    pub(crate) name: ObjectName,
    pub(crate) pool_id: PoolId,
    pub(crate) scheduler: Arc<SchedulerHandle>,
    /// In ascending order of id.
    pub(crate) endpoints: Vec<Arc<PoolEndpoint>>,
    pub(crate) series: Arc<PoolSeries>,
    pub(crate) serving: Arc<Serving>,
}

impl PoolHandle {
    /// Asks for an endpoint. `facts.pool` is set here.
    ///
    /// Where some engines of the pool list the target model and others do not, the request goes only to those that do
    /// and to those whose list is not known yet, unless the caller limits it already. Where all of them are ejected,
    /// the one that may return soonest is tried, as in a pool that has no others; where all of them are leaving, the
    /// rejection is [`Rejection::NoReadyEndpoint`](pointsman_core::Rejection::NoReadyEndpoint). A model that nobody
    /// lists goes to any: its engine knows best what to answer. Lists are as old as the last time they could be read.
    pub fn place(&self, mut facts: RequestFacts) -> Ticket {
        facts.pool = self.pool_id;
        let wide = facts.subset.is_none();
        if wide && let Some(target) = facts.target {
            facts.subset = self.serving.narrowed(target);
        }
        let narrowed = wide && facts.subset.is_some();
        self.scheduler.place(facts, narrowed)
    }

    /// The pool's number in its state scheduler.
    #[must_use]
    pub const fn pool_id(&self) -> PoolId {
        self.pool_id
    }

    /// The InferencePool's name.
    #[must_use]
    pub const fn name(&self) -> &ObjectName {
        &self.name
    }

    /// The pool's metric series.
    #[must_use]
    pub const fn series(&self) -> &Arc<PoolSeries> {
        &self.series
    }

    /// Its endpoints in this generation, in ascending order of id.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<PoolEndpoint>] {
        &self.endpoints
    }

    /// One of its endpoints; `None` where this generation has it no more.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<&Arc<PoolEndpoint>> {
        let position = self.endpoints.binary_search_by_key(&id, |endpoint| endpoint.id).ok()?;
        self.endpoints.get(position)
    }

    /// What its engines say they serve, each name once, in order; of contexts the shortest.
    #[must_use]
    pub fn served_models(&self) -> Vec<ServedModel> {
        merge_models(self.endpoints.iter().flat_map(|endpoint| endpoint.served.list().as_ref().clone()))
    }
}
