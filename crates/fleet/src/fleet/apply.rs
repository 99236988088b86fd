//! From one configuration to the next: what stays, what comes, what goes.

use std::sync::Arc;

use pointsman_config::{EngineAccess, World};
use pointsman_core::PoolSet;

use super::entry::{Entry, Wanted};
use super::groups::{EndpointKey, group};
use super::{FleetError, Shared};
use crate::connect::Connector;
use crate::generation::{Generation, PoolHandle};

/// Everything that lasts from one configuration to the next.
#[derive(Debug, Default)]
pub(super) struct Registry {
    generation: u64,
    endpoints_made: u32,
    machines_made: u32,
    schedulers: Vec<Entry>,
    connectors: Vec<(EngineAccess, Arc<Connector>)>,
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
        for (entry, wanted) in self.schedulers.iter_mut().zip(&wanted) {
            entry.raise(shared, wanted, &world, &mut self.endpoints_made);
            for &(pool, index) in &wanted.pools {
                let (Some(spec), Some(slot)) = (world.pools.get(index), handles.get_mut(index)) else {
                    continue;
                };
                let connector = connectors.iter().find(|(access, _)| *access == spec.access);
                let Some((_, connector)) = connector else { continue };
                *slot = Some(Arc::new(entry.handle(shared, pool, spec, connector)));
            }
            entry.announce(wanted, &world, &handles);
        }
        self.generation += 1;
        let pools: Vec<_> = handles.into_iter().flatten().collect();
        let generation = Arc::new(Generation { number: self.generation, world, pools, problems });
        let before = shared.current.swap(Arc::clone(&generation));
        for (entry, wanted) in self.schedulers.iter_mut().zip(&wanted) {
            entry.lower(wanted);
            entry.keep(shared, &generation.pools);
        }
        self.schedulers.retain(|entry| !entry.pools.is_empty());
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

    /// Finds or makes the state scheduler of each group of pools. The answer is parallel to the schedulers.
    fn assign(&mut self, shared: &Arc<Shared>, world: &World) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = self.schedulers.iter().map(|_| Wanted::default()).collect();
        for members in group(&world.pools) {
            if members.len() > PoolSet::CAPACITY {
                tracing::warn!(
                    pools = members.len(),
                    "more than {} pools share endpoints: they do not see all of each other's load",
                    PoolSet::CAPACITY
                );
            }
            for members in members.chunks(PoolSet::CAPACITY) {
                let position = self.best(members, world, &wanted).unwrap_or_else(|| {
                    self.schedulers.push(Entry::new(shared, self.machines_made));
                    self.machines_made += 1;
                    wanted.push(Wanted::default());
                    self.schedulers.len() - 1
                });
                let (Some(entry), Some(wanted)) = (self.schedulers.get(position), wanted.get_mut(position))
                else {
                    continue;
                };
                entry.claim(members, world, wanted);
            }
        }
        wanted
    }

    /// The scheduler that knows most of the group's endpoints, then pools, and has room for the group.
    fn best(&self, members: &[usize], world: &World, wanted: &[Wanted]) -> Option<usize> {
        let scored =
            self.schedulers.iter().zip(wanted).enumerate().filter_map(|(position, (entry, wanted))| {
                let room = wanted.pools.len() + members.len() <= PoolSet::CAPACITY;
                let specs = || members.iter().filter_map(|index| world.pools.get(*index));
                let endpoints = specs()
                    .flat_map(|spec| &spec.endpoints)
                    .filter(|address| entry.members.contains_key(&EndpointKey::of(address)))
                    .count();
                let names =
                    specs().filter(|spec| entry.pools.values().any(|(name, _)| *name == spec.name)).count();
                (room && endpoints + names > 0).then_some(((endpoints, names), position))
            });
        // Of equals the first, so that the same configurations lead to the same schedulers.
        scored
            .max_by_key(|(score, position)| (*score, std::cmp::Reverse(*position)))
            .map(|(_, position)| position)
    }
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
