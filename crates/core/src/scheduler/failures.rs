//! Failures of other routers in the field, each reproduced by a switch. Each assertion must hold without the failure and
//! must not hold with it, which shows that the test detects a change that brings the failure back.

mod fleet;

use std::time::Duration;

use fleet::{Arrival, BLOCK, Fleet};

use super::{InvariantBroken, Scheduler, SchedulerConfig};
use crate::endpoint::EndpointSpec;
use crate::event::Event;
use crate::ids::{BlockHash, EndpointId, PoolId, PoolSet, RequestId};
use crate::placement::{Failure, Rule};
use crate::request::RequestFacts;
use crate::time::Time;
use pointsman_random::Rng;

impl Scheduler {
    /// Applies [`Failure::ProbesZeroLoad`] where it is switched on.
    pub(super) fn apply_probes_zero_load(&mut self, id: EndpointId) {
        let fails = |rule: &Rule| matches!(rule, Rule::Failing(Failure::ProbesZeroLoad, _));
        if self.pools.iter().any(|state| fails(&state.rule))
            && let Some(endpoint) = self.endpoints.get_mut(id)
        {
            endpoint.set_in_flight(0);
        }
    }
}

/// Asserts that a measurement holds without the failure and does not with it.
#[track_caller]
fn check<T: std::fmt::Debug>(
    failure: Failure,
    measure: impl Fn(Option<Failure>) -> T,
    holds: impl Fn(&T) -> bool,
) {
    let (without, with) = (measure(None), measure(Some(failure)));
    assert!(holds(&without), "without {failure:?}: {without:?}");
    assert!(!holds(&with), "not detected with {failure:?}: {with:?}");
}

/// A prompt of blocks that it shares with its group, then of blocks of its own.
fn prompt(group: u64, shared: u32, own: u32, number: u64) -> RequestFacts {
    let block = |kind: u64, number: u64, index: u32| {
        BlockHash(Rng::seeded(kind << 60 ^ number << 20 ^ u64::from(index)).next_u64())
    };
    let shared_blocks = (0..shared).map(|index| block(1, group, index));
    let own_blocks = (0..own).map(|index| block(2, number, index));
    RequestFacts {
        prompt_tokens: (shared + own) * BLOCK,
        blocks: shared_blocks.chain(own_blocks).collect(),
        block_tokens: BLOCK,
        observes_tokens: true,
        ..RequestFacts::unknown(PoolId(0))
    }
}

/// Poisson arrivals at a mean rate for some seconds; `request` makes each from its number.
fn poisson(
    rate: f64,
    seconds: f64,
    mut request: impl FnMut(u64, &mut Rng) -> (RequestFacts, u32),
) -> Vec<Arrival> {
    let mut rng = Rng::seeded(5);
    let (mut at, mut arrivals) = (0.0, Vec::new());
    while at < seconds {
        let uniform = (1 + rng.below(1 << 30)) as f64 / f64::from(1 << 30);
        at += -uniform.ln() / rate;
        let (facts, output) = request(u64::try_from(arrivals.len()).unwrap(), &mut rng);
        arrivals.push(Arrival { at: Duration::from_secs_f64(at), facts, output });
    }
    arrivals
}

#[test]
fn sequential_requests_are_spread() {
    let served = |failure| {
        let mut fleet = Fleet::new(1, &[1.0, 1.0], 10_000, failure);
        for number in 0..448 {
            fleet.run(&[Arrival { at: Duration::ZERO, facts: prompt(number, 0, 30, number), output: 5 }]);
        }
        fleet.served()
    };
    check(Failure::NoLoadBetweenRequests, served, |served| served.iter().all(|served| *served > 448 / 3));
    assert_eq!(served(Some(Failure::NoLoadBetweenRequests)), [448, 0], "as reported");
}

#[test]
fn a_probe_does_not_change_load_counters() {
    let invariants = |failure| -> Result<(), InvariantBroken> {
        let mut pool = Scheduler::new(SchedulerConfig::default());
        pool.pool_mut(PoolId(0)).rule = Rule::with(failure);
        let (now, mut effects) = (Time::ZERO + Duration::from_secs(10), Vec::new());
        for endpoint in [EndpointId(0), EndpointId(1)] {
            let spec = EndpointSpec { pools: PoolSet::of(PoolId(0)) };
            pool.handle(now, Event::EndpointUp { endpoint, spec }, &mut effects);
        }
        for request in 0..10 {
            let facts = prompt(request, 0, 10, request);
            pool.handle(now, Event::Arrived { request: RequestId(request), facts }, &mut effects);
        }
        pool.handle(now, Event::Probed { endpoint: EndpointId(1), healthy: true }, &mut effects);
        pool.check_invariants()
    };
    check(Failure::ProbesZeroLoad, invariants, Result::is_ok);
}

#[test]
fn prompts_that_are_cached_nowhere_do_not_pile_up_at_the_smallest_tree() {
    // The first endpoint is slow and gets few requests: its tree stays the smallest.
    let p90 = |failure| {
        let mut fleet = Fleet::new(1, &[6.0, 1.0, 1.0, 1.0], 10_000, failure);
        fleet.run(&poisson(30.0, 20.0, |number, _| (prompt(number, 0, 40, number), 100)));
        (fleet.p90(), fleet.served())
    };
    check(Failure::SmallestTreeOnMiss, p90, |(p90, _)| *p90 < 2.0);
}

#[test]
fn several_routers_do_not_herd() {
    let p90 = |routers: usize| {
        move |failure| {
            let mut fleet = Fleet::new(routers, &[1.0; 5], 10_000, failure);
            fleet.run(&poisson(60.0, 15.0, |number, rng| {
                (prompt(number, 0, 30, number), 50 + u32::try_from(rng.below(200)).unwrap())
            }));
            (fleet.p90(), fleet.served())
        }
    };
    let (alone, _) = p90(1)(None);
    check(Failure::GaugesAlone, p90(4), |(p90, served)| {
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        *p90 < 1.1 * alone && *most < 2 * least
    });
}

#[test]
fn one_overloaded_endpoint_does_not_move_the_prefixes_of_the_others() {
    // Long responses keep the first endpoint busy. Each of the others has room for half of the prefixes.
    let hit_rate = |failure| {
        let mut fleet = Fleet::new(1, &[1.0; 4], 4_000, failure);
        let long = (0..20).map(|number| {
            let subset = Some([EndpointId(0)].into());
            Arrival {
                at: Duration::ZERO,
                facts: RequestFacts { subset, ..prompt(0, 0, 10, 1_000_000 + number) },
                output: 3_000,
            }
        });
        let grouped = poisson(12.0, 30.0, |number, rng| {
            (prompt(u64::try_from(rng.below(40)).unwrap(), 200, 10, number), 100)
        });
        fleet.run(&long.chain(grouped).collect::<Vec<_>>());
        (fleet.hit_rate(), fleet.p90(), fleet.served())
    };
    check(Failure::FleetWideGate, hit_rate, |(hit_rate, ..)| *hit_rate > 0.7);
}

/// Sequential turns of agents with one system prompt: nothing is ever in flight at a decision, and the endpoint that has
/// the system prompt cached always costs less. Two caches have room for all sessions, one has not.
#[test]
fn sequential_sessions_with_a_common_prompt_use_every_cache() {
    let mut fleet = Fleet::new(1, &[1.0; 2], 6_000, None);
    for turn in 0..8 {
        for session in 0..56 {
            let facts = prompt(0, 100, 20 * (turn + 1), session);
            fleet.run(&[Arrival { at: Duration::ZERO, facts, output: 5 }]);
        }
    }
    // One endpoint alone reaches 0.68; session affinity reaches 0.89.
    assert!(fleet.hit_rate() > 0.8, "{} {:?}", fleet.hit_rate(), fleet.served());
}
