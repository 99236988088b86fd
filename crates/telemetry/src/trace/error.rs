//! Errors of the exporter's settings.

use std::path::PathBuf;

/// Why traces cannot be exported as configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// The endpoint is not an HTTP URL with a host.
    #[error(
        "OTLP endpoint {0:?} is not a URL such as http://127.0.0.1:4318, or http://127.0.0.1:4317 for gRPC"
    )]
    Endpoint(String),
    /// The protocol is not supported.
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL is {0:?}; supported are grpc and http/protobuf, but not the JSON encoding"
    )]
    Protocol(String),
    /// The sampler is not supported.
    #[error(
        "OTEL_TRACES_SAMPLER is {0:?}; supported are parentbased_always_on, _always_off and _traceidratio"
    )]
    Sampler(String),
    /// The share of traces is out of range.
    #[error("OTEL_TRACES_SAMPLER_ARG is {0:?}, and must be a number between 0 and 1")]
    Share(String),
    /// The headers do not parse.
    #[error("OTEL_EXPORTER_OTLP_HEADERS is not a list of name=value")]
    Headers,
    /// The time limit does not parse.
    #[error("OTEL_EXPORTER_OTLP_TIMEOUT is {0:?}, and must be a number of milliseconds above 0")]
    Timeout(String),
    /// Only one half of the client's identity is set.
    #[error("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY must be set together")]
    ClientIdentity,
    /// A certificate or key file cannot be used.
    #[error("cannot use {} for TLS to the OTLP collector: {reason}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// TLS cannot be set up with the given files.
    #[error("cannot set up TLS to the OTLP collector: {0}")]
    Tls(String),
}
