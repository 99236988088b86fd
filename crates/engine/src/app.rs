//! What the requests of one server share, and what each of them brings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use pointsman_core::Rng;
use pointsman_sim::engine::AdapterId;
use tokio::sync::watch;

use crate::api::{Fields, Generation};
use crate::config::EngineConfig;
use crate::fault::{Fault, FaultError, FaultOrder, FaultPlan};
use crate::live::{Live, unix_now};
use crate::reply::{self, ApiError, Broken, ErrorType, Reply};
use crate::socket::ResetSwitch;
use crate::stored::StoredResponses;
use crate::stream::{EventStream, Finish, Grammar, engine_dead};

/// A model that requests can name.
#[derive(Clone, Debug)]
pub(crate) struct ServedModel {
    /// What its cached blocks are kept apart by.
    pub(crate) salt: String,
    pub(crate) adapter: Option<AdapterId>,
}

/// An adapter that was loaded.
#[derive(Clone, Debug)]
pub(crate) struct LoadedAdapter {
    pub(crate) id: AdapterId,
    pub(crate) path: String,
}

/// One server.
pub(crate) struct App {
    pub(crate) config: EngineConfig,
    pub(crate) live: Arc<Live>,
    adapters: Mutex<BTreeMap<String, LoadedAdapter>>,
    pub(crate) stored: StoredResponses,
    faults: Mutex<FaultPlan>,
    /// How long the port stays closed, when a refusal was ordered.
    refusal: watch::Sender<Option<Duration>>,
    /// Unix seconds of the start.
    pub(crate) started: f64,
    ids: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    pub(crate) fn new(config: EngineConfig, port: u16) -> Self {
        let live = Arc::new(Live::new(config.profile.clone(), config.speed));
        let started = unix_now();
        // Ids must differ between servers and runs, even with equal seeds.
        let first_id = started.to_bits().rotate_left(16) ^ u64::from(port);
        let app = Self {
            live,
            adapters: Mutex::default(),
            stored: StoredResponses::default(),
            faults: Mutex::new(FaultPlan::new(config.seed)),
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

    /// The model that a request names; the base model when it names none.
    pub(crate) fn model(&self, fields: &Fields) -> Result<ServedModel, ApiError> {
        let name = fields.text("model")?.unwrap_or(&self.config.model);
        if name == self.config.model {
            return Ok(ServedModel { salt: String::new(), adapter: None });
        }
        if let Some(adapter) = locked(&self.adapters).get(name) {
            let salt = format!("{name}\n{}", adapter.path);
            return Ok(ServedModel { salt, adapter: Some(adapter.id) });
        }
        let message = format!("The model `{name}` does not exist. Valid aliases: {}.", self.config.model);
        Err(ApiError::about(ErrorType::NotFound, "model", message))
    }

    /// The adapters that can be named, in order of name.
    pub(crate) fn adapters(&self) -> BTreeMap<String, LoadedAdapter> {
        locked(&self.adapters).clone()
    }

    /// Makes an adapter available; false when one of this name is.
    pub(crate) fn load_adapter(&self, name: &str, path: &str) -> bool {
        let mut adapters = locked(&self.adapters);
        if adapters.contains_key(name) {
            return false;
        }
        let id = self.live.name_adapter(name);
        adapters.insert(name.to_owned(), LoadedAdapter { id, path: path.to_owned() });
        true
    }

    /// Makes an adapter unavailable to new requests; false when there is none of this name.
    pub(crate) fn unload_adapter(&self, name: &str) -> bool {
        let removed = locked(&self.adapters).remove(name);
        removed.is_some_and(|adapter| {
            self.live.unload_adapter(adapter.id);
            true
        })
    }

    /// Sixteen hexadecimal digits that this server gives once.
    pub(crate) fn draw_id(&self) -> String {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", Rng::seeded(number).next_u64())
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds since 1970")]
    pub(crate) fn unix_seconds(&self) -> u64 {
        unix_now() as u64
    }

    /// Puts a fault in force.
    pub(crate) fn order(&self, order: FaultOrder) -> Result<(), FaultError> {
        match order.fault {
            Fault::Refuse { span } => {
                self.refusal.send_replace(Some(span));
                Ok(())
            }
            Fault::Slow { factor } => {
                self.live.slow_down(factor);
                Ok(())
            }
            Fault::Hang
            | Fault::Reset { .. }
            | Fault::Status { .. }
            | Fault::ErrorEvent { .. }
            | Fault::Abort { .. }
            | Fault::Truncate { .. }
            | Fault::Silence { .. } => locked(&self.faults).add(order),
        }
    }

    /// Ends every fault that is in force.
    pub(crate) fn heal(&self) {
        locked(&self.faults).clear();
        self.live.slow_down(1.0);
    }

    /// The fault that strikes the next request.
    pub(crate) fn strike(&self) -> Option<Fault> {
        locked(&self.faults).strike()
    }

    pub(crate) fn refusal(&self) -> &watch::Sender<Option<Duration>> {
        &self.refusal
    }
}

/// Why a request gets no proper answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error answer.
    Api(ApiError),
    /// The connection ends instead.
    Broken(Broken),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// One request as its API sees it.
pub(crate) struct Call {
    pub(crate) body: Bytes,
    /// Whether the body is declared as JSON.
    pub(crate) is_json: bool,
    pub(crate) request_id: Option<String>,
    /// What shall go wrong with it.
    pub(crate) fault: Option<Fault>,
    pub(crate) reset: ResetSwitch,
}

impl Call {
    /// The fields of the body.
    pub(crate) fn fields(&self) -> Result<Fields, ApiError> {
        if !self.is_json {
            let message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed";
            return Err(ApiError::new(ErrorType::BadRequest, message));
        }
        Fields::parse(&self.body)
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// Answers with a stream, broken as ordered.
    pub(crate) fn stream(self, generation: Generation, grammar: Grammar) -> Response<Reply> {
        reply::events(EventStream::new(generation, grammar, self.fault, self.reset))
    }

    /// Answers with a whole body, broken as ordered: `answer` is told when generation was aborted.
    pub(crate) async fn whole(
        self,
        answer: impl FnOnce(Option<Finish<'static>>) -> Response<Reply>,
    ) -> Result<Response<Reply>, Failure> {
        match self.fault {
            Some(Fault::Reset { .. }) => {
                self.reset.set();
                Err(Failure::Broken(Broken))
            }
            // What a client that waits for a whole answer sees of a killed server: a close without a byte.
            Some(Fault::Truncate { .. }) => Err(Failure::Broken(Broken)),
            Some(Fault::Silence { .. }) => std::future::pending().await,
            Some(Fault::ErrorEvent { .. }) => Err(Failure::Api(engine_dead())),
            Some(Fault::Abort { .. }) => Ok(answer(Some(Finish::Abort))),
            Some(Fault::Refuse { .. } | Fault::Hang | Fault::Status { .. } | Fault::Slow { .. }) | None => {
                Ok(answer(None))
            }
        }
    }
}
