//! The endpoints of a scheduler with everything that is counted and learned about each.

use crate::adapters::{Residency, Slots};
use crate::endpoint::{EndpointSpec, Health, LoadReport};
use crate::gauge::{Counts, Gauge, History};
use crate::health::{Availability, HealthState};
use crate::ids::{EndpointId, PoolId, RequestId};
use crate::prefill::{PrefillMeasurement, PrefillQueue};
use crate::prefix::Cache;
use crate::rates::Speed;
use crate::reservation::{PaceMark, Reservation};
use crate::time::Time;

/// Whether an endpoint takes requests at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// It takes requests.
    #[default]
    Up,
    /// It takes no new ones.
    Draining,
    /// It disappeared. It is kept until the last request there ends.
    Down,
}

/// One endpoint.
///
/// The counts change through [`Endpoint::begin`], [`Endpoint::output_seen`] and [`Endpoint::end`] only, since each change
/// must be preceded by an entry in the history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) spec: EndpointSpec,
    lifecycle: Lifecycle,
    in_flight: u32,
    context: u64,
    cached: u64,
    pub(crate) prefill: PrefillQueue,
    pub(crate) speed: Speed,
    pub(crate) gauge: Option<Gauge>,
    history: History,
    /// The most requests in flight at which its gauges were seen below saturation.
    pub(crate) most_unsaturated: Option<u32>,
    /// The fewest requests in flight, at least one, at which its gauges were seen saturated.
    pub(crate) least_saturated: Option<u32>,
    pub(crate) adapters: Slots,
    pub(crate) cache: Cache,
    pub(crate) health: HealthState,
}

impl Endpoint {
    /// Its health as drivers see it.
    pub(crate) const fn public_health(&self) -> Health {
        match self.lifecycle {
            Lifecycle::Up => self.health.health(),
            Lifecycle::Draining | Lifecycle::Down => Health::Draining,
        }
    }

    /// Whether it may be chosen; `None` where it takes no new requests at all.
    pub(crate) fn availability(&self, now: Time) -> Option<Availability> {
        (self.lifecycle == Lifecycle::Up).then(|| self.health.availability(now))
    }

    /// Whether it takes requests without restriction.
    pub(crate) fn is_ready(&self) -> bool {
        self.lifecycle == Lifecycle::Up && matches!(self.health.health(), Health::Ready)
    }

    pub(crate) const fn lifecycle(&self) -> Lifecycle {
        self.lifecycle
    }

    /// Requests in flight there.
    pub(crate) const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Tokens of context of the requests in flight: prompts and output so far.
    pub(crate) const fn context(&self) -> u64 {
        self.context
    }

    /// Of those, prompt tokens expected to be cached at dispatch. Most share blocks with other requests in flight.
    pub(crate) const fn cached(&self) -> u64 {
        self.cached
    }

    /// Tokens that took blocks of their own, as far as known: too few where a cached prefix has no other user at the time.
    pub(crate) const fn filled(&self) -> u64 {
        self.context.saturating_sub(self.cached)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts { in_flight: self.in_flight, prefilling: self.prefill.len(), filled: self.filled() }
    }

    /// The latest reading, while it is fresh.
    pub(crate) fn fresh_gauge(&self, now: Time) -> Option<&Gauge> {
        self.gauge.as_ref().filter(|gauge| gauge.is_fresh(now))
    }

    /// Replaces the reading of its gauges and returns the one before. `report` must not be older than that.
    pub(crate) fn read(&mut self, report: LoadReport) -> Option<Gauge> {
        let then = self.history.at(report.taken, self.counts());
        self.gauge.replace(Gauge::new(report, then))
    }

    pub(crate) fn begin(&mut self, request: RequestId, reservation: &Reservation) {
        self.history.changing(reservation.dispatched, self.counts());
        self.in_flight += 1;
        self.context += reservation.context;
        self.cached += u64::from(reservation.cached);
        let Reservation { dispatched, uncached, prefilling, residency, .. } = *reservation;
        self.prefill.push(dispatched, request, uncached, prefilling, residency != Residency::Resident);
        if let Some(adapter) = reservation.adapter {
            self.adapters.begin(adapter);
        }
    }

    /// A request put out `output_tokens` so far. The first output ends its prefill, which may complete a measurement.
    pub(crate) fn output_seen(
        &mut self,
        now: Time,
        request: RequestId,
        reservation: &mut Reservation,
        output_tokens: u32,
    ) -> Option<PrefillMeasurement> {
        self.history.changing(now, self.counts());
        let first = std::mem::replace(&mut reservation.prefilling, false);
        let measured = if first { self.prefill.first_token(now, request) } else { None };
        let new = u64::from(output_tokens.saturating_sub(reservation.pace.output));
        self.context += new;
        reservation.context += new;
        reservation.pace = PaceMark { at: now, output: output_tokens, prefilled: self.prefill.prefilled() };
        measured
    }

    pub(crate) fn end(&mut self, now: Time, request: RequestId, reservation: &Reservation) {
        self.history.changing(now, self.counts());
        self.in_flight = self.in_flight.saturating_sub(1);
        self.context = self.context.saturating_sub(reservation.context);
        self.cached = self.cached.saturating_sub(u64::from(reservation.cached));
        if reservation.prefilling || self.prefill.needs_clock() {
            self.prefill.cancel(request);
        }
        if let Some(adapter) = reservation.adapter {
            self.adapters.end(adapter);
        }
    }

    /// For tests that need a load without requests.
    #[cfg(test)]
    pub(crate) const fn set_in_flight(&mut self, in_flight: u32) {
        self.in_flight = in_flight;
    }
}

/// Every so many endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stride {
    pub(crate) first: usize,
    /// At least 1.
    pub(crate) step: usize,
}

impl Stride {
    pub(crate) const ALL: Self = Self { first: 0, step: 1 };
}

/// The endpoints in ascending order of their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    pub(crate) all: Vec<Endpoint>,
    /// Those that are draining or down.
    leaving: Vec<EndpointId>,
}

impl Endpoints {
    /// The index of an endpoint in `all`.
    pub(crate) fn index(&self, id: EndpointId) -> Option<usize> {
        self.all.binary_search_by_key(&id, |endpoint| endpoint.id).ok()
    }

    pub(crate) fn get_mut(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        let index = self.index(id)?;
        self.all.get_mut(index)
    }

    /// Adds an endpoint, or changes the configuration of one that is there. Returns its index.
    pub(crate) fn insert(&mut self, id: EndpointId, spec: EndpointSpec) -> usize {
        match self.all.binary_search_by_key(&id, |endpoint| endpoint.id) {
            Ok(index) => {
                self.all[index].spec = spec;
                index
            }
            Err(index) => {
                self.all.insert(index, Endpoint { id, spec, ..Endpoint::default() });
                index
            }
        }
    }

    /// Returns whether that is a change.
    pub(crate) fn set_lifecycle(&mut self, index: usize, lifecycle: Lifecycle) -> bool {
        let endpoint = &mut self.all[index];
        let before = std::mem::replace(&mut endpoint.lifecycle, lifecycle);
        match (before != Lifecycle::Up, lifecycle != Lifecycle::Up) {
            (false, true) => self.leaving.push(endpoint.id),
            (true, false) => {
                let id = endpoint.id;
                self.leaving.retain(|leaving| *leaving != id);
            }
            (false, false) | (true, true) => {}
        }
        before != lifecycle
    }

    /// The index of the first endpoint that takes no new requests and has none left.
    pub(crate) fn drained(&self) -> Option<usize> {
        let drained = |index: &usize| self.all[*index].in_flight == 0;
        self.leaving.iter().filter_map(|id| self.index(*id)).filter(drained).min()
    }

    pub(crate) fn remove(&mut self, index: usize) -> EndpointId {
        let endpoint = self.all.remove(index);
        self.leaving.retain(|leaving| *leaving != endpoint.id);
        endpoint.id
    }

    /// Those that a pool selects and that take requests without restriction.
    pub(crate) fn ready(&self, pool: PoolId) -> impl Iterator<Item = &Endpoint> {
        self.ready_among(pool, Stride::ALL)
    }

    /// Those of them that a stride meets.
    pub(crate) fn ready_among(&self, pool: PoolId, stride: Stride) -> impl Iterator<Item = &Endpoint> {
        let all = self.all.iter().skip(stride.first).step_by(stride.step);
        all.filter(move |endpoint| endpoint.spec.pools.contains(pool) && endpoint.is_ready())
    }
}
