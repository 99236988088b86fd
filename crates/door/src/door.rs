//! State that all requests of a front door share.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pointsman_config::GatewayPolicy;
use pointsman_core::{EndpointId, Rng};
use pointsman_exchange::{EngineRequest, ParsedRequest, Refusal, ResolveContext};
use pointsman_fleet::{Fleet, PoolHandle};
use pointsman_protocol::BlockKey;
use pointsman_telemetry::trace::Tracer;
use pointsman_telemetry::{GatewaySample, Metrics};

use crate::budget::Budget;
use crate::request::RequestContext;
use crate::stored_responses::StoredResponses;

/// Increment between the seeds of successive requests: 2^64 divided by the golden ratio, as in SplitMix64.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A front door's fleet, limits and telemetry.
#[derive(Debug)]
pub struct Door {
    /// The fleet behind the door.
    pub fleet: Fleet,
    /// The process's metrics.
    pub metrics: Metrics,
    pub(crate) tracer: Tracer,
    pub(crate) requests: Arc<Budget>,
    pub(crate) body_bytes: Arc<Budget>,
    stored: Mutex<StoredResponses>,
    seeds: AtomicU64,
    /// Random for each process, so that no client can make prompts whose blocks collide.
    block_key: BlockKey,
}

impl Door {
    /// A door in front of the fleet's pools. Registers its gauges with `metrics`; spans go to `tracer`.
    #[must_use]
    pub fn new(fleet: Fleet, metrics: Metrics, tracer: Tracer) -> Arc<Self> {
        let (requests, body_bytes) = (Arc::<Budget>::default(), Arc::<Budget>::default());
        let sampled = (Arc::clone(&requests), Arc::clone(&body_bytes));
        metrics.register_gateway(Box::new(move || GatewaySample {
            requests: sampled.0.used(),
            held_body_bytes: sampled.1.used(),
        }));
        let random = || RandomState::new().hash_one(0);
        let (stored, seeds) = (Mutex::default(), AtomicU64::new(random()));
        let block_key = BlockKey::new([random(), random()]);
        Arc::new(Self { fleet, metrics, tracer, requests, body_bytes, stored, seeds, block_key })
    }

    /// Number of requests in flight.
    #[must_use]
    pub fn requests_in_flight(&self) -> u64 {
        self.requests.used()
    }

    /// Starts the record of a request whose head has arrived. `policy` holds the limits of the configuration in force,
    /// `traceparent` is the client's header of that name.
    #[must_use]
    pub fn begin(self: &Arc<Self>, policy: &GatewayPolicy, traceparent: Option<&[u8]>) -> RequestContext {
        RequestContext::new(self, policy, traceparent)
    }

    /// A random number for one request, for weighted backends and weighted target models.
    #[must_use]
    pub fn draw(&self) -> u64 {
        Rng::seeded(self.seeds.fetch_add(SEED_STEP, Ordering::Relaxed)).next_u64()
    }

    /// Applies the pool's model rules. `draw` is the request's random number; `names_path_exactly` says whether the
    /// route matches the exact path; `path` is the path and query that the engine will get. Hashes the prompt, in time
    /// linear in its bytes.
    ///
    /// # Errors
    /// Those of [`ParsedRequest::resolve`].
    pub fn resolve(
        &self,
        pool: &PoolHandle,
        request: ParsedRequest,
        draw: u64,
        names_path_exactly: bool,
        path: &str,
    ) -> Result<EngineRequest, Refusal> {
        let holder = request.stored_response().and_then(|id| self.holder(pool, id));
        let default_model = if request.lacks_model() { pool.default_model() } else { None };
        request.resolve(&ResolveContext {
            rules: &pool.rules,
            pool: pool.pool_id,
            draw,
            names_path_exactly,
            holder,
            default_model: default_model.as_deref(),
            path,
            block_key: &self.block_key,
        })
    }

    /// The endpoint of the pool that holds the stored response `id`: the one that is remembered, or the only one.
    #[must_use]
    pub fn holder(&self, pool: &PoolHandle, id: &str) -> Option<EndpointId> {
        let remembered = self.stored().holder(self.fleet.now(), id);
        let remembered = remembered.filter(|endpoint| pool.endpoint(*endpoint).is_some());
        remembered.or_else(|| match &*pool.endpoints {
            [only] => Some(only.id),
            _ => None,
        })
    }

    /// Notes that `endpoint` stored the response `id`, so that requests which refer to it are placed there.
    pub fn remember_response(&self, id: &str, endpoint: EndpointId) {
        self.stored().insert(self.fleet.now(), id, endpoint);
    }

    /// Forgets the stored response `id`, which was deleted.
    pub fn forget_response(&self, id: &str) {
        self.stored().forget(id);
    }

    fn stored(&self) -> MutexGuard<'_, StoredResponses> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
