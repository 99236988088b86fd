//! The gRPC methods of the ports.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec};
use tonic::server::{Grpc, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::{ProstDecoder, ProstEncoder};

use crate::health::{self, HealthRequest, HealthResponse};
use crate::process::Process;
use crate::session::DataPlane;
use crate::shared::Shared;
use crate::wire::{ProcessingRequest, ProcessingResponse};

const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Allowance for a message's own fields besides the body that it carries, in bytes.
const MESSAGE_MARGIN: usize = 1 << 20;

/// The buffers that a stream keeps in each direction: 1 KiB, with 32 KiB written at a time. Thousands of streams wait for
/// tokens most of the time; a long body grows its buffer while it is there.
fn buffers() -> BufferSettings {
    BufferSettings::new(1 << 10, 32 << 10)
}

/// The services of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Services {
    /// ext_proc and health.
    Picker,
    /// Health only.
    Health,
}

/// Serves one call of a connection, whose gateway has shown `plane` of itself.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    plane: Arc<DataPlane>,
    services: Services,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, Infallible> {
    let response = match (request.uri().path(), services) {
        (PROCESS, Services::Picker) => {
            let max_bytes = usize::try_from(shared.limits().max_body_bytes).unwrap_or(usize::MAX);
            let max_bytes = max_bytes.saturating_add(MESSAGE_MARGIN);
            let mut grpc =
                Grpc::new(Messages::default()).apply_max_message_size_config(Some(max_bytes), None);
            grpc.streaming(ProcessMethod(shared, plane), request).await
        }
        (HEALTH_CHECK, _) => Grpc::new(Messages::default()).unary(CheckMethod(shared), request).await,
        (HEALTH_WATCH, _) => {
            Grpc::new(Messages::default()).server_streaming(WatchMethod(shared), request).await
        }
        _ => Status::unimplemented("no such method on this port").into_http(),
    };
    Ok(response)
}

struct ProcessMethod(Arc<Shared>, Arc<DataPlane>);

impl StreamingService<ProcessingRequest> for ProcessMethod {
    type Response = ProcessingResponse;
    type ResponseStream = Process;
    type Future = Ready<Result<Response<Process>, Status>>;

    fn call(&mut self, request: Request<Streaming<ProcessingRequest>>) -> Self::Future {
        ready(Ok(Response::new(Process::start(&self.0, &self.1, request.into_inner()))))
    }
}

struct CheckMethod(Arc<Shared>);

impl UnaryService<HealthRequest> for CheckMethod {
    type Response = HealthResponse;
    type Future = Ready<Result<Response<HealthResponse>, Status>>;

    fn call(&mut self, request: Request<HealthRequest>) -> Self::Future {
        ready(health::check(&self.0, &request.into_inner().service).map(Response::new))
    }
}

struct WatchMethod(Arc<Shared>);

impl ServerStreamingService<HealthRequest> for WatchMethod {
    type Response = HealthResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<HealthResponse, Status>> + Send>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<HealthRequest>) -> Self::Future {
        let watched = health::watch(Arc::clone(&self.0), request.into_inner().service);
        ready(Ok(Response::new(Box::pin(watched))))
    }
}

/// tonic's codec for prost messages, `E` out and `D` in, with buffers for streams that are idle most of the time.
#[derive(Debug)]
pub struct Messages<E, D>(PhantomData<(E, D)>);

impl<E, D> Default for Messages<E, D> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<E, D> Codec for Messages<E, D>
where
    E: Message + Send + 'static,
    D: Message + Default + Send + 'static,
{
    type Encode = E;
    type Decode = D;
    type Encoder = ProstEncoder<E>;
    type Decoder = ProstDecoder<D>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(buffers())
    }
}
