//! Discrete-event simulation of a workload, the real core and a fleet of engine models.
//!
//! [`simulate`] drives [`pointsman_core::Scheduler`] with the events that a live gateway sends: endpoints up and down,
//! gauges, arrivals, first tokens, progress and ends. Equal arguments give equal outcomes, bit for bit.

mod active_jobs;
mod arrivals;
mod balancer;
mod bounds;
mod event_queue;
mod lifecycle;
mod probes;
mod recorder;
mod run;
mod schedulers;
mod scrapes;
mod servers;
mod service;

use pointsman_core::{InvariantBroken, RequestId, Time, seconds};
use pointsman_workload::Jobs;

use balancer::Balancer;
use bounds::pooled_server;
use event_queue::EngineIndex;
use run::Run;

use crate::outcome::{End, Outcome};
use crate::scenario::{Bound, Change, Routing, Scenario};

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulationError {
    /// The fleet is empty.
    #[error("the fleet has no engine")]
    EmptyFleet,
    /// An engine's slowness is not a positive number.
    #[error("engine {engine} of the fleet: a slowness of {slowness} is not a positive number")]
    Slowness {
        /// Index of the engine in the fleet.
        engine: usize,
        /// The value.
        slowness: f64,
    },
    /// A bug in the core: an invariant does not hold.
    #[error("with {routing} and seed {seed}, after {events} events ({seconds:.6} s): {broken}")]
    Invariant {
        /// Name of the routing.
        routing: &'static str,
        /// The seed of the run, which reproduces the failure.
        seed: u64,
        /// Events that the schedulers handled before.
        events: u64,
        /// Virtual time in seconds.
        seconds: f64,
        /// The broken invariant.
        broken: InvariantBroken,
    },
}

/// Runs a workload through a scenario.
///
/// # Errors
/// The scenario is invalid, or an invariant of the core does not hold.
pub fn simulate(
    scenario: &Scenario,
    routing: &Routing,
    jobs: &mut impl Jobs,
    seed: u64,
) -> Result<Outcome, SimulationError> {
    simulate_checked(scenario, routing, jobs, seed, 0)
}

/// [`simulate`] with a check of the core's invariants after every `check_every` events; 0 is never. The outcome is the
/// same.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_checked(
    scenario: &Scenario,
    routing: &Routing,
    jobs: &mut impl Jobs,
    seed: u64,
    check_every: u64,
) -> Result<Outcome, SimulationError> {
    validate(scenario)?;
    let is_pooled = *routing == Routing::Bound(Bound::PooledServer);
    let pooled = is_pooled.then(|| pooled_server(scenario)).flatten();
    let scenario = pooled.as_ref().unwrap_or(scenario);
    let balancer = Balancer::new(scenario, routing, seed, check_every);
    Run::new(scenario, balancer, jobs, seed).finish().map_err(|Broken { at, events, broken }| {
        let seconds = seconds(at.since(Time::ZERO));
        SimulationError::Invariant { routing: routing.name(), seed, events, seconds, broken }
    })
}

fn validate(scenario: &Scenario) -> Result<(), SimulationError> {
    if scenario.fleet.is_empty() {
        return Err(SimulationError::EmptyFleet);
    }
    for (engine, spec) in scenario.fleet.iter().enumerate() {
        let changes = spec.changes.iter().map(|(_, change)| *change);
        for change in [Change::Slowness(spec.slowness)].into_iter().chain(changes) {
            if let Change::Slowness(slowness) = change
                && !(slowness.is_finite() && slowness > 0.0)
            {
                return Err(SimulationError::Slowness { engine, slowness });
            }
        }
    }
    Ok(())
}

/// A decision of the balancer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    /// Send the request to this engine.
    Send { request: RequestId, to: EngineIndex },
    /// The request is over without an answer.
    End { request: RequestId, end: End },
    /// Send a timer event to this router's scheduler.
    WakeAt { router: u32, at: Time },
    /// Start or stop probing an engine that was ejected.
    Probe { router: u32, engine: EngineIndex, ejected: bool },
    /// An engine drained: this router's last request there has ended.
    EndpointGone { router: u32, engine: EngineIndex },
}

/// A broken invariant.
#[derive(Clone, Debug)]
struct Broken {
    at: Time,
    events: u64,
    broken: InvariantBroken,
}
