//! The balancer of a run: routers with Pointsman's scheduler, a Kubernetes Service, or a bound.

use pointsman_core::{Event, Time};
use pointsman_workload::Job;

use super::active_jobs::ActiveJob;
use super::bounds::{Central, Clairvoyant, SharedCache};
use super::event_queue::{EngineIndex, ResponseUpdate};
use super::schedulers::Schedulers;
use super::servers::Server;
use super::service::{Affinity, Service};
use super::{Action, Broken};
use crate::outcome::End;
use crate::scenario::{self, Bound, Routing, Scenario};

/// Decides where jobs go. Its decisions are appended to `actions`.
#[derive(Debug)]
pub(super) enum Balancer {
    Schedulers(Box<Schedulers>),
    Service(Service),
    Central(Central),
    Clairvoyant(Clairvoyant),
}

impl Balancer {
    pub(super) fn new(scenario: &Scenario, routing: &Routing, seed: u64, check: u64) -> Self {
        let information = &scenario.information;
        let routers = if information.shared_state { 1 } else { information.routers.max(1) };
        match routing {
            Routing::Pool(policy) => {
                Self::Schedulers(Box::new(Schedulers::new(routers, policy, scenario, seed, check)))
            }
            Routing::ServicePerConnection => Self::Service(Service::new(Affinity::Connection, seed)),
            Routing::ServicePerRequest => Self::Service(Service::new(Affinity::Request, seed)),
            Routing::Bound(bound) => Self::bound(*bound, &scenario.fleet, seed),
        }
    }

    fn bound(bound: Bound, fleet: &[scenario::EngineSpec], seed: u64) -> Self {
        let block_size = fleet.first().map_or(1, |engine| engine.profile.block_size);
        let blocks = fleet.iter().map(|engine| engine.profile.blocks).fold(0, u32::saturating_add);
        match bound {
            Bound::CentralLateBinding => Self::Central(Central::new(fleet.len(), None)),
            Bound::InfiniteCache => {
                Self::Central(Central::new(fleet.len(), Some(SharedCache::infinite(block_size))))
            }
            Bound::PooledCache => {
                Self::Central(Central::new(fleet.len(), Some(SharedCache::pooled(block_size, blocks))))
            }
            Bound::GreedyClairvoyant => Self::Clairvoyant(Clairvoyant::new(fleet.len())),
            // The pooled server is the only engine of the fleet.
            Bound::PooledServer => Self::Service(Service::new(Affinity::Request, seed)),
        }
    }

    /// Number of routers with a state of their own.
    pub(super) fn routers(&self) -> u32 {
        self.readers().max(1)
    }

    /// Whether it sees the engines' true state.
    pub(super) const fn is_bound(&self) -> bool {
        matches!(self, Self::Central(_) | Self::Clairvoyant(_))
    }

    /// Number of routers that read gauges, probe engines and check liveness; 0 for all but schedulers.
    pub(super) fn readers(&self) -> u32 {
        match self {
            Self::Schedulers(schedulers) => schedulers.count(),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => 0,
        }
    }

    /// Whether any job named an adapter so far, which puts adapters on the engines' metrics pages.
    pub(super) fn has_adapters(&self) -> bool {
        match self {
            Self::Schedulers(schedulers) => schedulers.has_adapters(),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => false,
        }
    }

    /// Passes an event to a router's scheduler. Other balancers have no scheduler and need no such event.
    pub(super) fn handle(
        &mut self,
        now: Time,
        router: u32,
        event: Event,
        actions: &mut Vec<Action>,
    ) -> Result<(), Broken> {
        match self {
            Self::Schedulers(schedulers) => schedulers.handle(now, router, event, actions),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => Ok(()),
        }
    }

    /// Passes an event to the scheduler of every router.
    pub(super) fn broadcast(
        &mut self,
        now: Time,
        event: &Event,
        actions: &mut Vec<Action>,
    ) -> Result<(), Broken> {
        match self {
            Self::Schedulers(schedulers) => schedulers.broadcast(now, event, actions),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => Ok(()),
        }
    }

    /// Kubernetes' readiness of an engine, the only state of it that a Service knows. Bounds see themselves whether an
    /// engine is up.
    pub(super) fn set_ready(&mut self, engine: EngineIndex, ready: bool) {
        match self {
            Self::Service(service) => service.set_ready(engine, ready),
            Self::Central(central) => central.set_open(engine, ready),
            Self::Clairvoyant(clairvoyant) => clairvoyant.set_open(engine, ready),
            Self::Schedulers(_) => {}
        }
    }

    /// Engines ended steps or received requests: queued requests may find room.
    pub(super) fn engines_changed(&mut self, delivered: bool, servers: &[Server], actions: &mut Vec<Action>) {
        match self {
            Self::Central(central) if delivered => central.delivered(servers, actions),
            Self::Central(central) => central.bind(servers, actions),
            Self::Schedulers(_) | Self::Service(_) | Self::Clairvoyant(_) => {}
        }
    }

    /// Prompt tokens of a job whose KV a shared cache provides.
    pub(super) fn fetched(&mut self, job: &Job) -> u32 {
        match self {
            Self::Central(central) => central.fetched(job),
            Self::Schedulers(_) | Self::Service(_) | Self::Clairvoyant(_) => 0,
        }
    }

    /// A job arrived.
    pub(super) fn arrived(
        &mut self,
        now: Time,
        job: &ActiveJob,
        servers: &[Server],
        actions: &mut Vec<Action>,
    ) -> Result<(), Broken> {
        match self {
            Self::Schedulers(schedulers) => schedulers.arrived(now, job, servers, actions)?,
            Self::Service(service) => service.arrived(job, actions),
            Self::Central(central) => central.arrived(job, servers, actions),
            Self::Clairvoyant(clairvoyant) => clairvoyant.arrived(job, servers, actions),
        }
        Ok(())
    }

    /// A router received a part of a response.
    pub(super) fn response_update(
        &mut self,
        now: Time,
        job: &ActiveJob,
        update: ResponseUpdate,
        actions: &mut Vec<Action>,
    ) -> Result<(), Broken> {
        match (self, update) {
            (Self::Schedulers(schedulers), _) => {
                return schedulers.response_update(now, job, update, actions);
            }
            // Clients behind a Service do not retry.
            (_, ResponseUpdate::Failed(_)) => {
                actions.push(Action::End { request: job.id, end: End::Failed });
            }
            (Self::Central(central), ResponseUpdate::Finished { .. }) => central.answered(&job.spec),
            (
                Self::Central(_) | Self::Service(_) | Self::Clairvoyant(_),
                ResponseUpdate::FirstToken | ResponseUpdate::Progress(_) | ResponseUpdate::Finished { .. },
            ) => {}
        }
        Ok(())
    }
}
