//! A scheduler across configurations: which pools and endpoints it gains, keeps and loses.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_config::{EndpointAddress, ObjectName, PoolSpec, World};
use pointsman_core::{
    EndpointId, EndpointSpec, Event, LoadReport, PoolId, PoolPolicy, PoolSet, Rng, SchedulerConfig, Time,
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

/// A scheduler with its present pools and endpoints.
#[derive(Debug)]
pub(super) struct RegisteredScheduler {
    scheduler: Arc<SchedulerHandle>,
    pub(super) pools: BTreeMap<PoolId, (ObjectName, PoolPolicy)>,
    pub(super) members: BTreeMap<EndpointKey, Member>,
    /// Endpoints that no pool selects any more and that still have requests. They may be selected again.
    draining: BTreeMap<EndpointKey, Member>,
}

/// An endpoint of a scheduler.
#[derive(Debug)]
pub(super) struct Member {
    id: EndpointId,
    activity: Arc<Activity>,
    served: Arc<ServedModels>,
    pools: PoolSet,
    monitor: Option<Monitor>,
    /// Whether it came from another scheduler, where it may have requests.
    moved: bool,
}

/// Endpoints by their identity.
pub(super) type Endpoints = BTreeMap<EndpointKey, Moved>;

/// What an endpoint keeps if it goes to another scheduler.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    id: EndpointId,
    activity: Arc<Activity>,
    served: Arc<ServedModels>,
}

/// The pools and endpoints that a configuration assigns to one scheduler.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    /// The number of each pool in the scheduler, and its position in [`World::pools`].
    pub(super) pools: Vec<(PoolId, usize)>,
    endpoints: BTreeMap<EndpointKey, PoolSet>,
}

impl RegisteredScheduler {
    pub(super) fn new(shared: &Arc<Shared>, number: u32) -> Self {
        let seed = Rng::seeded(shared.options.seed.wrapping_add(u64::from(number))).next_u64();
        let config = SchedulerConfig { seed, decisions: shared.decisions.is_some() };
        let log = shared.recorder.as_ref().map(|recorder| recorder.log_of(number, &config));
        let scheduler = SchedulerHandle::new(
            number,
            config,
            shared.clock,
            Arc::clone(&shared.requests),
            log,
            shared.decisions.clone(),
        );
        let timer = Arc::clone(&scheduler.timer).run(Arc::downgrade(&scheduler), shared.clock);
        shared.tasks.spawn(shared.tasks.token(), timer);
        Self { scheduler, pools: BTreeMap::new(), members: BTreeMap::new(), draining: BTreeMap::new() }
    }

    /// Adds the pools of a group to the scheduler's assignment. A pool keeps its number; a new one gets a number that no
    /// pool has or had, as long as there is one.
    pub(super) fn assign(&self, members: &[usize], world: &World, assignment: &mut Assignment) {
        let numbers = || (0..PoolSet::CAPACITY).filter_map(|number| u8::try_from(number).ok()).map(PoolId);
        for &index in members {
            let Some(spec) = world.pools.get(index) else { continue };
            let had = self.pools.iter().find(|(_, (name, _))| *name == spec.name).map(|(pool, _)| *pool);
            let taken = |pool: &PoolId| assignment.pools.iter().any(|(other, _)| other == pool);
            let unused = |pool: &PoolId| !taken(pool) && !self.pools.contains_key(pool);
            let free = || numbers().find(unused).or_else(|| numbers().find(|pool| !taken(pool)));
            let Some(pool) = had.filter(|pool| !taken(pool)).or_else(free) else { continue };
            assignment.pools.push((pool, index));
            for address in &spec.endpoints {
                let pools = assignment.endpoints.entry(EndpointKey::of(address)).or_default();
                *pools = pools.with(pool);
            }
        }
    }

    /// Applies the pools' policies and creates the endpoints that are new. `known` are those of all schedulers, `created`
    /// counts the fleet's endpoints.
    pub(super) fn update(
        &mut self,
        shared: &Arc<Shared>,
        assignment: &Assignment,
        world: &World,
        known: &Endpoints,
        created: &mut u32,
    ) {
        let mut pools = BTreeMap::new();
        for &(pool, index) in &assignment.pools {
            let Some(spec) = world.pools.get(index) else { continue };
            if self.pools.get(&pool).is_none_or(|(_, before)| *before != spec.policy) {
                self.scheduler.tell(Event::PoolPolicyChanged { pool, policy: spec.policy.clone() });
            }
            pools.insert(pool, (spec.name.clone(), spec.policy.clone()));
        }
        self.pools = pools;
        for key in assignment.endpoints.keys() {
            if !self.members.contains_key(key) {
                let draining =
                    self.draining.remove(key).filter(|member| self.scheduler.cancel_drain(member.id));
                let moved = || known.get(key).cloned().map(Member::moved);
                let member = draining.or_else(moved).unwrap_or_else(|| {
                    let id = EndpointId(*created);
                    *created += 1;
                    Member::new(id, shared.clock.now())
                });
                self.members.insert(key.clone(), member);
            }
        }
    }

    /// Adds its endpoints to `known`.
    pub(super) fn list_endpoints(&self, known: &mut Endpoints) {
        for (key, member) in self.draining.iter().chain(&self.members) {
            let Member { id, activity, served, .. } = member;
            let (activity, served) = (Arc::clone(activity), Arc::clone(served));
            known.insert(key.clone(), Moved { id: *id, activity, served });
        }
    }

    /// The handle of a pool under the new configuration.
    pub(super) fn pool_handle(
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
        let endpoints = endpoints.into();
        let scheduler = Arc::clone(&self.scheduler);
        let models = scheduler.model_index(pool);
        let (name, rules) = (spec.name.clone(), Arc::clone(&spec.models));
        let retry_budget = spec.policy.retry_budget;
        PoolHandle { name, pool_id: pool, scheduler, endpoints, series, models, rules, retry_budget }
    }

    /// Tells the core of new endpoints and pool memberships. The handles come first, because the core may dispatch to a
    /// new endpoint at once.
    pub(super) fn announce(
        &mut self,
        now: Time,
        assignment: &Assignment,
        world: &World,
        handles: &[Option<Arc<PoolHandle>>],
    ) {
        for &(pool, index) in &assignment.pools {
            if let (Some(Some(handle)), Some(spec)) = (handles.get(index), world.pools.get(index)) {
                self.scheduler.set_members(pool, handle.endpoints.to_vec());
                handle.models.set_pool(&handle.endpoints, &handle.series, &spec.models);
            }
        }
        for (key, pools) in &assignment.endpoints {
            if let Some(member) = self.members.get_mut(key)
                && member.pools != *pools
            {
                member.pools = *pools;
                let spec = EndpointSpec { pools: *pools };
                let endpoint = member.id;
                self.scheduler.tell(Event::EndpointUp { endpoint, spec });
                if std::mem::take(&mut member.moved) {
                    // Its requests end in the scheduler that placed them. Here they are load that others sent, until the
                    // engine's metrics are read.
                    let running = Some(member.activity.in_flight());
                    let report = LoadReport { taken: now, running, ..LoadReport::default() };
                    self.scheduler.tell(Event::Load { endpoint, report });
                }
            }
        }
    }

    /// Drains the endpoints that no pool of the scheduler selects any more.
    pub(super) fn drain_unselected(&mut self, assignment: &Assignment) {
        let unselected = |key: &EndpointKey, _: &mut Member| !assignment.endpoints.contains_key(key);
        for (key, mut member) in self.members.extract_if(.., unselected) {
            member.monitor = None;
            member.pools = PoolSet::default();
            self.scheduler.drain(member.id);
            self.draining.insert(key, member);
        }
        self.draining.retain(|_, member| self.scheduler.is_draining(member.id));
    }

    /// Starts the monitors of new endpoints and passes the others their new settings. A monitor uses the settings of the
    /// endpoint's first pool.
    pub(super) fn update_monitors(&mut self, shared: &Arc<Shared>, pools: &[Arc<PoolHandle>]) {
        for member in self.members.values_mut() {
            let mut own = pools.iter().filter(|pool| Arc::ptr_eq(&pool.scheduler, &self.scheduler));
            let Some(pool_endpoint) = own.find_map(|pool| pool.endpoint(member.id)) else { continue };
            match &member.monitor {
                Some(monitor) => monitor.update(Arc::clone(pool_endpoint)),
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
        let (served, pools) = (Arc::default(), PoolSet::default());
        Self { id, activity, served, pools, monitor: None, moved: false }
    }

    fn moved(Moved { id, activity, served }: Moved) -> Self {
        Self { id, activity, served, pools: PoolSet::default(), monitor: None, moved: true }
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
