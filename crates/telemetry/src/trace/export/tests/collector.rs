//! An OTLP collector on a port of this machine, over HTTP and gRPC, with or without TLS.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prost::Message as _;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::trace::otlp::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse};

/// How the collector answers one export.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    Accepted,
    /// It accepted the export without this number of spans.
    Rejected(i64),
    /// HTTP status.
    Status(u16),
    /// gRPC status.
    Code(Code),
}

type Exports = Arc<Mutex<Vec<(Parts, ExportTraceServiceRequest)>>>;

/// A collector that gives the replies in turn, accepts every later export, and keeps what it was sent.
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    exports: Exports,
    certificate: Option<TempDir>,
}

impl Collector {
    pub(super) async fn start(replies: &'static [Reply], tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let exports = Exports::default();
        let (acceptor, certificate) = tls.then(tls_acceptor).unzip();
        let kept = Arc::clone(&exports);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (kept, acceptor) = (Arc::clone(&kept), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        // A client that does not trust the certificate breaks off the handshake.
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, kept, replies).await;
                            }
                        }
                        None => serve(stream, kept, replies).await,
                    }
                });
            }
        });
        Self { address, exports, certificate }
    }

    /// The file with the authority of the collector's certificate, where it has one.
    pub(super) fn authority(&self) -> Option<PathBuf> {
        self.certificate.as_ref().map(|folder| folder.path().join("ca.pem"))
    }

    pub(super) fn exports(&self) -> Vec<(Parts, ExportTraceServiceRequest)> {
        self.exports.lock().unwrap().clone()
    }

    pub(super) fn batch_sizes(&self) -> Vec<usize> {
        let exports = self.exports.lock().unwrap();
        exports.iter().map(|(_, message)| message.resource_spans[0].scope_spans[0].spans.len()).collect()
    }
}

fn tls_acceptor() -> (TlsAcceptor, TempDir) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), folder)
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    exports: Exports,
    replies: &'static [Reply],
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let exports = Arc::clone(&exports);
        async move {
            let reply = replies.get(exports.lock().unwrap().len()).copied().unwrap_or(Reply::Accepted);
            Ok::<_, Infallible>(answer(request, exports, reply).await)
        }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, exports: Exports, reply: Reply) -> Response<Body> {
    let (head, body) = request.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let is_grpc = head.headers[http::header::CONTENT_TYPE] == "application/grpc";
    // A gRPC message follows a flag and its length.
    let message = ExportTraceServiceRequest::decode(bytes.slice(if is_grpc { 5.. } else { 0.. })).unwrap();
    exports.lock().unwrap().push((head.clone(), message));
    match reply {
        Reply::Status(status) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
        _ if is_grpc => {
            let request = Request::from_parts(head, Full::new(bytes));
            Grpc::new(ProstCodec::default()).unary(Method(reply), request).await
        }
        Reply::Accepted | Reply::Rejected(_) | Reply::Code(_) => {
            Response::new(Body::new(Full::new(Bytes::from(response(reply).encode_to_vec()))))
        }
    }
}

fn response(reply: Reply) -> ExportTraceServiceResponse {
    let partial_success = match reply {
        Reply::Rejected(rejected_spans) => {
            Some(ExportTracePartialSuccess { rejected_spans, error_message: "too old".into() })
        }
        Reply::Accepted | Reply::Status(_) | Reply::Code(_) => None,
    };
    ExportTraceServiceResponse { partial_success }
}

struct Method(Reply);

impl UnaryService<ExportTraceServiceRequest> for Method {
    type Response = ExportTraceServiceResponse;
    type Future = Ready<Result<tonic::Response<Self::Response>, Status>>;

    fn call(&mut self, _: tonic::Request<ExportTraceServiceRequest>) -> Self::Future {
        ready(match self.0 {
            Reply::Code(code) => Err(Status::new(code, "as the test asks")),
            reply @ (Reply::Accepted | Reply::Rejected(_) | Reply::Status(_)) => {
                Ok(tonic::Response::new(response(reply)))
            }
        })
    }
}
