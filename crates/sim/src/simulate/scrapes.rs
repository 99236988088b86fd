//! When each router scrapes each engine: the pace of the live scraper, with delay and loss.

use std::time::Duration;

use pointsman_core::{PaceBounds, Rng, ScrapePace, Time};

use super::event_queue::{EngineIndex, EventQueue, ScheduledEvent};
use super::servers::draw;
use crate::scenario::Information;

const SCRAPE_SALT: u64 = 0x7363_7261_7065;

/// One router's scrapes of one engine.
#[derive(Debug)]
struct ScrapeState {
    pace: ScrapePace,
    dispatched: u64,
    in_flight: u32,
    last: Time,
    /// When the next scrape is due; events for other times are void.
    due: Option<Time>,
    /// Whether the pause is long, so that the next dispatch shortens it.
    idle: bool,
}

/// Scrapes of all routers and engines.
#[derive(Debug)]
pub(super) struct Scrapes {
    bounds: Option<PaceBounds>,
    loss: f64,
    blackouts: Vec<(Time, Time)>,
    rng: Rng,
    engines: usize,
    /// By router, then by engine.
    states: Vec<ScrapeState>,
}

impl Scrapes {
    pub(super) fn new(information: &Information, routers: u32, engines: usize, seed: u64) -> Self {
        let bounds = information
            .scrape_every
            .map(|shortest| PaceBounds { shortest, longest: information.scrape_idle_every.max(shortest) });
        let pace = bounds.unwrap_or(PaceBounds { shortest: Duration::MAX, longest: Duration::MAX });
        let state = |number: u64| ScrapeState {
            pace: ScrapePace::new(pace, draw(seed, SCRAPE_SALT, number + 1)),
            dispatched: 0,
            in_flight: 0,
            last: Time::ZERO,
            due: None,
            idle: false,
        };
        Self {
            bounds,
            loss: information.scrape_loss,
            blackouts: information.blackouts.clone(),
            rng: Rng::seeded(draw(seed, SCRAPE_SALT, 0)),
            engines,
            states: (0..routers as usize * engines).map(|number| state(number as u64)).collect(),
        }
    }

    fn state(&mut self, router: u32, engine: EngineIndex) -> Option<&mut ScrapeState> {
        self.states.get_mut(router as usize * self.engines + engine as usize)
    }

    /// An engine joined.
    pub(super) fn joined(&mut self, now: Time, router: u32, engine: EngineIndex, queue: &mut EventQueue) {
        if self.bounds.is_some()
            && let Some(state) = self.state(router, engine)
        {
            (state.last, state.due) = (now, Some(now));
            queue.schedule(now, ScheduledEvent::Scrape { router, engine });
        }
    }

    /// A request was sent to an engine.
    pub(super) fn sent(&mut self, now: Time, router: u32, to: EngineIndex, queue: &mut EventQueue) {
        let shortest = self.bounds.map_or(Duration::ZERO, |bounds| bounds.shortest);
        let Some(state) = self.state(router, to) else { return };
        state.dispatched += 1;
        state.in_flight += 1;
        if std::mem::take(&mut state.idle) {
            state.due = Some(now + shortest);
            queue.schedule(now + shortest, ScheduledEvent::Scrape { router, engine: to });
        }
    }

    /// A request at an engine ended.
    pub(super) fn ended(&mut self, router: u32, at: EngineIndex) {
        if let Some(state) = self.state(router, at) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
    }

    /// Requests of this router in flight at an engine.
    pub(super) fn in_flight(&self, router: u32, engine: EngineIndex) -> u32 {
        let place = router as usize * self.engines + engine as usize;
        self.states.get(place).map_or(0, |state| state.in_flight)
    }

    /// An engine left: its scrapes end.
    pub(super) fn left(&mut self, router: u32, engine: EngineIndex) {
        if let Some(state) = self.state(router, engine) {
            (state.due, state.idle) = (None, false);
        }
    }

    /// Whether a scrape is due now and its result arrives. Schedules the next one.
    pub(super) fn due(
        &mut self,
        now: Time,
        router: u32,
        engine: EngineIndex,
        queue: &mut EventQueue,
    ) -> bool {
        let Some(PaceBounds { shortest, .. }) = self.bounds else { return false };
        let lost = self.lost(now);
        let Some(state) = self.state(router, engine) else { return false };
        if state.due != Some(now) {
            return false;
        }
        let pause = state.pace.next_pause(state.dispatched, state.in_flight, now.since(state.last));
        state.last = now;
        state.idle = pause > shortest * 2;
        state.due = Some(now + pause);
        queue.schedule(now + pause, ScheduledEvent::Scrape { router, engine });
        !lost
    }

    fn lost(&mut self, now: Time) -> bool {
        if self.blackouts.iter().any(|(from, until)| (*from..*until).contains(&now)) {
            return true;
        }
        self.loss > 0.0 && self.rng.unit() < self.loss
    }
}
