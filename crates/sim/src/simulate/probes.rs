//! Active probes of engines that failed or fell silent, at the live prober's pace.

use std::time::Duration;

use pointsman_core::{Rng, Time};

use super::event_queue::{EngineIndex, EventQueue, ScheduledEvent};
use super::servers::draw;

const PROBE_SALT: u64 = 0x7072_6f62_6573;

/// Between two probes; drawn within ±20 %.
const EVERY: Duration = Duration::from_secs(1);
/// The time in which a probe must be answered.
pub(super) const BUDGET: Duration = Duration::from_secs(2);

/// What one router knows of one engine's life.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// When it last heard of the engine on any stream.
    heard: Time,
    ejected: bool,
    suspect: bool,
    /// Whether a probe is planned or under way.
    probing: bool,
    /// Probes in a row that were not answered well.
    failed: u32,
}

/// All of them, by router and then by engine.
#[derive(Debug)]
pub(super) struct Probes {
    members: usize,
    watches: Vec<Watch>,
    rng: Rng,
}

impl Probes {
    pub(super) fn new(routers: u32, members: usize, seed: u64) -> Self {
        let watches = vec![Watch::default(); routers as usize * members];
        Self { members, watches, rng: Rng::seeded(draw(seed, PROBE_SALT, 0)) }
    }

    fn place(&self, router: u32, engine: EngineIndex) -> usize {
        router as usize * self.members + engine as usize
    }

    /// Bytes came from there.
    pub(super) fn heard(&mut self, now: Time, router: u32, engine: EngineIndex) {
        let place = self.place(router, engine);
        if let Some(watch) = self.watches.get_mut(place) {
            watch.heard = now;
        }
    }

    /// When bytes last came from there, and how many probes in a row failed since one was answered.
    pub(super) fn silence(&self, router: u32, engine: EngineIndex) -> (Time, u32) {
        self.watches
            .get(self.place(router, engine))
            .map_or((Time::ZERO, 0), |watch| (watch.heard, watch.failed))
    }

    /// It is probed until it answers.
    pub(super) fn suspect(&mut self, now: Time, router: u32, engine: EngineIndex, queue: &mut EventQueue) {
        self.change(now, router, engine, queue, |watch| watch.suspect = true);
    }

    /// The core ejected it, or took it back.
    pub(super) fn set_ejected(
        &mut self,
        now: Time,
        router: u32,
        engine: EngineIndex,
        ejected: bool,
        queue: &mut EventQueue,
    ) {
        self.change(now, router, engine, queue, |watch| watch.ejected = ejected);
    }

    fn change(
        &mut self,
        now: Time,
        router: u32,
        engine: EngineIndex,
        queue: &mut EventQueue,
        change: impl FnOnce(&mut Watch),
    ) {
        let place = self.place(router, engine);
        let Some(watch) = self.watches.get_mut(place) else { return };
        change(watch);
        if (watch.ejected || watch.suspect) && !std::mem::replace(&mut watch.probing, true) {
            queue.schedule(now, ScheduledEvent::Probe { router, engine });
        }
    }

    /// Whether there is still a reason for the probe that was planned.
    pub(super) fn wanted(&mut self, router: u32, engine: EngineIndex) -> bool {
        let place = self.place(router, engine);
        let Some(watch) = self.watches.get_mut(place) else { return false };
        watch.probing = watch.ejected || watch.suspect;
        watch.probing
    }

    /// A probe was answered, or not; the next one is planned.
    pub(super) fn probed(
        &mut self,
        now: Time,
        router: u32,
        engine: EngineIndex,
        healthy: bool,
        queue: &mut EventQueue,
    ) {
        let place = self.place(router, engine);
        let Some(watch) = self.watches.get_mut(place) else { return };
        if healthy {
            (watch.failed, watch.suspect) = (0, false);
        } else {
            watch.failed += 1;
        }
        let draw = u32::try_from(self.rng.below(401)).unwrap_or(200);
        queue.schedule(now + EVERY * (800 + draw) / 1000, ScheduledEvent::Probe { router, engine });
    }
}
