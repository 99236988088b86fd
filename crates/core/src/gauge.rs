//! Engines' load gauges, corrected by the scheduler's own dispatches since they were read.

use std::time::Duration;

use crate::cast::count;
use crate::endpoint::LoadReport;
use crate::time::Time;

/// Age up to which a reading is fresh. Idle endpoints are read every 5 s and busy ones at least every second, so an older
/// one means that readings were lost.
pub(crate) const FRESH: Duration = Duration::from_secs(7);

/// Requests beyond the scheduler's own that a reading may show because messages take time.
const NOT_FOREIGN: f64 = 2.0;

/// The scheduler's own counts at an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) in_flight: u32,
    /// Those whose first token is not yet generated.
    pub(crate) prefilling: u32,
    /// Tokens that took blocks of their own: uncached prompt tokens and output so far.
    pub(crate) filled: u64,
}

/// A reading with the scheduler's counts at the same time.
#[derive(Clone, Debug)]
pub(crate) struct Gauge {
    pub(crate) report: LoadReport,
    pub(crate) then: Counts,
    /// Requests in it that other routers sent.
    pub(crate) foreign: f64,
}

/// An engine's present load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct EngineLoad {
    /// Requests in the engine, running or waiting.
    pub(crate) requests: Option<f64>,
    pub(crate) waiting: Option<f64>,
    /// Use of the KV cache, 0 to 1.
    pub(crate) kv_use: Option<f64>,
}

impl Gauge {
    pub(crate) fn new(report: LoadReport, then: Counts) -> Self {
        let shown = report.running.map_or(0.0, f64::from) + report.waiting.map_or(0.0, f64::from);
        let foreign = (shown - f64::from(then.in_flight) - NOT_FOREIGN).max(0.0);
        Self { report, then, foreign }
    }

    pub(crate) fn is_fresh(&self, now: Time) -> bool {
        now.since(self.report.taken) <= FRESH
    }

    /// Size of the KV cache in tokens: as the engine states it, else its blocks times their size.
    pub(crate) fn kv_tokens(&self) -> Option<f64> {
        let LoadReport { kv_tokens, kv_blocks, block_size, .. } = self.report;
        let product = || Some(f64::from(kv_blocks?) * f64::from(block_size?));
        kv_tokens.map(f64::from).or_else(product).filter(|tokens| *tokens > 0.0)
    }

    /// The reading, corrected by the requests dispatched and released since it was taken.
    pub(crate) fn corrected(&self, counts: Counts) -> EngineLoad {
        let change = |now: u32, then: u32| f64::from(now) - f64::from(then);
        let came = change(counts.in_flight, self.then.in_flight);
        let queued = change(counts.prefilling, self.then.prefilling);
        let filled = count(counts.filled) - count(self.then.filled);
        let LoadReport { running, waiting, .. } = self.report;
        EngineLoad {
            requests: running
                .map(|running| (f64::from(running.saturating_add(waiting.unwrap_or(0))) + came).max(0.0)),
            waiting: waiting.map(|waiting| (f64::from(waiting) + queued).max(0.0)),
            kv_use: self.report.kv_use.map(|kv_use| {
                let change = self.kv_tokens().map_or(0.0, |tokens| filled / tokens);
                (kv_use + change).clamp(0.0, 1.0)
            }),
        }
    }
}

/// The counts of the last one or two seconds in steps of [`History::STEP`], to look up those at a reading's time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    /// A ring of counts, each with the time until which it held.
    steps: [(Time, Counts); Self::STEPS],
    next: usize,
}

impl History {
    const STEPS: usize = 16;
    const STEP: Duration = Duration::from_millis(50);

    /// Records the counts before they change.
    pub(crate) fn changing(&mut self, now: Time, counts: Counts) {
        let (latest, _) = self.steps[(self.next + Self::STEPS - 1) % Self::STEPS];
        if now.since(latest) >= Self::STEP {
            self.steps[self.next] = (now, counts);
            self.next = (self.next + 1) % Self::STEPS;
        }
    }

    /// The counts at `time`: those that held until the first change after it, or `current` if there was none.
    pub(crate) fn at(&self, time: Time, current: Counts) -> Counts {
        (0..Self::STEPS)
            .map(|step| self.steps[(self.next + step) % Self::STEPS])
            .find(|(until, _)| *until > time)
            .map_or(current, |(_, counts)| counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    fn counts(in_flight: u32) -> Counts {
        Counts { in_flight, prefilling: in_flight, filled: u64::from(in_flight) * 100 }
    }

    #[test]
    fn history_finds_the_counts_at_a_readings_time() {
        let mut history = History::default();
        for step in 0..100_u32 {
            history.changing(at(1_000 + u64::from(step) * 100), counts(step));
        }
        assert_eq!(history.at(at(10_899), counts(100)), counts(99));
        assert_eq!(history.at(at(10_950), counts(100)), counts(100));
        assert_eq!(history.at(at(10_450), counts(100)), counts(95));
        assert_eq!(history.at(at(0), counts(100)), counts(84), "no further back than the ring");
    }

    #[test]
    fn a_stated_capacity_precedes_the_product_of_blocks_and_their_size() {
        let tokens = |kv_tokens| {
            let report =
                LoadReport { kv_blocks: Some(320), block_size: Some(8), kv_tokens, ..LoadReport::default() };
            Gauge::new(report, counts(0)).kv_tokens()
        };
        assert_eq!(tokens(Some(463_459)), Some(463_459.0), "a hybrid model");
        assert_eq!(tokens(None), Some(2_560.0));
        assert_eq!(tokens(Some(0)), None);
    }

    #[test]
    fn a_reading_is_corrected_by_requests_since() {
        let report = LoadReport {
            running: Some(10),
            waiting: Some(2),
            kv_use: Some(0.5),
            kv_blocks: Some(100),
            block_size: Some(16),
            ..LoadReport::default()
        };
        let gauge = Gauge::new(report, counts(12));
        let load = gauge.corrected(counts(16));
        assert_eq!(load, EngineLoad { requests: Some(16.0), waiting: Some(6.0), kv_use: Some(0.75) });
        let load = gauge.corrected(counts(0));
        assert_eq!(load, EngineLoad { requests: Some(0.0), waiting: Some(0.0), kv_use: Some(0.0) });
    }
}
