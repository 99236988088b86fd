//! From one configuration to the next: what stays, what comes, what goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman_config::models::ModelRules;
use pointsman_config::{EndpointAddress, EngineAccess, ObjectName, PoolSpec, World};
use pointsman_core::{EndpointId, EndpointSpec, Event, Policy, PolicyId, PolicySet, PoolConfig, Rng, Time};
use pointsman_telemetry::PoolSeries;

use super::groups::{EndpointKey, group};
use super::{FleetError, Shared};
use crate::connect::Connector;
use crate::endpoint::{Endpoint, authority};
use crate::generation::{Generation, PoolHandle};
use crate::keeper::Keeper;
use crate::machine::Machine;
use crate::models::ServedModels;
use crate::vitals::Vitals;

/// Everything that lasts from one configuration to the next.
#[derive(Debug, Default)]
pub(super) struct Registry {
    generation: u64,
    endpoints_made: u32,
    machines_made: u32,
    machines: Vec<Entry>,
    connectors: Vec<(EngineAccess, Arc<Connector>)>,
}

#[derive(Debug)]
struct Entry {
    machine: Arc<Machine>,
    policies: BTreeMap<PolicyId, (ObjectName, Policy)>,
    members: BTreeMap<EndpointKey, Member>,
    /// Those that no pool selects any more and that still have requests: they may come back.
    leaving: BTreeMap<EndpointKey, Member>,
}

/// An endpoint of a state machine.
#[derive(Debug)]
struct Member {
    id: EndpointId,
    vitals: Arc<Vitals>,
    served: Arc<ServedModels>,
    policies: PolicySet,
    keeper: Option<Keeper>,
}

/// What a configuration wants of one state machine.
#[derive(Debug, Default)]
struct Wanted {
    pools: Vec<(PolicyId, usize)>,
    endpoints: BTreeMap<EndpointKey, PolicySet>,
}

impl Registry {
    pub(super) fn apply(
        &mut self,
        shared: &Arc<Shared>,
        world: World,
        problems: usize,
    ) -> Result<Arc<Generation>, FleetError> {
        let connectors = self.connectors_for(&world)?;
        let wanted = self.assign(shared, &world);
        let mut handles: Vec<Option<Arc<PoolHandle>>> = vec![None; world.pools.len()];
        for (entry, wanted) in self.machines.iter_mut().zip(&wanted) {
            entry.raise(shared, wanted, &world, &mut self.endpoints_made);
            for &(policy, index) in &wanted.pools {
                let (Some(spec), Some(slot)) = (world.pools.get(index), handles.get_mut(index)) else {
                    continue;
                };
                let connector = connectors.iter().find(|(access, _)| *access == spec.access);
                let Some((_, connector)) = connector else { continue };
                *slot = Some(Arc::new(entry.handle(shared, policy, spec, connector)));
            }
            entry.announce(wanted, &handles);
        }
        self.generation += 1;
        let pools: Vec<_> = handles.into_iter().flatten().collect();
        let generation = Arc::new(Generation { number: self.generation, world, pools, problems });
        let before = shared.current.swap(Arc::clone(&generation));
        for (entry, wanted) in self.machines.iter_mut().zip(&wanted) {
            entry.lower(wanted);
            entry.keep(shared, &generation.pools);
        }
        self.machines.retain(|entry| !entry.policies.is_empty());
        self.connectors = connectors;
        remove_series(shared, &before, &generation);
        shared.metrics.configuration(generation.number, problems);
        Ok(generation)
    }

    /// One connector per distinct access, those that exist already kept with their connections' settings.
    fn connectors_for(&self, world: &World) -> Result<Vec<(EngineAccess, Arc<Connector>)>, FleetError> {
        let mut connectors: Vec<(EngineAccess, Arc<Connector>)> = Vec::new();
        for pool in &world.pools {
            if connectors.iter().any(|(access, _)| *access == pool.access) {
                continue;
            }
            let known = self.connectors.iter().find(|(access, _)| *access == pool.access);
            let connector = match known {
                Some((_, connector)) => Arc::clone(connector),
                None => Arc::new(
                    Connector::new(&pool.access)
                        .map_err(|source| FleetError::Access { pool: pool.name.to_string(), source })?,
                ),
            };
            connectors.push((pool.access.clone(), connector));
        }
        Ok(connectors)
    }

    /// Finds or makes the state machine of each group of pools. The answer is parallel to the machines.
    fn assign(&mut self, shared: &Arc<Shared>, world: &World) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = self.machines.iter().map(|_| Wanted::default()).collect();
        for members in group(&world.pools) {
            if members.len() > PolicySet::CAPACITY {
                tracing::warn!(
                    pools = members.len(),
                    "more than {} pools share endpoints: they do not see all of each other's load",
                    PolicySet::CAPACITY
                );
            }
            for members in members.chunks(PolicySet::CAPACITY) {
                let position = self.best(members, world, &wanted).unwrap_or_else(|| {
                    self.machines.push(Entry::new(shared, self.machines_made));
                    self.machines_made += 1;
                    wanted.push(Wanted::default());
                    self.machines.len() - 1
                });
                let (Some(entry), Some(wanted)) = (self.machines.get(position), wanted.get_mut(position))
                else {
                    continue;
                };
                entry.claim(members, world, wanted);
            }
        }
        wanted
    }

    /// The machine that knows most of the group's endpoints, then pools, and has room for the group.
    fn best(&self, members: &[usize], world: &World, wanted: &[Wanted]) -> Option<usize> {
        let scored =
            self.machines.iter().zip(wanted).enumerate().filter_map(|(position, (entry, wanted))| {
                let room = wanted.pools.len() + members.len() <= PolicySet::CAPACITY;
                let specs = || members.iter().filter_map(|index| world.pools.get(*index));
                let endpoints = specs()
                    .flat_map(|spec| &spec.endpoints)
                    .filter(|address| entry.members.contains_key(&EndpointKey::of(address)))
                    .count();
                let names = specs()
                    .filter(|spec| entry.policies.values().any(|(name, _)| *name == spec.name))
                    .count();
                (room && endpoints + names > 0).then_some(((endpoints, names), position))
            });
        // Of equals the first, so that the same configurations lead to the same machines.
        scored
            .max_by_key(|(score, position)| (*score, std::cmp::Reverse(*position)))
            .map(|(_, position)| position)
    }
}

impl Entry {
    fn new(shared: &Arc<Shared>, number: u32) -> Self {
        let seed = Rng::seeded(shared.options.seed.wrapping_add(u64::from(number))).next_u64();
        let config = PoolConfig { seed, decisions: shared.options.decisions };
        let log = shared.recorder.as_ref().map(|recorder| recorder.pool(number, &config));
        let machine = Machine::new(number, config, shared.clock, Arc::clone(&shared.requests), log);
        let timer = Arc::clone(machine.timer()).run(Arc::downgrade(&machine), shared.clock);
        shared.tasks.spawn(shared.tasks.token(), timer);
        Self { machine, policies: BTreeMap::new(), members: BTreeMap::new(), leaving: BTreeMap::new() }
    }

    /// Gives each pool of a group its number here: the one it had, or one that neither a pool before nor one now has.
    fn claim(&self, members: &[usize], world: &World, wanted: &mut Wanted) {
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
    fn raise(&mut self, shared: &Arc<Shared>, wanted: &Wanted, world: &World, made: &mut u32) {
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

    fn handle(
        &self,
        shared: &Arc<Shared>,
        policy: PolicyId,
        spec: &PoolSpec,
        connector: &Arc<Connector>,
    ) -> PoolHandle {
        let series = shared.metrics.pool(&spec.name.to_string());
        declare(&series, &spec.models);
        let mut endpoints: Vec<_> = spec
            .endpoints
            .iter()
            .filter_map(|address| Some((address, self.members.get(&EndpointKey::of(address))?)))
            .map(|(address, member)| Arc::new(member.face(address, spec, connector, &series)))
            .collect();
        endpoints.sort_by_key(|endpoint| endpoint.id);
        endpoints.dedup_by_key(|endpoint| endpoint.id);
        PoolHandle { name: spec.name.clone(), policy, machine: Arc::clone(&self.machine), endpoints, series }
    }

    /// The core hears of endpoints only after their faces are known, since it may dispatch there at once.
    fn announce(&mut self, wanted: &Wanted, handles: &[Option<Arc<PoolHandle>>]) {
        for &(policy, index) in &wanted.pools {
            if let Some(Some(handle)) = handles.get(index) {
                self.machine.set_members(policy, handle.endpoints.clone());
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
    fn lower(&mut self, wanted: &Wanted) {
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
    fn keep(&mut self, shared: &Arc<Shared>, pools: &[Arc<PoolHandle>]) {
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

/// Names the models that may be labels: each with itself, then with every target, since which of them a model is
/// mapped to is the rules' own affair.
fn declare(series: &PoolSeries, rules: &ModelRules) {
    let models = || rules.declared_models().map(AsRef::as_ref);
    let mapped = models().flat_map(|model| rules.targets().map(move |target| (model, target.as_ref())));
    series.declare(models().map(|model| (model, model)).chain(mapped));
}

/// Drops the metric series of pools and endpoints that are gone.
fn remove_series(shared: &Shared, before: &Generation, after: &Generation) {
    for old in &before.pools {
        let Some(new) = after.pools.iter().find(|new| new.name == old.name) else {
            shared.metrics.remove_pool(&old.name.to_string());
            continue;
        };
        for endpoint in &old.endpoints {
            if !new.endpoints.iter().any(|other| other.authority == endpoint.authority) {
                old.series.remove_endpoint(&endpoint.authority);
            }
        }
    }
}
