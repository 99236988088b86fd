//! What a simulated server is given, and why it may not start.

use std::net::SocketAddr;
use std::time::Duration;

use pointsman_sim::engine::EngineProfile;
use thiserror::Error;

use crate::fault::{FaultError, FaultOrder};

/// Settings of one simulated model server.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The name of the base model.
    pub model: String,
    /// The model and accelerator to imitate: step times and sizes.
    pub profile: EngineProfile,
    /// How much faster than the real thing its time runs; 1 is real time, 0.5 half as fast. Above zero.
    pub speed: f64,
    /// Decides the texts and lengths of answers. The lengths of those that nothing bounds follow ShareGPT; with
    /// `ignore_eos` an answer always has `max_tokens`.
    pub seed: u64,
    /// Adapters that are served from the start, by name; more can be loaded over HTTP.
    pub adapters: Vec<String>,
    /// How long an idle connection stays open; uvicorn's default is 5 s.
    pub keep_alive: Duration,
    /// How long requests may go on after shutdown was asked for.
    pub drain: Duration,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Whether faults can be ordered over HTTP: `POST /fault` and the `x-pointsman-fault` header.
    pub faults: bool,
    /// Faults in force from the start, whatever `faults` says.
    pub fault_orders: Vec<FaultOrder>,
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
            fault_orders: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), EngineError> {
        if !self.speed.is_finite() || self.speed <= 0.0 {
            return Err(EngineError::Speed { speed: self.speed });
        }
        if self.model.is_empty() {
            return Err(EngineError::NoModel);
        }
        Ok(())
    }
}

/// Why a simulated server cannot start.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// More faults than can be in force together.
    #[error("cannot start with these faults: {source}")]
    Faults {
        /// What is wrong.
        source: FaultError,
    },
    /// Time must run.
    #[error("speed must be a number above zero, not {speed}")]
    Speed {
        /// The setting.
        speed: f64,
    },
    /// The base model needs a name.
    #[error("the model needs a name")]
    NoModel,
}
