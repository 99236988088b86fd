//! Active probes of engines that failed or fell silent, at the live prober's pace.

use std::time::Duration;

use pointsman_core::{Rng, Time};

use super::agenda::{Agenda, Member, Occasion};
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

    fn place(&self, router: u32, of: Member) -> usize {
        router as usize * self.members + of as usize
    }

    /// Bytes came from there.
    pub(super) fn heard(&mut self, now: Time, router: u32, of: Member) {
        let place = self.place(router, of);
        if let Some(watch) = self.watches.get_mut(place) {
            watch.heard = now;
        }
    }

    /// When bytes last came from there, and how many probes in a row failed since one was answered.
    pub(super) fn silence(&self, router: u32, of: Member) -> (Time, u32) {
        self.watches.get(self.place(router, of)).map_or((Time::ZERO, 0), |watch| (watch.heard, watch.failed))
    }

    /// It is probed until it answers.
    pub(super) fn suspect(&mut self, now: Time, router: u32, of: Member, agenda: &mut Agenda) {
        self.change(now, router, of, agenda, |watch| watch.suspect = true);
    }

    /// The core ejected it, or took it back.
    pub(super) fn set_ejected(
        &mut self,
        now: Time,
        router: u32,
        of: Member,
        ejected: bool,
        agenda: &mut Agenda,
    ) {
        self.change(now, router, of, agenda, |watch| watch.ejected = ejected);
    }

    fn change(
        &mut self,
        now: Time,
        router: u32,
        of: Member,
        agenda: &mut Agenda,
        change: impl FnOnce(&mut Watch),
    ) {
        let place = self.place(router, of);
        let Some(watch) = self.watches.get_mut(place) else { return };
        change(watch);
        if (watch.ejected || watch.suspect) && !std::mem::replace(&mut watch.probing, true) {
            agenda.plan(now, Occasion::Probe { router, of });
        }
    }

    /// Whether there is still a reason for the probe that was planned.
    pub(super) fn wanted(&mut self, router: u32, of: Member) -> bool {
        let place = self.place(router, of);
        let Some(watch) = self.watches.get_mut(place) else { return false };
        watch.probing = watch.ejected || watch.suspect;
        watch.probing
    }

    /// A probe was answered, or not; the next one is planned.
    pub(super) fn probed(&mut self, now: Time, router: u32, of: Member, healthy: bool, agenda: &mut Agenda) {
        let place = self.place(router, of);
        let Some(watch) = self.watches.get_mut(place) else { return };
        if healthy {
            (watch.failed, watch.suspect) = (0, false);
        } else {
            watch.failed += 1;
        }
        let draw = u32::try_from(self.rng.below(401)).unwrap_or(200);
        agenda.plan(now + EVERY * (800 + draw) / 1000, Occasion::Probe { router, of });
    }
}
