//! The endpoints of a pool and what is held about each.

use crate::adapters::{Residency, Slots};
use crate::endpoint::{EndpointSpec, Health};
use crate::gauge::{Counts, EngineLoad, Gauge, History};
use crate::health::{Availability, HealthState};
use crate::ids::{EndpointId, RequestId};
use crate::prefill::PrefillLine;
use crate::prefix::Cache;
use crate::rates::Speed;
use crate::reservation::Reservation;
use crate::time::Time;

/// Where an endpoint stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It may be chosen.
    Up,
    /// It takes nothing new.
    Draining,
    /// It left; it is kept until the last request on it ends.
    Gone,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) spec: EndpointSpec,
    pub(crate) life: Life,
    pub(crate) in_flight: u32,
    pub(crate) context: u64,
    /// Of those, prompt tokens that were held to be cached when their requests came: most took no new blocks, being shared
    /// with others in flight.
    pub(crate) cached: u64,
    pub(crate) prefill: PrefillLine,
    pub(crate) speed: Speed,
    pub(crate) gauge: Option<Gauge>,
    pub(crate) history: History,
    /// The most requests in flight at which its gauges were seen below saturation.
    pub(crate) most_unsaturated: Option<u32>,
    pub(crate) adapters: Slots,
    pub(crate) cache: Cache,
    pub(crate) health: HealthState,
}

impl Endpoint {
    fn new(id: EndpointId, spec: EndpointSpec) -> Self {
        Self {
            id,
            spec,
            life: Life::Up,
            in_flight: 0,
            context: 0,
            cached: 0,
            prefill: PrefillLine::default(),
            speed: Speed::default(),
            gauge: None,
            history: History::default(),
            most_unsaturated: None,
            adapters: Slots::default(),
            cache: Cache::default(),
            health: HealthState::default(),
        }
    }

    /// Its health as the outside sees it.
    pub(crate) const fn public_health(&self) -> Health {
        match self.life {
            Life::Up => self.health.health(),
            Life::Draining | Life::Gone => Health::Draining,
        }
    }

    /// Whether it may be chosen; `None` where it takes nothing at all.
    pub(crate) fn availability(&self, now: Time) -> Option<Availability> {
        (self.life == Life::Up).then(|| self.health.availability(now))
    }

    /// Whether it takes requests as a matter of course.
    pub(crate) fn is_ready(&self) -> bool {
        self.life == Life::Up && matches!(self.health.health(), Health::Ready)
    }

    /// Tokens that took blocks of their own, as far as known: of a head that nobody else uses at the time too little.
    pub(crate) const fn filled(&self) -> u64 {
        self.context.saturating_sub(self.cached)
    }

    /// Our own counts.
    pub(crate) fn counts(&self) -> Counts {
        Counts { in_flight: self.in_flight, prefilling: self.prefill.len(), filled: self.filled() }
    }

    /// The latest reading, where it still counts.
    pub(crate) fn fresh_gauge(&self, now: Time) -> Option<&Gauge> {
        self.gauge.as_ref().filter(|gauge| gauge.is_fresh(now))
    }

    /// The engine's load at this moment by its own fresh gauge.
    pub(crate) fn engine_load(&self, now: Time) -> Option<EngineLoad> {
        Some(self.fresh_gauge(now)?.corrected(self.counts()))
    }

    /// Reserves a request's load.
    pub(crate) fn begin(&mut self, request: RequestId, placed: &Reservation) {
        self.history.changing(placed.dispatched, self.counts());
        self.in_flight += 1;
        self.context += placed.context;
        self.cached += u64::from(placed.cached);
        let spoils = placed.residency != Residency::Resident;
        self.prefill.push(placed.dispatched, request, placed.uncached, placed.prefilling, spoils);
        if let Some(adapter) = placed.adapter {
            self.adapters.begin(adapter);
        }
    }

    /// Releases it.
    pub(crate) fn end(&mut self, now: Time, request: RequestId, placed: &Reservation) {
        self.history.changing(now, self.counts());
        self.in_flight = self.in_flight.saturating_sub(1);
        self.context = self.context.saturating_sub(placed.context);
        self.cached = self.cached.saturating_sub(u64::from(placed.cached));
        if placed.prefilling || self.prefill.needs_clock() {
            self.prefill.give_up(request);
        }
        if let Some(adapter) = placed.adapter {
            self.adapters.end(adapter);
        }
    }
}

/// The endpoints in ascending order of their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints(Vec<Endpoint>);

impl Endpoints {
    /// All of them.
    pub(crate) fn all(&self) -> &[Endpoint] {
        &self.0
    }

    /// All of them, to change.
    pub(crate) fn all_mut(&mut self) -> &mut [Endpoint] {
        &mut self.0
    }

    /// Where an endpoint stands in [`Endpoints::all`].
    pub(crate) fn index(&self, id: EndpointId) -> Option<usize> {
        self.0.binary_search_by_key(&id, |endpoint| endpoint.id).ok()
    }

    pub(crate) fn get_mut(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        let index = self.index(id)?;
        self.0.get_mut(index)
    }

    /// Adds an endpoint, or changes the facts of one that is there.
    pub(crate) fn up(&mut self, id: EndpointId, spec: EndpointSpec) -> &mut Endpoint {
        let index = match self.0.binary_search_by_key(&id, |endpoint| endpoint.id) {
            Ok(index) => {
                self.0[index].spec = spec;
                index
            }
            Err(index) => {
                self.0.insert(index, Endpoint::new(id, spec));
                index
            }
        };
        &mut self.0[index]
    }

    /// Forgets an endpoint that has left, once nothing is in flight there.
    pub(crate) fn forget_if_done(&mut self, id: EndpointId) {
        if let Some(index) = self.index(id)
            && self.0[index].life == Life::Gone
            && self.0[index].in_flight == 0
        {
            self.0.remove(index);
        }
    }

    /// Those that a pool selects and that may be chosen as a matter of course.
    pub(crate) fn ready(&self, pool: crate::ids::PoolId) -> impl Iterator<Item = &Endpoint> {
        self.0.iter().filter(move |endpoint| endpoint.spec.pools.contains(pool) && endpoint.is_ready())
    }
}
