//! A gateway that follows a script.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use pointsman_extproc::wire::{ProcessingResponse, Reply};
use prost::Message as _;
use tokio::net::TcpStream;

use crate::client::PROCESS;
use crate::draw::Cut;
use crate::script::{CallScript, Conversation, Say};

/// Time after which a timeout that should have ended a wait was not heeded. All timeouts are below a second; the machine may
/// be busy.
const PATIENCE: Duration = Duration::from_secs(15);
/// Time for which a stream that the picker need not end stays.
const STAY: Duration = Duration::from_secs(1);

/// What a stream's gateway saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Messages with request headers that were sent.
    pub heads: usize,
    pub responses: Vec<ProcessingResponse>,
    pub faults: Vec<String>,
}

/// Holds a conversation; returns what its streams saw.
pub async fn hold(conversation: &Conversation, address: std::net::SocketAddr) -> Vec<Seen> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(conversation.window);
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let closing = conversation.closes.map(|after| {
        let connection = connection.abort_handle();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            connection.abort();
        })
    });
    let reads = conversation.window > 200;
    let calls = conversation.calls.iter().map(|script| call(script, reads, sender.clone()));
    let seen = join_all(calls).await;
    closing.iter().for_each(tokio::task::JoinHandle::abort);
    connection.abort();
    seen
}

async fn call(script: &CallScript, window: bool, sender: SendRequest<Bytes>) -> Seen {
    let mut seen = Seen::default();
    tokio::time::sleep(script.after).await;
    let Ok(mut sender) = sender.ready().await else { return seen };
    let request = http::Request::post(format!("http://picker{PROCESS}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let Ok((response, mut outgoing)) = sender.send_request(request, false) else { return seen };
    let reads = script.reads && window;
    let (heads, ()) = tokio::join!(write(script, &mut outgoing), async {
        if reads {
            read(script, response, &mut seen).await;
        }
    });
    seen.heads = heads;
    if !reads {
        // Nothing is read, for a while.
        tokio::time::sleep(STAY).await;
    }
    seen.faults.extend(judge(&seen.responses).err());
    seen
}

/// Says everything, and ends the stream. Returns the number of request headers sent.
async fn write(script: &CallScript, outgoing: &mut SendStream<Bytes>) -> usize {
    let mut heads = 0;
    for step in &script.steps {
        if let Say::Pause(pause) = step {
            tokio::time::sleep(*pause).await;
            continue;
        }
        for piece in script.pieces.of(&step.bytes()) {
            if outgoing.send_data(Bytes::copy_from_slice(piece), false).is_err() {
                return heads;
            }
            if !script.pieces.pause.is_zero() {
                tokio::time::sleep(script.pieces.pause).await;
            }
        }
        heads += usize::from(matches!(step, Say::Head { .. }));
    }
    match script.end {
        Cut::HalfClose => {
            let _ = outgoing.send_data(Bytes::new(), true);
        }
        Cut::Reset => {
            tokio::time::sleep(script.after).await;
            outgoing.send_reset(Reason::CANCEL);
        }
        Cut::Close => outgoing.send_reset(Reason::INTERNAL_ERROR),
        Cut::Stall => {}
    }
    heads
}

/// Reads until the stream ends, or need not end any more.
async fn read(script: &CallScript, response: h2::client::ResponseFuture, seen: &mut Seen) {
    let must_end = script.end == Cut::HalfClose || (script.end == Cut::Stall && script.awaits_body());
    // The pauses of the script come first.
    let steps: Duration = script
        .steps
        .iter()
        .map(|step| match step {
            Say::Pause(pause) => *pause,
            _ => script.pieces.pause * 50,
        })
        .sum();
    let patience = script.after + steps + if must_end { PATIENCE } else { STAY };
    let all = async {
        let Ok(response) = response.await else { return };
        let mut body: RecvStream = response.into_body();
        let mut buffer = Vec::new();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            buffer.extend_from_slice(&data);
            while let Some(message) = take(&mut buffer) {
                match ProcessingResponse::decode(message) {
                    Ok(message) => seen.responses.push(message),
                    Err(error) => seen.faults.push(format!("the picker's message cannot be read: {error}")),
                }
            }
        }
    };
    if tokio::time::timeout(patience, all).await.is_err() && must_end {
        seen.faults.push("a timeout was not heeded: the stream has no end".into());
    }
}

fn take(buffer: &mut Vec<u8>) -> Option<Bytes> {
    let length = u32::from_be_bytes(buffer.get(1..5)?.try_into().ok()?) as usize;
    if buffer.len() < 5 + length {
        return None;
    }
    let message = buffer.drain(..5 + length).skip(5).collect::<Vec<u8>>();
    Some(message.into())
}

/// Nothing follows an immediate response.
fn judge(responses: &[ProcessingResponse]) -> Result<(), String> {
    let immediate = |response: &ProcessingResponse| matches!(response.response, Some(Reply::Immediate(_)));
    match responses.iter().position(immediate) {
        Some(at) if at + 1 < responses.len() => Err("something follows an immediate response".into()),
        _ => Ok(()),
    }
}
