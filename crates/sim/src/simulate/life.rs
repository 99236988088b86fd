//! What becomes of engines while a run is under way, and how routers find out.

use std::time::Duration;

use pointsman_core::{FailureCause, Time};

use super::Broken;
use super::agenda::{Attempt, Delivery, Member, News, Notice, Occasion, Reading};
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
    pub(super) fn join(&mut self, of: Member) -> Result<(), Broken> {
        self.front.joined(self.now, of, &mut self.orders)?;
        for router in 0..self.front.readers() {
            self.scrapes.joined(self.now, router, of, &mut self.agenda);
            self.probes.heard(self.now, router, of);
            self.agenda.plan(self.now + LOOK_EVERY, Occasion::Patience { router, of });
        }
        self.carry_out();
        Ok(())
    }

    /// A change of the scenario takes place; the next one of the same engine is planned.
    pub(super) fn change(&mut self, of: Member, number: u32) -> Result<(), Broken> {
        let changes = self.scenario.fleet.get(of as usize).map_or(&[][..], |member| &member.changes);
        let Some((_, change)) = changes.get(number as usize).copied() else { return Ok(()) };
        if let Some((at, _)) = changes.get(number as usize + 1) {
            self.agenda.plan((*at).max(self.now), Occasion::Change { of, number: number + 1 });
        }
        self.servers.change(self.now, of, change, &mut self.agenda);
        match change {
            Change::Drains => self.drain(of)?,
            Change::Dies | Change::Hangs => {
                self.agenda.plan(self.now + UNREADY_AFTER, Occasion::Readiness(of));
            }
            Change::Restarts | Change::Resumes => {
                self.agenda.plan(self.now + READY_AFTER, Occasion::Readiness(of));
            }
            Change::Slowness(_) | Change::Lies => {}
        }
        Ok(())
    }

    fn drain(&mut self, of: Member) -> Result<(), Broken> {
        self.draining.push(of);
        self.front.draining(self.now, of, &mut self.orders)?;
        for router in 0..self.front.readers() {
            self.leave_if_done(router, of)?;
        }
        self.carry_out();
        Ok(())
    }

    /// An engine that drains is gone for a router when the last of its requests there has ended.
    pub(super) fn leave_if_done(&mut self, router: u32, of: Member) -> Result<(), Broken> {
        if self.draining.contains(&of) && self.scrapes.in_flight(router, of) == 0 {
            self.scrapes.left(router, of);
            self.front.left(self.now, router, of, &mut self.orders)?;
        }
        Ok(())
    }

    pub(super) fn look_whether_ready(&mut self, of: Member) {
        if let Some(server) = self.servers.all().get(of as usize)
            && !self.draining.contains(&of)
        {
            self.front.found(of, server.state() == State::Up);
        }
    }

    /// A reading of gauges is due, which a dead engine refuses and a hung one leaves unanswered.
    pub(super) fn scrape(&mut self, router: u32, of: Member) {
        let adapters = self.front.pools().is_some_and(|pools| pools.has_adapters());
        if !self.scrapes.due(self.now, router, of, &mut self.agenda) {
            return;
        }
        let Some(server) = self.servers.all().get(of as usize) else { return };
        match server.state() {
            State::Up => {
                let report = server.report(self.now, adapters);
                self.agenda.report(self.now, Reading { router, of, report });
            }
            State::Dead | State::Hung if self.scrapes.in_flight(router, of) > 0 => {
                self.probes.suspect(self.now, router, of, &mut self.agenda);
            }
            State::Dead | State::Hung => {}
        }
    }

    pub(super) fn probe(&mut self, router: u32, of: Member) {
        if !self.probes.wanted(router, of) {
            return;
        }
        let there_and_back = self.agenda.network_delay() * 2;
        let Some(server) = self.servers.all().get(of as usize) else { return };
        let (healthy, took) = match server.state() {
            State::Up => (true, there_and_back),
            State::Dead => (false, there_and_back),
            State::Hung => (false, BUDGET),
        };
        self.agenda.plan(self.now + took, Occasion::Probed { router, of, healthy });
    }

    pub(super) fn probed(&mut self, router: u32, of: Member, healthy: bool) -> Result<(), Broken> {
        self.probes.probed(self.now, router, of, healthy, &mut self.agenda);
        self.front.probed(self.now, router, of, healthy, &mut self.orders)?;
        self.carry_out();
        Ok(())
    }

    /// Where an engine is silent on every stream, it is probed; requests end when that fails too, or after too long.
    pub(super) fn lose_patience(&mut self, router: u32, of: Member) -> Result<(), Broken> {
        self.agenda.plan(self.now + LOOK_EVERY, Occasion::Patience { router, of });
        let (heard, failed) = self.probes.silence(router, of);
        if self.scrapes.in_flight(router, of) == 0 || self.now.since(heard) < IDLE / 2 {
            return Ok(());
        }
        let mut given_up: Vec<(u64, Attempt)> = Vec::new();
        let mut suspicious = false;
        for flight in
            self.flights.left().filter(|flight| flight.router == router && flight.member == Some(of))
        {
            let quiet = self.now.since(flight.seen);
            let silent = quiet >= IDLE_LIMIT || (quiet >= IDLE && failed >= FAILED_PROBES);
            if silent {
                given_up.push((flight.job.number, flight.attempt()));
            }
            suspicious |= quiet >= IDLE / 2;
        }
        if suspicious {
            self.probes.suspect(self.now, router, of, &mut self.agenda);
        }
        given_up.sort_unstable_by_key(|(number, _)| *number);
        for (_, attempt) in given_up {
            self.hang_up(attempt);
            self.notice(Notice { attempt, news: News::Failed(FailureCause::Silent) })?;
        }
        Ok(())
    }

    /// The engine learns that nobody waits any more.
    fn hang_up(&mut self, attempt: Attempt) {
        let Some(flight) = self.flights.on(attempt) else { return };
        if let (Some(at), Some(sequence)) = (flight.member, flight.sequence) {
            self.agenda.send(self.now, Delivery::Hangup { sequence, attempt, at });
        }
    }
}

/// When a member's first change takes place.
pub(super) fn first_change(changes: &[(Time, Change)]) -> Option<Time> {
    changes.first().map(|(at, _)| *at)
}
