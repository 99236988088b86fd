//! Limits on concurrent use: bytes of bodies, requests, connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An amount in use. Its limit is given at each use, since it may change with the configuration.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicU64,
}

/// A part of a budget, returned when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    amount: u64,
}

impl Budget {
    /// An empty share.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), amount: 0 }
    }

    /// The amount in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Grows to `amount` unless all shares together would exceed `limit`; returns whether it did. Never shrinks.
    #[must_use]
    pub fn grow_to(&mut self, amount: u64, limit: u64) -> bool {
        let Some(more @ 1..) = amount.checked_sub(self.amount) else { return true };
        let used = self.budget.used.fetch_add(more, Ordering::Relaxed);
        if used.saturating_add(more) > limit {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.amount = amount;
        true
    }

    /// Whether the amount is 0.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.amount == 0
    }

    /// Returns the whole amount.
    pub fn give_back(&mut self) {
        if self.amount > 0 {
            self.budget.used.fetch_sub(std::mem::take(&mut self.amount), Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stay_within_the_limit_and_are_returned() {
        let budget = Arc::new(Budget::default());
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.grow_to(6, 10));
        assert!(!two.grow_to(5, 10), "6 + 5 exceeds 10");
        assert!(two.grow_to(4, 10));
        assert!(one.grow_to(3, 10), "a share never shrinks");
        assert_eq!(budget.used(), 10);
        one.give_back();
        assert_eq!((budget.used(), one.is_empty()), (4, true));
        drop(one);
        assert!(two.grow_to(10, 10));
        drop(two);
        assert_eq!(budget.used(), 0);
    }
}
