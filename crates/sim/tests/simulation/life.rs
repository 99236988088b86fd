//! Engines that die, hang, drain, restart, join and report wrong gauges, and routers without information.

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{Placement, Time};
use pointsman_sim::{Change, End, Information, Outcome, PrefixKnowledge, Routing, Scenario};

use crate::support::{
    Poisson, at, e2e, ends, grouped, job, mixed, pool, profile, routings, routings_and_bounds, run, scenario,
};

/// Four tiny engines at a load that three can serve; the first one changes.
fn changing(changes: &[(f64, Change)]) -> Scenario {
    let mut scenario = scenario(4, profile("tiny"), 20);
    scenario.fleet[0].changes = changes.iter().map(|(seconds, change)| (at(*seconds), *change)).collect();
    scenario
}

fn default_run(scenario: &Scenario, rate: f64) -> Outcome {
    run(scenario, &pool(Placement::Pointsman), &mut Poisson::new(rate, 5, |_, _| job(50, 40)), 1)
}

/// Sum of the requests in an engine over its load samples after a time.
fn load_after(outcome: &Outcome, engine: usize, seconds: f32) -> u32 {
    outcome.engines[engine].iter().filter(|point| point.at > seconds).map(|point| point.requests).sum()
}

#[test]
fn every_routing_handles_every_change() {
    let changes: [&[(f64, Change)]; 8] = [
        &[(1.0, Change::Slowness(5.0)), (2.0, Change::Slowness(1.0))],
        &[(1.0, Change::Dies)],
        &[(1.0, Change::Dies), (2.0, Change::Restarts)],
        &[(1.0, Change::Hangs)],
        &[(1.0, Change::Hangs), (3.0, Change::Resumes)],
        &[(1.0, Change::Drains)],
        &[(1.0, Change::Lies)],
        &[(1.0, Change::Hangs), (1.5, Change::Dies), (2.0, Change::Resumes), (2.5, Change::Restarts)],
    ];
    for routing in routings_and_bounds() {
        for changes in changes {
            let mut scenario = changing(changes);
            scenario.duration = Duration::from_secs(4);
            scenario.drain = Duration::from_secs(120);
            let mut made = 0;
            let mut jobs = Poisson::new(100.0, 5, |number, rng| {
                made = number;
                mixed(number, rng)
            });
            let outcome = run(&scenario, &routing, &mut jobs, 1);
            let name = format!("{} with {changes:?}: {:?}", routing.name(), ends(&outcome));
            assert_eq!(outcome.jobs.len() as u64, made - 1, "{name}");
            let [answered, _, failed, unfinished] = ends(&outcome);
            if let Routing::Pool(_) = routing {
                assert!(answered > outcome.jobs.len() / 2, "{name}");
                // Placements that trust stale gauges see a hung engine as idle, and retries have a budget.
                assert!(failed <= 120 && unfinished == 0, "{name}");
            }
        }
    }
}

#[test]
fn what_a_dead_engine_had_not_begun_to_answer_is_served_by_the_others() {
    let outcome = default_run(&changing(&[(5.0, Change::Dies)]), 200.0);
    let [answered, rejected, failed, unfinished] = ends(&outcome);
    assert_eq!((rejected, unfinished), (0, 0));
    // Only streams that had started are lost.
    assert!((1..=8).contains(&failed), "{failed}");
    assert!(answered > 3_000, "{answered}");
    assert_eq!(load_after(&outcome, 0, 5.1), 0);
}

#[test]
fn a_service_sends_to_a_dead_engine_until_its_readiness_fails() {
    let mut scenario = changing(&[(5.0, Change::Dies)]);
    scenario.duration = Duration::from_secs(60);
    let mut jobs = Poisson::new(50.0, 5, |_, _| job(100, 20));
    let outcome = run(&scenario, &Routing::ServicePerRequest, &mut jobs, 1);
    let failed = |from: f64, to: f64| {
        let within = |arrival: &Time| (at(from)..at(to)).contains(arrival);
        outcome.jobs.iter().filter(|(arrival, end)| within(arrival) && *end == End::Failed).count()
    };
    assert!(failed(0.0, 4.0) == 0 && failed(36.0, 60.0) == 0);
    // A quarter of 50 a second for 30 s.
    assert!((300..450).contains(&failed(4.0, 36.0)), "{}", failed(4.0, 36.0));
}

#[test]
fn an_engine_that_restarts_gets_requests_again() {
    let outcome = default_run(&changing(&[(5.0, Change::Dies), (8.0, Change::Restarts)]), 200.0);
    assert!(load_after(&outcome, 0, 12.0) > 0);
    assert_eq!(ends(&outcome)[3], 0);
}

#[test]
fn a_restarted_engine_has_an_empty_cache() {
    let hits = |changes: &[(f64, Change)]| {
        let mut scenario = scenario(1, profile("tiny"), 20);
        scenario.fleet[0].changes = changes.iter().map(|(seconds, change)| (at(*seconds), *change)).collect();
        let mut jobs = Poisson::new(5.0, 5, |number, _| grouped(1, 8, number, 20, 4));
        let outcome = run(&scenario, &pool(Placement::Pointsman), &mut jobs, 1);
        (outcome.cached_tokens, ends(&outcome)[0] as u64 * 128)
    };
    let (cached, most) = hits(&[]);
    assert!(most - cached <= 2 * 128, "all but the first find the prefix: {cached} of {most}");
    let (after, most) = hits(&[(10.0, Change::Restarts)]);
    assert!((128..=6 * 128).contains(&(most - after)), "{after} of {most}");
}

#[test]
fn a_hung_engine_is_detected_and_avoided() {
    let mut scenario = changing(&[(5.0, Change::Hangs)]);
    scenario.duration = Duration::from_secs(90);
    let outcome = default_run(&scenario, 50.0);
    let [answered, _, failed, unfinished] = ends(&outcome);
    assert_eq!(unfinished, 0);
    assert!(failed <= 8, "{failed}");
    assert!(answered > 4_000, "{answered}");
    let slow = e2e(&outcome).iter().filter(|took| **took > 25_000.0).count();
    assert!((1..300).contains(&slow), "{slow} waited for the silence to count");
    assert_eq!(load_after(&outcome, 0, 72.0), 0);
}

#[test]
fn an_engine_that_hangs_briefly_loses_no_request() {
    let outcome = default_run(&changing(&[(5.0, Change::Hangs), (9.0, Change::Resumes)]), 100.0);
    assert_eq!(ends(&outcome)[1..], [0, 0, 0]);
    let slowest = e2e(&outcome).last().copied().unwrap();
    assert!((2_000.0..4_100.0).contains(&slowest), "{slowest}");
}

#[test]
fn a_draining_engine_finishes_its_requests_and_gets_no_new_ones() {
    for routing in routings() {
        let mut jobs = Poisson::new(200.0, 5, |_, _| job(100, 20));
        let outcome = run(&changing(&[(5.0, Change::Drains)]), &routing, &mut jobs, 1);
        assert_eq!(ends(&outcome)[2..], [0, 0], "{}", routing.name());
        assert_eq!(load_after(&outcome, 0, 6.0), 0, "{}", routing.name());
    }
}

#[test]
fn an_engine_that_joins_late_takes_its_share() {
    for routing in [pool(Placement::Pointsman), pool(Placement::RoundRobin), Routing::ServicePerRequest] {
        let mut scenario = scenario(3, profile("tiny"), 20);
        scenario.fleet[2].joins = at(10.0);
        let outcome = run(&scenario, &routing, &mut Poisson::new(300.0, 5, |_, _| job(100, 20)), 1);
        let before: u32 =
            outcome.engines[2].iter().filter(|point| point.at < 10.0).map(|point| point.requests).sum();
        assert_eq!(before, 0);
        assert!(load_after(&outcome, 2, 10.0) > 0, "{}", routing.name());
    }
}

#[test]
fn placements_that_learn_speed_send_less_to_a_slow_engine() {
    let mut scenario = scenario(4, profile("tiny"), 20);
    scenario.fleet[0].slowness = 4.0;
    let p90 = |routing: &Routing| {
        let outcome = run(&scenario, routing, &mut Poisson::new(250.0, 5, |_, _| job(100, 20)), 1);
        let all = e2e(&outcome);
        all[all.len() * 9 / 10]
    };
    let (default, service) = (p90(&pool(Placement::Pointsman)), p90(&Routing::ServicePerRequest));
    assert!(default < service / 2.0, "{default} {service}");
}

#[test]
fn an_engine_with_wrong_gauges_attracts_placements_that_trust_gauges() {
    let share = |lies: bool| {
        let mut scenario = changing(if lies { &[(0.0, Change::Lies)] } else { &[] });
        scenario.information.scrape_every = Some(Duration::from_millis(50));
        scenario.information.scrape_idle_every = Duration::from_millis(50);
        let mut jobs = Poisson::new(500.0, 5, |_, _| job(100, 20));
        let outcome = run(&scenario, &pool(Placement::FilterTree), &mut jobs, 1);
        let loads: Vec<u32> = (0..4).map(|engine| load_after(&outcome, engine, 0.0)).collect();
        f64::from(loads[0]) / f64::from(loads.iter().sum::<u32>())
    };
    let (honest, lying) = (share(false), share(true));
    assert!(lying > honest + 0.15, "{honest} {lying}");
}

#[test]
fn without_gauges_and_tokens_the_default_still_spreads_the_load() {
    let blind = |information: Information| {
        let mut scenario = scenario(4, profile("tiny"), 20);
        scenario.information = information;
        let outcome = default_run(&scenario, 400.0);
        let all = e2e(&outcome);
        all[all.len() * 9 / 10]
    };
    let seeing = blind(Information::default());
    let forever = vec![(Time::ZERO, at(1e6))];
    for information in [
        Information { blackouts: forever, ..Information::default() },
        Information { scrape_every: None, ..Information::default() },
        Information { scrape_loss: 0.9, ..Information::default() },
        Information { scrape_delay: Duration::from_secs(3), ..Information::default() },
        Information { tokens_seen: false, ..Information::default() },
        Information { tokens_seen: false, usage_seen: false, scrape_every: None, ..Information::default() },
        Information { prefixes: PrefixKnowledge::Unknown, ..Information::default() },
        Information { network_delay: Duration::from_millis(20), ..Information::default() },
        Information { routers: 4, ..Information::default() },
        Information { routers: 4, shared_state: false, ..Information::default() },
    ] {
        let name = format!("{information:?}");
        let with = blind(information);
        assert!(with < seeing * 2.0 + 50.0, "{with} against {seeing}: {name}");
    }
}

#[test]
fn routers_that_share_nothing_place_worse_than_one() {
    let mean = |routers: u32, shared_state: bool| {
        let mut scenario = scenario(8, profile("tiny"), 20);
        scenario.information = Information { routers, shared_state, ..Information::default() };
        let outcome = default_run(&scenario, 1_200.0);
        let all = e2e(&outcome);
        all.iter().map(|took| f64::from(*took)).sum::<f64>() / all.len() as f64
    };
    let (one, shared, private) = (mean(1, true), mean(4, true), mean(4, false));
    assert_eq!(one.to_bits(), shared.to_bits(), "one state is one router");
    assert!(private > one, "{private} {one}");
}

#[test]
fn requests_that_no_engine_accepts_fail() {
    let mut scenario = scenario(2, profile("tiny"), 2);
    let mut small = profile("tiny");
    small.max_model_len = 50;
    for member in &mut scenario.fleet {
        member.profile = Arc::new(small.clone());
    }
    for routing in routings() {
        let outcome = run(&scenario, &routing, &mut Poisson::new(20.0, 5, |_, _| job(100, 20)), 1);
        assert_eq!(ends(&outcome)[2], outcome.jobs.len(), "{}", routing.name());
        assert!(!outcome.jobs.is_empty());
    }
}
