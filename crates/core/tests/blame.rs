//! Whose fault a failure is: the endpoint's or the request's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use pointsman_core::{
    Completion, EndpointId, Event, FailureCause, Health, Placement, Rejection, RequestId, Rng, Usage,
};
use support::{Driver, stream};

/// Reports an error answer that the caller holds back. Returns the endpoint that is asked next, if one is.
fn answered(driver: &mut Driver, request: RequestId, cause: FailureCause) -> Option<u32> {
    driver.tell(Event::ErrorAnswered { request, cause });
    driver.answer(request).map(|answer| answer.expect("dispatched"))
}

fn declined(driver: &mut Driver, request: RequestId) {
    driver.tell(Event::Finished { request, completion: Completion::Declined, usage: Usage::default() });
}

fn ready(driver: &Driver) -> usize {
    driver.in_flight().len() - ejected(driver).len()
}

fn ejected(driver: &Driver) -> Vec<(u32, FailureCause)> {
    let snapshot = driver.pool.snapshot(driver.now);
    let cause = |health: &Health| match health {
        Health::Ejected(ejection) => Some(ejection.cause),
        Health::Ready | Health::Draining | Health::OnTrial => None,
    };
    snapshot.endpoints.iter().filter_map(|known| Some((known.endpoint.0, cause(&known.health)?))).collect()
}

/// Sends one request through a gateway that can give it to another endpoint, to endpoints of which `declines` do. Returns
/// whether it was served, and by how many endpoints it was answered.
fn ask(driver: &mut Driver, cause: FailureCause, declines: impl Fn(u32) -> bool) -> (bool, u32) {
    let (request, mut endpoint) = driver.dispatch(stream(100));
    let mut asked = 1;
    while declines(endpoint) {
        match answered(driver, request, cause) {
            Some(next) => endpoint = next,
            None => {
                if cause == FailureCause::Declined {
                    declined(driver, request);
                } else {
                    driver.broken(request, cause);
                }
                return (false, asked);
            }
        }
        asked += 1;
    }
    driver.pass(100);
    driver.tell(Event::FirstToken { request });
    driver.pass(400);
    driver.finish(request);
    (true, asked)
}

#[test]
fn an_endpoint_that_declines_what_others_serve_is_ejected_after_a_few_requests() {
    for cause in [FailureCause::Declined, FailureCause::EngineError] {
        let mut driver = Driver::new(3, Placement::Pointsman);
        let served = (0..100).filter(|_| ask(&mut driver, cause, |endpoint| endpoint == 1).0).count();
        assert!(served >= 90, "{cause:?}: {served}");
        assert_eq!(ejected(&driver), [(1, cause)]);
    }
}

#[test]
fn a_request_that_every_endpoint_declines_is_to_blame() {
    for cause in [FailureCause::Declined, FailureCause::EngineError] {
        let mut driver = Driver::new(4, Placement::Pointsman);
        let mut asked = 0;
        for _ in 0..200 {
            let (served, times) = ask(&mut driver, cause, |_| true);
            assert!(!served && times <= 2, "{times}");
            asked += times;
            driver.pass(20);
        }
        assert_eq!(ejected(&driver), []);
        assert!(asked < 300, "{asked}: a second opinion is the exception");
    }
}

#[test]
fn a_trial_that_is_declined_is_verified_too() {
    let mut driver = Driver::new(2, Placement::RoundRobin);
    while ejected(&driver).is_empty() {
        ask(&mut driver, FailureCause::Declined, |endpoint| endpoint == 1);
    }
    let Health::Ejected(first) = driver.health(1) else { panic!("ejected") };
    driver.now = first.until;
    // The trial is a request that every endpoint declines, and shows nothing.
    while driver.health(1) == Health::Ejected(first) {
        ask(&mut driver, FailureCause::Declined, |_| true);
        assert!(matches!(driver.health(1), Health::Ejected(_)));
        let Health::Ejected(again) = driver.health(1) else { panic!("ejected") };
        assert_eq!((again.until, again.back_off), (first.until, first.back_off));
        if driver.pool.snapshot(driver.now).endpoints[1].in_flight == 0 {
            break;
        }
    }
    // One that the other endpoint serves shows that nothing has changed.
    for _ in 0..4 {
        assert!(ask(&mut driver, FailureCause::Declined, |endpoint| endpoint == 1).0);
    }
    let Health::Ejected(second) = driver.health(1) else { panic!("ejected") };
    assert_eq!(second.back_off, first.back_off * 2);
}

#[test]
fn without_a_second_opinion_the_answers_of_other_endpoints_are_compared() {
    let mut driver = Driver::new(3, Placement::RoundRobin);
    let one = |driver: &mut Driver, declines: bool| {
        let (request, endpoint) = driver.dispatch(stream(100));
        if declines || endpoint == 2 {
            declined(driver, request);
        } else {
            driver.finish(request);
        }
        driver.pass(50);
        endpoint
    };
    let sent = (0..120).filter(|_| one(&mut driver, false) == 2).count();
    assert_eq!(ejected(&driver), [(2, FailureCause::Declined)]);
    assert!(sent < 16, "{sent}");
    let mut driver = Driver::new(3, Placement::RoundRobin);
    for _ in 0..120 {
        one(&mut driver, true);
    }
    assert_eq!(ejected(&driver), [], "all decline: it is the requests");
}

#[test]
fn a_failure_that_follows_a_request_around_is_its_own_and_repeating_stops() {
    for cause in [FailureCause::EngineError, FailureCause::Lost] {
        let mut driver = Driver::new(4, Placement::Pointsman);
        for _ in 0..50 {
            let (request, first) = driver.dispatch(stream(10));
            let second = driver.fail(request, first, cause).unwrap().unwrap();
            let rejection = driver.fail(request, second, cause);
            assert_eq!(rejection, Some(Err(Rejection::AttemptsFailed(cause))), "two endpoints agree");
            assert_eq!(ejected(&driver), []);
        }
    }
}

#[test]
fn an_ejection_by_requests_that_turn_out_to_be_to_blame_is_undone() {
    let mut driver = Driver::new(4, Placement::RoundRobin);
    let sent: Vec<_> = (0..16).map(|_| driver.dispatch(stream(10))).collect();
    let bad: Vec<_> = sent.iter().filter(|(_, endpoint)| *endpoint == 1).collect();
    let mut moved = Vec::new();
    for (request, endpoint) in bad {
        let next = driver.fail(*request, *endpoint, FailureCause::EngineError).unwrap().unwrap();
        moved.push((*request, next));
    }
    assert_eq!(ejected(&driver), [(1, FailureCause::EngineError)]);
    for (request, endpoint) in moved {
        driver.fail(request, endpoint, FailureCause::EngineError);
    }
    assert_eq!(ejected(&driver), []);
}

#[test]
fn failures_that_a_request_can_provoke_never_eject_more_than_half_of_the_endpoints() {
    for (endpoints, most) in [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3)] {
        for cause in [FailureCause::EngineError, FailureCause::Unavailable, FailureCause::Truncated] {
            let mut driver = Driver::new(endpoints, Placement::RoundRobin);
            for _ in 0..100 {
                let (request, _) = driver.dispatch(stream(10));
                driver.broken(request, cause);
            }
            assert_eq!(ejected(&driver).len(), most, "{endpoints} endpoints, {cause:?}");
        }
    }
    let mut driver = Driver::new(4, Placement::RoundRobin);
    for _ in 0..4 {
        let (request, endpoint) = driver.dispatch(stream(10));
        driver.fail(request, endpoint, FailureCause::Connect);
        driver.tell(Event::Aborted { request });
    }
    assert!(ejected(&driver).len() > 2, "no connection is the endpoint's own failure");
}

#[test]
fn a_tenth_of_server_errors_ejects_nobody() {
    let mut driver = Driver::new(4, Placement::Pointsman);
    let mut rng = Rng::seeded(5);
    let (mut time_ready, mut requests) = (0, 0);
    for _ in 0..20_000 {
        let (request, _) = driver.dispatch(stream(100));
        driver.pass(5);
        if rng.below(10) == 0 {
            driver.broken(request, FailureCause::EngineError);
        } else {
            driver.finish(request);
        }
        time_ready += ready(&driver);
        requests += 1;
    }
    let mean = f64::from(u32::try_from(time_ready).unwrap()) / f64::from(requests);
    assert!(mean > 3.95, "{mean} of 4 ready");
}

#[test]
fn an_answer_that_came_suspiciously_fast_teaches_no_rates() {
    let mut driver = Driver::new(2, Placement::RoundRobin);
    let usage = Usage { prompt_tokens: Some(100), cached_tokens: None, output_tokens: Some(200) };
    let whole = pointsman_core::RequestFacts { observes_tokens: false, ..stream(100) };
    for _ in 0..100 {
        let (request, endpoint) = driver.dispatch(whole.clone());
        driver.pass(if endpoint == 0 { 2 } else { 1_500 });
        driver.tell(Event::Finished { request, completion: Completion::Complete, usage });
    }
    let snapshot = driver.pool.snapshot(driver.now);
    let step = |index: usize| {
        let endpoint = &snapshot.endpoints[index];
        assert_eq!(endpoint.endpoint, EndpointId(u32::try_from(index).unwrap()));
        endpoint.step_seconds.value
    };
    assert!(step(0) > 0.5 * step(1), "{} {}", step(0), step(1));
}
