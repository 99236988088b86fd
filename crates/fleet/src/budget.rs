//! Bounds on what a front door holds at one time: bytes of bodies, requests, connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count of something with a limit, which the configuration in force names at each use.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicU64,
}

/// A share of a budget, given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    amount: u64,
}

impl Budget {
    /// A share of nothing, to be grown.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), amount: 0 }
    }

    /// What is in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Grows to `amount`, if all shares together then stay within `limit`. Never shrinks.
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

    /// Whether nothing of the budget is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.amount == 0
    }

    /// Gives everything back.
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
    fn shares_stay_within_the_limit_and_come_back() {
        let budget = Arc::new(Budget::default());
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.grow_to(6, 10));
        assert!(!two.grow_to(5, 10), "6 + 5 is over 10");
        assert!(two.grow_to(4, 10));
        assert!(one.grow_to(3, 10), "a smaller need is met already");
        assert_eq!(budget.used(), 10);
        one.give_back();
        assert_eq!((budget.used(), one.is_empty()), (4, true));
        drop(one);
        assert!(two.grow_to(10, 10));
        drop(two);
        assert_eq!(budget.used(), 0);
    }
}
