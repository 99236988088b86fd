//! The latest placement decisions, for people who ask why a request was sent to its endpoint.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pointsman_core::{CandidateCost, Decision, EndpointId, Rejection, RequestId, Time};
use pointsman_telemetry::PoolSeries;
use serde_json::{Value, json};

use crate::endpoint::PoolEndpoint;

/// The number of placements kept of one request. A request that is retried more often keeps the latest ones.
const MAX_PLACEMENTS: usize = 8;
/// The longest request ID of a client that is kept, in bytes.
const MAX_ID_BYTES: usize = 128;
/// The number of requests on a page that names none.
const PAGE: usize = 50;

/// The placement decisions of the latest requests of a fleet.
#[derive(Debug)]
pub(crate) struct DecisionLog {
    capacity: NonZeroUsize,
    /// In order of arrival. Locked after a scheduler's lock, never before.
    requests: Mutex<VecDeque<RequestDecisions>>,
}

/// The placement decisions of one request.
#[derive(Clone, Debug)]
pub(crate) struct RequestDecisions {
    request: RequestId,
    /// The request's ID by its `x-request-id` header.
    client_id: Option<Arc<str>>,
    pool: Arc<PoolSeries>,
    /// The pool's endpoints at arrival, for their names.
    endpoints: Arc<[Arc<PoolEndpoint>]>,
    arrived: Time,
    placements: Vec<Placement>,
}

#[derive(Clone, Debug)]
struct Placement {
    at: Time,
    outcome: Result<Arc<Decision>, Rejection>,
}

impl DecisionLog {
    pub(crate) const fn new(capacity: NonZeroUsize) -> Self {
        Self { capacity, requests: Mutex::new(VecDeque::new()) }
    }

    /// Adds a request that is about to be placed.
    pub(crate) fn begin(&self, request: RequestDecisions) {
        let mut requests = self.lock();
        if requests.len() >= self.capacity.get() {
            requests.pop_front();
        }
        requests.push_back(request);
    }

    /// Adds the outcome of a placement to its request, unless the request has left the log.
    pub(crate) fn placed(&self, request: RequestId, at: Time, outcome: Result<Arc<Decision>, Rejection>) {
        let mut requests = self.lock();
        let Some(request) = requests.iter_mut().rev().find(|it| it.request == request) else { return };
        if request.placements.len() >= MAX_PLACEMENTS {
            request.placements.remove(0);
        }
        request.placements.push(Placement { at, outcome });
    }

    /// The log as JSON, latest request first: the requests with this number or client ID, or a page of the latest ones.
    pub(crate) fn to_json(&self, wanted: Option<&str>, now: Time) -> Value {
        let is_wanted = |it: &&RequestDecisions| wanted.is_none_or(|wanted| it.is(wanted));
        let limit = if wanted.is_some() { self.capacity.get() } else { PAGE };
        // Copied, so that requests do not wait for a page to be written.
        let found: Vec<_> = self.lock().iter().rev().filter(is_wanted).take(limit).cloned().collect();
        let requests: Vec<_> = found.iter().map(|request| request.to_json(now)).collect();
        json!({ "capacity": self.capacity, "requests": requests })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<RequestDecisions>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RequestDecisions {
    pub(crate) fn new(
        request: RequestId,
        client_id: Option<&[u8]>,
        pool: Arc<PoolSeries>,
        endpoints: Arc<[Arc<PoolEndpoint>]>,
        arrived: Time,
    ) -> Self {
        let client_id = client_id.and_then(printable).map(Arc::from);
        Self { request, client_id, pool, endpoints, arrived, placements: Vec::new() }
    }

    fn is(&self, wanted: &str) -> bool {
        self.client_id.as_deref() == Some(wanted) || wanted.parse() == Ok(self.request.0)
    }

    fn to_json(&self, now: Time) -> Value {
        let age_ms = |then| milliseconds(now.since(then));
        let placements = self.placements.iter().map(|placement| match &placement.outcome {
            Ok(decision) => json!({
                "age_ms": age_ms(placement.at),
                "endpoint": self.name(decision.chosen),
                "candidates": decision.candidates.iter().map(|it| self.candidate(it)).collect::<Vec<_>>(),
            }),
            Err(rejection) => json!({ "age_ms": age_ms(placement.at), "rejection": rejection.as_str() }),
        });
        json!({
            "request": self.request.0,
            "client_id": self.client_id.as_deref(),
            "pool": self.pool.name(),
            "age_ms": age_ms(self.arrived),
            "placements": placements.collect::<Vec<_>>(),
        })
    }

    /// The candidate with its endpoint's name.
    fn candidate(&self, candidate: &CandidateCost) -> Value {
        let mut value = serde_json::to_value(candidate).unwrap_or_default();
        value["endpoint"] = self.name(candidate.endpoint).into();
        value
    }

    /// The endpoint's address; its number where it joined the pool after the request arrived.
    fn name(&self, id: EndpointId) -> String {
        let position = self.endpoints.binary_search_by_key(&id, |endpoint| endpoint.id).ok();
        let endpoint = position.and_then(|position| self.endpoints.get(position));
        endpoint.map_or_else(|| format!("#{}", id.0), |endpoint| endpoint.authority.to_string())
    }
}

/// A client's ID as text, if it is short and has visible ASCII characters only.
fn printable(id: &[u8]) -> Option<&str> {
    let printable = !id.is_empty() && id.len() <= MAX_ID_BYTES && id.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(id).ok().filter(|_| printable)
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use pointsman_core::{CostTerm, Delay};
    use pointsman_telemetry::{BuildInfo, Metrics};

    use super::*;

    const START: Time = Time::ZERO;

    fn request(number: u64, client_id: &str) -> RequestDecisions {
        let pool = Metrics::new(&BuildInfo { version: "0.0.0", commit: "" }).pool("default/a");
        RequestDecisions::new(RequestId(number), Some(client_id.as_bytes()), pool, Arc::new([]), START)
    }

    fn decision() -> Arc<Decision> {
        let terms = vec![CostTerm { delay: Delay::Waiting, seconds: 0.25 }];
        let endpoint = EndpointId(7);
        let candidates = vec![CandidateCost {
            endpoint,
            cost: 0.25,
            terms,
            in_flight: 3,
            pending_tokens: 100,
            cached_tokens: 64,
        }];
        Arc::new(Decision { chosen: endpoint, candidates })
    }

    fn log(capacity: usize) -> DecisionLog {
        DecisionLog::new(NonZeroUsize::new(capacity).unwrap())
    }

    fn numbers(page: &Value) -> Vec<u64> {
        page["requests"].as_array().unwrap().iter().map(|it| it["request"].as_u64().unwrap()).collect()
    }

    #[test]
    fn the_latest_requests_are_kept_and_found_by_either_id() {
        let log = log(2);
        for (number, id) in [(1, "a"), (2, "b"), (3, "2")] {
            log.begin(request(number, id));
        }
        log.placed(RequestId(1), START, Ok(decision()));
        assert_eq!(numbers(&log.to_json(None, START)), [3, 2]);
        assert_eq!(numbers(&log.to_json(Some("b"), START)), [2]);
        assert_eq!(numbers(&log.to_json(Some("2"), START)), [3, 2]);
        assert_eq!(numbers(&log.to_json(Some("1"), START)), [0; 0]);
    }

    #[test]
    fn a_request_has_its_placements_with_candidates_and_terms() {
        let log = log(1);
        log.begin(request(1, "a"));
        log.placed(RequestId(1), START, Ok(decision()));
        log.placed(RequestId(1), START + Duration::from_millis(5), Err(Rejection::NoReadyEndpoint));
        let page = log.to_json(None, START + Duration::from_millis(9));
        let expected = json!([
            {
                "age_ms": 9,
                "endpoint": "#7",
                "candidates": [{
                    "endpoint": "#7",
                    "cost": 0.25,
                    "terms": [{ "delay": "waiting", "seconds": 0.25 }],
                    "in_flight": 3,
                    "pending_tokens": 100,
                    "cached_tokens": 64,
                }],
            },
            { "age_ms": 4, "rejection": "no_ready_endpoint" },
        ]);
        assert_eq!(page["requests"][0]["placements"], expected);
        (0..20).for_each(|_| log.placed(RequestId(1), START, Ok(decision())));
        let page = log.to_json(None, START);
        assert_eq!(page["requests"][0]["placements"].as_array().map(Vec::len), Some(MAX_PLACEMENTS));
    }

    #[test]
    fn a_client_id_that_is_long_or_not_printable_is_dropped() {
        let log = log(8);
        for id in ["", "two words", "\u{e9}", &"x".repeat(MAX_ID_BYTES + 1)] {
            log.begin(request(1, id));
        }
        let page = log.to_json(None, START);
        assert!(page["requests"].as_array().unwrap().iter().all(|it| it["client_id"].is_null()), "{page}");
    }
}
