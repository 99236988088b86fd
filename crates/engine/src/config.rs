//! Settings of a simulated engine.

use std::net::SocketAddr;
use std::time::Duration;

use pointsman_sim::engine::EngineProfile;
use thiserror::Error;

use crate::fault::{FaultError, FaultInjection};

/// The vLLM release whose protocol the server follows.
pub(crate) const VLLM_VERSION: &str = "0.32.0";

/// Settings of one simulated engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Listening address; port 0 takes a free port.
    pub listen: SocketAddr,
    /// Name of the base model.
    pub model: String,
    /// The model and accelerator to simulate: step times and sizes.
    pub profile: EngineProfile,
    /// Speed of engine time relative to wall-clock time, above zero; 0.5 is half as fast.
    pub speed: f64,
    /// Seed of the outputs' texts and lengths. Lengths that no request field determines follow ShareGPT.
    pub seed: u64,
    /// Names of the LoRA adapters that are loaded at the start; more can be loaded over HTTP.
    pub adapters: Vec<String>,
    /// Keep-alive timeout of idle connections; uvicorn's default is 5 s.
    pub keep_alive: Duration,
    /// Longest time that running requests are given at shutdown.
    pub drain: Duration,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Whether clients can inject faults: `POST /fault` and the `x-pointsman-fault` header.
    pub faults: bool,
    /// Faults that are injected from the start, whatever `faults` says.
    pub injected_faults: Vec<FaultInjection>,
}

impl EngineConfig {
    /// A server of this model in real time, with vLLM's defaults and no faults.
    #[must_use]
    pub fn new(listen: SocketAddr, model: impl Into<String>, profile: EngineProfile) -> Self {
        Self {
            listen,
            model: model.into(),
            profile,
            speed: 1.0,
            seed: 0,
            adapters: Vec::new(),
            keep_alive: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            max_body_bytes: 32 << 20,
            faults: false,
            injected_faults: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), EngineError> {
        if !self.speed.is_finite() || self.speed <= 0.0 {
            return Err(EngineError::Speed(self.speed));
        }
        if self.model.is_empty() {
            return Err(EngineError::NoModel);
        }
        Ok(())
    }
}

/// The reason why a simulated server cannot start.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The address cannot be bound.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A fault cannot be injected.
    #[error("cannot inject these faults: {0}")]
    Faults(#[from] FaultError),
    /// The speed is not a positive number.
    #[error("speed must be a number above zero, not {0}")]
    Speed(f64),
    /// The base model has no name.
    #[error("the model needs a name")]
    NoModel,
}
