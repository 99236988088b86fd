//! What must hold of a conversation that has ended.

use crate::answer::{Answer, Complete};
use crate::engine::Seen;
use crate::record::Record;
use crate::reply::Reply;
use crate::request::{Flaw, Kind, Request};
use crate::script::Conversation;

/// Statuses and reasons by which a busy machine may answer a request without a flaw.
const TOO_SLOW: [&str; 3] = ["first_byte_timeout", "silent", "body_timeout"];

/// Outcomes of a conversation's requests by the gateway's metrics.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    pub total: usize,
    pub complete: usize,
    /// The others, as on the metrics page.
    pub others: Vec<String>,
}

pub fn judge(
    conversation: &Conversation,
    record: &Record,
    seen: &[Seen],
    outcomes: &Outcomes,
) -> Vec<String> {
    let requests = conversation.requests();
    let mut faults = record.faults.clone();
    for (number, reply) in &record.replies {
        faults.extend(judge_reply(conversation, requests[*number], reply).err());
    }
    for seen in seen {
        faults.extend(judge_seen(requests[seen.number], record, seen).err());
    }
    let from_engines = record.replies.iter().filter(|(_, reply)| reply.answer.is_some()).count();
    if outcomes.total < from_engines || outcomes.total > record.begun {
        let begun = record.begun;
        faults.push(format!("{begun} requests began, {from_engines} were answered: {outcomes:?}"));
    }
    faults
}

fn judge_reply(conversation: &Conversation, request: &Request, reply: &Reply) -> Result<(), String> {
    let Some(name) = &reply.answer else { return judge_own(request, reply) };
    let number = request.number;
    let attempt = name.strip_prefix(&format!("{}-{number}-", conversation.seed));
    let Some(attempt) = attempt.and_then(|attempt| attempt.parse().ok()) else {
        return Err(format!("request {number} received the response {name}"));
    };
    let answer = conversation.answer(number, attempt);
    let told = format!("the response to request {number}, attempt {attempt},");
    if reply.status == 101 {
        let asked = matches!(request.kind, Kind::Upgrade);
        return if asked { Ok(()) } else { Err(format!("{told} switches protocols without being asked")) };
    }
    if request.kind == Kind::Models {
        // The gateway completes the engine's list, or makes it where the engine has none.
        return Ok(());
    }
    if reply.status != answer.status {
        return Err(format!("{told} has status {}, not {}: {answer:?}", reply.status, answer.status));
    }
    let body = answer.body();
    let same = reply.body.iter().zip(&body).take_while(|(a, b)| a == b).count();
    let rest = &reply.body[same..];
    let (length, full) = (reply.body.len(), body.len());
    if reply.complete {
        let is_right = match answer.complete(request.is_api(), conversation.h2c) {
            Complete::Never => false,
            Complete::With(body) => body == reply.body,
            Complete::WithAnyPart => rest.is_empty(),
            Complete::WithAnyEnd => same == full,
        };
        if !is_right {
            return Err(format!(
                "{told} looks complete with {length} bytes, {same} of them of {full}: {answer:?}"
            ));
        }
        return Ok(());
    }
    let is_chat = matches!(request.kind, Kind::Chat { .. });
    judge_rest(&answer, is_chat, &reply.body[..same], rest)
        .map_err(|fault| format!("{told} {fault}: {answer:?}"))
}

/// What follows the engine's bytes in an incomplete response.
fn judge_rest(answer: &Answer, is_chat: bool, passed: &[u8], rest: &[u8]) -> Result<(), &'static str> {
    if rest.is_empty() {
        return Ok(());
    }
    if !answer.shape.is_events() {
        return Err("has bytes that its engine did not send");
    }
    // For other APIs it is no mark.
    if is_chat && passed.windows(12).any(|window| window == b"data: [DONE]") {
        return Err("goes on after the end mark");
    }
    // The event's first bytes may equal the engine's next ones; and a client may have left before its last one.
    let text = String::from_utf8_lossy(rest);
    if rest.len() > 1_000 || !(rest.len() < 20 || text.contains("error")) {
        return Err("has bytes that neither its engine nor the gateway has sent");
    }
    Ok(())
}

/// A response of the gateway itself.
fn judge_own(request: &Request, reply: &Reply) -> Result<(), String> {
    let Reply { status, .. } = reply;
    let number = request.number;
    if *status == 200 && request.kind == Kind::Models {
        return Ok(());
    }
    // hyper's own have no reason.
    let known = !reply.reason.is_empty() || [400, 408, 414, 431, 505].contains(status);
    if *status < 400 || !known {
        return Err(format!("request {number} received {status} `{}` from nobody", reply.reason));
    }
    Ok(())
}

fn judge_seen(request: &Request, record: &Record, seen: &Seen) -> Result<(), String> {
    let body = request.body();
    let number = request.number;
    if seen.complete {
        // The bytes behind a request are not a part of it.
        let sent = record.sent.contains(&number) || request.flaw == Flaw::Long;
        if !sent || !request.is_complete() {
            return Err(format!("request {number} was incomplete, but its engine saw it complete"));
        }
        if seen.body != body {
            let (length, wanted) = (seen.body.len(), body.len());
            return Err(format!(
                "the engine received another body of request {number}: {length} for {wanted}"
            ));
        }
    } else if !body.starts_with(&seen.body) {
        return Err(format!("the engine received other bytes than those of request {number}"));
    }
    Ok(())
}

/// Nobody did anything wrong: all must be served at the first attempt, unless the machine was too busy for the timeouts.
pub fn judge_plain(
    record: &Record,
    requests: usize,
    outcomes: &Outcomes,
    is_busy: bool,
) -> Result<(), String> {
    let late = |reply: &Reply| TOO_SLOW.contains(&reply.reason.as_str());
    if record.replies.iter().any(|(_, reply)| late(reply)) {
        return Ok(());
    }
    let good = record.replies.iter().filter(|(_, reply)| {
        reply.status == 200
            && reply.complete
            && reply.answer.as_ref().is_some_and(|name| name.ends_with("-0"))
    });
    let good = good.count();
    if is_busy && good != requests {
        return Ok(());
    }
    // The request after the conversation is one more.
    if good != requests || outcomes.complete <= requests {
        let replies: Vec<_> = record
            .replies
            .iter()
            .map(|(number, reply)| (number, reply.status, &reply.reason, reply.complete, &reply.answer))
            .collect();
        return Err(format!("{good} of {requests} plain requests were served: {outcomes:?}, {replies:?}"));
    }
    Ok(())
}
