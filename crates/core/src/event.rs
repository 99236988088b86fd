//! The input and output of a [`Scheduler`](crate::Scheduler) as plain data.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::endpoint::{EndpointSpec, Health, LoadReport};
use crate::ids::{EndpointId, ModelKey, PoolId, RequestId};
use crate::policy::PoolPolicy;
use crate::request::{Completion, FailureCause, Rejection, RequestFacts, Usage};
use crate::time::Time;

/// Interval between two [`Event::Progress`] of a request. Ten times as many do not improve placement: in simulated fleets,
/// equal ones and one with a slow engine, with short and long outputs, latencies changed by less than 1 %.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Input of a scheduler: something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// An endpoint appeared, or its configuration changed.
    EndpointUp {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its configuration.
        spec: EndpointSpec,
    },
    /// An endpoint takes no new requests and keeps those it has. Answered by [`Effect::EndpointGone`] when none is left.
    EndpointDraining {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// An endpoint disappeared. Requests on it end by their own events; [`Effect::EndpointGone`] follows the last one.
    EndpointDown {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// An engine's gauges were read.
    Load {
        /// The endpoint.
        endpoint: EndpointId,
        /// The reading.
        report: LoadReport,
    },
    /// An active health probe ended.
    Probed {
        /// The endpoint.
        endpoint: EndpointId,
        /// Whether it was answered well in time.
        healthy: bool,
    },
    /// Active probes found nothing at the endpoint's address, several times in a row: it is down, whatever requests show.
    Unreachable {
        /// The endpoint.
        endpoint: EndpointId,
    },
    /// An InferencePool's policy was set or changed.
    PoolPolicyChanged {
        /// The InferencePool.
        pool: PoolId,
        /// Its policy.
        policy: PoolPolicy,
    },
    /// These targets are adapters, by manifests or an engine's list of models. An engine's gauge makes others known.
    AdaptersDeclared {
        /// The adapters, in addition to those known.
        adapters: Vec<ModelKey>,
    },
    /// A request asks for an endpoint. Answered by one dispatch or reject.
    Arrived {
        /// The request.
        request: RequestId,
        /// Its facts.
        facts: RequestFacts,
    },
    /// The first output token was seen.
    FirstToken {
        /// The request.
        request: RequestId,
    },
    /// Output tokens so far, coalesced by the driver to at most one event per request and [`PROGRESS_EVERY`].
    Progress {
        /// The request.
        request: RequestId,
        /// Output tokens seen so far.
        output_tokens: u32,
    },
    /// An attempt failed before anything went to the client. Answered by one dispatch or reject.
    AttemptFailed {
        /// The request.
        request: RequestId,
        /// The endpoint.
        endpoint: EndpointId,
        /// The cause of the failure.
        cause: FailureCause,
        /// Whether the request may be sent again. If not, it is rejected with this cause. "repeat" in earlier event logs.
        #[serde(alias = "repeat")]
        retry: bool,
    },
    /// An engine answered with an error for which the request may be to blame, and the caller holds that answer back. Answered
    /// by a dispatch, or a rejection, where another endpoint is to be asked for a second opinion. Otherwise the answer is to
    /// be passed on, and the request goes on to its end.
    ErrorAnswered {
        /// The request.
        request: RequestId,
        /// [`FailureCause::Declined`] for a client error, [`FailureCause::EngineError`] for a server error.
        cause: FailureCause,
    },
    /// The gateway in front sent the request to another endpoint than the one dispatched (its own retry).
    ServedElsewhere {
        /// The request.
        request: RequestId,
        /// The endpoint that served.
        endpoint: EndpointId,
    },
    /// A dispatched request ended.
    Finished {
        /// The request.
        request: RequestId,
        /// How it ended.
        completion: Completion,
        /// Its token counts.
        usage: Usage,
    },
    /// The caller gave the request up; it may be waiting, dispatched or already over.
    Aborted {
        /// The request.
        request: RequestId,
    },
    /// A time requested by [`Effect::WakeAt`] has come.
    Timer,
}

/// Output of a scheduler: a decision to carry out, or a change to report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Send the request to this endpoint. Its load is reserved there until the request ends.
    Dispatch {
        /// The request.
        request: RequestId,
        /// The endpoint.
        endpoint: EndpointId,
        /// The next best endpoints, for gateways that retry by themselves.
        fallbacks: Fallbacks,
        /// Why there, where [`SchedulerConfig::decisions`](crate::SchedulerConfig) asks for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision: Option<Arc<Decision>>,
    },
    /// Answer the request with this rejection; it is over.
    Reject {
        /// The request.
        request: RequestId,
        /// The reason.
        rejection: Rejection,
    },
    /// Send [`Event::Timer`] at this time. Repeating it has no further effect.
    WakeAt(Time),
    /// An endpoint's health changed: for logs and metrics, and because the driver probes ejected endpoints.
    HealthChanged {
        /// The endpoint.
        endpoint: EndpointId,
        /// Its new health.
        health: Health,
    },
    /// An endpoint that drained or disappeared has no request left: the scheduler knows it no more.
    EndpointGone {
        /// The endpoint.
        endpoint: EndpointId,
    },
}

/// Up to three endpoints, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<EndpointId>")]
pub struct Fallbacks {
    endpoints: [EndpointId; Self::CAPACITY],
    len: u8,
}

impl From<Vec<EndpointId>> for Fallbacks {
    fn from(endpoints: Vec<EndpointId>) -> Self {
        let mut fallbacks = Self::default();
        endpoints.into_iter().for_each(|endpoint| fallbacks.push(endpoint));
        fallbacks
    }
}

impl Serialize for Fallbacks {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl Fallbacks {
    /// The most fallbacks of a dispatch.
    pub const CAPACITY: usize = 3;

    /// Adds an endpoint at the end; past the capacity it is left out.
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
