//! Any message at any time: no panic, and no request stays placed.

use std::sync::Arc;

use pointsman_core::Rejection;
use pointsman_extproc::wire::{ProcessingRequest, ProcessingResponse, Reply};
use pointsman_extproc::{Next, Session, SessionOptions};
use proptest::prelude::*;

use crate::support::*;

const ASK: &str = r#"{"model":"m","prompt":"hello","stream":true}"#;
const EVENT: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";

#[test]
fn messages_out_of_order_abort_the_stream() {
    let check = |messages: Vec<ProcessingRequest>, expected: &str| {
        let mut rig = Rig::new(SessionOptions::default());
        assert_eq!(rig.run(messages).last().map(String::as_str), Some(expected));
    };
    check(vec![completions(), completions()], "abort: request headers received twice");
    check(
        vec![body(ASK, true)],
        "abort: request body received before its headers; the filter must send request headers",
    );
    check(
        vec![answer_head("200", "", false), answer_head("200", "", false)],
        "abort: response headers received twice",
    );
    let unreadable = |mut message: ProcessingRequest| {
        message.metadata_context = Some(b"no metadata"[..].into());
        message
    };
    check(vec![unreadable(completions())], "abort: the metadata cannot be decoded");
    check(
        vec![with_modes(completions(), 5, 5)],
        "abort: body send mode 5 is not supported; use FULL_DUPLEX_STREAMED or BUFFERED",
    );
}

#[test]
fn an_observer_gets_no_responses() {
    let mut rig = Rig::new(SessionOptions::default());
    let watched = |mut message: ProcessingRequest| {
        message.observability_mode = true;
        message
    };
    assert!(rig.run([watched(completions()), watched(body(ASK, true))]).is_empty());
    assert_eq!(rig.pool.ledger.live.get(), 0);
}

#[test]
fn messages_during_a_placement_are_answered_after_it() {
    let mut rig = Rig::new(SessionOptions::default());
    let mut out = Vec::new();
    let upload = head("POST /upload", &[("content-type", "multipart/form-data")], false);
    let Next::Place = rig.session.message(upload, &mut out) else { panic!("not placed") };
    assert!(matches!(rig.session.message(body("one", false), &mut out), Next::Read));
    assert!(matches!(rig.session.message(body("two", true), &mut out), Next::Read));
    assert!(out.is_empty());
    let placed = rig.pool.place(&facts(&rig.session));
    let next = rig.session.placed(placed, &mut out);
    rig.note(&next, &out);
    assert_eq!(rig.said[1..], ["request body \"one\"", "request body \"two\" end"]);
}

#[test]
fn a_response_of_the_gateway_itself_withdraws_the_request() {
    let mut rig = Rig::new(SessionOptions::default());
    let mut out = Vec::new();
    let Next::Place = rig.session.message(head("GET /x", &[], true), &mut out) else { panic!("not placed") };
    let waiting = facts(&rig.session);
    let next = rig.session.message(answer_head("504", "text/plain", true), &mut out);
    assert!(matches!(next, Next::Withdraw));
    let late = rig.pool.place(&waiting);
    assert!(matches!(rig.session.placed(late, &mut out), Next::Read));
    assert_eq!(out.len(), 1);
    assert_eq!(rig.pool.ledger.live.get(), 0);
}

#[test]
fn more_messages_than_a_gateway_sends_ahead_abort_the_stream() {
    let mut rig = Rig::new(SessionOptions::default());
    let mut out = Vec::new();
    assert!(matches!(
        rig.session.message(head("POST /x", &[("content-type", "multipart/form-data")], false), &mut out),
        Next::Place
    ));
    let mut broken = false;
    for _ in 0..1_000 {
        broken |= matches!(rig.session.message(body("x", false), &mut out), Next::Abort(_));
    }
    assert!(broken && out.is_empty());
}

/// The messages of a complete request in the given modes.
fn whole(request: i32, response: i32) -> Vec<ProcessingRequest> {
    let mut messages =
        vec![with_modes(completions(), request, response), body(&ASK[..9], false), body(&ASK[9..], true)];
    if request == BUFFERED {
        messages.splice(1..3, [body(ASK, true)]);
    }
    messages.push(answer_head("200", "text/event-stream", false));
    if response != NONE {
        messages.extend([
            answer_body(EVENT, false),
            answer_body("data: [DONE]\n\n", false),
            answer_body("", true),
        ]);
    }
    messages.push(answer_trailers());
    messages
}

#[test]
fn a_stream_reset_anywhere_leaves_no_request_placed() {
    for request in [NONE, STREAMED, BUFFERED, DUPLEX] {
        for response in [NONE, STREAMED, BUFFERED, DUPLEX] {
            let messages = whole(request, response);
            for cut in 0..=messages.len() {
                for closes in [true, false] {
                    let mut rig = Rig::new(SessionOptions::default());
                    rig.run(messages[..cut].to_vec());
                    if closes {
                        rig.session.close();
                        assert_eq!(
                            rig.session.take_summary().is_some(),
                            cut > 0,
                            "{request} {response} {cut}"
                        );
                    }
                    let ledger = std::rc::Rc::clone(&rig.pool.ledger);
                    drop(rig);
                    assert_eq!(ledger.live.get(), 0, "{request} {response} {cut}");
                    assert!(ledger.ended.borrow().len() <= 1);
                }
            }
        }
    }
}

fn any_message() -> impl Strategy<Value = ProcessingRequest> {
    let text = prop_oneof![
        Just(String::new()),
        Just(ASK.to_owned()),
        Just(ASK[..9].to_owned()),
        Just(ASK[9..].to_owned()),
        Just(EVENT.to_owned()),
        "[ -~]{0,12}",
    ];
    let line = prop_oneof![
        Just("POST /v1/completions"),
        Just("GET /v1/models"),
        Just("POST /upload"),
        Just("GET /v1/responses/resp_1"),
    ];
    let event = prop_oneof![
        1 => (line, any::<bool>()).prop_map(|(line, end)| head(line, &[("x-prefiller-host-port", "a")], end)),
        4 => (text.clone(), any::<bool>()).prop_map(|(text, end)| body(&text, end)),
        1 => Just(trailers()),
        1 => (prop_oneof![Just("200"), Just("503"), Just("x")], any::<bool>())
            .prop_map(|(status, end)| answer_head(status, "text/event-stream", end)),
        4 => (text, any::<bool>()).prop_map(|(text, end)| answer_body(&text, end)),
        1 => Just(answer_trailers()),
        1 => Just(ProcessingRequest::default()),
    ];
    (event, proptest::option::of((0..7_i32, 0..7_i32)), proptest::option::of(any::<bool>())).prop_map(
        |(event, modes, subset)| {
            let event = match modes {
                Some((request, response)) => with_modes(event, request, response),
                None => event,
            };
            match subset {
                None => event,
                Some(known) => with_subset(event, if known { &["10.0.0.2:8000"] } else { &[] }),
            }
        },
    )
}

/// The pool's result, and the number of messages before it.
#[derive(Clone, Copy, Debug)]
struct PoolAnswer {
    places: bool,
    delay: usize,
}

fn drive(
    session: &mut Session<TestPool>,
    pool: &TestPool,
    messages: Vec<ProcessingRequest>,
    answer: PoolAnswer,
) -> Vec<ProcessingResponse> {
    let mut out = Vec::new();
    let mut pending = None;
    for message in messages {
        let next = session.message(message, &mut out);
        match next {
            Next::Place => {
                let placed =
                    if answer.places { pool.place(&facts(session)) } else { Err(Rejection::NoReadyEndpoint) };
                pending = Some((placed, answer.delay));
            }
            Next::Withdraw => pending = None,
            Next::Read => {}
            Next::End | Next::Abort(_) => return out,
        }
        if let Some((placed, delay)) = pending.take() {
            if delay > 0 {
                pending = Some((placed, delay - 1));
            } else if matches!(session.placed(placed, &mut out), Next::End | Next::Abort(_)) {
                return out;
            }
        }
    }
    out
}

proptest! {
    #[test]
    fn no_order_of_messages_panics_or_leaves_a_request_placed(
        messages in prop::collection::vec(any_message(), 0..12),
        places in any::<bool>(),
        delay in 0..3_usize,
        closes in any::<bool>(),
    ) {
        let pool = TestPool::default();
        let mut session = Session::new(pool.clone(), SessionOptions::default(), Arc::default());
        let out = drive(&mut session, &pool, messages, PoolAnswer { places, delay });
        let decided = out.iter().filter(|response| response.dynamic_metadata.is_some()).count();
        let refused = out.iter().filter(|response| matches!(response.response, Some(Reply::Immediate(_)))).count();
        prop_assert!(decided + refused <= 1, "one answer a request");
        if closes {
            session.close();
            prop_assert_eq!(session.held_bytes(), 0);
        }
        drop(session);
        prop_assert_eq!(pool.ledger.live.get(), 0);
    }
}
