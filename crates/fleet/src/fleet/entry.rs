//! One state machine from one configuration to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_config::{EndpointAddress, ObjectName, PoolSpec, World};
use pointsman_core::{EndpointId, EndpointSpec, Event, Policy, PolicyId, PolicySet, PoolConfig, Rng, Time};
use pointsman_telemetry::PoolSeries;

use super::Shared;
use super::groups::EndpointKey;
use crate::connect::Connector;
use crate::endpoint::{Endpoint, authority};
use crate::generation::PoolHandle;
use crate::keeper::Keeper;
use crate::machine::Machine;
use crate::models::ServedModels;
use crate::vitals::Vitals;

/// A state machine with the pools and endpoints it has at present.
#[derive(Debug)]
pub(super) struct Entry {
    machine: Arc<Machine>,
    pub(super) policies: BTreeMap<PolicyId, (ObjectName, Policy)>,
    pub(super) members: BTreeMap<EndpointKey, Member>,
    /// Those that no pool selects any more and that still have requests: they may come back.
    leaving: BTreeMap<EndpointKey, Member>,
}

/// An endpoint of a state machine.
#[derive(Debug)]
pub(super) struct Member {
    id: EndpointId,
    vitals: Arc<Vitals>,
    served: Arc<ServedModels>,
    policies: PolicySet,
    keeper: Option<Keeper>,
}

/// What a configuration wants of one state machine.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) pools: Vec<(PolicyId, usize)>,
    endpoints: BTreeMap<EndpointKey, PolicySet>,
}

impl Entry {
    pub(super) fn new(shared: &Arc<Shared>, number: u32) -> Self {
        let seed = Rng::seeded(shared.options.seed.wrapping_add(u64::from(number))).next_u64();
        let config = PoolConfig { seed, decisions: shared.options.decisions };
        let log = shared.recorder.as_ref().map(|recorder| recorder.pool(number, &config));
        let machine = Machine::new(number, config, shared.clock, Arc::clone(&shared.requests), log);
        let timer = Arc::clone(machine.timer()).run(Arc::downgrade(&machine), shared.clock);
        shared.tasks.spawn(shared.tasks.token(), timer);
        Self { machine, policies: BTreeMap::new(), members: BTreeMap::new(), leaving: BTreeMap::new() }
    }

    /// Gives each pool of a group its number here: the one it had, or one that neither a pool before nor one now has.
    pub(super) fn claim(&self, members: &[usize], world: &World, wanted: &mut Wanted) {
        let numbers =
            || (0..PolicySet::CAPACITY).filter_map(|number| u8::try_from(number).ok()).map(PolicyId);
        for &index in members {
            let Some(spec) = world.pools.get(index) else { continue };
            let had =
                self.policies.iter().find(|(_, (name, _))| *name == spec.name).map(|(policy, _)| *policy);
            let taken = |policy: &PolicyId| wanted.pools.iter().any(|(other, _)| other == policy);
            let unused = |policy: &PolicyId| !taken(policy) && !self.policies.contains_key(policy);
            let free = || numbers().find(unused).or_else(|| numbers().find(|policy| !taken(policy)));
            let Some(policy) = had.filter(|policy| !taken(policy)).or_else(free) else { continue };
            wanted.pools.push((policy, index));
            for address in &spec.endpoints {
                let policies = wanted.endpoints.entry(EndpointKey::of(address)).or_default();
                *policies = policies.with(policy);
            }
        }
    }

    /// Policies first, then room for the endpoints that come.
    pub(super) fn raise(&mut self, shared: &Arc<Shared>, wanted: &Wanted, world: &World, made: &mut u32) {
        let mut policies = BTreeMap::new();
        for &(policy, index) in &wanted.pools {
            let Some(spec) = world.pools.get(index) else { continue };
            if self.policies.get(&policy).is_none_or(|(_, before)| *before != spec.policy) {
                self.machine.tell(Event::PolicyChanged { policy, to: spec.policy.clone() });
            }
            policies.insert(policy, (spec.name.clone(), spec.policy.clone()));
        }
        self.policies = policies;
        for key in wanted.endpoints.keys() {
            if !self.members.contains_key(key) {
                let back = self.leaving.remove(key).filter(|member| self.machine.recall(member.id));
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
        policy: PolicyId,
        spec: &PoolSpec,
        connector: &Arc<Connector>,
    ) -> PoolHandle {
        let series = shared.metrics.pool(&spec.name.to_string());
        let mut endpoints: Vec<_> = spec
            .endpoints
            .iter()
            .filter_map(|address| Some((address, self.members.get(&EndpointKey::of(address))?)))
            .map(|(address, member)| Arc::new(member.face(address, spec, connector, &series)))
            .collect();
        endpoints.sort_by_key(|endpoint| endpoint.id);
        endpoints.dedup_by_key(|endpoint| endpoint.id);
        let machine = Arc::clone(&self.machine);
        let serving = machine.serving(policy);
        PoolHandle { name: spec.name.clone(), policy, machine, endpoints, series, serving }
    }

    /// The core hears of endpoints only after their faces are known, since it may dispatch there at once.
    pub(super) fn announce(&mut self, wanted: &Wanted, world: &World, handles: &[Option<Arc<PoolHandle>>]) {
        for &(policy, index) in &wanted.pools {
            if let (Some(Some(handle)), Some(spec)) = (handles.get(index), world.pools.get(index)) {
                self.machine.set_members(policy, handle.endpoints.clone());
                handle.serving.turn_to(&handle.endpoints, &handle.series, &spec.models);
            }
        }
        for (key, policies) in &wanted.endpoints {
            if let Some(member) = self.members.get_mut(key)
                && member.policies != *policies
            {
                member.policies = *policies;
                let spec = EndpointSpec { policies: *policies };
                self.machine.tell(Event::EndpointUp { endpoint: member.id, spec });
            }
        }
    }

    /// Lets the endpoints go that no pool here selects any more.
    pub(super) fn lower(&mut self, wanted: &Wanted) {
        let goes = |key: &EndpointKey, _: &mut Member| !wanted.endpoints.contains_key(key);
        for (key, mut member) in self.members.extract_if(.., goes) {
            member.keeper = None;
            member.policies = PolicySet::default();
            self.machine.retire(member.id, &member.vitals);
            self.leaving.insert(key, member);
        }
        self.leaving.retain(|_, member| member.vitals.in_flight() > 0);
    }

    /// Every endpoint has a keeper, which asks it by way of the first of its pools.
    pub(super) fn keep(&mut self, shared: &Arc<Shared>, pools: &[Arc<PoolHandle>]) {
        for member in self.members.values_mut() {
            let mut here = pools.iter().filter(|pool| Arc::ptr_eq(&pool.machine, &self.machine));
            let Some(face) = here.find_map(|pool| pool.endpoint(member.id)) else { continue };
            match &member.keeper {
                Some(keeper) => keeper.turn_to(Arc::clone(face)),
                None => {
                    let machine = &self.machine;
                    let settings = &shared.options.keeper;
                    member.keeper = Some(Keeper::start(&shared.tasks, settings, machine, Arc::clone(face)));
                }
            }
        }
    }
}

impl Member {
    fn new(id: EndpointId, now: Time) -> Self {
        let vitals = Arc::new(Vitals::new(now));
        Self { id, vitals, served: Arc::default(), policies: PolicySet::default(), keeper: None }
    }

    fn face(
        &self,
        address: &EndpointAddress,
        spec: &PoolSpec,
        connector: &Arc<Connector>,
        pool: &Arc<PoolSeries>,
    ) -> Endpoint {
        let authority = authority(address);
        Endpoint {
            id: self.id,
            address: address.clone(),
            timeouts: spec.timeouts,
            vitals: Arc::clone(&self.vitals),
            series: pool.endpoint(&authority),
            authority: authority.into(),
            connector: Arc::clone(connector),
            pool: Arc::clone(pool),
            served: Arc::clone(&self.served),
        }
    }
}
