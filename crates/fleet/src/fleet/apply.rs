//! Applies a configuration: assigns pools to schedulers and puts the new generation in force.

use std::collections::BTreeSet;
use std::sync::Arc;

use pointsman_config::{EngineAccess, World};
use pointsman_core::PoolSet;

use super::groups::{EndpointKey, group};
use super::registered::{Assignment, Endpoints, RegisteredScheduler};
use super::{FleetError, Shared};
use crate::connect::Connector;
use crate::generation::{Generation, PoolHandle};

/// The state that outlives a configuration.
#[derive(Debug, Default)]
pub(super) struct Registry {
    generation: u64,
    endpoints_created: u32,
    schedulers_created: u32,
    schedulers: Vec<RegisteredScheduler>,
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
        let assignments = self.assign(shared, &world);
        let mut handles: Vec<Option<Arc<PoolHandle>>> = vec![None; world.pools.len()];
        let mut known = Endpoints::new();
        for entry in &self.schedulers {
            entry.list_endpoints(&mut known);
        }
        for (entry, assignment) in self.schedulers.iter_mut().zip(&assignments) {
            entry.update(shared, assignment, &world, &known, &mut self.endpoints_created);
            for &(pool, index) in &assignment.pools {
                let (Some(spec), Some(slot)) = (world.pools.get(index), handles.get_mut(index)) else {
                    continue;
                };
                let connector = connectors.iter().find(|(access, _)| *access == spec.access);
                let Some((_, connector)) = connector else { continue };
                *slot = Some(Arc::new(entry.pool_handle(shared, pool, spec, connector)));
            }
            entry.announce(shared.clock.now(), assignment, &world, &handles);
        }
        self.generation += 1;
        let pools: Vec<_> = handles.into_iter().flatten().collect();
        let generation = Arc::new(Generation { number: self.generation, world, pools, problems });
        let before = shared.current.swap(Arc::clone(&generation));
        for (entry, assignment) in self.schedulers.iter_mut().zip(&assignments) {
            entry.drain_unselected(assignment);
            entry.update_monitors(shared, &generation.pools);
        }
        self.schedulers.retain(|entry| !entry.pools.is_empty());
        self.connectors = connectors;
        remove_series(shared, &before, &generation);
        shared.metrics.configuration(generation.number, problems);
        Ok(generation)
    }

    /// One connector per distinct access. Connectors that exist are kept.
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

    /// Finds or creates the scheduler of each group of pools. The result is parallel to the schedulers.
    fn assign(&mut self, shared: &Arc<Shared>, world: &World) -> Vec<Assignment> {
        let mut assignments: Vec<Assignment> =
            self.schedulers.iter().map(|_| Assignment::default()).collect();
        for members in group(&world.pools) {
            if members.len() > PoolSet::CAPACITY {
                tracing::warn!(
                    pools = members.len(),
                    "more than {} pools share endpoints, so they do not see all of each other's load",
                    PoolSet::CAPACITY
                );
            }
            for members in members.chunks(PoolSet::CAPACITY) {
                let position = self.best_match(members, world, &assignments).unwrap_or_else(|| {
                    self.schedulers.push(RegisteredScheduler::new(shared, self.schedulers_created));
                    self.schedulers_created += 1;
                    assignments.push(Assignment::default());
                    self.schedulers.len() - 1
                });
                let (Some(entry), Some(assignment)) =
                    (self.schedulers.get(position), assignments.get_mut(position))
                else {
                    continue;
                };
                entry.assign(members, world, assignment);
            }
        }
        assignments
    }

    /// The scheduler with room for the group that has most of its endpoints, and among equals most of its pools.
    fn best_match(&self, members: &[usize], world: &World, assignments: &[Assignment]) -> Option<usize> {
        let scored = self.schedulers.iter().zip(assignments).enumerate().filter_map(
            |(position, (entry, assignment))| {
                let room = assignment.pools.len() + members.len() <= PoolSet::CAPACITY;
                let specs = || members.iter().filter_map(|index| world.pools.get(*index));
                let endpoints = specs()
                    .flat_map(|spec| &spec.endpoints)
                    .filter(|address| entry.members.contains_key(&EndpointKey::of(address)))
                    .count();
                let names =
                    specs().filter(|spec| entry.pools.values().any(|(name, _)| *name == spec.name)).count();
                (room && endpoints + names > 0).then_some(((endpoints, names), position))
            },
        );
        // The first of equals, so that the same configurations lead to the same schedulers.
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
        let stay: BTreeSet<&str> = new.endpoints.iter().map(|endpoint| &*endpoint.authority).collect();
        for endpoint in &*old.endpoints {
            if !stay.contains(&*endpoint.authority) {
                old.series.remove_endpoint(&endpoint.authority);
            }
        }
    }
}
