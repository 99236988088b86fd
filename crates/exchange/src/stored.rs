//! Which engine holds a stored response.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use pointsman_core::{EndpointId, Time};

/// Stored responses by id, with the endpoint that holds each: bounded, and forgotten after a while.
///
/// Entries age from the time they were last written or read; past the capacity the oldest goes first.
#[derive(Debug)]
pub struct StoredResponses {
    capacity: usize,
    lifetime: Duration,
    holders: HashMap<Box<str>, Holder, BuildHasherDefault<DefaultHasher>>,
    by_age: BTreeMap<(Time, u64), Box<str>>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    endpoint: EndpointId,
    age: (Time, u64),
}

impl StoredResponses {
    /// The longest id that is kept; engines' ids have about 40 bytes.
    const LONGEST_ID: usize = 256;

    /// An empty map of at most `capacity` responses, each forgotten `lifetime` after its last use.
    #[must_use]
    pub fn new(capacity: usize, lifetime: Duration) -> Self {
        Self { capacity, lifetime, holders: HashMap::default(), by_age: BTreeMap::new(), next: 0 }
    }

    /// Notes that `endpoint` holds the response `id`.
    pub fn insert(&mut self, now: Time, id: &str, endpoint: EndpointId) {
        if id.is_empty() || id.len() > Self::LONGEST_ID || self.capacity == 0 {
            return;
        }
        self.expire(now);
        self.forget(id);
        while self.holders.len() >= self.capacity {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.holders.remove(&oldest);
        }
        let age = (now, self.next);
        self.next += 1;
        self.by_age.insert(age, id.into());
        self.holders.insert(id.into(), Holder { endpoint, age });
    }

    /// The endpoint that holds `id`, which counts as use.
    pub fn holder(&mut self, now: Time, id: &str) -> Option<EndpointId> {
        self.expire(now);
        let endpoint = self.holders.get(id)?.endpoint;
        self.insert(now, id, endpoint);
        Some(endpoint)
    }

    /// Forgets `id`, for instance because it was deleted.
    pub fn forget(&mut self, id: &str) {
        if let Some(holder) = self.holders.remove(id) {
            self.by_age.remove(&holder.age);
        }
    }

    /// How many responses are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.holders.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }

    fn expire(&mut self, now: Time) {
        while let Some(entry) = self.by_age.first_entry() {
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
    fn a_response_is_found_where_it_is() {
        let mut stored = StoredResponses::new(2, HOUR);
        stored.insert(at(0), "resp_1", EndpointId(7));
        assert_eq!(stored.holder(at(1), "resp_1"), Some(EndpointId(7)));
        assert_eq!(stored.holder(at(1), "resp_2"), None);
        stored.forget("resp_1");
        assert!(stored.is_empty());
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut stored = StoredResponses::new(2, HOUR);
        stored.insert(at(0), "a", EndpointId(1));
        stored.insert(at(1), "b", EndpointId(2));
        assert!(stored.holder(at(2), "a").is_some());
        stored.insert(at(3), "c", EndpointId(3));
        assert_eq!(stored.holder(at(4), "b"), None);
        assert!(stored.holder(at(4), "a").is_some() && stored.holder(at(4), "c").is_some());
        assert_eq!(stored.len(), 2);
    }

    #[test]
    fn a_response_unused_for_its_lifetime_is_forgotten() {
        let mut stored = StoredResponses::new(8, HOUR);
        stored.insert(at(0), "a", EndpointId(1));
        assert_eq!(stored.holder(at(3_600), "a"), None);
        assert!(stored.is_empty());
    }

    #[test]
    fn an_absurd_id_is_not_kept() {
        let mut stored = StoredResponses::new(8, HOUR);
        stored.insert(at(0), &"x".repeat(300), EndpointId(1));
        stored.insert(at(0), "", EndpointId(1));
        assert!(stored.is_empty());
    }
}
