//! Body modes: the response to each message.

use pointsman_extproc::SessionOptions;
use pointsman_extproc::wire::ProcessingRequest;

use crate::support::*;

const ASK: &str = r#"{"model":"m","prompt":"hello"}"#;
const PICKED: &str = "request head x-gateway-destination-endpoint=10.0.0.1:8000 clear +metadata";

fn check(messages: Vec<ProcessingRequest>, expected: &[&str]) {
    let mut rig = Rig::new(SessionOptions::default());
    let said = rig.run(messages);
    assert_eq!(said, expected);
    rig.session.close();
    assert_eq!(rig.pool.ledger.live.get(), 0);
}

fn whole(text: &str, end: &str) -> String {
    format!("request body \"{}\"{end}", text.replace('"', "\\\""))
}

#[test]
fn in_full_duplex_headers_and_body_return_once_the_body_is_complete() {
    let (start, rest) = ASK.split_at(9);
    let back = whole(ASK, " end");
    check(vec![completions(), body(start, false)], &[]);
    check(vec![completions(), body(start, false), body(rest, true)], &[PICKED, &back]);
    check(vec![completions(), body(start, false), body(rest, false), body("", true)], &[PICKED, &back]);
    check(vec![with_modes(completions(), DUPLEX, DUPLEX), body(ASK, true)], &[PICKED, &back]);
}

#[test]
fn trailers_end_a_body() {
    check(vec![completions(), body(ASK, false), trailers()], &[PICKED, &whole(ASK, ""), "request trailers"]);
}

#[test]
fn a_long_body_returns_in_chunks_that_envoy_accepts() {
    let prompt = format!(r#"{{"model":"m","prompt":"{}"}}"#, "x".repeat(130_000));
    let rest = prompt.len() - 2 * 62_000;
    let (start, end) = prompt.split_at(100_000);
    check(
        vec![completions(), body(start, false), body(end, true)],
        &[
            PICKED,
            "request body 62000 bytes",
            "request body 62000 bytes",
            &format!("request body {rest} bytes end"),
        ],
    );
}

#[test]
fn a_buffered_body_waits_for_the_response_to_its_headers() {
    let picked = "request body x-gateway-destination-endpoint=10.0.0.1:8000 clear +metadata";
    let first = || with_modes(completions(), BUFFERED, BUFFERED);
    check(vec![first()], &["request head"]);
    check(vec![first(), body(ASK, true)], &["request head", picked]);
    check(vec![first(), body(ASK, false), trailers()], &["request head", picked, "request trailers"]);
    check(
        vec![
            first(),
            body(ASK, true),
            answer_head("200", "application/json", false),
            answer_body("{}", true),
        ],
        &["request head", picked, "response head", "response body"],
    );
}

#[test]
fn a_truncated_buffered_body_is_too_large() {
    let first = || with_modes(completions(), 3, BUFFERED);
    check(vec![first(), body(ASK, false)], &["request head", "413 body_too_large", "end"]);
    check(
        vec![first(), body(ASK, true)],
        &["request head", "request body x-gateway-destination-endpoint=10.0.0.1:8000 clear +metadata"],
    );
}

#[test]
fn with_a_streamed_body_placement_is_by_headers() {
    check(
        vec![with_modes(completions(), STREAMED, STREAMED), body("{", false), body("}", true)],
        &[PICKED, "request body", "request body"],
    );
    check(vec![with_modes(completions(), NONE, NONE)], &[PICKED]);
}

#[test]
fn a_request_without_a_body_is_placed_by_its_headers() {
    check(vec![head("GET /v1/models", &[], true)], &[PICKED]);
    check(vec![with_modes(head("GET /x", &[], true), BUFFERED, BUFFERED)], &[PICKED]);
    check(vec![head("GET /x", &[], true), trailers()], &[PICKED, "request trailers"]);
}

#[test]
fn a_body_that_is_not_read_returns_chunk_by_chunk() {
    let upload = || head("POST /v1/audio/transcriptions", &[("content-type", "multipart/form-data")], false);
    check(
        vec![upload(), body("one", false), body("", false), body("two", true)],
        &[PICKED, "request body \"one\"", "request body \"two\" end"],
    );
    check(
        vec![upload(), body("one", false), trailers()],
        &[PICKED, "request body \"one\"", "request trailers"],
    );
    check(vec![with_modes(upload(), BUFFERED, BUFFERED), body("one", true)], &[PICKED, "request body"]);
}

#[test]
fn a_chunk_after_the_end_is_ignored() {
    check(vec![completions(), body(ASK, true), body(ASK, true)], &[PICKED, &whole(ASK, " end")]);
    check(
        vec![with_modes(completions(), BUFFERED, NONE), body(ASK, true), body("", true)],
        &[
            "request head",
            "request body x-gateway-destination-endpoint=10.0.0.1:8000 clear +metadata",
            "request body",
        ],
    );
    let answered =
        || vec![head("GET /x", &[], true), answer_head("200", "text/plain", false), answer_body("a", true)];
    let mut twice = answered();
    twice.push(answer_body("a", true));
    let expected = [PICKED, "response head", "response body \"a\" end"];
    check(answered(), &expected);
    check(twice, &expected);
}

#[test]
fn a_response_passes_unchanged() {
    let request = || vec![completions(), body(ASK, true)];
    let asked = [PICKED.to_owned(), whole(ASK, " end")];
    let check_answer = |answer: Vec<ProcessingRequest>, expected: &[&str]| {
        let all: Vec<&str> = asked.iter().map(String::as_str).chain(expected.iter().copied()).collect();
        check(request().into_iter().chain(answer).collect(), &all);
    };
    check_answer(vec![answer_head("204", "", true)], &["response head"]);
    check_answer(
        vec![answer_head("200", "application/json", false), answer_body("{", false), answer_body("}", true)],
        &["response head", "response body \"{\"", "response body \"}\" end"],
    );
    check_answer(
        vec![answer_head("200", "application/json", false), answer_body("{}", false), answer_body("", true)],
        &["response head", "response body \"{}\"", "response body \"\" end"],
    );
    check_answer(
        vec![answer_head("200", "text/plain", false), answer_body("a", false), answer_trailers()],
        &["response head", "response body \"a\"", "response trailers"],
    );
}

#[test]
fn a_response_of_the_gateway_itself_passes() {
    check(
        vec![answer_head("401", "text/plain", false), answer_body("no", true)],
        &["response head", "response body \"no\" end"],
    );
    check(vec![completions(), body("{", false), answer_head("408", "text/plain", true)], &["response head"]);
}
