//! The requests that are under way, and the hash map for numbers that Pointsman makes itself.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::adapters::Residency;
use crate::ids::{EndpointId, ModelKey, RequestId};
use crate::request::RequestFacts;
use crate::scheduler::Held;
use crate::time::Time;

/// A request from its arrival to its end.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) facts: RequestFacts,
    /// Attempts made so far, the present one included.
    pub(crate) attempts: u32,
    /// Prompts that came, as it did, since its head was last asked for; `None` where nobody had any of it.
    pub(crate) head_idle: Option<u32>,
    /// Endpoints that failed it.
    pub(crate) failed: Vec<EndpointId>,
    /// Where it is; `None` while it is served by an endpoint that the pool does not know.
    pub(crate) placed: Option<Reservation>,
}

/// A request's reservation at its endpoint, and what was seen of it there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    pub(crate) endpoint: EndpointId,
    pub(crate) dispatched: Time,
    /// Prompt tokens to prefill there.
    pub(crate) uncached: u32,
    /// Prompt tokens that were held to be cached there.
    pub(crate) cached: u32,
    /// Tokens counted in the endpoint's context.
    pub(crate) context: u64,
    /// Whether its first token is still to be seen.
    pub(crate) prefilling: bool,
    /// Prompt tokens that were to be prefilled before it.
    pub(crate) ahead: u64,
    /// Requests in flight there when it came, itself included.
    pub(crate) in_flight_at_dispatch: u32,
    /// The adapter it asks for.
    pub(crate) adapter: Option<ModelKey>,
    /// Whether that had to be loaded first.
    pub(crate) residency: Residency,
    /// Its blocks in the prefix index.
    pub(crate) held: Option<Held>,
    /// The latest sight of its output.
    pub(crate) pace: PaceMark,
}

/// What was known when output was last seen: the next sight makes a measurement of the difference.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PaceMark {
    pub(crate) at: Time,
    pub(crate) output: u32,
    /// Prompt tokens that the endpoint had prefilled by then.
    pub(crate) prefilled: u64,
}

/// All requests under way, each in its own place: a table of some hundred thousand doubles in little time. Never iterated
/// where the order could show.
pub(crate) type Requests = HashMap<RequestId, Box<Request>, BuildHasherDefault<IdHasher>>;

/// A multiplicative hash (Fibonacci hashing, Knuth vol. 3, 6.4) for numbers that no client can choose: the same on
/// every build, unlike the standard library's randomly seeded one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl IdHasher {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The high half is mixed best, and the map takes its bucket from the low bits.
        self.0 = (self.0 ^ number).wrapping_mul(Self::MULTIPLIER).rotate_left(32);
    }
}
