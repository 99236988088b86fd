//! The facts of a request that the core is given.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{BlockHash, EndpointId, ModelKey, PoolId};

/// Everything about a request that placement depends on. Drivers work it out before they take the scheduler's lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestFacts {
    /// The InferencePool the request came through.
    pub pool: PoolId,
    /// The target model or adapter the engine will be asked for; `None` where the request names none.
    pub target: Option<ModelKey>,
    /// Priority: 0 is Standard, below 0 is sheddable, above is Critical.
    pub priority: i32,
    /// Estimated prompt length in tokens; 0 where it is unknown.
    pub prompt_tokens: u32,
    /// The prompt's block hashes, shared with the prefix index; empty where the prompt is not hashed.
    pub blocks: Arc<[BlockHash]>,
    /// Prompt tokens that each of `blocks` stands for, estimated like `prompt_tokens`; 0 where there are none.
    pub block_tokens: u32,
    /// Prompt tokens that endpoints truly have in their prefix caches, where the driver can read those, as a simulation
    /// with an exact index can. It replaces the index's estimate; endpoints that are not listed have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact_cached: Option<Arc<[(EndpointId, u32)]>>,
    /// The most output tokens that the client asked for, over all choices.
    pub max_output_tokens: Option<u32>,
    /// Whether the caller will see output tokens as they are generated (a stream), so that the first one ends the prefill.
    pub observes_tokens: bool,
    /// Where set, only these endpoints may serve the request (a gateway's subset hint, or the one engine that
    /// holds a stored response).
    pub subset: Option<Arc<[EndpointId]>>,
}

impl RequestFacts {
    /// A request of which only its pool is known: placed by load alone.
    #[must_use]
    pub fn unknown(pool: PoolId) -> Self {
        Self {
            pool,
            target: None,
            priority: 0,
            prompt_tokens: 0,
            blocks: Arc::from([]),
            block_tokens: 0,
            exact_cached: None,
            max_output_tokens: None,
            observes_tokens: false,
            subset: None,
        }
    }

    /// Whether the request is rejected while the pool is saturated.
    #[must_use]
    pub const fn sheddable(&self) -> bool {
        self.priority < 0
    }
}

/// Token counts of a finished request, as the engine reported or the caller counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens by the engine's count.
    pub prompt_tokens: Option<u32>,
    /// Prompt tokens the engine found in its prefix cache.
    pub cached_tokens: Option<u32>,
    /// Output tokens over all choices.
    pub output_tokens: Option<u32>,
}

/// How a request that was dispatched came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Completion {
    /// The engine answered to the end.
    Complete,
    /// The engine answered with a client error (4xx, or an error in its response that blames the request).
    Declined,
    /// The response broke off after the client had received part of it.
    Broken(FailureCause),
    /// The client disconnected.
    ClientGone,
}

/// Why an attempt at an endpoint failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FailureCause {
    /// No connection: refused, unreachable, name not found, or not within the connect timeout.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The engine refused the stream before reading it (HTTP/2 `REFUSED_STREAM`, GOAWAY).
    Refused,
    /// The connection was lost after the request was written and before any byte of the response came.
    Lost,
    /// The same, at once and on a connection that was kept from an earlier request: the engine may have been closing it just
    /// then. It is nobody's failure, and what is sent again goes to the same endpoint as well, on a new connection.
    StaleConnection,
    /// No byte of the response came in the first-byte timeout.
    FirstByteTimeout,
    /// A gateway-type status, 502 or 503, from the engine or something in front of it.
    Unavailable,
    /// The engine reported a failure: an `error` or abort before or in the response.
    EngineError,
    /// The stream ended without its end mark.
    Truncated,
    /// The request stalled, as [`Liveness`](crate::Liveness) says. "Silent" in earlier event logs.
    #[serde(alias = "Silent")]
    Stalled,
    /// The response is not HTTP.
    Garbage,
    /// The engine declines what other endpoints serve: a client error (4xx) that the request is not the cause of.
    Declined,
}

impl FailureCause {
    /// Whether the engine cannot have read the request, so that any method may be retried.
    #[must_use]
    pub const fn before_written(self) -> bool {
        match self {
            Self::Connect | Self::Tls | Self::Refused => true,
            Self::Lost
            | Self::StaleConnection
            | Self::FirstByteTimeout
            | Self::Unavailable
            | Self::EngineError
            | Self::Truncated
            | Self::Stalled
            | Self::Garbage
            | Self::Declined => false,
        }
    }

    /// Whether the request itself may be the cause, so that it meets the same failure at every endpoint.
    pub(crate) const fn may_follow_the_request(self) -> bool {
        match self {
            Self::Lost | Self::EngineError | Self::Truncated | Self::Garbage | Self::Declined => true,
            Self::Connect
            | Self::Tls
            | Self::Refused
            | Self::StaleConnection
            | Self::FirstByteTimeout
            | Self::Unavailable
            | Self::Stalled => false,
        }
    }

    /// Whether it says something about the endpoint.
    #[must_use]
    pub const fn is_evidence(self) -> bool {
        !matches!(self, Self::StaleConnection)
    }

    /// Whether more than one request shows it: no connection, or silence of the whole endpoint.
    pub(crate) const fn is_the_endpoints(self) -> bool {
        match self {
            Self::Connect | Self::Tls | Self::Stalled => true,
            Self::Refused
            | Self::Lost
            | Self::StaleConnection
            | Self::FirstByteTimeout
            | Self::Unavailable
            | Self::EngineError
            | Self::Truncated
            | Self::Garbage
            | Self::Declined => false,
        }
    }

    /// The word for metric labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::StaleConnection => "stale_connection",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::Unavailable => "unavailable",
            Self::EngineError => "engine_error",
            Self::Truncated => "truncated",
            Self::Stalled => "stalled",
            Self::Garbage => "garbage",
            Self::Declined => "declined",
        }
    }
}

/// Why a request was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rejection {
    /// The pool is saturated and the request is sheddable.
    Saturated {
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// The pool has no ready endpoint.
    NoReadyEndpoint,
    /// None of the endpoints that the request is limited to is ready.
    EmptySubset,
    /// The last attempt failed with this cause, and no further one may be made: it may not be retried, the most attempts
    /// were made, or the retry budget is spent.
    AttemptsFailed(FailureCause),
}

impl Rejection {
    /// The label of the reason in headers, metrics and debug pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Saturated { .. } => "saturated",
            Self::NoReadyEndpoint => "no_ready_endpoint",
            Self::EmptySubset => "empty_subset",
            Self::AttemptsFailed(cause) => cause.as_str(),
        }
    }
}
