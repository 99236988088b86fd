//! Stand-in for the core's state machine until it lands.
#![allow(missing_docs)]
use std::collections::BTreeMap;

use pointsman_core::{Effect, EndpointId, Event, Fallbacks, PolicyId, PolicySet, Rejection, RequestId, Time};

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct PoolConfig {
    pub seed: u64,
    pub decisions: bool,
}

#[derive(Debug, Default, serde::Serialize)]
pub struct PoolSnapshot {
    pub endpoints: Vec<EndpointId>,
    pub requests: usize,
}

#[derive(Debug)]
pub struct Pool {
    up: BTreeMap<EndpointId, (PolicySet, bool)>,
    requests: BTreeMap<RequestId, (EndpointId, PolicyId)>,
}

impl Pool {
    pub fn new(_config: PoolConfig) -> Self {
        Self { up: BTreeMap::new(), requests: BTreeMap::new() }
    }
    fn pick(
        &mut self,
        request: RequestId,
        policy: PolicyId,
        not: Option<EndpointId>,
        effects: &mut Vec<Effect>,
    ) {
        let best = self
            .up
            .iter()
            .filter(|(id, (set, ready))| *ready && set.contains(policy) && Some(**id) != not)
            .map(|(id, _)| *id)
            .min_by_key(|id| self.requests.values().filter(|(e, _)| e == id).count());
        match best {
            Some(endpoint) => {
                self.requests.insert(request, (endpoint, policy));
                effects.push(Effect::Dispatch {
                    request,
                    endpoint,
                    fallbacks: Fallbacks::default(),
                    decision: None,
                });
            }
            None => {
                self.requests.remove(&request);
                effects.push(Effect::Reject { request, rejection: Rejection::NoReadyEndpoint });
            }
        }
    }
    pub fn handle(&mut self, _now: Time, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::EndpointUp { endpoint, spec } => {
                self.up.insert(endpoint, (spec.policies, true));
            }
            Event::EndpointDraining { endpoint } => {
                if let Some(e) = self.up.get_mut(&endpoint) {
                    e.1 = false;
                }
            }
            Event::EndpointDown { endpoint } => {
                self.up.remove(&endpoint);
            }
            Event::Arrived { request, facts } => self.pick(request, facts.policy, None, effects),
            Event::AttemptFailed { request, endpoint, repeat, .. } => {
                if let Some((_, policy)) = self.requests.remove(&request)
                    && repeat
                {
                    self.pick(request, policy, Some(endpoint), effects);
                }
            }
            Event::ServedElsewhere { request, endpoint } => {
                if let Some(r) = self.requests.get_mut(&request) {
                    r.0 = endpoint;
                }
            }
            Event::Finished { request, .. } | Event::Aborted { request } => {
                self.requests.remove(&request);
            }
            Event::Load { .. }
            | Event::Probed { .. }
            | Event::PolicyChanged { .. }
            | Event::FirstToken { .. }
            | Event::Progress { .. }
            | Event::Timer => {}
        }
    }
    pub fn snapshot(&self, _now: Time) -> PoolSnapshot {
        PoolSnapshot { endpoints: self.up.keys().copied().collect(), requests: self.requests.len() }
    }
}
