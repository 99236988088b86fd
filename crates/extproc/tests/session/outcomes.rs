//! Outcomes of requests: refusals and accounting.

use pointsman_core::{BlockHash, EndpointId, Rejection};
use pointsman_exchange::{Limits, Refusal};
use pointsman_extproc::wire::{Event, ProcessingRequest, Reply};
use pointsman_extproc::{Next, SessionOptions, WaitingFor};
use pointsman_protocol::{BodyFacts, prompt_blocks};
use pointsman_telemetry::Outcome;

use crate::support::*;

const ASK: &str = r#"{"model":"m","prompt":"hello"}"#;
const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
const DONE: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";

fn check_refused(messages: Vec<ProcessingRequest>, expected: &str) {
    let options = SessionOptions { limits: Limits { max_body_bytes: 64 }, ..SessionOptions::default() };
    let mut rig = Rig::new(options);
    assert_eq!(rig.run(messages), [expected, "end"]);
    let summary = rig.session.take_summary().unwrap();
    assert!(matches!(summary.outcome, Outcome::Rejected(_)));
    assert_eq!(summary.status.to_string(), expected[..3]);
    assert_eq!(rig.session.take_summary(), None);
    assert!(rig.ended().is_empty());
}

#[test]
fn invalid_requests_are_refused_at_once() {
    let with = |fields: &[(&str, &str)]| head("POST /v1/completions", fields, false);
    check_refused(vec![completions(), body("{\"model\"", true)], "400 invalid_body");
    check_refused(vec![completions(), body("", true)], "400 invalid_body");
    check_refused(vec![completions(), body(r#"{"prompt":"a"}"#, true)], "400 missing_model");
    check_refused(vec![head("POST /v1/completions", &[], true)], "400 invalid_body");
    check_refused(vec![completions(), body(&"x".repeat(65), false)], "413 body_too_large");
    check_refused(vec![with(&[("content-length", "65")])], "413 body_too_large");
    check_refused(vec![with(&[("content-encoding", "br")])], "415 content_encoding");
    check_refused(vec![with(&[("content-encoding", "gzip")]), body("x", true)], "415 content_encoding");
    check_refused(vec![head("POST /v1/load_lora_adapter", &[], false)], "404 administration_path");
    check_refused(vec![head("GET /v1/responses/resp_1", &[], true)], "404 unknown_response");
}

#[test]
fn administration_paths_are_allowed_only_with_the_option() {
    let mut rig = Rig::new(SessionOptions { administration: true, ..SessionOptions::default() });
    let said = rig.run([head("POST /v1/load_lora_adapter", &[], true)]);
    assert!(said[0].starts_with("request head x-gateway-destination-endpoint="), "{said:?}");
}

#[test]
fn the_pools_rejection_is_the_response() {
    let mut rig = Rig::new(SessionOptions::default());
    rig.run([completions()]);
    let mut out = Vec::new();
    let Next::Place = rig.session.message(body(ASK, true), &mut out) else { panic!("not placed") };
    let next = rig.session.placed(Err(Rejection::NoReadyEndpoint), &mut out);
    assert!(matches!(next, Next::End));
    let Some(Reply::Immediate(answer)) = &out[0].response else { panic!("{out:?}") };
    let fields = &answer.headers.as_ref().unwrap().set_headers;
    let field = |name: &str| {
        let field = fields.iter().filter_map(|field| field.header.as_ref()).find(|field| field.key == name);
        field.map(|field| String::from_utf8_lossy(field.bytes()).into_owned())
    };
    assert_eq!(answer.status.unwrap().code, 503);
    assert_eq!(field("x-pointsman-reason").as_deref(), Some("no_ready_endpoint"));
    assert_eq!(field("content-type").as_deref(), Some("application/json"));
    assert!(std::str::from_utf8(&answer.body).unwrap().contains("\"error\""));
}

#[test]
fn a_session_names_the_timeout_that_applies() {
    let mut rig = Rig::new(SessionOptions::default());
    assert_eq!(rig.session.waiting_for(), WaitingFor::Message);
    rig.run([head("POST /v1/completions", &[("content-length", "30")], false), body("{", false)]);
    assert_eq!((rig.session.waiting_for(), rig.session.held_bytes()), (WaitingFor::Body, 1), "what came");
    let mut out = Vec::new();
    let Next::Place = rig.session.message(body(&ASK[1..], true), &mut out) else { panic!("not placed") };
    assert_eq!((rig.session.waiting_for(), rig.session.held_bytes()), (WaitingFor::Placement, 30));
    let next = rig.session.refuse(&Refusal::Busy, &mut out);
    rig.note(&next, &out);
    assert_eq!(rig.said, ["429 busy", "end"]);
    assert_eq!((rig.session.waiting_for(), rig.session.held_bytes()), (WaitingFor::Message, 0));
}

fn check_end(modes: (i32, i32), answer: Vec<ProcessingRequest>, expected: &str) {
    let ask = r#"{"model":"m","prompt":"hello","stream":true}"#;
    let mut rig = Rig::new(SessionOptions::default());
    rig.run([with_modes(completions(), modes.0, modes.1), body(ask, true)].into_iter().chain(answer));
    rig.session.close();
    assert_eq!(rig.ended(), [(EndpointId(0), expected.to_owned())]);
    assert!(rig.session.take_summary().is_some());
}

#[test]
fn every_request_is_counted_out_with_its_outcome() {
    let (both, events) = ((DUPLEX, DUPLEX), || answer_head("200", "text/event-stream", false));
    check_end(both, vec![events(), answer_body(EVENT, false), answer_body(DONE, true)], "Complete 5 tokens");
    check_end(both, vec![events(), answer_body(EVENT, false)], "ClientGone 1 tokens");
    check_end(both, vec![events(), answer_body(EVENT, true)], "Broken(Truncated) 1 tokens");
    check_end(
        both,
        vec![events(), answer_body(EVENT, false), answer_body(DONE, false), answer_trailers()],
        "Complete 5 tokens",
    );
    let mut encoded = events();
    if let Some(Event::ResponseHeaders(head)) = &mut encoded.request {
        head.headers.as_mut().unwrap().headers.extend(fields(&[("content-encoding", "gzip")]).headers);
    }
    check_end(both, vec![encoded, answer_body("\u{1f}", true)], "Complete");
    check_end(both, vec![events(), answer_body("data: [DONE]\n\n", false)], "Complete");
    check_end(both, vec![answer_head("503", "text/plain", true)], "Broken(Unavailable)");
    check_end(both, vec![answer_head("404", "application/json", false), answer_body("{}", true)], "Declined");
    check_end(both, vec![], "ClientGone");
    check_end(
        (BUFFERED, BUFFERED),
        vec![events(), answer_body(&format!("{EVENT}{DONE}"), true)],
        "Complete 5 tokens",
    );
}

#[track_caller]
fn check_counted(answer: ProcessingRequest, counted: &str, outcome: &str, reason: &str) {
    let mut rig = Rig::new(SessionOptions::default());
    rig.run([head("GET /x", &[], true), answer]);
    assert_eq!(rig.ended(), [(EndpointId(0), counted.to_owned())]);
    let summary = rig.session.take_summary().unwrap();
    assert_eq!((summary.outcome.as_str(), summary.outcome.reason()), (outcome, reason));
}

#[test]
fn what_the_gateway_answers_by_itself_does_not_count_against_an_engine() {
    for status in ["500", "502", "503", "504", "404", "429"] {
        let engine = || answer_head(status, "text/plain", true);
        let own = |details| with_details(engine(), details);
        check_counted(own("no_healthy_upstream"), "unserved", "rejected", "gateway_response");
        let reset = "upstream_reset_before_response_started{connection_failure}";
        let served = || with_served(gateways_answer(status), "10.0.0.1:8000");
        check_counted(with_details(served(), reset), "unserved", "rejected", "gateway_response");
        let counted = match status {
            "404" | "429" => ("Declined", "complete", ""),
            "500" | "504" => ("Broken(EngineError)", "broken", "engine_error"),
            _ => ("Broken(Unavailable)", "broken", "unavailable"),
        };
        for answer in [engine(), own("via_upstream"), served()] {
            check_counted(answer, counted.0, counted.1, counted.2);
        }
        let unknown = gateways_answer(status);
        check_counted(unknown, "unserved", counted.1, counted.2);
    }
}

#[test]
fn without_response_bodies_the_end_of_the_stream_is_the_end() {
    let both = (DUPLEX, NONE);
    check_end(both, vec![answer_head("200", "text/event-stream", false)], "Complete");
    check_end(both, vec![answer_head("200", "application/json", false)], "Complete");
    check_end(both, vec![answer_head("200", "text/event-stream", false), answer_trailers()], "Complete");
    check_end(both, vec![answer_head("500", "application/json", false)], "Broken(EngineError)");
    check_end(both, vec![], "ClientGone");
}

#[test]
fn token_observation_is_announced_only_where_bodies_pass() {
    let observes = |request: i32, response: i32| {
        let mut rig = Rig::new(SessionOptions::default());
        rig.run([with_modes(completions(), request, response)]);
        let ask = r#"{"model":"m","prompt":"hello","stream":true}"#;
        let Next::Place = rig.session.message(body(ask, true), &mut Vec::new()) else { panic!("not placed") };
        facts(&rig.session).observes_tokens
    };
    assert!(observes(DUPLEX, DUPLEX));
    assert!(observes(BUFFERED, STREAMED));
    assert!(!observes(DUPLEX, BUFFERED));
    assert!(!observes(DUPLEX, NONE));
}

#[test]
fn the_placement_has_the_prompts_blocks_in_every_body_mode() {
    let ask = format!(r#"{{"model":"m","prompt":"{}"}}"#, "What does a pointsman do? ".repeat(40));
    let scanned = BodyFacts::scan(ask.as_bytes()).unwrap();
    let blocks: Vec<BlockHash> =
        prompt_blocks(&KEY, ask.as_bytes(), &scanned, Some("m")).into_iter().map(BlockHash).collect();
    assert_eq!(blocks.len(), 4);
    let (start, end) = ask.split_at(ask.len() / 3);
    for (mode, pieces) in [(DUPLEX, vec![&*ask]), (DUPLEX, vec![start, end]), (BUFFERED, vec![&*ask])] {
        let mut rig = Rig::new(SessionOptions::default());
        let (last, before) = pieces.split_last().unwrap();
        rig.run([with_modes(completions(), mode, DUPLEX)]);
        rig.run(before.iter().map(|piece| body(piece, false)));
        let Next::Place = rig.session.message(body(last, true), &mut Vec::new()) else {
            panic!("not placed")
        };
        let placed = facts(&rig.session);
        assert_eq!((&*placed.blocks, placed.block_tokens), (&*blocks, 64));
    }
}

#[test]
fn a_request_for_a_stored_response_goes_to_its_endpoint() {
    let pool = TestPool::default();
    let mut rig = Rig::over(pool.clone(), SessionOptions::default());
    let create = r#"{"model":"m","input":"hello"}"#;
    let done = r#"{"id":"resp_1","object":"response","status":"completed","usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}"#;
    rig.run([
        with_subset(head("POST /v1/responses", &[], false), &["10.0.0.2:8001"]),
        body(create, true),
        answer_head("200", "application/json", false),
        answer_body(done, true),
    ]);
    assert_eq!(*pool.ledger.stored.borrow(), [("resp_1".to_owned(), EndpointId(3))]);
    let said = Rig::over(pool, SessionOptions::default()).run([head("GET /v1/responses/resp_1", &[], true)]);
    assert!(said[0].contains("x-gateway-destination-endpoint=10.0.0.2:8001 "), "{said:?}");
}
