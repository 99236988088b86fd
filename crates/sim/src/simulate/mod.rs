//! A run in virtual time: the real core between a workload and a fleet of engine models.
//!
//! [`simulate`] keeps what happens next in order of time and drives [`pointsman_core::Pool`] with the very events that
//! a live front door sends: endpoints that come and go, readings of gauges, arrivals, first tokens, progress and ends.
//! Equal arguments give equal outcomes, bit for bit.

mod agenda;
mod arrivals;
mod bounds;
mod flights;
mod front;
mod life;
mod pools;
mod probes;
mod run;
mod scrapes;
mod servers;
mod service;
mod tally;

use pointsman_core::{InvariantBroken, Rejection, RequestId, Time, seconds};

use agenda::Member;
use bounds::pooled_server;
use front::Front;
use run::Run;

use crate::job::Jobs;
use crate::outcome::Outcome;
use crate::scenario::{Bound, Change, Routing, Scenario};

/// Why a run has no outcome.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulationError {
    /// Nothing could be simulated.
    #[error("the fleet has no engine")]
    EmptyFleet,
    /// A figure makes no engine.
    #[error("engine {member} of the fleet: a slowness of {slowness} is no positive number")]
    Slowness {
        /// Its place in the fleet.
        member: usize,
        /// What was asked for.
        slowness: f64,
    },
    /// A fault of the core: what it counts is not so.
    #[error("with {routing} and seed {seed}, after {events} events ({seconds:.6} s): {broken}")]
    Invariant {
        /// Name of the routing.
        routing: &'static str,
        /// The seed of the run: the same one breaks it again.
        seed: u64,
        /// Events that the core was given until then.
        events: u64,
        /// The virtual time.
        seconds: f64,
        /// What does not hold.
        broken: InvariantBroken,
    },
}

/// Runs a workload through a scenario.
///
/// # Errors
/// Where the scenario makes no sense, or an invariant of the core does not hold.
pub fn simulate(
    scenario: &Scenario,
    routing: &Routing,
    jobs: &mut impl Jobs,
    seed: u64,
) -> Result<Outcome, SimulationError> {
    simulate_checked(scenario, routing, jobs, seed, 0)
}

/// [`simulate`], comparing the core's counts with its requests after every `check_every` events; 0 is never. The
/// outcome is the same.
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
    let pooled = match routing {
        Routing::Bound(Bound::PooledServer) => pooled_server(scenario),
        Routing::Bound(_) | Routing::Pool(_) | Routing::ServicePerConnection | Routing::ServicePerRequest => {
            None
        }
    };
    let scenario = pooled.as_ref().unwrap_or(scenario);
    let front = Front::new(scenario, routing, seed, check_every);
    Run::new(scenario, front, jobs, seed).finish().map_err(|Broken { at, events, broken }| {
        let seconds = seconds(at.since(Time::ZERO));
        SimulationError::Invariant { routing: routing.name(), seed, events, seconds, broken }
    })
}

fn validate(scenario: &Scenario) -> Result<(), SimulationError> {
    if scenario.fleet.is_empty() {
        return Err(SimulationError::EmptyFleet);
    }
    for (member, engine) in scenario.fleet.iter().enumerate() {
        let later = engine.changes.iter().filter_map(|(_, change)| match change {
            Change::Slowness(slowness) => Some(*slowness),
            Change::Dies
            | Change::Restarts
            | Change::Hangs
            | Change::Resumes
            | Change::Drains
            | Change::Lies => None,
        });
        for slowness in std::iter::once(engine.slowness).chain(later) {
            if !(slowness.is_finite() && slowness > 0.0) {
                return Err(SimulationError::Slowness { member, slowness });
            }
        }
    }
    Ok(())
}

/// What a routing wants done.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// Send the request to this engine.
    Send { request: RequestId, to: Member },
    /// Answer it with this rejection.
    Reject { request: RequestId, rejection: Rejection },
    /// It cannot be served, or was not.
    Fail { request: RequestId },
    /// Wake this router's core then.
    WakeAt { router: u32, at: Time },
    /// Probe the engine as long as it is ejected.
    Probe { router: u32, of: Member, ejected: bool },
}

/// An invariant that did not hold.
#[derive(Clone, Debug)]
struct Broken {
    at: Time,
    events: u64,
    broken: InvariantBroken,
}
