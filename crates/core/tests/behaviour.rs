//! Failures, retries, saturation, draining, adapters and gauges, as sequences of events.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{
    AdapterReport, Completion, Effect, EndpointId, Event, FailureCause, Health, LoadReport, ModelKey,
    Placement, PoolPolicy, Rejection, RequestFacts, RetryBudget, Usage,
};
use support::{Driver, stream};

fn sheddable(prompt_tokens: u32) -> RequestFacts {
    RequestFacts { priority: -1, ..stream(prompt_tokens) }
}

fn gauge(running: u32, waiting: u32, kv_use: f64) -> LoadReport {
    LoadReport {
        running: Some(running),
        waiting: Some(waiting),
        kv_use: Some(kv_use),
        kv_blocks: Some(1_000),
        block_size: Some(16),
        ..LoadReport::default()
    }
}

#[test]
fn a_failed_attempt_is_retried_elsewhere_until_the_attempts_are_spent() {
    let mut driver = Driver::new(3, Placement::Pointsman);
    let (request, first) = driver.dispatch(stream(10));
    let second = driver.fail(request, first, FailureCause::Lost).unwrap().unwrap();
    assert_ne!(second, first);
    let third = driver.fail(request, second, FailureCause::Unavailable).unwrap().unwrap();
    assert!(third != first && third != second);
    let rejection = driver.fail(request, third, FailureCause::Unavailable);
    assert_eq!(rejection, Some(Err(Rejection::AttemptsFailed(FailureCause::Unavailable))), "three attempts");
    assert_eq!(driver.in_flight(), [0, 0, 0]);
}

#[test]
fn an_attempt_that_may_not_be_repeated_ends_the_request() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    let (request, endpoint) = driver.dispatch(stream(10));
    let endpoint = EndpointId(endpoint);
    let failed = Event::AttemptFailed { request, endpoint, cause: FailureCause::Lost, retry: false };
    driver.tell(failed);
    assert_eq!(driver.answer(request), Some(Err(Rejection::AttemptsFailed(FailureCause::Lost))));
    assert_eq!(driver.in_flight(), [0, 0]);
}

#[test]
fn a_spent_retry_budget_stops_retries() {
    let retry_budget = RetryBudget { ratio: 0.0, min_per_second: 1, max_attempts: 100 };
    let mut driver = Driver::with_policy(2, PoolPolicy { retry_budget, ..PoolPolicy::default() });
    let mut repeats = 0;
    for _ in 0..20 {
        let (request, endpoint) = driver.dispatch(stream(10));
        match driver.fail(request, endpoint, FailureCause::Lost).unwrap() {
            Ok(_) => repeats += 1,
            Err(rejection) => assert_eq!(rejection, Rejection::AttemptsFailed(FailureCause::Lost)),
        }
    }
    assert_eq!(repeats, 10, "ten seconds at one a second");
}

#[test]
fn a_stale_connection_is_a_retry_and_no_evidence() {
    let retry_budget = RetryBudget { ratio: 0.0, min_per_second: 1, max_attempts: 2 };
    let mut driver = Driver::with_policy(1, PoolPolicy { retry_budget, ..PoolPolicy::default() });
    let rejected = Some(Err(Rejection::AttemptsFailed(FailureCause::StaleConnection)));
    for _ in 0..9 {
        let (request, _) = driver.dispatch(stream(10));
        assert_eq!(driver.fail(request, 0, FailureCause::StaleConnection), Some(Ok(0)), "the same endpoint");
        driver.finish(request);
    }
    let (request, _) = driver.dispatch(stream(10));
    assert_eq!(driver.fail(request, 0, FailureCause::StaleConnection), Some(Ok(0)));
    assert_eq!(driver.fail(request, 0, FailureCause::StaleConnection), rejected, "two attempts");
    let (request, _) = driver.dispatch(stream(10));
    assert_eq!(driver.fail(request, 0, FailureCause::StaleConnection), rejected, "the budget is spent");
    assert_eq!((driver.health(0), driver.in_flight()), (Health::Ready, vec![0]));
}

#[test]
fn a_loss_after_a_stale_connection_is_evidence() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    for _ in 0..3 {
        assert_eq!(driver.health(0), Health::Ready);
        let subset = Some(Arc::from([EndpointId(0)]));
        let (request, _) = driver.dispatch(RequestFacts { subset, ..stream(10) });
        assert_eq!(driver.fail(request, 0, FailureCause::StaleConnection), Some(Ok(0)));
        assert_eq!(driver.fail(request, 0, FailureCause::Lost), Some(Ok(0)));
        driver.tell(Event::Aborted { request });
    }
    assert!(matches!(driver.health(0), Health::Ejected(_)), "three losses in a row");
}

#[test]
fn the_only_endpoint_is_tried_again_as_the_last_resort() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    let (request, _) = driver.dispatch(stream(10));
    assert_eq!(driver.fail(request, 0, FailureCause::Connect), Some(Ok(0)));
    assert!(matches!(driver.health(0), Health::Ejected(_)));
    assert!(driver.arrive(stream(10)).1.is_ok(), "the last resort");
}

#[test]
fn an_ejected_endpoint_gets_no_requests_until_a_probe_is_answered() {
    let mut driver = Driver::new(2, Placement::RoundRobin);
    let (request, endpoint) = driver.dispatch(stream(10));
    driver.fail(request, endpoint, FailureCause::Connect);
    let ejected = |effect: &Effect| matches!(effect, Effect::HealthChanged { endpoint: EndpointId(id), health: Health::Ejected(_) } if *id == endpoint);
    assert!(driver.effects.iter().any(ejected));
    assert!(driver.effects.iter().any(|effect| matches!(effect, Effect::WakeAt(_))));
    assert_eq!(driver.pool.gauges(driver.now, support::POOL).ready_endpoints, 1);
    for _ in 0..10 {
        assert_ne!(driver.dispatch(stream(10)).1, endpoint);
    }
    driver.tell(Event::Probed { endpoint: EndpointId(endpoint), healthy: true });
    driver.pass(2_000);
    let expected = Effect::HealthChanged { endpoint: EndpointId(endpoint), health: Health::Ready };
    assert_eq!(driver.tell(Event::Timer), [expected]);
    let back = (0..4).filter(|_| driver.dispatch(stream(10)).1 == endpoint).count();
    assert_eq!(back, 2);
}

#[test]
fn after_a_stall_one_trial_request_ends_the_ejection() {
    let mut driver = Driver::new(2, Placement::RoundRobin);
    let (request, endpoint) = driver.dispatch(stream(10));
    driver.broken(request, FailureCause::Stalled);
    driver.tell(Event::Probed { endpoint: EndpointId(endpoint), healthy: true });
    driver.pass(5_000);
    driver.tell(Event::Timer);
    assert!(matches!(driver.health(endpoint), Health::Ejected(_)), "an answered probe is no proof");
    let sent: Vec<_> = (0..6).map(|_| driver.dispatch(stream(10))).collect();
    let trials: Vec<_> = sent.iter().filter(|(_, there)| *there == endpoint).collect();
    assert_eq!(trials.len(), 1);
    assert_eq!(driver.health(endpoint), Health::OnTrial);
    driver.finish(trials[0].0);
    assert_eq!(driver.health(endpoint), Health::Ready);
}

#[test]
fn where_all_are_ejected_the_one_with_the_earliest_return_is_tried() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    for _ in 0..2 {
        let (request, endpoint) = driver.dispatch(stream(10));
        driver.broken(request, FailureCause::Stalled);
        assert!(matches!(driver.health(endpoint), Health::Ejected(_)));
        driver.pass(500);
    }
    let until = |endpoint| {
        let Health::Ejected(ejection) = driver.health(endpoint) else { panic!("ejected") };
        ejection.until
    };
    let soonest = u32::from(until(1) < until(0));
    assert_eq!(driver.dispatch(stream(10)).1, soonest);
}

#[test]
fn the_last_resort_of_a_retry_is_not_the_endpoint_that_just_failed() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    let sent: Vec<_> = (0..2).map(|_| driver.dispatch(stream(10))).collect();
    driver.broken(sent[0].0, FailureCause::Stalled);
    let (request, endpoint) = sent[1];
    assert_eq!(driver.fail(request, endpoint, FailureCause::Connect), Some(Ok(sent[0].1)));
}

const fn gone(endpoint: u32) -> Effect {
    Effect::EndpointGone { endpoint: EndpointId(endpoint) }
}

#[test]
fn a_draining_endpoint_is_gone_when_its_last_request_ends() {
    let mut driver = Driver::new(2, Placement::RoundRobin);
    let (first, endpoint) = driver.dispatch(stream(10));
    driver.tell(Event::EndpointDraining { endpoint: EndpointId(endpoint) });
    let (second, other) = driver.dispatch(stream(10));
    assert_ne!(other, endpoint);
    assert_eq!(driver.in_flight(), [1, 1], "still counted");
    driver.finish(first);
    assert_eq!(driver.effects, [gone(endpoint)]);
    assert_eq!(driver.in_flight(), [1]);
    driver.finish(second);
    assert_eq!(driver.tell(Event::EndpointDown { endpoint: EndpointId(endpoint) }), [], "gone already");
    assert_eq!(driver.tell(Event::EndpointDown { endpoint: EndpointId(other) }), [gone(other)]);
}

#[test]
fn an_endpoint_without_requests_is_gone_as_soon_as_it_drains() {
    let mut driver = Driver::new(2, Placement::RoundRobin);
    let draining = Effect::HealthChanged { endpoint: EndpointId(1), health: Health::Draining };
    assert_eq!(driver.tell(Event::EndpointDraining { endpoint: EndpointId(1) }), [draining, gone(1)]);
}

#[test]
fn an_endpoint_that_disappeared_is_gone_when_its_last_request_moves() {
    let mut driver = Driver::new(2, Placement::RoundRobin);
    let (request, endpoint) = driver.dispatch(stream(10));
    assert_eq!(driver.tell(Event::EndpointDown { endpoint: EndpointId(endpoint) }), []);
    assert_eq!(driver.fail(request, endpoint, FailureCause::Connect), Some(Ok(1 - endpoint)));
    assert_eq!(driver.effects.last(), Some(&gone(endpoint)));
}

#[test]
fn a_draining_endpoint_that_comes_back_stays() {
    let mut driver = Driver::new(1, Placement::RoundRobin);
    let (request, _) = driver.dispatch(stream(10));
    driver.tell(Event::EndpointDraining { endpoint: EndpointId(0) });
    driver.up(0);
    driver.finish(request);
    assert_eq!(driver.effects, []);
    assert_eq!(driver.health(0), Health::Ready);
}

#[test]
fn a_request_limited_to_endpoints_goes_there_or_nowhere() {
    let mut driver = Driver::new(3, Placement::Pointsman);
    let limited = |ids: &[u32]| RequestFacts {
        subset: Some(ids.iter().copied().map(EndpointId).collect::<Arc<[_]>>()),
        ..stream(10)
    };
    for _ in 0..5 {
        assert_eq!(driver.dispatch(limited(&[1, 9, 1])).1, 1);
    }
    assert_eq!(driver.arrive(limited(&[9])).1, Err(Rejection::EmptySubset));
    assert_eq!(driver.arrive(limited(&[])).1, Err(Rejection::EmptySubset));
    let mut empty = Driver::new(0, Placement::Pointsman);
    assert_eq!(empty.arrive(stream(10)).1, Err(Rejection::NoReadyEndpoint));
}

#[test]
fn served_elsewhere_moves_the_reservation() {
    let mut driver = Driver::new(2, Placement::RoundRobin);
    let (request, _) = driver.dispatch(stream(100));
    driver.tell(Event::ServedElsewhere { request, endpoint: EndpointId(1) });
    assert_eq!(driver.in_flight(), [0, 1]);
    driver.tell(Event::ServedElsewhere { request, endpoint: EndpointId(77) });
    assert_eq!(driver.in_flight(), [0, 0], "nothing is known of where it is");
    driver.finish(request);
}

#[test]
fn sheddable_requests_are_rejected_while_all_endpoints_are_saturated() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    assert!(driver.arrive(sheddable(10)).1.is_ok(), "no evidence");
    driver.load(0, gauge(8, 6, 0.5));
    driver.load(1, gauge(8, 5, 0.8));
    assert!(driver.arrive(sheddable(10)).1.is_ok(), "at the limits is not beyond");
    driver.load(1, gauge(8, 0, 0.81));
    let (_, answer) = driver.arrive(sheddable(10));
    let Err(Rejection::Saturated { retry_after }) = answer else { panic!("{answer:?}") };
    assert!((Duration::from_secs(1)..=Duration::from_secs(30)).contains(&retry_after));
    assert!(driver.arrive(stream(10)).1.is_ok(), "standard requests are served");
    assert!(driver.pool.gauges(driver.now, support::POOL).saturated);
}

#[test]
fn own_dispatches_since_the_reading_saturate() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    driver.load(0, gauge(0, 0, 0.1));
    driver.pass(100);
    let answers: Vec<_> = (0..20).map(|_| driver.arrive(sheddable(10)).1.is_ok()).collect();
    let served = answers.iter().filter(|served| **served).count();
    assert_eq!(served, 6, "the sixth waiting request is one too many");
}

#[test]
fn without_fresh_gauges_as_many_in_flight_as_saturated_it_before_is_saturation() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    let first_tokens = |driver: &mut Driver, count: usize| {
        let running: Vec<_> = (0..count).map(|_| driver.dispatch(stream(10)).0).collect();
        for request in &running {
            driver.tell(Event::FirstToken { request: *request });
        }
        driver.pass(1_000);
        running
    };
    first_tokens(&mut driver, 4);
    driver.load(0, gauge(4, 0, 0.2));
    let more = first_tokens(&mut driver, 4);
    driver.load(0, gauge(8, 0, 0.95));
    more.into_iter().for_each(|request| driver.finish(request));
    driver.pass(60_000);
    for _ in 0..4 {
        assert!(driver.arrive(sheddable(10)).1.is_ok(), "eight saturated it");
    }
    assert!(matches!(driver.arrive(sheddable(10)).1, Err(Rejection::Saturated { .. })));
}

#[test]
fn an_idle_endpoint_that_lost_its_gauges_sheds_nothing() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    driver.load(0, gauge(0, 0, 0.0));
    driver.pass(60_000);
    for _ in 0..20 {
        assert!(driver.arrive(sheddable(10)).1.is_ok(), "nothing shows that it is saturated");
    }
    assert!(!driver.pool.gauges(driver.now, support::POOL).saturated);
}

/// The mean output that the scheduler expects.
fn mean_output(driver: &Driver) -> f64 {
    driver.pool.snapshot(driver.now).fleet.mean_output_tokens
}

fn finish_with(driver: &mut Driver, facts: RequestFacts, output: u32) {
    let (request, _) = driver.dispatch(facts);
    let usage = Usage { prompt_tokens: Some(10), output_tokens: Some(output), ..Usage::default() };
    driver.tell(Event::Finished { request, completion: Completion::Complete, usage });
}

#[test]
fn one_absurd_count_of_output_tokens_hardly_moves_the_mean() {
    let mut driver = Driver::new(1, Placement::Pointsman);
    for _ in 0..600 {
        finish_with(&mut driver, stream(10), 100);
    }
    let before = mean_output(&driver);
    finish_with(&mut driver, stream(10), u32::MAX);
    let after = mean_output(&driver);
    assert!(after > before && after < before * 1.05, "{before} to {after}");
    let bounded = RequestFacts { max_output_tokens: Some(50), ..stream(10) };
    finish_with(&mut driver, bounded, u32::MAX);
    assert!(mean_output(&driver) < after, "no more than the request allowed");
    for _ in 0..600 {
        finish_with(&mut driver, stream(10), 3_000);
    }
    assert!(mean_output(&driver) > 2_000.0, "a true change is learned");
}

#[test]
fn a_claimed_prompt_counts_no_more_than_an_engine_can_hold_and_teaches_nothing() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    for endpoint in 0..2 {
        driver.load(endpoint, LoadReport { kv_tokens: Some(50_000), ..gauge(0, 0, 0.0) });
    }
    let per_request = |driver: &Driver| driver.pool.snapshot(driver.now).fleet.step_seconds_per_request;
    let before = per_request(&driver);
    let (request, endpoint) = driver.dispatch(stream(400_000_000));
    let pending: Vec<_> =
        driver.pool.snapshot(driver.now).endpoints.iter().map(|endpoint| endpoint.pending_tokens).collect();
    assert_eq!(pending[endpoint as usize], 50_000);
    // The engine refuses it.
    driver.tell(Event::Finished { request, completion: Completion::Complete, usage: Usage::default() });
    assert_eq!(per_request(&driver).to_bits(), before.to_bits());
    let mut unknown = Driver::new(1, Placement::Pointsman);
    unknown.dispatch(stream(u32::MAX));
    assert_eq!(unknown.pool.snapshot(unknown.now).endpoints[0].pending_tokens, 131_072);
}

#[test]
fn placement_works_without_gauges() {
    let mut driver = Driver::new(4, Placement::Pointsman);
    driver.load(0, gauge(50, 50, 1.0));
    driver.pass(60_000);
    for _ in 0..40 {
        driver.dispatch(stream(100));
    }
    assert_eq!(driver.in_flight(), [10, 10, 10, 10], "an old reading does not count");
}

#[test]
fn a_full_endpoint_is_skipped_unless_all_are_full() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    driver.load(0, gauge(1, 0, 0.99));
    driver.load(1, gauge(30, 0, 0.5));
    for _ in 0..5 {
        assert_eq!(driver.dispatch(stream(1_000)).1, 1);
    }
    let mut driver = Driver::new(2, Placement::Pointsman);
    driver.load(0, gauge(1, 0, 1.0));
    driver.load(1, gauge(30, 0, 1.0));
    assert_eq!(driver.dispatch(stream(1_000)).1, 0);
}

#[test]
fn max_num_seqs_limits_an_endpoint_where_the_engine_reports_it() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    driver.load(0, LoadReport { max_running: Some(2), ..gauge(0, 0, 0.0) });
    driver.load(1, LoadReport { max_running: Some(100), ..gauge(0, 0, 0.0) });
    for _ in 0..10 {
        driver.dispatch(stream(10));
    }
    assert_eq!(driver.in_flight(), [2, 8]);
}

#[test]
fn requests_of_other_routers_count_as_shown_by_the_gauge() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    driver.load(0, gauge(40, 0, 0.1));
    driver.load(1, gauge(0, 0, 0.1));
    for _ in 0..10 {
        assert_eq!(driver.dispatch(stream(10)).1, 1);
    }
}

#[test]
fn requests_for_an_adapter_stay_where_it_is_until_loading_costs_less_than_waiting() {
    let adapter = ModelKey::of("tuned");
    let mut driver = Driver::new(3, Placement::Pointsman);
    driver.tell(Event::AdaptersDeclared { adapters: vec![adapter] });
    let facts = RequestFacts { target: Some(adapter), ..stream(100) };
    let (_, home) = driver.dispatch(facts.clone());
    let mut stayed = 0;
    while driver.dispatch(facts.clone()).1 == home {
        stayed += 1;
        assert!(stayed < 10_000, "at last it is worth loading elsewhere");
    }
    assert!(stayed > 5, "{stayed}");
}

#[test]
fn many_adapters_settle_on_endpoints_and_do_not_thrash() {
    let mut driver = Driver::new(4, Placement::Pointsman);
    let adapters: Vec<_> = (0..8).map(ModelKey).collect();
    driver.tell(Event::AdaptersDeclared { adapters: adapters.clone() });
    for endpoint in 0..4 {
        let adapters = Some(AdapterReport { max_adapters: 2, active: Vec::new() });
        driver.load(endpoint, LoadReport { adapters, ..LoadReport::default() });
    }
    let mut homes = vec![Vec::new(); 8];
    for round in 0..80 {
        let number = (round * 5) % 8;
        let facts = RequestFacts { target: Some(adapters[number]), ..stream(50) };
        let (request, endpoint) = driver.dispatch(facts);
        homes[number].push(endpoint);
        driver.pass(20);
        driver.finish(request);
    }
    for homes in homes {
        assert!(homes.iter().all(|home| *home == homes[0]), "{homes:?}");
    }
}

#[test]
fn an_adapter_becomes_known_when_a_gauge_lists_it() {
    let adapter = ModelKey::of("tuned");
    let mut driver = Driver::new(3, Placement::Pointsman);
    let adapters = Some(AdapterReport { max_adapters: 4, active: vec![adapter] });
    driver.load(2, LoadReport { adapters, ..LoadReport::default() });
    let facts = RequestFacts { target: Some(adapter), ..stream(100) };
    for _ in 0..5 {
        assert_eq!(driver.dispatch(facts.clone()).1, 2);
    }
}

#[test]
fn unobserved_prefill_is_retired_by_the_clock() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    let unseen = RequestFacts { observes_tokens: false, ..stream(100_000) };
    let (_, busy) = driver.dispatch(unseen);
    let other = 1 - busy;
    assert_eq!(driver.dispatch(stream(10)).1, other);
    driver.pass(60_000);
    driver.dispatch(stream(10));
    let snapshot = driver.pool.snapshot(driver.now);
    let pending: Vec<_> = snapshot.endpoints.iter().map(|endpoint| endpoint.pending_tokens).collect();
    assert!(pending.iter().all(|pending| *pending <= 20), "{pending:?}");
}

#[test]
fn late_and_repeated_events_are_ignored() {
    let mut driver = Driver::new(2, Placement::Pointsman);
    let (request, endpoint) = driver.dispatch(stream(10));
    driver.finish(request);
    for event in [
        Event::FirstToken { request },
        Event::Progress { request, output_tokens: 5 },
        Event::Finished { request, completion: Completion::Complete, usage: Usage::default() },
        Event::Aborted { request },
        Event::AttemptFailed {
            request,
            endpoint: EndpointId(endpoint),
            cause: FailureCause::Connect,
            retry: true,
        },
        Event::ServedElsewhere { request, endpoint: EndpointId(0) },
        Event::EndpointDown { endpoint: EndpointId(99) },
    ] {
        assert_eq!(driver.tell(event), []);
    }
    assert_eq!(driver.health(endpoint), Health::Ready);
}
