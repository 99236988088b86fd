//! Clients that follow a script over HTTP/1.1.

use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;

use crate::client_h2;
use crate::draw::Cut;
use crate::record::{PATIENCE, Setting};
use crate::reply::{Replies, Stop};
use crate::request::Request;
use crate::script::{Client, H1Client, Reading};

/// Time for which a client waits for `100 Continue`.
const CONTINUE: Duration = Duration::from_millis(300);
/// Time for which a client goes on to write after it has the response.
const AFTERWARDS: Duration = Duration::from_secs(2);

pub async fn run(client: &Client, setting: &Setting) {
    match client {
        Client::H1(client) => h1(client, setting).await,
        Client::H2(client) => client_h2::run(client, setting).await,
        Client::Silent(bytes) => {
            let mut stream = open(setting, false).await;
            let _ = stream.write_all(bytes).await;
            expect_close(&mut stream, setting, "a silent connection stays open").await;
        }
    }
}

/// Connects; with a small receive buffer, if the client will not read all.
pub async fn open(setting: &Setting, small: bool) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if small {
        let _ = socket.set_recv_buffer_size(4_096);
    }
    let stream = socket.connect(setting.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn expect_close(stream: &mut TcpStream, setting: &Setting, what: &str) {
    let mut sink = vec![0; 16 << 10];
    let closed = async { while !matches!(stream.read(&mut sink).await, Ok(0) | Err(_)) {} };
    setting.patiently(what, closed).await;
}

/// What becomes of the connection after an exchange.
enum Next {
    Goes,
    Ends,
    Resets,
    /// The client has nothing more to say, but the connection is there.
    Waits,
}

async fn h1(client: &H1Client, setting: &Setting) {
    let mut stream = open(setting, client.reading != Reading::All).await;
    let total: usize = client
        .requests
        .iter()
        .map(|request| {
            let wire = request.wire();
            wire.head.len() + wire.body.len()
        })
        .sum();
    let mut room = client.cut.map_or(usize::MAX, |(point, _)| point.of(total));
    let groups: Vec<&[Request]> =
        if client.pipelined { vec![&client.requests] } else { client.requests.chunks(1).collect() };
    for group in groups {
        match exchange(&mut stream, group, client, &mut room, setting).await {
            Next::Goes => {}
            Next::Waits => break,
            Next::Ends => return,
            Next::Resets => {
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return;
            }
        }
    }
    if client.stays {
        expect_close(&mut stream, setting, "a connection without a request stays open").await;
    }
}

async fn exchange(
    stream: &mut TcpStream,
    group: &[Request],
    client: &H1Client,
    room: &mut usize,
    setting: &Setting,
) -> Next {
    let (reader, mut writer) = stream.split();
    let goes_on = Notify::new();
    let mut write = pin!(write(&mut writer, group, client, room, setting, &goes_on));
    if client.reading == Reading::Nothing {
        setting.patiently("nobody reads what the client writes", write).await;
        setting.sulk().await;
        return Next::Ends;
    }
    let mut replies = Replies::new(reader, client.reading);
    let mut read = Box::pin(read(&mut replies, group, setting, &goes_on));
    let patience = tokio::time::sleep(PATIENCE);
    let stop = tokio::select! {
        biased;
        stop = &mut read => {
            if tokio::time::timeout(AFTERWARDS, write).await.is_err() {
                return Next::Ends;
            }
            stop
        }
        cut = &mut write => match cut {
            Some(Cut::Close) => return Next::Ends,
            Some(Cut::Reset) => return Next::Resets,
            Some(Cut::Stall | Cut::HalfClose) | None => {
                let stop = setting.patiently("a request gets no response", &mut read).await;
                match (stop, cut) {
                    (None, _) => return Next::Ends,
                    (Some(None), Some(_)) => return Next::Waits,
                    (Some(stop), _) => stop,
                }
            }
        },
        () = patience => {
            setting.fault("a timeout was not heeded: the gateway reads no request and sends no response");
            return Next::Ends;
        }
    };
    drop(read);
    let has_more = replies.has_more();
    match (stop, client.reading) {
        // More than was asked for: the gateway's answer to bytes that are no request.
        (None, _) if has_more => Next::Ends,
        (None, _) => Next::Goes,
        (Some(Stop::Left), Reading::Leave { reset: true, .. }) => Next::Resets,
        (Some(_), _) => Next::Ends,
    }
}

/// Writes the requests; returns how they are cut.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    group: &[Request],
    client: &H1Client,
    room: &mut usize,
    setting: &Setting,
    goes_on: &Notify,
) -> Option<Cut> {
    for request in group {
        let wire = request.wire();
        for (is_head, part) in [(true, wire.head), (false, wire.body)] {
            if !is_head && request.expects_continue && request.has_body() {
                let _ = tokio::time::timeout(CONTINUE, goes_on.notified()).await;
            }
            let length = part.len().min(*room);
            for piece in client.pieces.of(&part[..length]) {
                if writer.write_all(piece).await.is_err() {
                    return None;
                }
                if !client.pieces.pause.is_zero() {
                    tokio::time::sleep(client.pieces.pause).await;
                }
            }
            *room -= length;
            if length < part.len() {
                let cut = client.cut.map(|(_, cut)| cut);
                if cut == Some(Cut::HalfClose) {
                    let _ = writer.shutdown().await;
                }
                return cut;
            }
            setting.record().begun += usize::from(is_head);
        }
        setting.record().sent.insert(request.number);
    }
    None
}

/// Reads the responses to the requests.
async fn read<R: tokio::io::AsyncRead + Unpin>(
    replies: &mut Replies<R>,
    group: &[Request],
    setting: &Setting,
    goes_on: &Notify,
) -> Option<Stop> {
    for request in group {
        let (reply, stop) = replies.next(|| goes_on.notify_one()).await;
        let mut last = false;
        if let Some(reply) = reply {
            last = reply.last;
            setting.record().replies.push((request.number, reply));
        }
        if stop.is_some() || last {
            return Some(stop.unwrap_or(Stop::Closed));
        }
    }
    None
}
