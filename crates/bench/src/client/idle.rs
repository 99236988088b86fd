//! Idle connections of the load client.

use pointsman_report::Rng;

use super::{Connections, Sender};

/// A slot for a connection.
#[derive(Debug)]
pub(super) struct Slot {
    /// Index of its endpoint.
    pub(super) endpoint: usize,
    /// The open connection, if any.
    pub(super) sender: Option<Sender>,
    /// Opened because all others were busy, and closed after its response.
    extra: bool,
}

impl Slot {
    fn new(endpoint: usize) -> Self {
        Self { endpoint, sender: None, extra: false }
    }
}

/// Idle connections.
#[derive(Debug)]
pub(super) enum Idle {
    Pool { by_endpoint: Vec<Vec<Slot>>, next: usize },
    Pinned { free: Vec<Slot>, endpoints: usize, rng: Rng },
}

impl Idle {
    pub(super) fn new(connections: Connections, endpoints: usize) -> Self {
        match connections {
            Connections::Pool => {
                Self::Pool { by_endpoint: (0..endpoints).map(|_| Vec::new()).collect(), next: 0 }
            }
            Connections::Pinned { count, seed } => {
                let mut rng = Rng::seeded(seed);
                let free = (0..count).map(|_| Slot::new(rng.below(endpoints))).collect();
                Self::Pinned { free, endpoints, rng }
            }
        }
    }

    /// Takes a slot for the next request.
    pub(super) fn take(&mut self) -> Slot {
        match self {
            Self::Pool { by_endpoint, next } => {
                let endpoint = *next;
                *next = (endpoint + 1) % by_endpoint.len().max(1);
                by_endpoint.get_mut(endpoint).and_then(Vec::pop).unwrap_or_else(|| Slot::new(endpoint))
            }
            Self::Pinned { free, endpoints, rng } => {
                if free.is_empty() {
                    Slot { extra: true, ..Slot::new(rng.below(*endpoints)) }
                } else {
                    free.swap_remove(rng.below(free.len()))
                }
            }
        }
    }

    /// Returns a slot with a reusable connection.
    pub(super) fn give_back(&mut self, slot: Slot) {
        match self {
            Self::Pool { by_endpoint, .. } => {
                if let Some(idle) = by_endpoint.get_mut(slot.endpoint) {
                    idle.push(slot);
                }
            }
            Self::Pinned { free, .. } if !slot.extra => free.push(slot),
            Self::Pinned { .. } => {}
        }
    }

    /// Returns a slot whose connection is closed.
    pub(super) fn give_back_broken(&mut self, slot: &Slot) {
        if let Self::Pinned { free, endpoints, rng } = self
            && !slot.extra
        {
            free.push(Slot::new(rng.below(*endpoints)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pinned(count: usize) -> Idle {
        Idle::new(Connections::Pinned { count, seed: 1 }, 4)
    }

    fn endpoints(idle: &mut Idle, count: usize) -> Vec<usize> {
        let taken: Vec<Slot> = (0..count).map(|_| idle.take()).collect();
        let mut endpoints: Vec<usize> = taken.iter().map(|slot| slot.endpoint).collect();
        for slot in taken {
            idle.give_back(slot);
        }
        endpoints.sort_unstable();
        endpoints
    }

    #[test]
    fn pinned_slots_keep_their_endpoint() {
        let mut idle = pinned(64);
        let first = endpoints(&mut idle, 64);
        assert_eq!(endpoints(&mut idle, 64), first);
        for endpoint in 0..4 {
            assert!(first.contains(&endpoint));
        }
    }

    #[test]
    fn an_extra_connection_is_not_kept() {
        let mut idle = pinned(2);
        assert_eq!(endpoints(&mut idle, 5).len(), 5);
        let Idle::Pinned { free, .. } = &idle else { panic!("pinned") };
        assert_eq!(free.len(), 2);
    }

    #[test]
    fn a_broken_connection_frees_its_slot() {
        let mut idle = pinned(2);
        for _ in 0..10 {
            let slot = idle.take();
            idle.give_back_broken(&slot);
        }
        let Idle::Pinned { free, .. } = &idle else { panic!("pinned") };
        assert_eq!(free.len(), 2);
    }

    #[test]
    fn a_pool_uses_endpoints_round_robin() {
        let mut idle = Idle::new(Connections::Pool, 3);
        let taken: Vec<usize> = (0..6).map(|_| idle.take().endpoint).collect();
        assert_eq!(taken, [0, 1, 2, 0, 1, 2]);
    }
}
