//! The endpoints of a state scheduler: who belongs to which pool, and who is leaving.

use std::sync::{Arc, PoisonError};

use pointsman_core::{EndpointId, Event, PoolId};

use super::{Deliveries, Inner, SchedulerHandle};
use crate::activity::Activity;
use crate::endpoint::PoolEndpoint;
use crate::serving::Serving;

impl SchedulerHandle {
    /// Who serves what in the pool of this number.
    pub(crate) fn serving(&self, pool: PoolId) -> Arc<Serving> {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(serving.entry(pool).or_default())
    }

    /// The endpoint lists other models than before.
    pub(crate) fn served_changed(&self, endpoint: EndpointId) {
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let pools: Vec<_> = serving.values().cloned().collect();
        drop(serving);
        for pool in pools {
            pool.changed(endpoint);
        }
    }

    /// The pool's endpoints by these numbers, in that order; those it does not have are left out.
    pub(crate) fn endpoints(&self, pool: PoolId, ids: &[EndpointId]) -> Vec<Arc<PoolEndpoint>> {
        let inner = self.lock();
        ids.iter().filter_map(|id| inner.member(pool, *id)).collect()
    }

    /// Sets the endpoints of a pool. Those it loses stay known until they are down, since the core may still name them.
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

    /// Lets an endpoint finish what it has and then go.
    pub(crate) fn retire(self: &Arc<Self>, endpoint: EndpointId, activity: &Arc<Activity>) {
        let mut deliveries = Deliveries::default();
        let mut inner = self.lock();
        self.step(&mut inner, Event::EndpointDraining { endpoint }, None, &mut deliveries);
        inner.leaving.push((endpoint, Arc::clone(activity)));
        self.sweep(&mut inner, &mut deliveries);
        drop(inner);
        Self::deliver(deliveries);
    }

    /// Keeps an endpoint that was leaving, where it has not gone yet; the core hears of it as of a new one.
    pub(crate) fn recall(&self, endpoint: EndpointId) -> bool {
        let mut inner = self.lock();
        let position = inner.leaving.iter().position(|(id, _)| *id == endpoint);
        position.map(|position| inner.leaving.swap_remove(position)).is_some()
    }

    /// Endpoints that lost their last request while leaving go down.
    pub(super) fn sweep(self: &Arc<Self>, inner: &mut Inner, deliveries: &mut Deliveries) {
        while let Some(position) = inner.leaving.iter().position(|(_, activity)| activity.in_flight() == 0) {
            let (endpoint, _) = inner.leaving.swap_remove(position);
            self.step(inner, Event::EndpointDown { endpoint }, None, deliveries);
            for members in inner.members.values_mut() {
                members.retain(|member| member.id != endpoint);
            }
        }
    }
}

impl Inner {
    pub(super) fn member(&self, pool: PoolId, endpoint: EndpointId) -> Option<Arc<PoolEndpoint>> {
        let members = self.members.get(&pool)?;
        let position = members.binary_search_by_key(&endpoint, |member| member.id).ok()?;
        members.get(position).cloned()
    }

    /// The endpoint as each of its pools sees it.
    pub(super) fn pool_endpoints(&self, endpoint: EndpointId) -> impl Iterator<Item = Arc<PoolEndpoint>> {
        self.members.keys().filter_map(move |pool| self.member(*pool, endpoint))
    }
}
