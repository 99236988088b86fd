//! The loop: one thing after the other, in order of time.

use std::time::Duration;

use pointsman_core::{Rejection, RequestId, Time};

use super::agenda::{Agenda, Attempt, Delivery, Member, News, Next, Notice, Occasion};
use super::arrivals::Arrivals;
use super::flights::Flights;
use super::front::Front;
use super::life::first_change;
use super::probes::Probes;
use super::scrapes::Scrapes;
use super::servers::{Servers, draw};
use super::tally::{Tally, answered};
use super::{Broken, Order};
use crate::job::Jobs;
use crate::outcome::{End, Outcome};
use crate::scenario::Scenario;

const ROUTER_SALT: u64 = 0x726f_7574_6572;

/// A run under way.
#[derive(Debug)]
pub(super) struct Run<'a> {
    seed: u64,
    pub(super) scenario: &'a Scenario,
    pub(super) now: Time,
    end: Time,
    pub(super) agenda: Agenda,
    arrivals: Arrivals<'a>,
    pub(super) flights: Flights,
    pub(super) front: Front,
    pub(super) servers: Servers,
    pub(super) scrapes: Scrapes,
    pub(super) probes: Probes,
    /// Engines that take nothing new.
    pub(super) draining: Vec<Member>,
    tally: Tally,
    /// Reused from event to event.
    pub(super) orders: Vec<Order>,
}

impl<'a> Run<'a> {
    pub(super) fn new(scenario: &'a Scenario, front: Front, jobs: &'a mut dyn Jobs, seed: u64) -> Self {
        let information = &scenario.information;
        let network_delay = if front.is_bound() { Duration::ZERO } else { information.network_delay };
        let mut agenda = Agenda::new(network_delay, information.scrape_delay);
        for (member, of) in scenario.fleet.iter().zip(0..) {
            agenda.plan(member.joins, Occasion::Join(of));
            if let Some(at) = first_change(&member.changes) {
                agenda.plan(at, Occasion::Change { of, number: 0 });
            }
        }
        agenda.plan(Time::ZERO, Occasion::Sample);
        let sees_progress = front.readers() > 0 && information.tokens_seen;
        let arrivals_end = Time::ZERO + scenario.duration;
        let (readers, members) = (front.readers(), scenario.fleet.len());
        Self {
            seed,
            scenario,
            now: Time::ZERO,
            end: arrivals_end + scenario.drain,
            agenda,
            arrivals: Arrivals::new(jobs, arrivals_end),
            flights: Flights::default(),
            servers: Servers::new(&scenario.fleet, sees_progress.then_some(information.progress_every)),
            scrapes: Scrapes::new(information, readers, members, seed),
            probes: Probes::new(readers, members, seed),
            draining: Vec::new(),
            front,
            tally: Tally::new(scenario),
            orders: Vec::new(),
        }
    }

    /// Goes on until every job has ended or time is up.
    pub(super) fn finish(mut self) -> Result<Outcome, Broken> {
        while self.arrivals.due().is_some() || !self.flights.is_empty() {
            let Some((at, next)) = self.agenda.next(self.arrivals.due()) else { break };
            if at > self.end {
                break;
            }
            self.now = self.now.max(at);
            match next {
                Next::Notice(notice) => self.notice(notice)?,
                Next::StepEnd(of) => {
                    self.servers.end_step(self.now, of, &mut self.agenda);
                    self.moved(false);
                }
                Next::Arrival => self.arrive()?,
                Next::Delivery(delivery) => self.deliver(delivery),
                Next::Reading(reading) => {
                    let (router, of) = (reading.router, reading.of);
                    self.front.read(self.now, router, of, reading.report, &mut self.orders)?;
                    self.carry_out();
                }
                Next::Occasion(occasion) => self.occasion(occasion)?,
            }
        }
        Ok(self.tally.finish(self.flights.left(), self.servers.all(), self.now))
    }

    /// The next job comes.
    fn arrive(&mut self) -> Result<(), Broken> {
        let Some(job) = self.arrivals.take() else { return Ok(()) };
        let routers = self.front.routers();
        let router =
            if routers > 1 { draw(self.seed, ROUTER_SALT, job.number) % u64::from(routers) } else { 0 };
        let id = self.flights.open(job, u32::try_from(router).unwrap_or(0));
        if let Some(flight) = self.flights.get(id) {
            self.front.arrived(self.now, flight, self.servers.all(), &mut self.orders)?;
        }
        self.carry_out();
        Ok(())
    }

    /// Something reaches its engine.
    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Request { attempt, to } => {
                if let Some(flight) = self.flights.on(attempt) {
                    let fetched = self.front.fetched(&flight.job);
                    self.servers.submit(self.now, to, flight, fetched, &mut self.agenda);
                }
                self.moved(true);
            }
            Delivery::Hangup { sequence, attempt, at } => self.servers.hang_up(at, sequence, attempt),
        }
    }

    /// Engines have moved: requests that wait before them may be bound.
    fn moved(&mut self, delivered: bool) {
        self.front.moved(delivered, self.servers.all(), &mut self.orders);
        if !self.orders.is_empty() {
            self.carry_out();
        }
    }

    /// Something of an answer reaches the router, and the client behind it.
    pub(super) fn notice(&mut self, Notice { attempt, news }: Notice) -> Result<(), Broken> {
        let Some(flight) = self.flights.on(attempt) else { return Ok(()) };
        flight.seen = self.now;
        let (router, member) = (flight.router, flight.member);
        if news == News::FirstToken {
            flight.first_token = Some(self.now);
        }
        self.front.saw(self.now, flight, news, &mut self.orders)?;
        match news {
            News::FirstToken | News::Progress(_) => {}
            News::Finished { cached } => self.answered(attempt, cached),
            News::Failed(_) => self.attempt_failed(attempt),
        }
        if let Some(member) = member {
            match news {
                News::FirstToken | News::Progress(_) => self.probes.heard(self.now, router, member),
                News::Finished { .. } => {
                    self.probes.heard(self.now, router, member);
                    self.leave_if_done(router, member)?;
                }
                News::Failed(_) => self.leave_if_done(router, member)?,
            }
        }
        self.carry_out();
        Ok(())
    }

    /// A request was answered in full.
    fn answered(&mut self, attempt: Attempt, cached: u32) {
        let Some(flight) = self.flights.close(attempt.request) else { return };
        if let Some(member) = flight.member {
            self.scrapes.ended(flight.router, member);
        }
        self.tally.ended(self.now, &flight, answered(self.now, &flight), cached);
        self.arrivals.answered(self.now, &flight.job);
    }

    /// An attempt failed. Where part of the answer was seen there is no other; else the orders say what comes next.
    fn attempt_failed(&mut self, attempt: Attempt) {
        let Some(flight) = self.flights.on(attempt) else { return };
        if let Some(member) = flight.member.take() {
            self.scrapes.ended(flight.router, member);
        }
        if flight.first_token.is_some() {
            self.end(attempt.request, End::Failed);
        }
    }

    fn end(&mut self, request: RequestId, end: End) {
        if let Some(flight) = self.flights.close(request) {
            if let Some(member) = flight.member {
                self.scrapes.ended(flight.router, member);
            }
            self.tally.ended(self.now, &flight, end, 0);
        }
    }

    fn occasion(&mut self, occasion: Occasion) -> Result<(), Broken> {
        match occasion {
            Occasion::Join(of) => self.join(of)?,
            Occasion::Sample => self.tally.sample(self.now, self.servers.all(), &mut self.agenda),
            Occasion::Scrape { router, of } => self.scrape(router, of),
            Occasion::Wake { router } => {
                self.front.wake(self.now, router, &mut self.orders)?;
                self.carry_out();
            }
            Occasion::Change { of, number } => self.change(of, number)?,
            Occasion::Probe { router, of } => self.probe(router, of),
            Occasion::Probed { router, of, healthy } => self.probed(router, of, healthy)?,
            Occasion::Patience { router, of } => self.lose_patience(router, of)?,
            Occasion::Readiness(of) => self.look_whether_ready(of),
        }
        Ok(())
    }

    /// Does what the routing wants done.
    pub(super) fn carry_out(&mut self) {
        let mut orders = std::mem::take(&mut self.orders);
        for order in orders.drain(..) {
            match order {
                Order::Send { request, to } => self.send(request, to),
                Order::Reject { request, rejection } => self.end(request, end_of(rejection)),
                Order::Fail { request } => self.end(request, End::Failed),
                Order::WakeAt { router, at } => self.agenda.plan(at.max(self.now), Occasion::Wake { router }),
                Order::Probe { router, of, ejected } => {
                    self.probes.set_ejected(self.now, router, of, ejected, &mut self.agenda);
                }
            }
        }
        self.orders = orders;
    }

    fn send(&mut self, request: RequestId, to: Member) {
        let Some(flight) = self.flights.get_mut(request) else { return };
        flight.attempt += 1;
        (flight.member, flight.sequence, flight.first_token) = (Some(to), None, None);
        flight.seen = self.now;
        let (attempt, router) = (flight.attempt(), flight.router);
        self.scrapes.sent(self.now, router, to, &mut self.agenda);
        self.agenda.send(self.now, Delivery::Request { attempt, to });
    }
}

const fn end_of(rejection: Rejection) -> End {
    match rejection {
        Rejection::Saturated { .. } => End::Rejected,
        Rejection::NoReadyEndpoint
        | Rejection::EmptySubset
        | Rejection::AttemptsFailed(_)
        | Rejection::ShuttingDown => End::Failed,
    }
}
