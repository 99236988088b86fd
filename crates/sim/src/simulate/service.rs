//! A Kubernetes Service: kube-proxy picks a random endpoint per connection and does not see the requests in it.

use super::Action;
use super::active_jobs::ActiveJob;
use super::event_queue::EngineIndex;
use super::servers::draw;
use crate::outcome::End;

const SERVICE_SALT: u64 = 0x0073_7663;

/// Scope of one choice of endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    /// A keep-alive connection with all requests of its client.
    Connection,
    /// A single request: each opens a connection.
    Request,
}

/// The Service and its endpoints.
#[derive(Debug)]
pub(super) struct Service {
    affinity: Affinity,
    seed: u64,
    /// In ascending order.
    endpoints: Vec<EngineIndex>,
    /// The endpoint of each connection, by its number.
    connections: Vec<Option<EngineIndex>>,
}

impl Service {
    pub(super) fn new(affinity: Affinity, seed: u64) -> Self {
        Self { affinity, seed, endpoints: Vec::new(), connections: Vec::new() }
    }

    /// Adds or removes an endpoint. The connections of one that was removed are not used again.
    pub(super) fn set_ready(&mut self, engine: EngineIndex, ready: bool) {
        match self.endpoints.binary_search(&engine) {
            Err(place) if ready => self.endpoints.insert(place, engine),
            Ok(place) if !ready => _ = self.endpoints.remove(place),
            Ok(_) | Err(_) => {}
        }
    }

    pub(super) fn arrived(&mut self, job: &ActiveJob, actions: &mut Vec<Action>) {
        let request = job.id;
        let to = match self.affinity {
            Affinity::Request => self.pick(job.spec.number),
            Affinity::Connection => self.connection(job.spec.connection),
        };
        actions.push(match to {
            Some(to) => Action::Send { request, to },
            None => Action::End { request, end: End::Failed },
        });
    }

    /// The endpoint of a connection, which is reopened where its endpoint left.
    fn connection(&mut self, number: u32) -> Option<EngineIndex> {
        let place = number as usize;
        if self.connections.len() <= place {
            self.connections.resize(place + 1, None);
        }
        let kept = self.connections[place].filter(|engine| self.endpoints.binary_search(engine).is_ok());
        let to = kept.or_else(|| self.pick(u64::from(number)));
        self.connections[place] = to;
        to
    }

    fn pick(&self, name: u64) -> Option<EngineIndex> {
        let mut rng = pointsman_core::Rng::seeded(draw(self.seed, SERVICE_SALT, name));
        self.endpoints.get(rng.below(self.endpoints.len())).copied()
    }
}
