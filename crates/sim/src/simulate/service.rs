//! A Kubernetes Service: kube-proxy picks an endpoint at random when a connection is opened, and knows nothing of the
//! requests in it.

use super::Order;
use super::agenda::Member;
use super::flights::Flight;
use super::servers::draw;

const SERVICE_SALT: u64 = 0x0073_7663;

/// What lasts as long as a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pin {
    /// A connection, kept alive over all requests of its client.
    Connection,
    /// A request: a connection of its own.
    Request,
}

/// The Service and its endpoints.
#[derive(Debug)]
pub(super) struct Service {
    pin: Pin,
    seed: u64,
    /// In ascending order.
    endpoints: Vec<Member>,
    /// Where each connection leads, by its number.
    connections: Vec<Option<Member>>,
}

impl Service {
    pub(super) fn new(pin: Pin, seed: u64) -> Self {
        Self { pin, seed, endpoints: Vec::new(), connections: Vec::new() }
    }

    pub(super) fn joined(&mut self, of: Member) {
        if let Err(place) = self.endpoints.binary_search(&of) {
            self.endpoints.insert(place, of);
        }
    }

    /// It is taken out of the Service; connections to it are not used again.
    pub(super) fn left(&mut self, of: Member) {
        if let Ok(place) = self.endpoints.binary_search(&of) {
            self.endpoints.remove(place);
        }
    }

    pub(super) fn arrived(&mut self, flight: &Flight, orders: &mut Vec<Order>) {
        let request = flight.id;
        let to = match self.pin {
            Pin::Request => self.pick(flight.job.number),
            Pin::Connection => self.connection(flight.job.connection),
        };
        orders.push(match to {
            Some(to) => Order::Send { request, to },
            None => Order::Fail { request },
        });
    }

    /// A connection whose endpoint left is opened anew.
    fn connection(&mut self, number: u32) -> Option<Member> {
        let place = number as usize;
        if self.connections.len() <= place {
            self.connections.resize(place + 1, None);
        }
        let kept = self.connections[place].filter(|member| self.endpoints.binary_search(member).is_ok());
        let to = kept.or_else(|| self.pick(u64::from(number)));
        self.connections[place] = to;
        to
    }

    fn pick(&self, name: u64) -> Option<Member> {
        let mut rng = pointsman_core::Rng::seeded(draw(self.seed, SERVICE_SALT, name));
        self.endpoints.get(rng.below(self.endpoints.len())).copied()
    }
}
