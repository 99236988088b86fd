//! Which engine holds a stored response (`POST /v1/responses` with `store`).

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use pointsman_core::{EndpointId, Time};

/// Maximum number of responses.
const CAPACITY: usize = 100_000;
/// Time from the last use of an entry until it expires; engines keep responses in memory for less.
const LIFETIME: Duration = Duration::from_hours(24);

/// Stored responses by id, with the endpoint that holds each. Bounded: an entry expires some time after it was written or
/// read last, and at the capacity the least recently used one is evicted.
#[derive(Debug)]
pub(crate) struct StoredResponses {
    capacity: usize,
    lifetime: Duration,
    holders: HashMap<Box<str>, Holder, BuildHasherDefault<DefaultHasher>>,
    /// Ids by the time of their last use; the number tells uses at the same time apart.
    by_use: BTreeMap<(Time, u64), Box<str>>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    endpoint: EndpointId,
    used: (Time, u64),
}

impl Default for StoredResponses {
    fn default() -> Self {
        Self::new(CAPACITY, LIFETIME)
    }
}

impl StoredResponses {
    /// Maximum length of an id in bytes; engines' ids have about 40.
    const MAX_ID_BYTES: usize = 256;

    fn new(capacity: usize, lifetime: Duration) -> Self {
        Self { capacity, lifetime, holders: HashMap::default(), by_use: BTreeMap::new(), next: 0 }
    }

    /// Notes that `endpoint` holds the response `id`.
    pub(crate) fn insert(&mut self, now: Time, id: &str, endpoint: EndpointId) {
        if id.is_empty() || id.len() > Self::MAX_ID_BYTES || self.capacity == 0 {
            return;
        }
        self.expire(now);
        self.forget(id);
        while self.holders.len() >= self.capacity {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.holders.remove(&oldest);
        }
        let used = (now, self.next);
        self.next += 1;
        self.by_use.insert(used, id.into());
        self.holders.insert(id.into(), Holder { endpoint, used });
    }

    /// The endpoint that holds `id`. Counts as a use.
    pub(crate) fn holder(&mut self, now: Time, id: &str) -> Option<EndpointId> {
        self.expire(now);
        let endpoint = self.holders.get(id)?.endpoint;
        self.insert(now, id, endpoint);
        Some(endpoint)
    }

    /// Removes `id`.
    pub(crate) fn forget(&mut self, id: &str) {
        if let Some(holder) = self.holders.remove(id) {
            self.by_use.remove(&holder.used);
        }
    }

    fn expire(&mut self, now: Time) {
        while let Some(entry) = self.by_use.first_entry() {
            if now.since(entry.key().0) < self.lifetime {
                break;
            }
            let id = entry.remove();
            self.holders.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_response_is_found_until_it_is_forgotten() {
        let mut stored = StoredResponses::new(2, HOUR);
        stored.insert(at(0), "resp_1", EndpointId(7));
        assert_eq!(stored.holder(at(1), "resp_1"), Some(EndpointId(7)));
        assert_eq!(stored.holder(at(1), "resp_2"), None);
        stored.forget("resp_1");
        assert!(stored.holders.is_empty());
    }

    #[test]
    fn the_least_recently_used_response_is_evicted() {
        let mut stored = StoredResponses::new(2, HOUR);
        stored.insert(at(0), "a", EndpointId(1));
        stored.insert(at(1), "b", EndpointId(2));
        assert!(stored.holder(at(2), "a").is_some());
        stored.insert(at(3), "c", EndpointId(3));
        assert_eq!(stored.holder(at(4), "b"), None);
        assert!(stored.holder(at(4), "a").is_some() && stored.holder(at(4), "c").is_some());
        assert_eq!(stored.holders.len(), 2);
    }

    #[test]
    fn a_response_expires_after_its_lifetime() {
        let mut stored = StoredResponses::new(8, HOUR);
        stored.insert(at(0), "a", EndpointId(1));
        assert_eq!(stored.holder(at(3_600), "a"), None);
        assert!(stored.holders.is_empty());
    }

    #[test]
    fn empty_and_overlong_ids_are_ignored() {
        let mut stored = StoredResponses::new(8, HOUR);
        stored.insert(at(0), &"x".repeat(300), EndpointId(1));
        stored.insert(at(0), "", EndpointId(1));
        assert!(stored.holders.is_empty());
    }
}
