//! The event queue of the simulation.
//!
//! The network delay is constant, so messages between routers and engines arrive in the order in which they were sent,
//! and plain queues hold them. The heaps hold one entry per busy engine and the rare events, so they stay small
//! however many requests there are.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use pointsman_core::{FailureCause, LoadReport, RequestId, Time};

use crate::engine::SequenceId;

/// Index of an engine in the fleet.
pub(super) type EngineIndex = u32;

/// One attempt at a request. Events of earlier attempts are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) request: RequestId,
    pub(super) number: u16,
}

/// A message from a router to an engine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    /// A request.
    Request { attempt: Attempt, to: EngineIndex },
    /// The connection of a sequence was closed: its response is no longer wanted.
    Hangup { sequence: SequenceId, attempt: Attempt, at: EngineIndex },
}

/// A message from an engine to the router of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseEvent {
    pub(super) attempt: Attempt,
    pub(super) update: ResponseUpdate,
}

/// A part of a response, or its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ResponseUpdate {
    FirstToken,
    /// Output tokens received so far.
    Progress(u32),
    Finished {
        /// Prompt tokens found in the prefix cache.
        cached: u32,
    },
    Failed(FailureCause),
}

/// Gauges of an engine on their way to a router.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) router: u32,
    pub(super) engine: EngineIndex,
    pub(super) report: LoadReport,
}

/// An event that is scheduled ahead of time; all of them are rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ScheduledEvent {
    /// An engine becomes ready.
    Join(EngineIndex),
    /// The load of the engines is sampled.
    Sample,
    /// A router reads an engine's gauges.
    Scrape { router: u32, engine: EngineIndex },
    /// A router's scheduler asked for a timer event.
    Wake { router: u32 },
    /// The engine's change of this index takes place.
    Change { engine: EngineIndex, number: u32 },
    /// A router probes an engine, if there is still a reason to.
    Probe { router: u32, engine: EngineIndex },
    /// The outcome of a probe.
    Probed { router: u32, engine: EngineIndex, healthy: bool },
    /// A router checks an engine's responses for stalls.
    LivenessCheck { router: u32, engine: EngineIndex },
    /// Kubernetes' readiness probe of an engine, which a Service depends on.
    ReadinessCheck(EngineIndex),
}

/// The next event.
#[derive(Clone, Debug)]
pub(super) enum QueuedEvent {
    Response(ResponseEvent),
    Reading(Reading),
    Scheduled(ScheduledEvent),
    Delivery(Delivery),
    StepEnd(EngineIndex),
    /// A job arrives.
    Arrival,
}

/// All future events but arrivals.
#[derive(Debug)]
pub(super) struct EventQueue {
    /// One-way delay between router and engine.
    pub(super) network_delay: Duration,
    scrape_delay: Duration,
    responses: VecDeque<(Time, ResponseEvent)>,
    readings: VecDeque<(Time, Reading)>,
    deliveries: VecDeque<(Time, Delivery)>,
    steps: BinaryHeap<Reverse<(Time, EngineIndex)>>,
    /// In order of time, then of scheduling.
    scheduled: BinaryHeap<Reverse<(Time, u64, ScheduledEvent)>>,
    sequence_number: u64,
}

impl EventQueue {
    pub(super) fn new(network_delay: Duration, scrape_delay: Duration) -> Self {
        Self {
            network_delay,
            scrape_delay,
            responses: VecDeque::new(),
            readings: VecDeque::new(),
            deliveries: VecDeque::new(),
            steps: BinaryHeap::new(),
            scheduled: BinaryHeap::new(),
            sequence_number: 0,
        }
    }

    /// Sends a message from a router to an engine.
    pub(super) fn send(&mut self, now: Time, delivery: Delivery) {
        self.deliveries.push_back((now + self.network_delay, delivery));
    }

    /// Sends a message from an engine to a router.
    pub(super) fn respond(&mut self, now: Time, event: ResponseEvent) {
        self.responses.push_back((now + self.network_delay, event));
    }

    /// Sends gauges to a router.
    pub(super) fn report(&mut self, now: Time, reading: Reading) {
        self.readings.push_back((now + self.scrape_delay, reading));
    }

    /// Schedules the end of an engine's step.
    pub(super) fn step_ends(&mut self, ends: Time, engine: EngineIndex) {
        self.steps.push(Reverse((ends, engine)));
    }

    /// Schedules an event.
    pub(super) fn schedule(&mut self, at: Time, event: ScheduledEvent) {
        self.sequence_number += 1;
        self.scheduled.push(Reverse((at, self.sequence_number, event)));
    }

    /// Removes and returns the next event; `arrival` is when the next job arrives. Of simultaneous events, those that
    /// inform a router come before those in which it acts.
    pub(super) fn next(&mut self, arrival: Option<Time>) -> Option<(Time, QueuedEvent)> {
        const NEVER: Time = Time::from_nanos(u64::MAX);
        let mut first = arrival.unwrap_or(NEVER);
        let mut kind = arrival.map(|_| Kind::Arrival);
        let dues = [
            (self.steps.peek().map(|Reverse((at, _))| *at), Kind::StepEnd),
            (self.deliveries.front().map(|(at, _)| *at), Kind::Delivery),
            (self.scheduled.peek().map(|Reverse((at, ..))| *at), Kind::Scheduled),
            (self.readings.front().map(|(at, _)| *at), Kind::Reading),
            (self.responses.front().map(|(at, _)| *at), Kind::Response),
        ];
        for (due, candidate) in dues {
            if let Some(due) = due
                && (due <= first || kind.is_none())
            {
                (first, kind) = (due, Some(candidate));
            }
        }
        Some(match kind? {
            Kind::Response => {
                self.responses.pop_front().map(|(at, event)| (at, QueuedEvent::Response(event)))?
            }
            Kind::Reading => {
                self.readings.pop_front().map(|(at, reading)| (at, QueuedEvent::Reading(reading)))?
            }
            Kind::Scheduled => {
                self.scheduled.pop().map(|Reverse((at, _, event))| (at, QueuedEvent::Scheduled(event)))?
            }
            Kind::Delivery => {
                self.deliveries.pop_front().map(|(at, sent)| (at, QueuedEvent::Delivery(sent)))?
            }
            Kind::StepEnd => {
                self.steps.pop().map(|Reverse((at, engine))| (at, QueuedEvent::StepEnd(engine)))?
            }
            Kind::Arrival => (first, QueuedEvent::Arrival),
        })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Response,
    Reading,
    Scheduled,
    Delivery,
    StepEnd,
    Arrival,
}
