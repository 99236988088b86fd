//! Changes of engines during a run, and how routers detect them.

use std::time::Duration;

use pointsman_core::{
    EndpointId, EndpointSpec, Event, FailureCause, Liveness, LivenessVerdict, PoolSet, ResponsePhase,
};

use super::Broken;
use super::active_jobs::ActiveJob;
use super::event_queue::{
    Attempt, Delivery, EngineIndex, Reading, ResponseEvent, ResponseUpdate, ScheduledEvent,
};
use super::run::Run;
use super::schedulers::POOL;
use super::servers::State;
use crate::scenario::Change;

/// Kubernetes' readiness probe with the defaults of most charts: every ten seconds, unready after three failures, ready
/// after one success.
const UNREADY_AFTER: Duration = Duration::from_secs(30);
const READY_AFTER: Duration = Duration::from_secs(10);

impl Run<'_> {
    pub(super) fn join(&mut self, engine: EngineIndex) -> Result<(), Broken> {
        self.balancer.set_ready(engine, true);
        let spec = EndpointSpec { pools: PoolSet::of(POOL) };
        let event = Event::EndpointUp { endpoint: EndpointId(engine), spec };
        self.balancer.broadcast(self.now, &event, &mut self.actions)?;
        for router in 0..self.balancer.readers() {
            self.scrapes.joined(self.now, router, engine, &mut self.queue);
            if let Some(activity) = self.probes.activity(router, engine) {
                activity.on_bytes(self.now);
            }
            let check = self.now + Liveness::default().check_interval();
            self.queue.schedule(check, ScheduledEvent::LivenessCheck { router, engine });
        }
        self.apply_actions();
        Ok(())
    }

    /// A change of the scenario takes place. Schedules the next one of the same engine.
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

    /// Each router's scheduler reports when its last request there has ended.
    fn drain(&mut self, engine: EngineIndex) -> Result<(), Broken> {
        self.draining.push(engine);
        self.balancer.set_ready(engine, false);
        let event = Event::EndpointDraining { endpoint: EndpointId(engine) };
        self.balancer.broadcast(self.now, &event, &mut self.actions)?;
        self.apply_actions();
        Ok(())
    }

    pub(super) fn check_readiness(&mut self, engine: EngineIndex) {
        if let Some(server) = self.servers.all.get(engine as usize)
            && !self.draining.contains(&engine)
        {
            self.balancer.set_ready(engine, server.state == State::Up);
        }
    }

    /// A scrape is due. A dead engine refuses it, and a hung one does not answer it.
    pub(super) fn scrape(&mut self, router: u32, engine: EngineIndex) {
        let adapters = self.balancer.has_adapters();
        if !self.scrapes.due(self.now, router, engine, &mut self.queue) {
            return;
        }
        let Some(server) = self.servers.all.get(engine as usize) else { return };
        match server.state {
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
        let round_trip = self.queue.network_delay * 2;
        let Some(server) = self.servers.all.get(engine as usize) else { return };
        let (healthy, took) = match server.state {
            State::Up => (true, round_trip),
            State::Dead => (false, round_trip),
            State::Hung => (false, self.probes.pace.timeout),
        };
        self.queue.schedule(self.now + took, ScheduledEvent::Probed { router, engine, healthy });
    }

    pub(super) fn probed(&mut self, router: u32, engine: EngineIndex, healthy: bool) -> Result<(), Broken> {
        self.probes.probed(self.now, router, engine, healthy, &mut self.queue);
        self.scheduler_event(router, Event::Probed { endpoint: EndpointId(engine), healthy })
    }

    /// Ends the attempts at an engine that stalled, and has it probed where it is suspect.
    pub(super) fn check_liveness(&mut self, router: u32, engine: EngineIndex) -> Result<(), Broken> {
        let liveness = Liveness::default();
        let next = self.now + liveness.check_interval();
        self.queue.schedule(next, ScheduledEvent::LivenessCheck { router, engine });
        let Some(activity) = self.probes.activity(router, engine) else { return Ok(()) };
        // While the engine sends anything, every stream gets progress reports, and other requests are not suspect.
        let active = self.now.since(activity.last_byte()) < liveness.check_interval();
        if active || self.scrapes.in_flight(router, engine) == 0 {
            return Ok(());
        }
        let (mut stalled, mut suspect) = (Vec::new(), false);
        for job in self.active.iter().filter(|job| job.router == router && job.engine == Some(engine)) {
            match liveness.check(self.now, self.response_phase(job), activity) {
                LivenessVerdict::WaitUntil(_) => {}
                LivenessVerdict::Probe(_) => suspect = true,
                LivenessVerdict::Stalled => stalled.push((job.spec.number, job.attempt())),
            }
        }
        if suspect {
            self.probes.suspect(self.now, router, engine, &mut self.queue);
        }
        stalled.sort_unstable_by_key(|(number, _)| *number);
        for (_, attempt) in stalled {
            self.cancel(attempt);
            let update = ResponseUpdate::Failed(FailureCause::Stalled);
            self.response_event(ResponseEvent { attempt, update })?;
        }
        Ok(())
    }

    /// Progress reports stand for the bytes of a stream. A response without them may be silent until it is complete, as
    /// one whose first byte is awaited.
    fn response_phase(&self, job: &ActiveJob) -> ResponsePhase {
        let information = &self.scenario.information;
        let reported = information.tokens_seen && information.progress_every < Liveness::default().idle;
        if reported && job.first_token.is_some() {
            ResponsePhase::Streaming { last_byte: job.last_activity }
        } else {
            ResponsePhase::AwaitingFirstByte { sent: job.last_activity }
        }
    }

    /// Closes the connection of an attempt, which cancels it at the engine.
    fn cancel(&mut self, attempt: Attempt) {
        let Some(job) = self.active.current(attempt) else { return };
        if let (Some(at), Some(sequence)) = (job.engine, job.sequence) {
            self.queue.send(self.now, Delivery::Hangup { sequence, attempt, at });
        }
    }
}
