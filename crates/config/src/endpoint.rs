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
    /// HTTP/1.1 in clear text.
    #[default]
    Http,
    /// HTTP over TLS, with the version negotiated by ALPN.
    Https,
    /// HTTP/2 in clear text with prior knowledge (`kubernetes.io/h2c`).
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

impl EngineKind {
    /// Every engine by its word in the label `pointsman.dev/engine`.
    pub(crate) const ALL: [(&str, Self); 4] = [
        ("vllm", Self::Vllm),
        ("sglang", Self::Sglang),
        ("trtllm-serve", Self::TrtllmServe),
        ("triton", Self::Triton),
    ];

    /// Its word in the label `pointsman.dev/engine`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TrtllmServe => "trtllm-serve",
            Self::Triton => "triton",
        }
    }
}
