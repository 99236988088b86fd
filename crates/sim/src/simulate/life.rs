//! What becomes of engines while a run is under way, and how routers find out.

use std::time::Duration;

use pointsman_core::{EndpointId, Event, FailureCause, Time};

use super::Broken;
use super::event_queue::{
    Attempt, Delivery, EngineIndex, Reading, ResponseEvent, ResponseUpdate, ScheduledEvent,
};
use super::probes::BUDGET;
use super::run::Run;
use super::servers::State;
use crate::scenario::Change;

/// The least silence of a stream that counts; the live gateway's default.
const IDLE: Duration = Duration::from_secs(30);
/// The silence that ends a stream whatever else is known.
const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// How often silence is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(3_750);
/// So many failed probes in a row stand for a silent engine.
const FAILED_PROBES: u32 = 2;

/// Kubernetes' readiness probe as most charts leave it: every ten seconds, out after three failures, back after one
/// success.
const UNREADY_AFTER: Duration = Duration::from_secs(30);
const READY_AFTER: Duration = Duration::from_secs(10);

impl Run<'_> {
    pub(super) fn join(&mut self, engine: EngineIndex) -> Result<(), Broken> {
        self.balancer.joined(self.now, engine, &mut self.actions)?;
        for router in 0..self.balancer.readers() {
            self.scrapes.joined(self.now, router, engine, &mut self.queue);
            self.probes.heard(self.now, router, engine);
            self.queue.schedule(self.now + LOOK_EVERY, ScheduledEvent::LivenessCheck { router, engine });
        }
        self.apply_actions();
        Ok(())
    }

    /// A change of the scenario takes place; the next one of the same engine is planned.
    pub(super) fn change(&mut self, engine: EngineIndex, number: u32) -> Result<(), Broken> {
        let changes = self.scenario.fleet.get(engine as usize).map_or(&[][..], |member| &member.changes);
        let Some((_, change)) = changes.get(number as usize).copied() else { return Ok(()) };
        if let Some((at, _)) = changes.get(number as usize + 1) {
            self.queue.schedule((*at).max(self.now), ScheduledEvent::Change { engine, number: number + 1 });
        }
        self.servers.change(self.now, engine, change, &mut self.queue);
        match change {
            Change::Drains => self.drain(engine)?,
            Change::Dies | Change::Hangs => {
                self.queue.schedule(self.now + UNREADY_AFTER, ScheduledEvent::ReadinessCheck(engine));
            }
            Change::Restarts | Change::Resumes => {
                self.queue.schedule(self.now + READY_AFTER, ScheduledEvent::ReadinessCheck(engine));
            }
            Change::Slowness(_) | Change::Lies => {}
        }
        Ok(())
    }

    fn drain(&mut self, engine: EngineIndex) -> Result<(), Broken> {
        self.draining.push(engine);
        self.balancer.draining(self.now, engine, &mut self.actions)?;
        for router in 0..self.balancer.readers() {
            self.leave_if_done(router, engine)?;
        }
        self.apply_actions();
        Ok(())
    }

    /// An engine that drains is gone for a router when the last of its requests there has ended.
    pub(super) fn leave_if_done(&mut self, router: u32, engine: EngineIndex) -> Result<(), Broken> {
        if self.draining.contains(&engine) && self.scrapes.in_flight(router, engine) == 0 {
            self.scrapes.left(router, engine);
            let event = Event::EndpointDown { endpoint: EndpointId(engine) };
            self.balancer.handle(self.now, router, event, &mut self.actions)?;
        }
        Ok(())
    }

    pub(super) fn check_readiness(&mut self, engine: EngineIndex) {
        if let Some(server) = self.servers.all().get(engine as usize)
            && !self.draining.contains(&engine)
        {
            self.balancer.set_ready(engine, server.state() == State::Up);
        }
    }

    /// A reading of gauges is due, which a dead engine refuses and a hung one leaves unanswered.
    pub(super) fn scrape(&mut self, router: u32, engine: EngineIndex) {
        let adapters = self.balancer.has_adapters();
        if !self.scrapes.due(self.now, router, engine, &mut self.queue) {
            return;
        }
        let Some(server) = self.servers.all().get(engine as usize) else { return };
        match server.state() {
            State::Up => {
                let report = server.report(self.now, adapters);
                self.queue.report(self.now, Reading { router, engine, report });
            }
            State::Dead | State::Hung if self.scrapes.in_flight(router, engine) > 0 => {
                self.probes.suspect(self.now, router, engine, &mut self.queue);
            }
            State::Dead | State::Hung => {}
        }
    }

    pub(super) fn probe(&mut self, router: u32, engine: EngineIndex) {
        if !self.probes.wanted(router, engine) {
            return;
        }
        let there_and_back = self.queue.network_delay() * 2;
        let Some(server) = self.servers.all().get(engine as usize) else { return };
        let (healthy, took) = match server.state() {
            State::Up => (true, there_and_back),
            State::Dead => (false, there_and_back),
            State::Hung => (false, BUDGET),
        };
        self.queue.schedule(self.now + took, ScheduledEvent::Probed { router, engine, healthy });
    }

    pub(super) fn probed(&mut self, router: u32, engine: EngineIndex, healthy: bool) -> Result<(), Broken> {
        self.probes.probed(self.now, router, engine, healthy, &mut self.queue);
        self.scheduler_event(router, Event::Probed { endpoint: EndpointId(engine), healthy })
    }

    /// Where an engine is silent on every stream, it is probed; requests end when that fails too, or after too long.
    pub(super) fn check_liveness(&mut self, router: u32, engine: EngineIndex) -> Result<(), Broken> {
        self.queue.schedule(self.now + LOOK_EVERY, ScheduledEvent::LivenessCheck { router, engine });
        let (heard, failed) = self.probes.silence(router, engine);
        if self.scrapes.in_flight(router, engine) == 0 || self.now.since(heard) < IDLE / 2 {
            return Ok(());
        }
        let mut given_up: Vec<(u64, Attempt)> = Vec::new();
        let mut suspicious = false;
        for job in self.active.iter().filter(|job| job.router == router && job.engine == Some(engine)) {
            let quiet = self.now.since(job.last_activity);
            let silent = quiet >= IDLE_LIMIT || (quiet >= IDLE && failed >= FAILED_PROBES);
            if silent {
                given_up.push((job.spec.number, job.attempt()));
            }
            suspicious |= quiet >= IDLE / 2;
        }
        if suspicious {
            self.probes.suspect(self.now, router, engine, &mut self.queue);
        }
        given_up.sort_unstable_by_key(|(number, _)| *number);
        for (_, attempt) in given_up {
            self.hang_up(attempt);
            self.response_event(ResponseEvent {
                attempt,
                update: ResponseUpdate::Failed(FailureCause::Stalled),
            })?;
        }
        Ok(())
    }

    /// The engine learns that nobody waits any more.
    fn hang_up(&mut self, attempt: Attempt) {
        let Some(job) = self.active.current(attempt) else { return };
        if let (Some(at), Some(sequence)) = (job.engine, job.sequence) {
            self.queue.send(self.now, Delivery::Hangup { sequence, attempt, at });
        }
    }
}

/// When a member's first change takes place.
pub(super) fn first_change(changes: &[(Time, Change)]) -> Option<Time> {
    changes.first().map(|(at, _)| *at)
}
