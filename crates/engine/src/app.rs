//! State that the requests of one server share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsman_core::Rng;
use pointsman_sim::engine::AdapterId;
use tokio::sync::watch;

use crate::config::EngineConfig;
use crate::fault::{Fault, FaultError, FaultInjection, FaultInjector};
use crate::live::{LiveEngine, unix_now};
use crate::lock::locked;
use crate::stored_responses::StoredResponses;

/// The model that a request names: the base model or an adapter.
#[derive(Clone, Debug)]
pub(crate) struct RequestedModel {
    /// Salt of its block hashes, which keeps the cached blocks of models apart.
    pub(crate) cache_salt: String,
    pub(crate) adapter: Option<AdapterId>,
}

/// A loaded adapter.
#[derive(Clone, Debug)]
pub(crate) struct LoadedAdapter {
    pub(crate) id: AdapterId,
    pub(crate) path: String,
}

/// One server.
pub(crate) struct App {
    pub(crate) config: EngineConfig,
    pub(crate) engine: Arc<LiveEngine>,
    adapters: Mutex<BTreeMap<String, LoadedAdapter>>,
    pub(crate) stored_responses: StoredResponses,
    pub(crate) faults: Mutex<FaultInjector>,
    /// Time for which the port is closed, while [`Fault::Refuse`] is active.
    pub(crate) refusal: watch::Sender<Option<Duration>>,
    /// Unix time of the start in seconds.
    pub(crate) started: f64,
    ids: AtomicU64,
}

impl App {
    pub(crate) fn new(config: EngineConfig, port: u16) -> Self {
        let engine = Arc::new(LiveEngine::new(config.profile.clone(), config.speed));
        let started = unix_now();
        // Ids differ between servers and runs, even with equal seeds.
        let first_id = started.to_bits().rotate_left(16) ^ u64::from(port);
        let app = Self {
            engine,
            adapters: Mutex::default(),
            stored_responses: StoredResponses::default(),
            faults: Mutex::new(FaultInjector::new(config.seed)),
            refusal: watch::Sender::new(None),
            started,
            ids: AtomicU64::new(first_id),
            config,
        };
        for name in &app.config.adapters {
            app.load_adapter(name, name);
        }
        app
    }

    /// The base model or adapter of this name, if it is served.
    pub(crate) fn model(&self, name: &str) -> Option<RequestedModel> {
        if name == self.config.model {
            return Some(RequestedModel { cache_salt: String::new(), adapter: None });
        }
        let adapters = locked(&self.adapters);
        let LoadedAdapter { id, path } = adapters.get(name)?;
        Some(RequestedModel { cache_salt: format!("{name}\n{path}"), adapter: Some(*id) })
    }

    /// The loaded adapters by name.
    pub(crate) fn adapters(&self) -> BTreeMap<String, LoadedAdapter> {
        locked(&self.adapters).clone()
    }

    /// Loads an adapter; false where one of this name is loaded already.
    pub(crate) fn load_adapter(&self, name: &str, path: &str) -> bool {
        let mut adapters = locked(&self.adapters);
        if adapters.contains_key(name) {
            return false;
        }
        let id = self.engine.adapter_id(name);
        adapters.insert(name.to_owned(), LoadedAdapter { id, path: path.to_owned() });
        true
    }

    /// Unloads an adapter; running requests finish with it. False where none of this name is loaded.
    pub(crate) fn unload_adapter(&self, name: &str) -> bool {
        let Some(adapter) = locked(&self.adapters).remove(name) else { return false };
        self.engine.lock().engine.unload_adapter(adapter.id);
        true
    }

    /// A new id: sixteen hexadecimal digits, unique within the server.
    pub(crate) fn new_id(&self) -> String {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", Rng::seeded(number).next_u64())
    }

    /// Activates a fault injection.
    pub(crate) fn inject(&self, injection: FaultInjection) -> Result<(), FaultError> {
        match injection.fault {
            Fault::Refuse { duration } => {
                self.refusal.send_replace(Some(duration));
                Ok(())
            }
            Fault::Slow { factor } => {
                self.engine.lock().slowdown = factor;
                Ok(())
            }
            Fault::Hang | Fault::Status { .. } | Fault::Response { .. } => {
                locked(&self.faults).add(injection)
            }
        }
    }

    /// Ends every active fault except a closed port, which opens when its time is over.
    pub(crate) fn clear_faults(&self) {
        locked(&self.faults).clear();
        self.engine.lock().slowdown = 1.0;
    }
}

/// The Unix time in whole seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds since 1970")]
pub(crate) fn unix_seconds() -> u64 {
    unix_now() as u64
}
