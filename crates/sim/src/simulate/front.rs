//! Who decides: routers with Pointsman's core, a Kubernetes Service, or a bound.

use pointsman_core::{LoadReport, Time};

use super::agenda::{Member, News};
use super::flights::Flight;
use super::pools::Pools;
use super::service::{Pin, Service};
use super::{Broken, Order};
use crate::scenario::{Routing, Scenario};

/// The routing of a run. What it wants done it appends to `orders`.
#[derive(Debug)]
pub(super) enum Front {
    Pools(Box<Pools>),
    Service(Service),
}

impl Front {
    pub(super) fn new(scenario: &Scenario, routing: &Routing, seed: u64, check: u64) -> Option<Self> {
        let information = &scenario.information;
        let routers = if information.shared_state { 1 } else { information.routers.max(1) };
        Some(match routing {
            Routing::Pool(policy) => {
                Self::Pools(Box::new(Pools::new(routers, policy, scenario, seed, check)))
            }
            Routing::ServicePerConnection => Self::Service(Service::new(Pin::Connection, seed)),
            Routing::ServicePerRequest => Self::Service(Service::new(Pin::Request, seed)),
            Routing::Bound(_) => return None,
        })
    }

    /// Routers with a state of their own.
    pub(super) fn routers(&self) -> u32 {
        match self {
            Self::Pools(pools) => pools.count(),
            Self::Service(_) => 1,
        }
    }

    /// The routers that read gauges: none where nobody looks at them.
    pub(super) fn readers(&self) -> u32 {
        match self {
            Self::Pools(pools) => pools.count(),
            Self::Service(_) => 0,
        }
    }

    pub(super) const fn pools(&mut self) -> Option<&mut Pools> {
        match self {
            Self::Pools(pools) => Some(pools),
            Self::Service(_) => None,
        }
    }

    /// An engine is ready.
    pub(super) fn joined(&mut self, now: Time, of: Member, orders: &mut Vec<Order>) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.joined(now, of, orders),
            Self::Service(service) => {
                service.joined(of);
                Ok(())
            }
        }
    }

    /// An engine takes nothing new.
    pub(super) fn draining(&mut self, now: Time, of: Member, orders: &mut Vec<Order>) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.draining(now, of, orders),
            Self::Service(service) => {
                service.left(of);
                Ok(())
            }
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
            Self::Service(_) => Ok(()),
        }
    }

    /// Kubernetes found an engine ready or not, which is a Service's only knowledge of it.
    pub(super) fn found(&mut self, of: Member, ready: bool) {
        match self {
            Self::Service(service) if ready => service.joined(of),
            Self::Service(service) => service.left(of),
            Self::Pools(_) => {}
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
            Self::Service(_) => Ok(()),
        }
    }

    /// A job wants an engine.
    pub(super) fn arrived(
        &mut self,
        now: Time,
        flight: &Flight,
        orders: &mut Vec<Order>,
    ) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.arrived(now, flight, orders),
            Self::Service(service) => {
                service.arrived(flight, orders);
                Ok(())
            }
        }
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
            Self::Service(_) => {
                // A client behind a Service repeats nothing.
                if let News::Failed(_) = news {
                    orders.push(Order::Fail { request: flight.id });
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
            Self::Service(_) => Ok(()),
        }
    }

    /// A time that a router asked for has come.
    pub(super) fn wake(&mut self, now: Time, router: u32, orders: &mut Vec<Order>) -> Result<(), Broken> {
        match self {
            Self::Pools(pools) => pools.wake(now, router, orders),
            Self::Service(_) => Ok(()),
        }
    }
}
