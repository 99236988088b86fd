//! The event loop.

use std::time::Duration;

use pointsman_core::{EndpointId, Event, RequestId, Time};
use pointsman_workload::Jobs;

use super::active_jobs::ActiveJobs;
use super::arrivals::Arrivals;
use super::balancer::Balancer;
use super::event_queue::{
    Attempt, Delivery, EngineIndex, EventQueue, QueuedEvent, Reading, ResponseEvent, ResponseUpdate,
    ScheduledEvent,
};
use super::probes::Probes;
use super::recorder::{Recorder, answered};
use super::scrapes::Scrapes;
use super::servers::{Servers, draw};
use super::{Action, Broken};
use crate::outcome::{End, Outcome};
use crate::scenario::Scenario;

const ROUTER_SALT: u64 = 0x726f_7574_6572;

/// The state of a run.
#[derive(Debug)]
pub(super) struct Run<'a> {
    seed: u64,
    pub(super) scenario: &'a Scenario,
    pub(super) now: Time,
    end: Time,
    pub(super) queue: EventQueue,
    arrivals: Arrivals<'a>,
    pub(super) active: ActiveJobs,
    pub(super) balancer: Balancer,
    pub(super) servers: Servers,
    pub(super) scrapes: Scrapes,
    pub(super) probes: Probes,
    /// Engines that drain.
    pub(super) draining: Vec<EngineIndex>,
    recorder: Recorder,
    /// Decisions to apply; the buffer is reused.
    pub(super) actions: Vec<Action>,
}

impl<'a> Run<'a> {
    pub(super) fn new(scenario: &'a Scenario, balancer: Balancer, jobs: &'a mut dyn Jobs, seed: u64) -> Self {
        let information = &scenario.information;
        let network_delay = if balancer.is_bound() { Duration::ZERO } else { information.network_delay };
        let mut queue = EventQueue::new(network_delay, information.scrape_delay);
        for (spec, engine) in scenario.fleet.iter().zip(0..) {
            queue.schedule(spec.joins, ScheduledEvent::Join(engine));
            if let Some((at, _)) = spec.changes.first() {
                queue.schedule(*at, ScheduledEvent::Change { engine, number: 0 });
            }
        }
        queue.schedule(Time::ZERO, ScheduledEvent::Sample);
        let sees_progress = balancer.readers() > 0 && information.tokens_seen;
        let arrivals_end = Time::ZERO + scenario.duration;
        let (readers, engines) = (balancer.readers(), scenario.fleet.len());
        Self {
            seed,
            scenario,
            now: Time::ZERO,
            end: arrivals_end + scenario.drain,
            queue,
            arrivals: Arrivals::new(jobs, arrivals_end),
            active: ActiveJobs::default(),
            servers: Servers::new(&scenario.fleet, sees_progress.then_some(information.progress_every)),
            scrapes: Scrapes::new(information, readers, engines, seed),
            probes: Probes::new(readers, engines, seed),
            draining: Vec::new(),
            balancer,
            recorder: Recorder::new(scenario),
            actions: Vec::new(),
        }
    }

    /// Runs until every job has ended or the time limit is reached.
    pub(super) fn finish(mut self) -> Result<Outcome, Broken> {
        while self.arrivals.due().is_some() || !self.active.is_empty() {
            let Some((at, next)) = self.queue.next(self.arrivals.due()) else { break };
            if at > self.end {
                break;
            }
            self.now = self.now.max(at);
            match next {
                QueuedEvent::Response(event) => self.response_event(event)?,
                QueuedEvent::StepEnd(engine) => {
                    self.servers.end_step(self.now, engine, &mut self.queue);
                    self.engines_changed(false);
                }
                QueuedEvent::Arrival => self.arrive()?,
                QueuedEvent::Delivery(delivery) => self.deliver(delivery),
                QueuedEvent::Reading(reading) => {
                    let Reading { router, engine, report } = reading;
                    self.scheduler_event(router, Event::Load { endpoint: EndpointId(engine), report })?;
                }
                QueuedEvent::Scheduled(event) => self.scheduled_event(event)?,
            }
        }
        Ok(self.recorder.finish(self.active.iter(), &self.servers.all, self.now))
    }

    /// The next job arrives at a router.
    fn arrive(&mut self) -> Result<(), Broken> {
        let Some(job) = self.arrivals.take() else { return Ok(()) };
        let routers = self.balancer.routers();
        let router =
            if routers > 1 { draw(self.seed, ROUTER_SALT, job.number) % u64::from(routers) } else { 0 };
        let id = self.active.open(job, u32::try_from(router).unwrap_or(0));
        if let Some(job) = self.active.get(id) {
            self.balancer.arrived(self.now, job, &self.servers.all, &mut self.actions)?;
        }
        self.apply_actions();
        Ok(())
    }

    /// A message reaches its engine.
    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Request { attempt, to } => {
                if let Some(job) = self.active.current(attempt) {
                    let fetched = self.balancer.fetched(&job.spec);
                    self.servers.submit(self.now, to, job, fetched, &mut self.queue);
                }
                self.engines_changed(true);
            }
            Delivery::Hangup { sequence, attempt, at } => self.servers.hang_up(at, sequence, attempt),
        }
    }

    /// Engines ended steps or received requests, so bounds may dispatch queued requests.
    fn engines_changed(&mut self, delivered: bool) {
        self.balancer.engines_changed(delivered, &self.servers.all, &mut self.actions);
        if !self.actions.is_empty() {
            self.apply_actions();
        }
    }

    /// A part of a response reaches the router and, without further delay, the client.
    pub(super) fn response_event(
        &mut self,
        ResponseEvent { attempt, update }: ResponseEvent,
    ) -> Result<(), Broken> {
        let Some(job) = self.active.current(attempt) else { return Ok(()) };
        let (router, engine) = (job.router, job.engine);
        let gap = job.receive(self.now, update);
        self.balancer.response_update(self.now, job, update, &mut self.actions)?;
        match update {
            ResponseUpdate::FirstToken | ResponseUpdate::Progress(_) => {}
            ResponseUpdate::Finished { cached } => self.answered(attempt, cached),
            ResponseUpdate::Failed(_) => self.attempt_failed(attempt),
        }
        if let Some(activity) = engine.and_then(|engine| self.probes.activity(router, engine)) {
            gap.into_iter().for_each(|gap| activity.on_gap(gap));
            if !matches!(update, ResponseUpdate::Failed(_)) {
                activity.on_bytes(self.now);
            }
        }
        self.apply_actions();
        Ok(())
    }

    /// A response ended completely.
    fn answered(&mut self, attempt: Attempt, cached: u32) {
        let Some(job) = self.active.close(attempt.request) else { return };
        if let Some(engine) = job.engine {
            self.scrapes.ended(job.router, engine);
        }
        self.recorder.record(self.now, &job, answered(self.now, &job), cached);
        self.arrivals.answered(self.now, &job.spec);
    }

    /// An attempt failed. After a first token the job has failed; otherwise the balancer's actions retry or end it.
    fn attempt_failed(&mut self, attempt: Attempt) {
        let Some(job) = self.active.current(attempt) else { return };
        if let Some(engine) = job.engine.take() {
            self.scrapes.ended(job.router, engine);
        }
        if job.first_token.is_some() {
            self.end(attempt.request, End::Failed);
        }
    }

    fn end(&mut self, request: RequestId, end: End) {
        if let Some(job) = self.active.close(request) {
            if let Some(engine) = job.engine {
                self.scrapes.ended(job.router, engine);
            }
            self.recorder.record(self.now, &job, end, 0);
        }
    }

    fn scheduled_event(&mut self, event: ScheduledEvent) -> Result<(), Broken> {
        match event {
            ScheduledEvent::Join(engine) => self.join(engine)?,
            ScheduledEvent::Sample => self.recorder.sample(self.now, &self.servers.all, &mut self.queue),
            ScheduledEvent::Scrape { router, engine } => self.scrape(router, engine),
            ScheduledEvent::Wake { router } => {
                self.scheduler_event(router, Event::Timer)?;
            }
            ScheduledEvent::Change { engine, number } => self.change(engine, number)?,
            ScheduledEvent::Probe { router, engine } => self.probe(router, engine),
            ScheduledEvent::Probed { router, engine, healthy } => self.probed(router, engine, healthy)?,
            ScheduledEvent::LivenessCheck { router, engine } => self.check_liveness(router, engine)?,
            ScheduledEvent::ReadinessCheck(engine) => self.check_readiness(engine),
        }
        Ok(())
    }

    /// Applies the balancer's decisions.
    pub(super) fn apply_actions(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Send { request, to } => self.send(request, to),
                Action::End { request, end } => self.end(request, end),
                Action::WakeAt { router, at } => {
                    self.queue.schedule(at.max(self.now), ScheduledEvent::Wake { router });
                }
                Action::Probe { router, engine, ejected } => {
                    self.probes.set_ejected(self.now, router, engine, ejected, &mut self.queue);
                }
                Action::EndpointGone { router, engine } => self.scrapes.left(router, engine),
            }
        }
        self.actions = actions;
    }

    /// Passes an event to a router's scheduler and applies its decisions.
    pub(super) fn scheduler_event(&mut self, router: u32, event: Event) -> Result<(), Broken> {
        self.balancer.handle(self.now, router, event, &mut self.actions)?;
        self.apply_actions();
        Ok(())
    }

    fn send(&mut self, request: RequestId, to: EngineIndex) {
        let Some(job) = self.active.get_mut(request) else { return };
        job.attempt += 1;
        (job.engine, job.sequence, job.first_token) = (Some(to), None, None);
        (job.tokens, job.last_activity) = (0, self.now);
        let (attempt, router) = (job.attempt(), job.router);
        self.scrapes.sent(self.now, router, to, &mut self.queue);
        self.queue.send(self.now, Delivery::Request { attempt, to });
    }
}
