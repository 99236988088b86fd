//! The retry budget.

use crate::policy::RetryBudget;
use crate::time::{Time, seconds};
use crate::window::RecentCount;

/// One pool's arrivals and retries over the last ten seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Retries {
    arrivals: RecentCount,
    retries: RecentCount,
}

impl Retries {
    pub(crate) fn arrived(&mut self, now: Time) {
        self.arrivals.add(now);
    }

    /// Takes one retry from the budget. Returns whether one was left.
    pub(crate) fn take(&mut self, now: Time, budget: &RetryBudget) -> bool {
        let always = f64::from(budget.min_per_second) * seconds(RecentCount::WINDOW);
        let allowed = always + budget.ratio.clamp(0.0, 1.0) * self.arrivals.count(now);
        let left = self.retries.count(now) + 1.0 <= allowed;
        if left {
            self.retries.add(now);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(budget: RetryBudget, arrivals: u32, expected: u32) {
        let mut retries = Retries::default();
        let now = Time::ZERO + Duration::from_secs(100);
        (0..arrivals).for_each(|_| retries.arrived(now));
        let taken = (0..10_000).filter(|_| retries.take(now, &budget)).count();
        assert_eq!(taken, expected as usize);
    }

    #[test]
    fn retries_are_a_share_of_the_arrivals_and_always_a_few() {
        let budget = RetryBudget { ratio: 0.2, min_per_second: 10, max_attempts: 3 };
        check(budget, 0, 100);
        check(budget, 1_000, 300);
        check(RetryBudget { min_per_second: 0, ..budget }, 1_000, 200);
        check(RetryBudget { min_per_second: 0, ratio: 0.0, ..budget }, 1_000, 0);
        check(RetryBudget { min_per_second: 0, ratio: f64::NAN, ..budget }, 1_000, 0);
    }

    #[test]
    fn the_budget_refills_with_time() {
        let budget = RetryBudget { ratio: 0.0, min_per_second: 1, max_attempts: 3 };
        let mut retries = Retries::default();
        let start = Time::ZERO + Duration::from_secs(100);
        assert_eq!((0..100).filter(|_| retries.take(start, &budget)).count(), 10);
        let later = start + Duration::from_secs(15);
        assert_eq!((0..100).filter(|_| retries.take(later, &budget)).count(), 5);
    }
}
