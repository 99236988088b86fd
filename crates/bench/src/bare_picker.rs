//! The baseline of the picker's overhead: an ext_proc server without routing logic. It buffers a request until its body
//! is complete, names the next endpoint round-robin, returns the body and passes the response through. No picker behind
//! ext_proc costs less than Envoy and this.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, poll_fn};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pointsman_extproc::wire::{
    BodyMutation, BodyResponse, CommonResponse, Event, HeaderMutation, HeaderValueOption, HeadersResponse,
    Mutation, ProcessingRequest, ProcessingResponse, Reply, StreamedBodyResponse, TrailersResponse,
};
use pointsman_extproc::{DESTINATION, Messages};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};

/// Longest piece of a streamed body that Envoy accepts, in bytes.
const PIECE: usize = 62_000;
/// Capacity of a stream's channel of responses.
const OUTGOING: usize = 64;

/// Serves a listener until accepting fails. For comparable figures it runs on a runtime of one thread.
///
/// # Errors
/// Accepting failed.
pub async fn serve(listener: TcpListener, endpoints: Vec<String>) -> std::io::Result<()> {
    let picker = Arc::new(BarePicker { endpoints, next: AtomicUsize::new(0) });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let picker = Arc::clone(&picker);
        let service = service_fn(move |request| {
            let picker = Arc::clone(&picker);
            async move {
                let mut grpc =
                    Grpc::new(Messages::default()).apply_max_message_size_config(Some(64 << 20), None);
                Ok::<_, Infallible>(grpc.streaming(Method(picker), request).await)
            }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(4_096)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

#[derive(Debug)]
struct BarePicker {
    endpoints: Vec<String>,
    next: AtomicUsize,
}

struct Method(Arc<BarePicker>);

impl StreamingService<ProcessingRequest> for Method {
    type Response = ProcessingResponse;
    type ResponseStream = BoxStream<'static, Result<ProcessingResponse, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<ProcessingRequest>>) -> Self::Future {
        let endpoints = &self.0.endpoints;
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        let endpoint = turn.checked_rem(endpoints.len()).and_then(|turn| endpoints.get(turn).cloned());
        let Some(endpoint) = endpoint else { return ready(Err(Status::unavailable("no endpoints"))) };
        let (sender, mut receiver) = mpsc::channel(OUTGOING);
        tokio::spawn(process(request.into_inner(), endpoint, sender));
        let replies = poll_fn(move |context| receiver.poll_recv(context).map(|reply| reply.map(Ok)));
        ready(Ok(Response::new(replies.boxed())))
    }
}

async fn process(
    mut incoming: Streaming<ProcessingRequest>,
    endpoint: String,
    outgoing: mpsc::Sender<ProcessingResponse>,
) {
    let mut body = BytesMut::new();
    while let Ok(Some(message)) = incoming.message().await {
        for reply in replies(message.request, &mut body, &endpoint) {
            let response = ProcessingResponse { response: Some(reply), dynamic_metadata: None };
            if outgoing.send(response).await.is_err() {
                return;
            }
        }
    }
}

fn replies(event: Option<Event>, body: &mut BytesMut, endpoint: &str) -> Vec<Reply> {
    match event {
        Some(Event::RequestHeaders(head)) if head.end_of_stream => {
            vec![Reply::RequestHeaders(picked(endpoint))]
        }
        Some(Event::RequestBody(piece)) => {
            body.extend_from_slice(&piece.body);
            if !piece.end_of_stream {
                return Vec::new();
            }
            let mut whole = std::mem::take(body).freeze();
            let mut replies = vec![Reply::RequestHeaders(picked(endpoint))];
            loop {
                let piece = whole.split_to(whole.len().min(PIECE));
                replies.push(Reply::RequestBody(streamed(piece, whole.is_empty())));
                if whole.is_empty() {
                    return replies;
                }
            }
        }
        Some(Event::RequestTrailers(_)) => vec![Reply::RequestTrailers(TrailersResponse {})],
        Some(Event::ResponseHeaders(_)) => vec![Reply::ResponseHeaders(HeadersResponse { response: None })],
        Some(Event::ResponseBody(piece)) => {
            vec![Reply::ResponseBody(streamed(piece.body, piece.end_of_stream))]
        }
        Some(Event::ResponseTrailers(_)) => vec![Reply::ResponseTrailers(TrailersResponse {})],
        Some(Event::RequestHeaders(_)) | None => Vec::new(),
    }
}

fn picked(endpoint: &str) -> HeadersResponse {
    let set_headers = vec![HeaderValueOption::set(DESTINATION, Bytes::copy_from_slice(endpoint.as_bytes()))];
    let header_mutation = Some(HeaderMutation { set_headers, remove_headers: Vec::new() });
    let common = CommonResponse { header_mutation, clear_route_cache: true, body_mutation: None };
    HeadersResponse { response: Some(common) }
}

fn streamed(body: Bytes, end_of_stream: bool) -> BodyResponse {
    let mutation = Mutation::Streamed(StreamedBodyResponse { body, end_of_stream });
    let body_mutation = Some(BodyMutation { mutation: Some(mutation) });
    BodyResponse { response: Some(CommonResponse { body_mutation, ..CommonResponse::default() }) }
}
