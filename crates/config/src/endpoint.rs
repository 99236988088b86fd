//! Addresses of engines.

use std::sync::Arc;

/// The address of an endpoint and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointAddress {
    /// Host name or IP address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Application protocol.
    pub protocol: AppProtocol,
    /// The model server, where the manifests name it; otherwise it is detected from its metrics page.
    pub engine: Option<EngineKind>,
}

/// Application protocol of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppProtocol {
    /// HTTP/1.1 in plaintext.
    #[default]
    Http,
    /// HTTP over TLS, with the version negotiated by ALPN.
    Https,
    /// HTTP/2 in plaintext with prior knowledge (`kubernetes.io/h2c`).
    H2c,
}

/// Model servers whose metrics pages Pointsman reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineKind {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server (`trtllm-serve`).
    TrtllmServe,
    /// Triton with the TensorRT-LLM backend.
    Triton,
}
