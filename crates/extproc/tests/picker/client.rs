//! A gRPC client at the level of bytes: HTTP/2, length-prefixed messages, trailers.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pointsman_extproc::wire::{ProcessingRequest, ProcessingResponse};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

type Frames = std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;
type Body = StreamBody<Frames>;

pub(crate) const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// A connection to a port.
#[derive(Clone)]
pub(crate) struct Client(http2::SendRequest<Body>);

/// A call in progress.
pub(crate) struct Call {
    messages: Option<mpsc::UnboundedSender<Bytes>>,
    body: Incoming,
    read: BytesMut,
    /// The end of the call.
    pub(crate) trailers: Option<HeaderMap>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream).await.unwrap()
    }

    pub(crate) async fn over<S>(stream: S) -> Result<Self, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub(crate) async fn call(&mut self, path: &str) -> Result<Call, hyper::Error> {
        let (messages, mut queue) = mpsc::unbounded_channel();
        let frames: Frames = Box::pin(futures_util::stream::poll_fn(move |cx| {
            queue.poll_recv(cx).map(|message| message.map(|bytes| Ok(Frame::data(bytes))))
        }));
        let request = Request::post(format!("http://picker{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(StreamBody::new(frames))
            .unwrap();
        let response = self.0.send_request(request).await?;
        let status = response.headers().get("grpc-status").is_some().then(|| response.headers().clone());
        let (_, body) = response.into_parts();
        Ok(Call { messages: Some(messages), body, read: BytesMut::new(), trailers: status })
    }

    pub(crate) async fn process(&mut self) -> Call {
        self.call(PROCESS).await.unwrap()
    }

    /// `ServingStatus`, or the gRPC status of the failure.
    pub(crate) async fn health(&mut self, service: &str) -> Result<i32, String> {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Ask {
            #[prost(string, tag = "1")]
            service: String,
        }
        #[derive(Clone, PartialEq, prost::Message)]
        struct Told {
            #[prost(int32, tag = "1")]
            status: i32,
        }
        let (messages, mut queue) = mpsc::unbounded_channel();
        messages.send(framed(&Ask { service: service.to_owned() })).unwrap();
        drop(messages);
        let frames: Frames = Box::pin(futures_util::stream::poll_fn(move |cx| {
            queue.poll_recv(cx).map(|message| message.map(|bytes| Ok(Frame::data(bytes))))
        }));
        let request = Request::post("http://picker/grpc.health.v1.Health/Check")
            .header("content-type", "application/grpc")
            .body(StreamBody::new(frames))
            .unwrap();
        let response = self.0.send_request(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let mut call = Call { messages: None, body, read: BytesMut::new(), trailers: Some(parts.headers) };
        match call.bytes().await {
            Some(bytes) => Ok(Told::decode(bytes).unwrap().status),
            None => Err(call.status()),
        }
    }
}

impl Call {
    /// The picker may have ended the call; the next response shows it.
    pub(crate) fn send(&self, message: &ProcessingRequest) {
        let _ = self.messages.as_ref().unwrap().send(framed(message));
    }

    /// Ends the gateway's side of the stream.
    pub(crate) fn half_close(&mut self) {
        self.messages = None;
    }

    /// The next response; `None` at the end of the call.
    pub(crate) async fn next(&mut self) -> Option<ProcessingResponse> {
        self.bytes().await.map(|bytes| ProcessingResponse::decode(bytes).unwrap())
    }

    /// The next `count` responses.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<ProcessingResponse> {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.next().await.unwrap());
        }
        taken
    }

    /// The gRPC status that ended the call.
    pub(crate) fn status(&self) -> String {
        let field = |name| self.trailers.as_ref()?.get(name).map(|value| value.to_str().unwrap().to_owned());
        field("grpc-status").unwrap_or_else(|| "none".to_owned())
    }

    async fn bytes(&mut self) -> Option<Bytes> {
        loop {
            if self.read.len() >= 5 {
                let length = (&self.read[1..5]).get_u32() as usize;
                if self.read.len() >= 5 + length {
                    self.read.advance(5);
                    return Some(self.read.split_to(length).freeze());
                }
            }
            match self.body.frame().await?.ok()?.into_data() {
                Ok(data) => self.read.extend_from_slice(&data),
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            }
        }
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}
