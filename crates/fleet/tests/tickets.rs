//! Tickets and guards: each ticket has one result, and every request is counted out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};

use pointsman_core::{Completion, FailureCause, Rejection, Usage};
use pointsman_fleet::{Fleet, FleetOptions, PlacementResult, Ticket};
use support::{facts, metrics, start, until, world};

fn started(ports: &[u16]) -> Fleet {
    let fleet = start();
    fleet.apply(world(&[("a", ports)]), 0).unwrap();
    fleet
}

fn place(fleet: &Fleet) -> Ticket {
    fleet.current().pools[0].place(facts())
}

/// The result, which must be there without waiting.
#[track_caller]
fn at_once(ticket: Ticket) -> PlacementResult {
    ticket.try_placed().unwrap_or_else(|_| panic!("the scheduler holds the request"))
}

#[tokio::test]
async fn a_pool_that_decides_at_once_does_not_suspend_its_ticket() {
    let fleet = started(&[1, 2]);
    let mut future = std::pin::pin!(place(&fleet).placed());
    let Poll::Ready(Ok(placed)) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the ticket suspends");
    };
    assert!([1, 2].contains(&placed.endpoint().address.port));
    assert_eq!(fleet.in_flight(), 1);
    placed.finish(Completion::Complete, Usage::default());
    assert_eq!(fleet.in_flight(), 0);
}

#[test]
fn a_thread_without_a_runtime_places_and_finishes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fleet = Fleet::start_on(runtime.handle().clone(), FleetOptions::default(), metrics()).unwrap();
    fleet.apply(world(&[("a", &[1, 2])]), 0).unwrap();
    let door = std::thread::spawn({
        let fleet = fleet.clone();
        move || {
            let first = at_once(place(&fleet)).unwrap();
            let port = first.endpoint().address.port;
            let mut second = at_once(first.failed(FailureCause::Connect, true)).unwrap();
            assert_ne!(second.endpoint().address.port, port);
            second.first_token();
            second.finish(Completion::Complete, Usage::default());
        }
    });
    door.join().unwrap();
    assert_eq!((fleet.in_flight(), requests_in_core(&fleet)), (0, 0));
    runtime.block_on(fleet.stop());
}

#[tokio::test]
async fn a_pool_without_endpoints_rejects() {
    let fleet = started(&[]);
    assert_eq!(at_once(place(&fleet)).unwrap_err(), Rejection::NoReadyEndpoint);
}

#[tokio::test]
async fn load_is_reserved_at_the_decision() {
    let fleet = started(&[1, 2, 3, 4]);
    let placed: Vec<_> = (0..4).map(|_| at_once(place(&fleet)).unwrap()).collect();
    let ports: BTreeSet<_> = placed.iter().map(|placed| placed.endpoint().address.port).collect();
    assert_eq!(ports.len(), 4);
    assert_eq!(fleet.in_flight(), 4);
}

#[tokio::test]
async fn a_dropped_ticket_and_a_dropped_guard_are_counted_out() {
    let fleet = started(&[1]);
    drop(place(&fleet));
    assert_eq!(fleet.in_flight(), 0);
    let mut placed = at_once(place(&fleet)).unwrap();
    placed.first_token();
    placed.progress(3);
    drop(placed);
    assert_eq!(fleet.in_flight(), 0);
    assert_eq!(requests_in_core(&fleet), 0);
}

#[tokio::test]
async fn a_failed_attempt_is_placed_at_another_endpoint() {
    let fleet = started(&[1, 2]);
    let first = at_once(place(&fleet)).unwrap();
    let (port, request) = (first.endpoint().address.port, first.request());
    let second = at_once(first.failed(FailureCause::Connect, true)).unwrap();
    assert_ne!(second.endpoint().address.port, port);
    assert_eq!(second.request(), request);
    assert_eq!(fleet.in_flight(), 1);
    drop(second);
    assert_eq!(fleet.in_flight(), 0);
    assert_eq!(requests_in_core(&fleet), 0);
}

#[tokio::test]
async fn a_failure_that_must_not_be_retried_ends_the_request() {
    let fleet = started(&[1, 2]);
    let ticket = at_once(place(&fleet)).unwrap().failed(FailureCause::Lost, false);
    assert_eq!(at_once(ticket).unwrap_err(), Rejection::AttemptsFailed(FailureCause::Lost));
    assert_eq!(fleet.in_flight(), 0);
    assert_eq!(requests_in_core(&fleet), 0);
}

#[tokio::test]
async fn load_follows_a_request_that_is_served_elsewhere() {
    let fleet = started(&[1, 2]);
    let generation = fleet.current();
    let mut placed = at_once(place(&fleet)).unwrap();
    let other = generation.pools[0].endpoints.iter().find(|other| other.id != placed.endpoint().id).unwrap();
    assert!(placed.served_elsewhere(other.id));
    assert!(!placed.served_elsewhere(pointsman_core::EndpointId(9_999)));
    assert_eq!((placed.endpoint().id, other.activity.in_flight()), (other.id, 1));
    assert_eq!(fleet.in_flight(), 1);
    drop(placed);
    assert_eq!(fleet.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counts_return_to_zero_whatever_happens_to_requests() {
    let fleet = started(&[1, 2, 3]);
    let tasks = (0..8_u64).map(|task| {
        let fleet = fleet.clone();
        tokio::spawn(async move {
            let mut rng = pointsman_core::Rng::seeded(task);
            for _ in 0..500 {
                run_request(&fleet, &mut rng).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(fleet.in_flight(), 0);
    assert_eq!(requests_in_core(&fleet), 0);
}

/// One request with a random course.
async fn run_request(fleet: &Fleet, rng: &mut pointsman_core::Rng) {
    let ticket = place(fleet);
    if rng.below(8) == 0 {
        return;
    }
    let Ok(mut placed) = ticket.placed().await else { return };
    for _ in 0..rng.below(4) {
        match rng.below(4) {
            0 => placed.first_token(),
            1 => placed.progress(7),
            2 => tokio::task::yield_now().await,
            _ => match placed.failed(FailureCause::Unavailable, rng.below(4) > 0).placed().await {
                Ok(next) => placed = next,
                Err(_) => return,
            },
        }
    }
    match rng.below(3) {
        0 => placed.finish(Completion::Complete, Usage::default()),
        1 => placed.finish(Completion::Broken(FailureCause::Truncated), Usage::default()),
        _ => drop(placed),
    }
}

#[tokio::test]
async fn a_draining_endpoint_keeps_its_requests_and_gets_no_new_ones() {
    let fleet = started(&[1, 2]);
    let held: Vec<_> = (0..2).map(|_| at_once(place(&fleet)).unwrap()).collect();
    let before = fleet.current();
    fleet.apply(world(&[("a", &[2])]), 0).unwrap();
    // The handle of the previous generation uses the same scheduler.
    for pool in [&before.pools[0], &fleet.current().pools[0]] {
        let placed = at_once(pool.place(facts())).unwrap();
        assert_eq!(placed.endpoint().address.port, 2);
    }
    drop(held);
    assert_eq!(fleet.in_flight(), 0);
    assert_eq!(requests_in_core(&fleet), 0);
}

#[tokio::test]
async fn draining_waits_for_the_last_request() {
    let fleet = started(&[1]);
    let placed = at_once(place(&fleet)).unwrap();
    let draining = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.drain(std::time::Duration::from_secs(60)).await }
    });
    tokio::task::yield_now().await;
    assert!(!draining.is_finished());
    drop(placed);
    assert!(draining.await.unwrap());
    fleet.stop().await;
    until("placement still works", || at_once(place(&fleet)).is_ok()).await;
}

/// The requests in flight by the core's count.
fn requests_in_core(fleet: &Fleet) -> u64 {
    let pools = fleet.debug_pools();
    let endpoints =
        pools["pools"].as_array().unwrap().iter().flat_map(|pool| pool["endpoints"].as_array().unwrap());
    endpoints.map(|endpoint| endpoint["in_flight"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn decisions_are_kept_with_their_candidates_where_the_option_is_set() {
    let options = FleetOptions { decisions: 10, ..FleetOptions::default() };
    let fleet = Fleet::start(options, metrics()).unwrap();
    fleet.apply(world(&[("a", &[1, 2])]), 0).unwrap();
    let ticket = fleet.current().pools[0].place_with_id(facts(), || Some(b"client-1"));
    let first = at_once(ticket).unwrap();
    let second = at_once(first.failed(FailureCause::Connect, true)).unwrap();
    let page = fleet.debug_decisions(Some("client-1")).unwrap();
    let placements = page["requests"][0]["placements"].as_array().unwrap();
    let chosen: Vec<_> = placements.iter().map(|placement| placement["endpoint"].as_str().unwrap()).collect();
    assert_eq!(chosen.len(), 2);
    assert_ne!(chosen[0], chosen[1]);
    assert_eq!(chosen[1], &*second.endpoint().authority);
    let candidates = placements[0]["candidates"].as_array().unwrap();
    let names: Vec<_> = candidates.iter().map(|candidate| candidate["endpoint"].as_str().unwrap()).collect();
    assert_eq!(names, ["127.0.0.1:1", "127.0.0.1:2"]);
    assert!(candidates[0]["terms"].as_array().is_some_and(|terms| !terms.is_empty()), "{page}");
    assert!(started(&[1]).debug_decisions(None).is_none());
}
