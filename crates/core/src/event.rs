//! The one way in and the one way out of a [`Scheduler`](crate::Scheduler): plain data.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::endpoint::{EndpointSpec, Health, LoadReport};
use crate::ids::{EndpointId, ModelKey, PoolId, RequestId};
use crate::policy::PoolPolicy;
use crate::request::{Completion, FailureCause, Rejection, RequestFacts, Usage};
use crate::time::Time;

/// Between two [`Event::Progress`] of a request. Ten times as many told the policies nothing more: in simulated fleets,
/// equal ones and one with a slow engine, short outputs and long ones, latencies moved by less than 1 %.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// An endpoint appeared, or its standing facts changed.
    EndpointUp {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its standing facts.
        spec: EndpointSpec,
    },
    /// An endpoint takes no new requests and keeps those it has.
    EndpointDraining {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// An endpoint left. Requests on it end by their own events.
    EndpointDown {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// An engine's gauges were read.
    Load {
        /// The endpoint.
        endpoint: EndpointId,
        /// What they said.
        report: LoadReport,
    },
    /// An active health probe was answered, or not.
    Probed {
        /// The endpoint.
        endpoint: EndpointId,
        /// Whether the answer was good.
        healthy: bool,
    },
    /// An InferencePool's policy was set or changed.
    PoolPolicyChanged {
        /// The InferencePool.
        pool: PoolId,
        /// Its policy.
        policy: PoolPolicy,
    },
    /// These targets are adapters, as manifests or an engine's list of models say. Others become known as such
    /// when an engine's gauge lists them.
    AdaptersDeclared {
        /// The adapters, in addition to those known.
        adapters: Vec<ModelKey>,
    },
    /// A request wants an endpoint.
    Arrived {
        /// The request.
        request: RequestId,
        /// What is known of it.
        facts: RequestFacts,
    },
    /// What endpoints' prefix caches truly hold of the prompt of a request that is about to arrive: it stands in for
    /// what the index holds to be there. Only who sees into the engines can tell it, such as a simulation that measures
    /// what an exact index would be worth.
    CachesRead {
        /// The request.
        request: RequestId,
        /// Endpoints with the prompt tokens they hold; the others hold none.
        cached: Vec<(EndpointId, u32)>,
    },
    /// The first output token was seen.
    FirstToken {
        /// The request.
        request: RequestId,
    },
    /// Output tokens so far, coalesced by the door to at most one event per request and [`PROGRESS_EVERY`].
    Progress {
        /// The request.
        request: RequestId,
        /// Output tokens seen so far.
        output_tokens: u32,
    },
    /// An attempt failed before anything went to the client.
    AttemptFailed {
        /// The request.
        request: RequestId,
        /// Where.
        endpoint: EndpointId,
        /// Why.
        cause: FailureCause,
        /// Whether the request may be repeated. Answered by one dispatch or reject; else the request is over.
        repeat: bool,
    },
    /// The gateway in front served the request elsewhere than told (its own retry).
    ServedElsewhere {
        /// The request.
        request: RequestId,
        /// The endpoint that served.
        endpoint: EndpointId,
    },
    /// A dispatched request came to its end.
    Finished {
        /// The request.
        request: RequestId,
        /// How.
        completion: Completion,
        /// Its token counts.
        usage: Usage,
    },
    /// Nobody waits for the request any more; it may be held, dispatched or already gone.
    Aborted {
        /// The request.
        request: RequestId,
    },
    /// A time that an effect asked for has come.
    Timer,
}

/// Something to do, or to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send the request to this endpoint. Its load is reserved until the request ends.
    Dispatch {
        /// The request.
        request: RequestId,
        /// Where to.
        endpoint: EndpointId,
        /// Where to next, in order, for doors whose gateway repeats attempts by itself.
        fallbacks: Fallbacks,
        /// Why there, when decisions are asked for.
        decision: Option<Arc<Decision>>,
    },
    /// Answer the request with this rejection; it is over.
    Reject {
        /// The request.
        request: RequestId,
        /// Why.
        rejection: Rejection,
    },
    /// Break off a dispatched request (reserved for flow control).
    Evict {
        /// The request.
        request: RequestId,
    },
    /// Send [`Event::Timer`] at this time. Asking twice is the same as asking once.
    WakeAt(Time),
    /// An endpoint's health changed: for logs and metrics, and so that the driver probes an ejected endpoint.
    HealthChanged {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its new health.
        health: Health,
    },
}

/// Up to three endpoints, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fallbacks {
    endpoints: [EndpointId; Self::CAPACITY],
    len: u8,
}

impl Default for EndpointId {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Fallbacks {
    /// The most fallbacks a dispatch names.
    pub const CAPACITY: usize = 3;

    /// Adds an endpoint behind the others; past the capacity it is left out.
    pub fn push(&mut self, endpoint: EndpointId) {
        if let Some(slot) = self.endpoints.get_mut(usize::from(self.len)) {
            *slot = endpoint;
            self.len += 1;
        }
    }

    /// The endpoints, best first.
    #[must_use]
    pub fn as_slice(&self) -> &[EndpointId] {
        &self.endpoints[..usize::from(self.len)]
    }
}
