//! The clock of a fleet.

use std::time::Instant;

use pointsman_core::Time;

/// The system's monotonic clock as the core's [`Time`]: nanoseconds since the fleet started.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin is now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// The time now.
    #[must_use]
    pub fn now(self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// The instant at which this clock shows `time`.
    #[must_use]
    pub fn instant(self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO)
    }
}
