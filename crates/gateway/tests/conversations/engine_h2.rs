//! Engines that follow a conversation's script over HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::answer::{ANSWER, Answer, End, Framing, When};
use crate::draw::Cut;
use crate::engine::Engines;
use crate::payload::Shape;
use crate::request::NAME;
use crate::script::Health;
use crate::support::engine::CHAT;

pub async fn serve(stream: TcpStream, engines: Arc<Engines>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let (ends, mut ended) = unbounded_channel();
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, response))) => {
                    streams.spawn(exchange(request, response, Arc::clone(&engines), ends.clone()));
                }
                Some(Err(_)) | None => return,
            },
            Some(cut) = ended.recv() => match cut {
                Cut::HalfClose | Cut::Stall => connection.graceful_shutdown(),
                Cut::Reset => connection.abrupt_shutdown(Reason::INTERNAL_ERROR),
                Cut::Close => return,
            },
        }
    }
}

async fn exchange(
    request: Request<RecvStream>,
    mut response: SendResponse<Bytes>,
    engines: Arc<Engines>,
    ends: UnboundedSender<Cut>,
) {
    let name = request.headers().get(NAME).map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned());
    let (path, is_get) = (request.uri().path().to_owned(), request.method() == http::Method::GET);
    let mut body = request.into_body();
    match (path.as_str(), name) {
        ("/health", _) => match engines.health() {
            Health::Good => respond(&mut response, 200, ""),
            Health::Bad => respond(&mut response, 500, ""),
            Health::Silent => std::future::pending().await,
        },
        (_, None) if is_get => respond(&mut response, 404, "none"),
        (_, None) => {
            if read(&mut body).await.1 {
                respond(&mut response, 200, CHAT);
            }
        }
        (_, Some(name)) => {
            if let Some((number, answer)) = engines.answer(&name) {
                play(number, &answer, body, response, &engines, &ends).await;
            }
        }
    }
}

fn respond(response: &mut SendResponse<Bytes>, status: u16, body: &'static str) {
    let head =
        Response::builder().status(status).header("content-type", "application/json").body(()).unwrap();
    if let Ok(mut stream) = response.send_response(head, false) {
        let _ = stream.send_data(Bytes::from_static(body.as_bytes()), true);
    }
}

/// The request's body as far as it comes, and whether it is complete.
async fn read(body: &mut RecvStream) -> (Vec<u8>, bool) {
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return (read, false) };
        let _ = body.flow_control().release_capacity(data.len());
        read.extend_from_slice(&data);
    }
    (read, true)
}

async fn play(
    number: usize,
    answer: &Answer,
    mut body: RecvStream,
    mut response: SendResponse<Bytes>,
    engines: &Engines,
    ends: &UnboundedSender<Cut>,
) {
    match answer.when {
        When::AfterBody => {
            let (read, complete) = read(&mut body).await;
            engines.saw(number, read, complete);
            if !complete {
                return;
            }
        }
        When::MidBody => {
            let _ = tokio::time::timeout(Duration::from_millis(100), body.data()).await;
        }
        When::OnHead => {}
    }
    tokio::time::sleep(answer.delay).await;
    let payload = answer.body();
    // A head counts as a hundred bytes.
    let length = answer.cut.map_or(usize::MAX, |(point, _)| point.of(payload.len() + 100));
    let end = match (answer.cut, answer.end) {
        (Some((_, cut)), _) => Some(cut),
        (None, End::Cut(cut)) => Some(cut),
        (None, End::KeepAlive | End::Junk) => None,
    };
    let mut head = Response::builder().status(answer.status).header(ANSWER, &answer.name);
    head = head.header("content-type", answer.shape.content_type());
    head = match answer.framing {
        Framing::Length => head.header("content-length", payload.len()),
        Framing::TooShort | Framing::Both => head.header("content-length", payload.len() / 2),
        Framing::TooLong => head.header("content-length", payload.len() + 9),
        _ => head,
    };
    if length < 100 {
        return finish(end, &mut |reason| response.send_reset(reason), answer, ends).await;
    }
    let is_end = answer.shape == Shape::Nothing;
    let Ok(mut stream) = response.send_response(head.body(()).unwrap(), is_end) else { return };
    if !is_end && !write(answer, &payload, length - 100, &mut stream).await {
        return;
    }
    finish(end, &mut |reason| stream.send_reset(reason), answer, ends).await;
}

/// Writes the body; returns whether the stream goes on.
async fn write(answer: &Answer, payload: &[u8], length: usize, stream: &mut SendStream<Bytes>) -> bool {
    for piece in answer.pieces.of(&payload[..length.min(payload.len())]) {
        if stream.send_data(Bytes::copy_from_slice(piece), false).is_err() {
            return false;
        }
        if !answer.pieces.pause.is_zero() {
            tokio::time::sleep(answer.pieces.pause).await;
        }
    }
    answer.cut.is_some() || stream.send_data(Bytes::new(), true).is_ok()
}

async fn finish(
    end: Option<Cut>,
    reset: &mut (dyn FnMut(Reason) + Send),
    answer: &Answer,
    ends: &UnboundedSender<Cut>,
) {
    // Gives the data time to be sent.
    tokio::time::sleep(Duration::from_millis(5)).await;
    match end {
        None => {}
        Some(Cut::Reset) if answer.cut.is_some() => {
            let reasons = [Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR, Reason::NO_ERROR, Reason::CANCEL];
            reset(reasons[(answer.interim + answer.name.len()) % 4]);
        }
        Some(Cut::Stall) => std::future::pending().await,
        Some(Cut::HalfClose) => {
            let _ = ends.send(Cut::HalfClose);
            if answer.cut.is_some() {
                std::future::pending::<()>().await;
            }
        }
        Some(cut) => {
            let _ = ends.send(cut);
        }
    }
}
