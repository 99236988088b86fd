//! Addresses of engines.

use std::sync::Arc;

/// Why one cluster of a gateway cannot hold these endpoints: it has one protocol.
#[must_use]
pub fn mixed_protocols(endpoints: &[EndpointAddress]) -> Option<String> {
    let mut protocols: Vec<AppProtocol> = endpoints.iter().map(|endpoint| endpoint.protocol).collect();
    protocols.sort_unstable();
    protocols.dedup();
    let words: Vec<&str> = protocols.into_iter().map(AppProtocol::as_str).collect();
    let words = (words.len() > 1).then(|| words.join(" and "))?;
    Some(format!("its endpoints use different protocols, {words}, and a gateway's cluster has one"))
}

/// The address of an endpoint and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointAddress {
    /// Host name or IP address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Application protocol.
    pub protocol: AppProtocol,
    /// The engine, where the manifests name it; otherwise it is detected from its metrics page.
    pub engine: Option<EngineKind>,
    /// Where its metrics page is.
    pub metrics: MetricsPage,
}

/// Where an endpoint's metrics page is. `None` stands for the usual place.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricsPage {
    /// Its port, where it is not the endpoint's.
    pub port: Option<u16>,
    /// Its path, where it is not the engine's usual one.
    pub path: Option<Arc<str>>,
    /// Its protocol, where it is not the endpoint's.
    pub protocol: Option<AppProtocol>,
}

impl MetricsPage {
    /// This place; what it leaves open is as in `other`.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            port: self.port.or(other.port),
            path: self.path.clone().or_else(|| other.path.clone()),
            protocol: self.protocol.or(other.protocol),
        }
    }

    /// Whether a text is a path of a page: absolute, of visible ASCII characters, with or without a query.
    #[must_use]
    pub fn is_path(text: &str) -> bool {
        text.starts_with('/') && text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    }
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

impl AppProtocol {
    /// The scheme of its URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
        }
    }
}

/// Engines whose metrics pages Pointsman reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineKind {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server (`trtllm-serve`).
    TrtllmServe,
    /// LMDeploy.
    Lmdeploy,
    /// llama.cpp's `llama-server`, started with `--metrics`.
    LlamaCpp,
    /// Hugging Face's Text Generation Inference.
    Tgi,
    /// Triton. With the TensorRT-LLM backend its KV cache is known too, with others only its queue.
    Triton,
}

impl EngineKind {
    /// All engines.
    pub const ALL: [Self; 7] = [
        Self::Vllm,
        Self::Sglang,
        Self::TrtllmServe,
        Self::Lmdeploy,
        Self::LlamaCpp,
        Self::Tgi,
        Self::Triton,
    ];

    /// The word for it in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TrtllmServe => "trtllm-serve",
            Self::Lmdeploy => "lmdeploy",
            Self::LlamaCpp => "llama.cpp",
            Self::Tgi => "tgi",
            Self::Triton => "triton",
        }
    }

    /// The words of all engines, for messages.
    #[must_use]
    pub fn words() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}
