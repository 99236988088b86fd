//! Clients that follow a script over HTTP/2.

use bytes::Bytes;
use futures_util::future::join_all;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use std::time::{Duration, Instant};

use crate::answer::ANSWER;
use crate::client::open;
use crate::draw::Cut;
use crate::record::Setting;
use crate::reply::Reply;
use crate::request::{Flaw, NAME};
use crate::script::{H2Client, H2Stream, Reading};

pub async fn run(client: &H2Client, setting: &Setting) {
    let stream = open(setting, false).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(client.window);
    let Ok((sender, connection)) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut connection = tokio::spawn(connection);
    join_all(client.streams.iter().map(|stream| exchange(stream, client.window, sender.clone(), setting)))
        .await;
    if client.stays {
        setting.patiently("a connection without a request stays open", &mut connection).await;
    }
    connection.abort();
    drop(sender);
}

async fn exchange(stream: &H2Stream, window: u32, sender: SendRequest<Bytes>, setting: &Setting) {
    tokio::time::sleep(stream.after).await;
    let request = &stream.request;
    let uri = format!("http://{}{}", request.host(), request.path());
    let mut head = http::Request::builder().method(request.method()).uri(uri).header(NAME, request.name());
    let body = request.body();
    if request.has_body() {
        head = head.header("content-type", request.content_type());
        let length = if request.flaw == Flaw::Short { body.len() + 10 } else { body.len() };
        if !request.chunked || request.flaw == Flaw::Short {
            head = head.header("content-length", length);
        }
    }
    let Ok(mut sender) = sender.ready().await else { return };
    let sent = sender.send_request(head.body(()).unwrap(), !request.has_body());
    let Ok((response, mut outgoing)) = sent else { return };
    setting.record().begun += 1;
    if !request.has_body() {
        setting.record().sent.insert(request.number);
    } else if !write(stream, &body, &mut outgoing, setting).await {
        return;
    }
    let Some(response) = setting.patiently("a stream gets no response", response).await else { return };
    let Ok(response) = response else { return };
    let field = |name: &str| {
        response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut reply = Reply {
        status: response.status().as_u16(),
        answer: field(ANSWER),
        reason: field("x-pointsman-reason").unwrap_or_default(),
        ..Reply::default()
    };
    read(stream, window, response.into_body(), &mut reply, setting).await;
    setting.record().replies.push((request.number, reply));
}

/// Writes the body; returns whether the stream goes on.
async fn write(stream: &H2Stream, body: &[u8], outgoing: &mut SendStream<Bytes>, setting: &Setting) -> bool {
    let length = stream.cut.map_or(body.len(), |(point, _)| point.of(body.len()));
    for piece in stream.pieces.of(&body[..length]) {
        if outgoing.send_data(Bytes::copy_from_slice(piece), false).is_err() {
            return true;
        }
        if !stream.pieces.pause.is_zero() {
            tokio::time::sleep(stream.pieces.pause).await;
        }
    }
    match stream.cut {
        None => {
            let ended = if stream.trailers {
                outgoing.send_trailers(http::HeaderMap::new())
            } else {
                outgoing.send_data(Bytes::new(), true)
            };
            if ended.is_ok() {
                setting.record().sent.insert(stream.request.number);
            }
            true
        }
        Some((_, Cut::Stall | Cut::HalfClose)) => true,
        Some((_, Cut::Close)) => false,
        Some((_, Cut::Reset)) => {
            tokio::time::sleep(stream.after).await;
            outgoing.send_reset(Reason::CANCEL);
            false
        }
    }
}

async fn read(stream: &H2Stream, window: u32, mut body: RecvStream, reply: &mut Reply, setting: &Setting) {
    let reading = match (stream.reading, window) {
        (_, 0) => Reading::Nothing,
        // It would take too long.
        (Reading::All, ..=200) => Reading::Slow,
        (reading, _) => reading,
    };
    if reading == Reading::Nothing {
        return setting.sulk().await;
    }
    let begun = Instant::now();
    loop {
        match reading {
            Reading::Leave { after, .. } if reply.body.len() >= after => return,
            Reading::Slow if begun.elapsed() > Duration::from_secs(2) => return,
            Reading::Slow => tokio::time::sleep(Duration::from_millis(20)).await,
            _ => {}
        }
        let Some(data) = setting.patiently("a response has no end", body.data()).await else { return };
        match data {
            None => {
                reply.complete = true;
                return;
            }
            Some(Err(_)) => return,
            Some(Ok(data)) => {
                reply.body.extend_from_slice(&data);
                let _ = body.flow_control().release_capacity(data.len());
            }
        }
    }
}
