//! Counts over a sliding window.

use std::time::Duration;

use crate::time::{Time, seconds};

/// The number of events in about the last ten seconds: the count of the present window, and that of the window before in
/// proportion to the part that the last ten seconds still cover.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RecentCount {
    since: Time,
    current: f64,
    previous: f64,
}

impl RecentCount {
    /// The length of the window.
    pub(crate) const WINDOW: Duration = Duration::from_secs(10);

    /// Counts one event.
    pub(crate) fn add(&mut self, now: Time) {
        let passed = now.since(self.since);
        if passed >= Self::WINDOW {
            self.previous = if passed < Self::WINDOW * 2 { self.current } else { 0.0 };
            self.current = 0.0;
            self.since = if passed < Self::WINDOW * 2 { self.since + Self::WINDOW } else { now };
        }
        self.current += 1.0;
    }

    /// Takes back one event of the present window.
    pub(crate) fn take_back(&mut self) {
        self.current = (self.current - 1.0).max(0.0);
    }

    pub(crate) fn count(&self, now: Time) -> f64 {
        let passed = seconds(now.since(self.since)) / seconds(Self::WINDOW);
        if passed < 1.0 {
            self.current + self.previous * (1.0 - passed)
        } else if passed < 2.0 {
            self.current * (2.0 - passed)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_fade_over_one_window_and_are_gone_after_two() {
        let at = |tenths: u64| Time::ZERO + Duration::from_millis(tenths * 100);
        let mut recent = RecentCount::default();
        for _ in 0..8 {
            recent.add(at(0));
        }
        assert_eq!(recent.count(at(99)), 8.0);
        recent.add(at(150));
        assert_eq!(recent.count(at(150)), 5.0, "half of the eight and the new one");
        assert_eq!(recent.count(at(400)), 0.0);
        recent.add(at(1_000));
        assert_eq!(recent.count(at(1_000)), 1.0);
    }
}
