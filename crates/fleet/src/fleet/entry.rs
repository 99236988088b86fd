//! One state scheduler from one configuration to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_config::{EndpointAddress, ObjectName, PoolSpec, World};
use pointsman_core::{
    EndpointId, EndpointSpec, Event, PoolId, PoolPolicy, PoolSet, Rng, SchedulerConfig, Time,
};
use pointsman_telemetry::PoolSeries;

use super::Shared;
use super::groups::EndpointKey;
use crate::activity::Activity;
use crate::connect::Connector;
use crate::endpoint::{PoolEndpoint, authority};
use crate::generation::PoolHandle;
use crate::models::ServedModels;
use crate::monitor::Monitor;
use crate::scheduler::SchedulerHandle;

/// A state scheduler with the pools and endpoints it has at present.
#[derive(Debug)]
pub(super) struct Entry {
    scheduler: Arc<SchedulerHandle>,
    pub(super) pools: BTreeMap<PoolId, (ObjectName, PoolPolicy)>,
    pub(super) members: BTreeMap<EndpointKey, Member>,
    /// Those that no pool selects any more and that still have requests: they may come back.
    leaving: BTreeMap<EndpointKey, Member>,
}

/// An endpoint of a state scheduler.
#[derive(Debug)]
pub(super) struct Member {
    id: EndpointId,
    activity: Arc<Activity>,
    served: Arc<ServedModels>,
    pools: PoolSet,
    monitor: Option<Monitor>,
}

/// What a configuration wants of one state scheduler.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) pools: Vec<(PoolId, usize)>,
    endpoints: BTreeMap<EndpointKey, PoolSet>,
}

impl Entry {
    pub(super) fn new(shared: &Arc<Shared>, number: u32) -> Self {
        let seed = Rng::seeded(shared.options.seed.wrapping_add(u64::from(number))).next_u64();
        let config = SchedulerConfig { seed, decisions: shared.options.decisions };
        let log = shared.recorder.as_ref().map(|recorder| recorder.pool(number, &config));
        let scheduler = SchedulerHandle::new(number, config, shared.clock, Arc::clone(&shared.requests), log);
        let timer = Arc::clone(scheduler.timer()).run(Arc::downgrade(&scheduler), shared.clock);
        shared.tasks.spawn(shared.tasks.token(), timer);
        Self { scheduler, pools: BTreeMap::new(), members: BTreeMap::new(), leaving: BTreeMap::new() }
    }

    /// Gives each pool of a group its number here: the one it had, or one that neither a pool before nor one now has.
    pub(super) fn claim(&self, members: &[usize], world: &World, wanted: &mut Wanted) {
        let numbers = || (0..PoolSet::CAPACITY).filter_map(|number| u8::try_from(number).ok()).map(PoolId);
        for &index in members {
            let Some(spec) = world.pools.get(index) else { continue };
            let had = self.pools.iter().find(|(_, (name, _))| *name == spec.name).map(|(pool, _)| *pool);
            let taken = |pool: &PoolId| wanted.pools.iter().any(|(other, _)| other == pool);
            let unused = |pool: &PoolId| !taken(pool) && !self.pools.contains_key(pool);
            let free = || numbers().find(unused).or_else(|| numbers().find(|pool| !taken(pool)));
            let Some(pool) = had.filter(|pool| !taken(pool)).or_else(free) else { continue };
            wanted.pools.push((pool, index));
            for address in &spec.endpoints {
                let pools = wanted.endpoints.entry(EndpointKey::of(address)).or_default();
                *pools = pools.with(pool);
            }
        }
    }

    /// Policies first, then room for the endpoints that come.
    pub(super) fn raise(&mut self, shared: &Arc<Shared>, wanted: &Wanted, world: &World, made: &mut u32) {
        let mut pools = BTreeMap::new();
        for &(pool, index) in &wanted.pools {
            let Some(spec) = world.pools.get(index) else { continue };
            if self.pools.get(&pool).is_none_or(|(_, before)| *before != spec.policy) {
                self.scheduler.tell(Event::PoolPolicyChanged { pool, policy: spec.policy.clone() });
            }
            pools.insert(pool, (spec.name.clone(), spec.policy.clone()));
        }
        self.pools = pools;
        for key in wanted.endpoints.keys() {
            if !self.members.contains_key(key) {
                let back = self.leaving.remove(key).filter(|member| self.scheduler.recall(member.id));
                let member = back.unwrap_or_else(|| {
                    let id = EndpointId(*made);
                    *made += 1;
                    Member::new(id, shared.clock.now())
                });
                self.members.insert(key.clone(), member);
            }
        }
    }

    pub(super) fn handle(
        &self,
        shared: &Arc<Shared>,
        pool: PoolId,
        spec: &PoolSpec,
        connector: &Arc<Connector>,
    ) -> PoolHandle {
        let series = shared.metrics.pool(&spec.name.to_string());
        let mut endpoints: Vec<_> = spec
            .endpoints
            .iter()
            .filter_map(|address| Some((address, self.members.get(&EndpointKey::of(address))?)))
            .map(|(address, member)| Arc::new(member.pool_endpoint(address, spec, connector, &series)))
            .collect();
        endpoints.sort_by_key(|endpoint| endpoint.id);
        endpoints.dedup_by_key(|endpoint| endpoint.id);
        let scheduler = Arc::clone(&self.scheduler);
        let serving = scheduler.serving(pool);
        PoolHandle { name: spec.name.clone(), pool_id: pool, scheduler, endpoints, series, serving }
    }

    /// The core hears of endpoints only after their pool_endpoints are known, since it may dispatch there at once.
    pub(super) fn announce(&mut self, wanted: &Wanted, world: &World, handles: &[Option<Arc<PoolHandle>>]) {
        for &(pool, index) in &wanted.pools {
            if let (Some(Some(handle)), Some(spec)) = (handles.get(index), world.pools.get(index)) {
                self.scheduler.set_members(pool, handle.endpoints.clone());
                handle.serving.turn_to(&handle.endpoints, &handle.series, &spec.models);
            }
        }
        for (key, pools) in &wanted.endpoints {
            if let Some(member) = self.members.get_mut(key)
                && member.pools != *pools
            {
                member.pools = *pools;
                let spec = EndpointSpec { pools: *pools };
                self.scheduler.tell(Event::EndpointUp { endpoint: member.id, spec });
            }
        }
    }

    /// Lets the endpoints go that no pool here selects any more.
    pub(super) fn lower(&mut self, wanted: &Wanted) {
        let goes = |key: &EndpointKey, _: &mut Member| !wanted.endpoints.contains_key(key);
        for (key, mut member) in self.members.extract_if(.., goes) {
            member.monitor = None;
            member.pools = PoolSet::default();
            self.scheduler.retire(member.id, &member.activity);
            self.leaving.insert(key, member);
        }
        self.leaving.retain(|_, member| member.activity.in_flight() > 0);
    }

    /// Every endpoint has a monitor, which asks it by way of the first of its pools.
    pub(super) fn keep(&mut self, shared: &Arc<Shared>, pools: &[Arc<PoolHandle>]) {
        for member in self.members.values_mut() {
            let mut here = pools.iter().filter(|pool| Arc::ptr_eq(&pool.scheduler, &self.scheduler));
            let Some(pool_endpoint) = here.find_map(|pool| pool.endpoint(member.id)) else { continue };
            match &member.monitor {
                Some(monitor) => monitor.turn_to(Arc::clone(pool_endpoint)),
                None => {
                    let scheduler = &self.scheduler;
                    let settings = &shared.options.monitor;
                    member.monitor =
                        Some(Monitor::start(&shared.tasks, settings, scheduler, Arc::clone(pool_endpoint)));
                }
            }
        }
    }
}

impl Member {
    fn new(id: EndpointId, now: Time) -> Self {
        let activity = Arc::new(Activity::new(now));
        Self { id, activity, served: Arc::default(), pools: PoolSet::default(), monitor: None }
    }

    fn pool_endpoint(
        &self,
        address: &EndpointAddress,
        spec: &PoolSpec,
        connector: &Arc<Connector>,
        pool: &Arc<PoolSeries>,
    ) -> PoolEndpoint {
        let authority = authority(address);
        PoolEndpoint {
            id: self.id,
            address: address.clone(),
            timeouts: spec.timeouts,
            activity: Arc::clone(&self.activity),
            series: pool.endpoint(&authority),
            authority: authority.into(),
            connector: Arc::clone(connector),
            pool: Arc::clone(pool),
            served: Arc::clone(&self.served),
        }
    }
}
