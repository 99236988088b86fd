//! Who decides: routers with Pointsman's core, a Kubernetes Service, or a bound.

use pointsman_core::{LoadReport, Time};

use super::agenda::{Member, News};
use super::bounds::{Central, Clairvoyant, SharedCache};
use super::flights::Flight;
use super::pools::Pools;
use super::servers::Server;
use super::service::{Pin, Service};
use super::{Broken, Order};
use crate::job::Job;
use crate::scenario::{self, Bound, Routing, Scenario};

/// The routing of a run. What it wants done it appends to `orders`.
#[derive(Debug)]
pub(super) enum Front {
    Pools(Box<Pools>),
    Service(Service),
    Central(Central),
    Clairvoyant(Clairvoyant),
}

impl Front {
    pub(super) fn new(scenario: &Scenario, routing: &Routing, seed: u64, check: u64) -> Self {
        let information = &scenario.information;
        let routers = if information.shared_state { 1 } else { information.routers.max(1) };
        match routing {
            Routing::Pool(policy) => {
                Self::Pools(Box::new(Pools::new(routers, policy, scenario, seed, check)))
            }
            Routing::ServicePerConnection => Self::Service(Service::new(Pin::Connection, seed)),
            Routing::ServicePerRequest => Self::Service(Service::new(Pin::Request, seed)),
            Routing::Bound(bound) => Self::bound(*bound, &scenario.fleet, seed),
        }
    }

    fn bound(bound: Bound, fleet: &[scenario::Member], seed: u64) -> Self {
        let block_size = fleet.first().map_or(1, |member| member.profile.block_size);
        let blocks = fleet.iter().map(|member| member.profile.blocks).fold(0, u32::saturating_add);
        match bound {
            Bound::CentralLateBinding => Self::Central(Central::new(fleet.len(), None)),
            Bound::InfiniteCache => {
                Self::Central(Central::new(fleet.len(), Some(SharedCache::infinite(block_size))))
            }
            Bound::PooledCache => {
                Self::Central(Central::new(fleet.len(), Some(SharedCache::pooled(block_size, blocks))))
            }
            Bound::GreedyClairvoyant => Self::Clairvoyant(Clairvoyant::new(fleet.len())),
            // The fleet is one engine then.
            Bound::PooledServer => Self::Service(Service::new(Pin::Request, seed)),
        }
    }

    /// Routers with a state of their own.
    pub(super) fn routers(&self) -> u32 {
        match self {
            Self::Pools(pools) => pools.count(),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => 1,
        }
    }

    /// Whether it sees the engines as they are.
    pub(super) const fn is_bound(&self) -> bool {
        match self {
            Self::Central(_) | Self::Clairvoyant(_) => true,
            Self::Pools(_) | Self::Service(_) => false,
        }
    }

    /// The routers that read gauges: none where nobody looks at them.
    pub(super) fn readers(&self) -> u32 {
        match self {
            Self::Pools(pools) => pools.count(),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => 0,
        }
    }

    pub(super) const fn pools(&mut self) -> Option<&mut Pools> {
        match self {
            Self::Pools(pools) => Some(pools),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => None,
        }
    }

    /// An engine is ready.
    pub(super) fn joined(&mut self, now: Time, of: Member, orders: &mut Vec<Order>) -> Result<(), Broken> {
        self.found(of, true);
        match self {
            Self::Pools(pools) => pools.joined(now, of, orders),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => Ok(()),
        }
    }

    /// An engine takes nothing new.
    pub(super) fn draining(&mut self, now: Time, of: Member, orders: &mut Vec<Order>) -> Result<(), Broken> {
        self.found(of, false);
        match self {
            Self::Pools(pools) => pools.draining(now, of, orders),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => Ok(()),
        }
    }

    /// An engine that takes nothing new has nothing of this router's any more.
    pub(super) fn left(
        &mut self,
        now: Time,
        router: u32,
        of: Member,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.left(now, router, of, orders),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => Ok(()),
        }
    }

    /// Kubernetes found an engine ready or not, which is a Service's only knowledge of it. Bounds need no telling
    /// whether it is up.
    pub(super) fn found(&mut self, of: Member, ready: bool) {
        match self {
            Self::Service(service) if ready => service.joined(of),
            Self::Service(service) => service.left(of),
            Self::Central(central) => central.set_open(of, ready),
            Self::Clairvoyant(clairvoyant) => clairvoyant.set_open(of, ready),
            Self::Pools(_) => {}
        }
    }

    /// Engines have ended steps or taken in requests since: those that wait may find room.
    pub(super) fn moved(&mut self, delivered: bool, servers: &[Server], orders: &mut Vec<Order>) {
        match self {
            Self::Central(central) if delivered => central.delivered(servers, orders),
            Self::Central(central) => central.bind(servers, orders),
            Self::Pools(_) | Self::Service(_) | Self::Clairvoyant(_) => {}
        }
    }

    /// Tokens of a job's prompt whose KV comes with it.
    pub(super) fn fetched(&mut self, job: &Job) -> u32 {
        match self {
            Self::Central(central) => central.fetched(job),
            Self::Pools(_) | Self::Service(_) | Self::Clairvoyant(_) => 0,
        }
    }

    /// A probe of an engine was answered, or not.
    pub(super) fn probed(
        &mut self,
        now: Time,
        router: u32,
        of: Member,
        healthy: bool,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.probed(now, router, of, healthy, orders),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => Ok(()),
        }
    }

    /// A job wants an engine.
    pub(super) fn arrived(
        &mut self,
        now: Time,
        flight: &Flight,
        servers: &[Server],
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.arrived(now, flight, servers, orders)?,
            Self::Service(service) => service.arrived(flight, orders),
            Self::Central(central) => central.arrived(flight, servers, orders),
            Self::Clairvoyant(clairvoyant) => clairvoyant.arrived(flight, servers, orders),
        }
        Ok(())
    }

    /// Something of an answer was seen.
    pub(super) fn saw(
        &mut self,
        now: Time,
        flight: &Flight,
        news: News,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.saw(now, flight, news, orders),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => {
                match (self, news) {
                    // A client behind a Service repeats nothing.
                    (_, News::Failed(_)) => orders.push(Order::Fail { request: flight.id }),
                    (Self::Central(central), News::Finished { .. }) => central.answered(&flight.job),
                    (_, News::FirstToken | News::Progress(_) | News::Finished { .. }) => {}
                }
                Ok(())
            }
        }
    }

    /// A reading of an engine's gauges reached a router.
    pub(super) fn read(
        &mut self,
        now: Time,
        router: u32,
        of: Member,
        report: LoadReport,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.read(now, router, of, report, orders),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => Ok(()),
        }
    }

    /// A time that a router asked for has come.
    pub(super) fn wake(&mut self, now: Time, router: u32, orders: &mut Vec<Order>) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.wake(now, router, orders),
            Self::Service(_) | Self::Central(_) | Self::Clairvoyant(_) => Ok(()),
        }
    }
}
