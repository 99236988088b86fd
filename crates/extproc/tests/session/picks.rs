//! Proposal 004: destinations, subsets and served endpoints.

use std::sync::Arc;

use pointsman_extproc::wire::{Kind, ProcessingRequest};
use pointsman_extproc::{DataPlane, Destinations, SessionOptions};
use pointsman_extproc::{Next, Session};

use crate::support::*;

const ASK: &str = r#"{"model":"m","prompt":"hello"}"#;

fn check_subset(addresses: &[&str], expected: &str) {
    let mut rig = Rig::new(SessionOptions::default());
    let said = rig.run([with_subset(completions(), addresses), body(ASK, true)]);
    let destination = format!("request head x-gateway-destination-endpoint={expected} clear +metadata");
    let refused = ["503 empty_subset", "end"];
    if expected.is_empty() {
        assert_eq!(said, refused, "{addresses:?}");
    } else {
        assert_eq!(said[0], destination, "{addresses:?}");
    }
}

#[test]
fn a_subset_hint_is_respected() {
    check_subset(&["10.0.0.2:8000"], "10.0.0.2:8000");
    check_subset(&["10.0.0.2:8001"], "10.0.0.2:8001");
    check_subset(&["10.0.0.2"], "10.0.0.2:8000");
    check_subset(&["[fd00::3]:8000"], "[fd00::3]:8000");
    check_subset(&["192.168.0.9:8000", "fd00::3"], "[fd00::3]:8000");
    check_subset(&["10.0.0.1:8000", "10.0.0.2:8000", "[fd00::3]:8000", "10.0.0.2:8001"], "10.0.0.1:8000");
}

#[test]
fn a_subset_without_endpoints_of_the_pool_is_refused() {
    check_subset(&[], "");
    check_subset(&["192.168.0.9:8000"], "");
    check_subset(&["10.0.0.2:9"], "");
}

#[test]
fn a_request_without_a_body_respects_the_subset() {
    let mut rig = Rig::new(SessionOptions::default());
    let said = rig.run([with_subset(head("GET /x", &[], true), &["10.0.0.2:8001"])]);
    assert_eq!(said, ["request head x-gateway-destination-endpoint=10.0.0.2:8001 clear +metadata"]);
}

#[test]
fn header_and_metadata_name_the_same_destinations() {
    let pool = TestPool::default();
    let options = SessionOptions { destinations: Destinations::List, ..SessionOptions::default() };
    let mut session = Session::new(pool.clone(), options, Arc::default());
    let mut out = Vec::new();
    let Next::Place = session.message(head("GET /x", &[], true), &mut out) else { panic!("not placed") };
    let placed = pool.place(&facts(&session));
    assert!(matches!(session.placed(placed, &mut out), Next::Read));
    let metadata = out[0].dynamic_metadata.as_ref().unwrap();
    let Some(Kind::Struct(inner)) = &metadata.fields["envoy.lb"].kind else { panic!("{metadata:?}") };
    assert_eq!(
        inner.fields["x-gateway-destination-endpoint"].kind,
        Some(Kind::Text("10.0.0.1:8000,10.0.0.2:8000".into()))
    );
}

/// The destinations of three requests in turn from one gateway, which responds like this to each.
#[track_caller]
fn check_destinations(destinations: Destinations, answer: &ProcessingRequest, expected: [usize; 3]) {
    let plane = Arc::<DataPlane>::default();
    let options = SessionOptions { destinations, ..SessionOptions::default() };
    let named = expected.map(|_| {
        let mut rig = Rig::of_gateway(TestPool::default(), options, Arc::clone(&plane));
        let said = rig.run([head("GET /x", &[], true), answer.clone()]);
        said[0].matches(":800").count()
    });
    assert_eq!(named, expected);
}

#[test]
fn one_destination_is_named_until_the_gateway_has_shown_that_it_reads_lists() {
    let answer = || answer_head("200", "text/plain", true);
    check_destinations(Destinations::AsShown, &answer(), [1, 1, 1]);
    check_destinations(Destinations::AsShown, &gateways_answer("503"), [1, 1, 1]);
    check_destinations(Destinations::AsShown, &with_served(answer(), "10.0.0.1:8000"), [1, 2, 2]);
    check_destinations(Destinations::One, &with_served(answer(), "10.0.0.1:8000"), [1, 1, 1]);
    check_destinations(Destinations::List, &answer(), [2, 2, 2]);
}

fn check_headers(sent: &[(&str, &str)], removed: &[&str]) {
    let mut rig = Rig::new(SessionOptions::default());
    let said = rig.run([head("GET /x", sent, true)]);
    let gone: String = removed.iter().map(|name| format!(" -{name}")).collect();
    let expected = format!("request head x-gateway-destination-endpoint=10.0.0.1:8000{gone} clear +metadata");
    assert_eq!(said, [expected]);
}

#[test]
fn the_model_header_is_removed_and_its_route_is_kept() {
    let mut rig = Rig::new(SessionOptions::default());
    let said = rig.run([head("GET /x", &[("x-gateway-model-name", "m")], true)]);
    assert_eq!(
        said,
        ["request head x-gateway-destination-endpoint=10.0.0.1:8000 -x-gateway-model-name +metadata"]
    );
}

#[test]
fn control_headers_are_removed() {
    check_headers(&[("x-request-id", "7"), ("cookie", "a")], &[]);
    check_headers(&[("x-prefiller-host-port", "10.9.9.9:1")], &["x-prefiller-host-port"]);
    check_headers(
        &[("x-prefiller-host-port", "a"), ("x-prefiller-host-port", "b")],
        &["x-prefiller-host-port"],
    );
    check_headers(
        &[("x-gateway-destination-endpoint-subset", "10.0.0.2:8000"), ("x-gateway-inference-objective", "o")],
        &["x-gateway-destination-endpoint-subset", "x-gateway-inference-objective"],
    );
}

#[test]
fn a_clients_destination_is_overwritten() {
    check_headers(&[("x-gateway-destination-endpoint", "10.9.9.9:1")], &[]);
}

#[test]
fn the_models_name_stays_for_the_route_that_is_chosen_again() {}

fn check_served(answer: ProcessingRequest, expected: u32) {
    let mut rig = Rig::new(SessionOptions::default());
    rig.run([head("GET /x", &[], true), answer]);
    assert_eq!(rig.ended()[0].0.0, expected);
}

#[test]
fn the_load_moves_to_the_endpoint_that_served() {
    let answer = || answer_head("200", "text/plain", true);
    check_served(answer(), 0);
    check_served(with_served(answer(), "10.0.0.2:8001"), 3);
    check_served(with_served(answer(), "[fd00::3]:8000"), 2);
    check_served(with_served(answer(), "192.168.0.9:1"), 0);
}
