//! When each router reads each engine's gauges: the pace of the live scraper, and what is lost on the way.

use std::time::Duration;

use pointsman_core::{PaceBounds, Rng, ScrapePace, Time};

use super::agenda::{Agenda, Member, Occasion};
use super::servers::draw;
use crate::scenario::Information;

const SCRAPE_SALT: u64 = 0x7363_7261_7065;

/// One router's view of one engine.
#[derive(Debug)]
struct Watch {
    pace: ScrapePace,
    dispatched: u64,
    in_flight: u32,
    last: Time,
    /// When the next reading is due; what was planned for another time is void.
    due: Option<Time>,
    /// It sleeps long, and the next dispatch wakes it.
    idle: bool,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Scrapes {
    bounds: Option<PaceBounds>,
    loss: f64,
    blackouts: Vec<(Time, Time)>,
    rng: Rng,
    members: usize,
    /// By router, then by engine.
    watches: Vec<Watch>,
}

impl Scrapes {
    pub(super) fn new(information: &Information, routers: u32, members: usize, seed: u64) -> Self {
        let bounds = information
            .scrape_every
            .map(|shortest| PaceBounds { shortest, longest: information.scrape_idle_every.max(shortest) });
        let pace = bounds.unwrap_or(PaceBounds { shortest: Duration::MAX, longest: Duration::MAX });
        let watch = |number: u64| Watch {
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
            members,
            watches: (0..routers as usize * members).map(|number| watch(number as u64)).collect(),
        }
    }

    fn watch(&mut self, router: u32, of: Member) -> Option<&mut Watch> {
        self.watches.get_mut(router as usize * self.members + of as usize)
    }

    /// An engine is known from now on.
    pub(super) fn joined(&mut self, now: Time, router: u32, of: Member, agenda: &mut Agenda) {
        if self.bounds.is_some()
            && let Some(watch) = self.watch(router, of)
        {
            (watch.last, watch.due) = (now, Some(now));
            agenda.plan(now, Occasion::Scrape { router, of });
        }
    }

    /// A request was sent there.
    pub(super) fn sent(&mut self, now: Time, router: u32, to: Member, agenda: &mut Agenda) {
        let shortest = self.bounds.map_or(Duration::ZERO, |bounds| bounds.shortest);
        let Some(watch) = self.watch(router, to) else { return };
        watch.dispatched += 1;
        watch.in_flight += 1;
        if std::mem::take(&mut watch.idle) {
            watch.due = Some(now + shortest);
            agenda.plan(now + shortest, Occasion::Scrape { router, of: to });
        }
    }

    /// A request that was sent there ended.
    pub(super) fn ended(&mut self, router: u32, at: Member) {
        if let Some(watch) = self.watch(router, at) {
            watch.in_flight = watch.in_flight.saturating_sub(1);
        }
    }

    /// Requests there from this router.
    pub(super) fn in_flight(&self, router: u32, of: Member) -> u32 {
        let place = router as usize * self.members + of as usize;
        self.watches.get(place).map_or(0, |watch| watch.in_flight)
    }

    /// An engine left: it is not read any more.
    pub(super) fn left(&mut self, router: u32, of: Member) {
        if let Some(watch) = self.watch(router, of) {
            (watch.due, watch.idle) = (None, false);
        }
    }

    /// A reading may be due. Whether it is, and is not lost; the next one is planned.
    pub(super) fn due(&mut self, now: Time, router: u32, of: Member, agenda: &mut Agenda) -> bool {
        let Some(PaceBounds { shortest, .. }) = self.bounds else { return false };
        let lost = self.lost(now);
        let Some(watch) = self.watch(router, of) else { return false };
        if watch.due != Some(now) {
            return false;
        }
        let pause = watch.pace.next_pause(watch.dispatched, watch.in_flight, now.since(watch.last));
        watch.last = now;
        watch.idle = pause > shortest * 2;
        watch.due = Some(now + pause);
        agenda.plan(now + pause, Occasion::Scrape { router, of });
        !lost
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits of a draw")]
    fn lost(&mut self, now: Time) -> bool {
        if self.blackouts.iter().any(|(from, until)| (*from..*until).contains(&now)) {
            return true;
        }
        self.loss > 0.0 && ((self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64) < self.loss
    }
}
