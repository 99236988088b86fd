//! The endpoints of a scheduler: those of each pool, and those that are draining.

use std::sync::{Arc, PoisonError};

use pointsman_core::{EndpointId, Event, PoolId};

use super::{Inner, SchedulerHandle};
use crate::endpoint::PoolEndpoint;
use crate::model_index::ModelIndex;

impl SchedulerHandle {
    /// The model index of the pool of this number.
    pub(crate) fn model_index(&self, pool: PoolId) -> Arc<ModelIndex> {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(models.entry(pool).or_default())
    }

    /// The endpoint's list of models changed.
    pub(crate) fn served_changed(&self, endpoint: EndpointId) {
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let pools: Vec<_> = models.values().cloned().collect();
        drop(models);
        for pool in pools {
            pool.list_changed(endpoint);
        }
    }

    /// The pool's endpoints with these ids, in that order; unknown ones are left out.
    pub(crate) fn endpoints(&self, pool: PoolId, ids: &[EndpointId]) -> Vec<Arc<PoolEndpoint>> {
        let inner = self.lock();
        ids.iter().filter_map(|id| inner.member(pool, *id)).collect()
    }

    /// Sets the endpoints of a pool. Those it loses stay known until they are gone, since the core may still name them.
    pub(crate) fn set_members(&self, pool: PoolId, mut members: Vec<Arc<PoolEndpoint>>) {
        members.sort_by_key(|endpoint| endpoint.id);
        let mut inner = self.lock();
        let old = inner.members.remove(&pool).unwrap_or_default();
        let lost = |old: &Arc<PoolEndpoint>| members.binary_search_by_key(&old.id, |new| new.id).is_err();
        let lost: Vec<_> = old.into_iter().filter(lost).collect();
        members.extend(lost);
        members.sort_by_key(|endpoint| endpoint.id);
        inner.members.insert(pool, members);
    }

    /// Lets an endpoint finish its requests and then go.
    pub(crate) fn drain(self: &Arc<Self>, endpoint: EndpointId) {
        self.locked(|inner, deliveries| {
            inner.draining.insert(endpoint);
            self.step(inner, Event::EndpointDraining { endpoint }, None, deliveries);
        });
    }

    /// Whether an endpoint drains and still has requests.
    pub(crate) fn is_draining(&self, endpoint: EndpointId) -> bool {
        self.lock().draining.contains(&endpoint)
    }

    /// Keeps an endpoint that drains, if it is not gone yet. The caller sends [`Event::EndpointUp`] next.
    pub(crate) fn cancel_drain(&self, endpoint: EndpointId) -> bool {
        self.lock().draining.remove(&endpoint)
    }
}

impl Inner {
    /// The last request of an endpoint ended. One whose drain was cancelled meanwhile stays.
    pub(super) fn gone(&mut self, endpoint: EndpointId) {
        if self.draining.remove(&endpoint) {
            for members in self.members.values_mut() {
                members.retain(|member| member.id != endpoint);
            }
        }
    }

    pub(super) fn member(&self, pool: PoolId, endpoint: EndpointId) -> Option<Arc<PoolEndpoint>> {
        let members = self.members.get(&pool)?;
        let position = members.binary_search_by_key(&endpoint, |member| member.id).ok()?;
        members.get(position).cloned()
    }

    /// The endpoint in each of its pools.
    pub(super) fn pool_endpoints(&self, endpoint: EndpointId) -> impl Iterator<Item = Arc<PoolEndpoint>> {
        self.members.keys().filter_map(move |pool| self.member(*pool, endpoint))
    }
}
