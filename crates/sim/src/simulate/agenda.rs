//! What happens next.
//!
//! What is on its way between routers and engines takes the same time each way, so it arrives in the order it was
//! sent and needs a queue only. The heaps hold one entry per busy engine and the few things that happen rarely, which
//! keeps them small however many requests there are.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use pointsman_core::{FailureCause, LoadReport, RequestId, Time};

use crate::engine::SequenceId;

/// An engine, by its place in the fleet.
pub(super) type Member = u32;

/// One attempt at a request: what is said of an earlier one is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) request: RequestId,
    pub(super) number: u16,
}

/// What a router sends to an engine.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    /// A request.
    Request { attempt: Attempt, to: Member },
    /// The end of a connection: nobody waits for this sequence any more.
    Hangup { sequence: SequenceId, attempt: Attempt, at: Member },
}

/// What the other side of a connection to an engine gets to see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notice {
    pub(super) attempt: Attempt,
    pub(super) news: News,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum News {
    FirstToken,
    /// So many tokens came until now.
    Progress(u32),
    Finished {
        /// Prompt tokens that were in the prefix cache.
        cached: u32,
    },
    Failed(FailureCause),
}

/// A reading of an engine's gauges on its way to a router.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) router: u32,
    pub(super) of: Member,
    pub(super) report: LoadReport,
}

/// What happens rarely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Occasion {
    /// A member of the fleet becomes ready.
    Join(Member),
    /// The load of the engines is noted down.
    Sample,
    /// A router reads an engine's gauges.
    Scrape { router: u32, of: Member },
    /// A router's core wants to be woken.
    Wake { router: u32 },
    /// A member's change of that number takes place.
    Change { of: Member, number: u32 },
    /// A probe sets out, if there is still a reason for it.
    Probe { router: u32, of: Member },
    /// A probe was answered, or not.
    Probed { router: u32, of: Member, healthy: bool },
    /// A router looks whether streams from an engine have been silent for too long.
    Patience { router: u32, of: Member },
    /// Kubernetes looks whether an engine is ready, which matters to a Service.
    Readiness(Member),
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Next {
    Notice(Notice),
    Reading(Reading),
    Occasion(Occasion),
    Delivery(Delivery),
    StepEnd(Member),
    /// The next job of the workload.
    Arrival,
}

/// Everything that is due, by time.
#[derive(Debug)]
pub(super) struct Agenda {
    network_delay: Duration,
    scrape_delay: Duration,
    notices: VecDeque<(Time, Notice)>,
    readings: VecDeque<(Time, Reading)>,
    deliveries: VecDeque<(Time, Delivery)>,
    steps: BinaryHeap<Reverse<(Time, Member)>>,
    /// In order of time, then of planning.
    occasions: BinaryHeap<Reverse<(Time, u64, Occasion)>>,
    planned: u64,
}

impl Agenda {
    pub(super) fn new(network_delay: Duration, scrape_delay: Duration) -> Self {
        Self {
            network_delay,
            scrape_delay,
            notices: VecDeque::new(),
            readings: VecDeque::new(),
            deliveries: VecDeque::new(),
            steps: BinaryHeap::new(),
            occasions: BinaryHeap::new(),
            planned: 0,
        }
    }

    /// A router sends something to an engine.
    pub(super) fn send(&mut self, now: Time, delivery: Delivery) {
        self.deliveries.push_back((now + self.network_delay, delivery));
    }

    /// One way between router and engine.
    pub(super) const fn network_delay(&self) -> Duration {
        self.network_delay
    }

    /// An engine's answer, or the end of its connection, sets out for the router.
    pub(super) fn tell(&mut self, now: Time, notice: Notice) {
        self.notices.push_back((now + self.network_delay, notice));
    }

    /// A reading of gauges sets out for a router.
    pub(super) fn report(&mut self, now: Time, reading: Reading) {
        self.readings.push_back((now + self.scrape_delay, reading));
    }

    /// An engine's step ends at this time.
    pub(super) fn step(&mut self, ends: Time, of: Member) {
        self.steps.push(Reverse((ends, of)));
    }

    pub(super) fn plan(&mut self, at: Time, occasion: Occasion) {
        self.planned += 1;
        self.occasions.push(Reverse((at, self.planned, occasion)));
    }

    /// Takes out what happens next, if that is not after `arrival`, when the next job comes. Of what happens at once,
    /// news comes before what is done about it.
    pub(super) fn next(&mut self, arrival: Option<Time>) -> Option<(Time, Next)> {
        const NEVER: Time = Time::from_nanos(u64::MAX);
        let mut first = arrival.unwrap_or(NEVER);
        let mut kind = arrival.map(|_| Kind::Arrival);
        let dues = [
            (self.steps.peek().map(|Reverse((at, _))| *at), Kind::StepEnd),
            (self.deliveries.front().map(|(at, _)| *at), Kind::Delivery),
            (self.occasions.peek().map(|Reverse((at, ..))| *at), Kind::Occasion),
            (self.readings.front().map(|(at, _)| *at), Kind::Reading),
            (self.notices.front().map(|(at, _)| *at), Kind::Notice),
        ];
        for (due, candidate) in dues {
            if let Some(due) = due
                && (due <= first || kind.is_none())
            {
                (first, kind) = (due, Some(candidate));
            }
        }
        Some(match kind? {
            Kind::Notice => self.notices.pop_front().map(|(at, notice)| (at, Next::Notice(notice)))?,
            Kind::Reading => self.readings.pop_front().map(|(at, reading)| (at, Next::Reading(reading)))?,
            Kind::Occasion => {
                self.occasions.pop().map(|Reverse((at, _, occasion))| (at, Next::Occasion(occasion)))?
            }
            Kind::Delivery => self.deliveries.pop_front().map(|(at, sent)| (at, Next::Delivery(sent)))?,
            Kind::StepEnd => self.steps.pop().map(|Reverse((at, of))| (at, Next::StepEnd(of)))?,
            Kind::Arrival => (first, Next::Arrival),
        })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Notice,
    Reading,
    Occasion,
    Delivery,
    StepEnd,
    Arrival,
}
