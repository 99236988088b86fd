//! A request's answer as server-sent events, one event in each chunk, as its tokens come.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::api::Generation;
use crate::api::chat::ChatEvents;
use crate::api::completions::CompletionEvents;
use crate::api::messages::MessageEvents;
use crate::api::responses::ResponseEvents;
use crate::fault::Fault;
use crate::reply::{ApiError, Broken, ErrorType};
use crate::socket::ResetSwitch;
use crate::text::Ending;

/// How an answer, or a choice of it, ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish<'a> {
    /// By itself.
    Stop,
    /// At one of the stop strings.
    StopString(&'a str),
    /// At its limit.
    Length,
    /// Broken off by the server.
    Abort,
}

impl<'a> Finish<'a> {
    pub(crate) fn of(ending: &'a Ending) -> Self {
        match ending {
            Ending::Natural => Self::Stop,
            Ending::Length => Self::Length,
            Ending::Stop(text) => Self::StopString(text),
        }
    }

    /// `finish_reason` of the OpenAI APIs.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Stop | Self::StopString(_) => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
        }
    }
}

/// The events of one API.
pub(crate) enum Grammar {
    Chat(ChatEvents),
    Completion(CompletionEvents),
    Message(MessageEvents),
    Response(ResponseEvents),
}

/// New text of one choice.
#[derive(Clone, Copy)]
pub(crate) struct Delta<'a> {
    pub(crate) choice: usize,
    /// ASCII that needs no escaping.
    pub(crate) text: &'a [u8],
    pub(crate) finish: Option<Finish<'a>>,
    /// Tokens of each choice up to here.
    pub(crate) sent: &'a [u32],
}

impl Grammar {
    fn head(&mut self, generation: &Generation, to: &mut VecDeque<Bytes>) {
        match self {
            Self::Chat(events) => events.head(generation, to),
            Self::Completion(_) => {}
            Self::Message(events) => events.head(generation, to),
            Self::Response(events) => events.head(to),
        }
    }

    fn delta(&mut self, generation: &Generation, delta: Delta<'_>) -> Bytes {
        match self {
            Self::Chat(events) => events.delta(generation, delta),
            Self::Completion(events) => events.delta(generation, delta),
            Self::Message(events) => events.delta(delta),
            Self::Response(events) => events.delta(delta),
        }
    }

    fn tail(&mut self, generation: &Generation, sent: &[u32], finish: Finish<'_>, to: &mut VecDeque<Bytes>) {
        match self {
            Self::Chat(events) => events.tail(generation, sent, to),
            Self::Completion(events) => events.tail(generation, sent, to),
            Self::Message(events) => events.tail(generation, sent, finish, to),
            Self::Response(events) => events.tail(generation, sent, finish, to),
        }
    }

    /// What this API sends when the engine dies under a stream.
    fn failure(&self, error: &ApiError, to: &mut VecDeque<Bytes>) {
        let json = error.json();
        match self {
            Self::Chat(_) | Self::Completion(_) => {
                to.push_back(format!("data: {json}\n\n").into());
                to.push_back(DONE);
            }
            Self::Message(_) => {
                let message = crate::reply::quoted(&error.message);
                let inner = format!(r#"{{"type":"api_error","message":{message}}}"#);
                to.push_back(
                    format!("event: error\ndata: {{\"type\":\"error\",\"error\":{inner}}}\n\n").into(),
                );
            }
            Self::Response(_) => to.push_back(format!("event: error\ndata: {json}\n\n").into()),
        }
    }
}

/// The end of an OpenAI stream.
pub(crate) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// vLLM's words when its engine core has died.
pub(crate) fn engine_dead() -> ApiError {
    let message = "EngineCore encountered an issue. See stack trace (above) for the root cause.";
    ApiError::new(ErrorType::Internal(http::StatusCode::INTERNAL_SERVER_ERROR), message)
}

/// The stream of one request. Dropping it, as when the client hangs up, takes the request out of the engine.
pub(crate) struct EventStream {
    generation: Generation,
    grammar: Grammar,
    /// Tokens sent of each choice, and whether its end was sent.
    sent: Vec<u32>,
    ended: Vec<bool>,
    queue: VecDeque<Bytes>,
    text: Vec<u8>,
    begun: bool,
    over: bool,
    fault: Option<Fault>,
    reset: ResetSwitch,
}

impl EventStream {
    pub(crate) fn new(
        generation: Generation,
        grammar: Grammar,
        fault: Option<Fault>,
        reset: ResetSwitch,
    ) -> Self {
        let choices = generation.answers().len();
        Self {
            generation,
            grammar,
            sent: vec![0; choices],
            ended: vec![false; choices],
            queue: VecDeque::with_capacity(4),
            text: Vec::with_capacity(16),
            begun: false,
            over: false,
            fault,
            reset,
        }
    }

    /// The next event; none at the end of the stream.
    pub(crate) fn poll_event(&mut self, context: &Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Poll::Ready(Some(Ok(event)));
            }
            if self.over {
                return Poll::Ready(None);
            }
            if let Some(fault) = self.due_fault() {
                match self.break_off(fault) {
                    Some(end) => return end,
                    None => continue,
                }
            }
            self.generation.ticket().delivery().watch(context);
            if !self.collect() {
                return Poll::Pending;
            }
        }
    }

    /// Queues an event for each choice that has a new token; false when none has.
    fn collect(&mut self) -> bool {
        let mut room = self.room();
        for choice in 0..self.sent.len() {
            if self.ended[choice] || room == 0 {
                continue;
            }
            let part = self.generation.ticket().delivery().part(choice);
            let from = self.sent[choice];
            // One token an event, also where several are there: clients count events.
            let to = part.generated.min(from + 1);
            let ended = part.finished && to == part.generated;
            if to == from && !ended {
                continue;
            }
            room -= to - from;
            self.begin();
            let answer = &self.generation.answers()[choice];
            self.text.clear();
            answer.write(from..to, &mut self.text);
            self.sent[choice] = to;
            self.ended[choice] = ended;
            let finish = ended.then(|| Finish::of(&answer.ending));
            let delta = Delta { choice, text: &self.text, finish, sent: &self.sent };
            self.queue.push_back(self.grammar.delta(&self.generation, delta));
        }
        if !self.over && self.ended.iter().all(|ended| *ended) {
            let finish =
                self.generation.answers().first().map_or(Finish::Stop, |answer| Finish::of(&answer.ending));
            self.grammar.tail(&self.generation, &self.sent, finish, &mut self.queue);
            self.over = true;
        }
        self.over || !self.queue.is_empty()
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.grammar.head(&self.generation, &mut self.queue);
        }
    }

    /// Tokens that may be sent before the ordered fault.
    fn room(&self) -> u32 {
        let sent = self.sent.iter().sum::<u32>();
        self.fault.and_then(tokens_before).map_or(u32::MAX, |tokens| tokens.saturating_sub(sent))
    }

    /// The ordered fault, once its tokens are sent.
    fn due_fault(&self) -> Option<Fault> {
        self.fault.filter(|fault| tokens_before(*fault).is_some() && self.room() == 0)
    }

    /// Does what was ordered: the last poll result of the stream, or nothing when events were queued instead.
    fn break_off(&mut self, fault: Fault) -> Option<Poll<Option<Result<Bytes, Broken>>>> {
        match fault {
            Fault::Reset { .. } => {
                self.reset.set();
                Some(Poll::Ready(Some(Err(Broken))))
            }
            Fault::Truncate { .. } => Some(Poll::Ready(None)),
            // Never woken again; the client's hang-up ends it.
            Fault::Silence { .. } => Some(Poll::Pending),
            Fault::ErrorEvent { .. } => {
                self.begin();
                self.grammar.failure(&engine_dead(), &mut self.queue);
                self.over = true;
                None
            }
            Fault::Abort { .. } => {
                self.begin();
                for choice in 0..self.sent.len() {
                    let delta = Delta { choice, text: b"", finish: Some(Finish::Abort), sent: &self.sent };
                    self.queue.push_back(self.grammar.delta(&self.generation, delta));
                }
                self.grammar.tail(&self.generation, &self.sent, Finish::Abort, &mut self.queue);
                self.over = true;
                None
            }
            // These never reach a stream: they strike before the answer begins.
            Fault::Refuse { .. } | Fault::Hang | Fault::Status { .. } | Fault::Slow { .. } => {
                self.fault = None;
                None
            }
        }
    }
}

/// The tokens that a fault lets pass first, where it breaks an answer that has begun.
fn tokens_before(fault: Fault) -> Option<u32> {
    match fault {
        Fault::Reset { after_tokens }
        | Fault::ErrorEvent { after_tokens }
        | Fault::Abort { after_tokens }
        | Fault::Truncate { after_tokens }
        | Fault::Silence { after_tokens } => Some(after_tokens),
        Fault::Refuse { .. } | Fault::Hang | Fault::Status { .. } | Fault::Slow { .. } => None,
    }
}
