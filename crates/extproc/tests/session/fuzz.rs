//! Messages in any order and mode, with the pool's result at any time or never.

use std::sync::Arc;

use bytes::Bytes;
use pointsman_core::{Rejection, RequestFacts};
use pointsman_extproc::wire::{Event, HttpBody, Mutation, ProcessingRequest, ProcessingResponse, Reply};
use pointsman_extproc::{Next, Session, SessionOptions};
use proptest::prelude::*;

use crate::support::*;

const ASK: &str = r#"{"model":"m","prompt":"hello","stream":true}"#;

/// The next step: a message, or the pool's result.
#[derive(Clone, Debug)]
enum Step {
    Message(ProcessingRequest),
    /// Whether the pool has capacity.
    Answer(bool),
}

fn message_of_any_kind() -> impl Strategy<Value = ProcessingRequest> {
    prop_oneof![
        4 => Just(completions()),
        1 => any::<bool>().prop_map(|end| head("GET /v1/models", &[], end)),
        1 => any::<bool>().prop_map(|end| head("POST /x", &[("x-gateway-model-name", "m")], end)),
        1 => any::<bool>().prop_map(|end| head("POST /v1/completions", &[("content-length", "0")], end)),
        1 => Just(with_subset(completions(), &[])),
        1 => Just(with_subset(completions(), &["10.0.0.2"])),
        4 => any::<bool>().prop_map(|end| body(ASK, end)),
        2 => any::<bool>().prop_map(|end| body("{", end)),
        2 => any::<bool>().prop_map(|end| body("", end)),
        1 => Just(trailers()),
        3 => any::<bool>().prop_map(|end| answer_head("200", "text/event-stream", end)),
        1 => Just(with_served(answer_head("503", "text/plain", false), "10.0.0.2:8000")),
        3 => any::<bool>().prop_map(|end| answer_body("data: {\"choices\":[{\"text\":\"a\"}]}\n\n", end)),
        1 => Just(answer_body("data: [DONE]\n\n", true)),
        1 => Just(answer_trailers()),
        1 => Just(ProcessingRequest::default()),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let message = || message_of_any_kind().prop_map(Step::Message);
    // Many runs begin as a gateway's stream does.
    let start = prop_oneof![3 => Just(Some(Step::Message(completions()))), 1 => Just(None)];
    let rest = prop_oneof![5 => message(), 1 => any::<bool>().prop_map(Step::Answer)];
    (start, prop::collection::vec(rest, 0..12))
        .prop_map(|(start, rest)| start.into_iter().chain(rest).collect())
}

/// A session whose placement waits for the pool's result.
struct Drive {
    pool: TestPool,
    session: Session<TestPool>,
    asked: Option<RequestFacts>,
    out: Vec<ProcessingResponse>,
    summaries: usize,
    over: bool,
}

impl Drive {
    fn new() -> Self {
        let pool = TestPool::default();
        let session = Session::new(pool.clone(), SessionOptions::default(), Arc::default());
        Self { pool, session, asked: None, out: Vec::new(), summaries: 0, over: false }
    }

    fn step(&mut self, step: Step) {
        let next = match step {
            Step::Message(message) => self.session.message(message, &mut self.out),
            Step::Answer(room) => {
                let Some(facts) = self.asked.take() else { return };
                let placed = if room { self.pool.place(&facts) } else { Err(Rejection::NoReadyEndpoint) };
                self.session.placed(placed, &mut self.out)
            }
        };
        match next {
            Next::Read => {}
            Next::Place => {
                assert!(self.asked.is_none(), "a second question while the first is open");
                self.asked = Some(facts(&self.session));
            }
            Next::Withdraw => self.asked = None,
            Next::End | Next::Abort(_) => self.over = true,
        }
        self.summaries += usize::from(self.session.take_summary().is_some());
    }

    fn close(&mut self) {
        self.session.close();
        self.summaries += usize::from(self.session.take_summary().is_some());
    }
}

fn immediate(response: &ProcessingResponse) -> bool {
    matches!(response.response, Some(Reply::Immediate(_)))
}

proptest! {
    #[test]
    fn any_messages_count_the_request_out_and_report_it_once(
        modes in (0..6_i32, 0..6_i32),
        declared in any::<bool>(),
        steps in steps(),
    ) {
        let mut drive = Drive::new();
        let mut asked_once = false;
        for (number, mut step) in steps.into_iter().enumerate() {
            if let (0, true, Step::Message(message)) = (number, declared, &mut step) {
                *message = with_modes(std::mem::take(message), modes.0, modes.1);
            }
            drive.step(step);
            asked_once |= drive.asked.is_some();
            prop_assert!(drive.pool.ledger.live.get() <= 1);
            if drive.over {
                break;
            }
        }
        drive.close();
        drive.close();
        prop_assert_eq!(drive.pool.ledger.live.get(), 0);
        prop_assert!(drive.pool.ledger.ended.borrow().len() <= 1);
        prop_assert!(drive.summaries <= 1);
        prop_assert!(!asked_once || drive.summaries == 1);
        prop_assert!(drive.out.iter().filter(|response| immediate(response)).count() <= 1);
        // Nothing follows an immediate response.
        prop_assert!(!drive.out.iter().rev().skip(1).any(immediate));
    }

    #[test]
    fn in_full_duplex_a_body_returns_unchanged_in_any_chunks(
        prompt_length in 0..200_000_usize,
        cuts in prop::collection::vec(0..210_000_usize, 0..8),
        empty_end in any::<bool>(),
        answer_after in 0..10_usize,
    ) {
        let whole = Bytes::from(format!(r#"{{"model":"m","prompt":"{}"}}"#, "p".repeat(prompt_length)));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        let mut pieces: Vec<Bytes> = cuts.windows(2).map(|cut| whole.slice(cut[0]..cut[1])).collect();
        if empty_end {
            pieces.push(Bytes::new());
        }
        let mut drive = Drive::new();
        drive.step(Step::Message(with_modes(completions(), DUPLEX, DUPLEX)));
        let last = pieces.len() - 1;
        for (number, body) in pieces.into_iter().enumerate() {
            let body = HttpBody { body, end_of_stream: number == last };
            drive.step(Step::Message(message(Event::RequestBody(body))));
        }
        // Some gateways send a chunk after the end; it is ignored.
        for _ in 0..answer_after {
            drive.step(Step::Message(body("", true)));
        }
        drive.step(Step::Answer(true));
        let mut returned = Vec::new();
        let mut ends = 0;
        for response in &drive.out {
            let Some(Reply::RequestBody(body)) = &response.response else { continue };
            let mutation = body.response.as_ref().and_then(|common| common.body_mutation.as_ref());
            let Some(Mutation::Streamed(piece)) = mutation.and_then(|body| body.mutation.as_ref()) else {
                continue;
            };
            prop_assert!(ends == 0, "a piece after the end");
            returned.extend_from_slice(&piece.body);
            ends += usize::from(piece.end_of_stream);
        }
        prop_assert_eq!(ends, 1);
        prop_assert!(whole == returned);
    }
}
