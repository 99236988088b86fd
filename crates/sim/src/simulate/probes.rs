//! Active probes of engines that are suspect or ejected, at the pace of the live prober.

use pointsman_core::{EndpointActivity, ProbePace, Rng, Time};

use super::event_queue::{EngineIndex, EventQueue, ScheduledEvent};
use super::servers::draw;

const PROBE_SALT: u64 = 0x7072_6f62_6573;

/// One router's knowledge of one engine's liveness.
#[derive(Debug, Default)]
struct ProbeState {
    activity: EndpointActivity,
    /// Whether a probe is scheduled or under way.
    probing: bool,
}

/// Probes of all routers and engines.
#[derive(Debug)]
pub(super) struct Probes {
    pub(super) pace: ProbePace,
    engines: usize,
    /// By router, then by engine.
    states: Vec<ProbeState>,
    rng: Rng,
}

impl Probes {
    pub(super) fn new(routers: u32, engines: usize, seed: u64) -> Self {
        let states = (0..routers as usize * engines).map(|_| ProbeState::default()).collect();
        let rng = Rng::seeded(draw(seed, PROBE_SALT, 0));
        Self { pace: ProbePace::default(), engines, states, rng }
    }

    fn state(&mut self, router: u32, engine: EngineIndex) -> Option<&mut ProbeState> {
        self.states.get_mut(router as usize * self.engines + engine as usize)
    }

    /// A router's evidence that an engine is alive.
    pub(super) fn activity(&self, router: u32, engine: EngineIndex) -> Option<&EndpointActivity> {
        self.states.get(router as usize * self.engines + engine as usize).map(|state| &state.activity)
    }

    /// Has the engine probed until it answers.
    pub(super) fn suspect(&mut self, now: Time, router: u32, engine: EngineIndex, queue: &mut EventQueue) {
        if let Some(state) = self.state(router, engine) {
            state.activity.suspect();
            state.start(now, router, engine, queue);
        }
    }

    /// The scheduler ejected the engine, or took it back.
    pub(super) fn set_ejected(
        &mut self,
        now: Time,
        router: u32,
        engine: EngineIndex,
        ejected: bool,
        queue: &mut EventQueue,
    ) {
        if let Some(state) = self.state(router, engine) {
            state.activity.set_ejected(ejected);
            state.start(now, router, engine, queue);
        }
    }

    /// Whether there still is a reason for the scheduled probe.
    pub(super) fn wanted(&mut self, router: u32, engine: EngineIndex) -> bool {
        let Some(state) = self.state(router, engine) else { return false };
        state.probing = state.activity.wants_probe();
        state.probing
    }

    /// A probe ended. Schedules the next one.
    pub(super) fn probed(
        &mut self,
        now: Time,
        router: u32,
        engine: EngineIndex,
        healthy: bool,
        queue: &mut EventQueue,
    ) {
        if let Some(activity) = self.activity(router, engine) {
            activity.probed(healthy);
            let pause = self.pace.next_pause(&mut self.rng);
            queue.schedule(now + pause, ScheduledEvent::Probe { router, engine });
        }
    }
}

impl ProbeState {
    fn start(&mut self, now: Time, router: u32, engine: EngineIndex, queue: &mut EventQueue) {
        if self.activity.wants_probe() && !std::mem::replace(&mut self.probing, true) {
            queue.schedule(now, ScheduledEvent::Probe { router, engine });
        }
    }
}
