//! Results of a run for a sweep.

use std::time::Duration;

use pointsman_report::sweep::{Completion, Completions, LatencySummary, Role};
use pointsman_report::{SeedResult, Slice};

use crate::Outcome;
use crate::run::LoadResult;
use crate::workload::Plan;

impl LoadResult {
    /// The arrivals and latencies of the answered requests.
    pub(crate) fn completions(&self) -> Completions {
        let answered = self.records.iter().filter(|record| record.outcome == Outcome::Ok);
        Completions::new(answered.map(|record| {
            let since = |end: Duration| end.saturating_sub(record.intended).as_secs_f64();
            let (at, ttft) = (record.intended.as_secs_f64(), record.first_token.map(since));
            Completion { at, ttft, e2e: since(record.end) }
        }))
    }

    /// The result of one arm at a nominal rate and seed.
    ///
    /// Prefix hits are present only where a response reported cached tokens, as vLLM does with
    /// `--enable-prompt-tokens-details`. The engines' load is unknown here.
    #[must_use]
    pub fn seed_result(&self, name: &str, rate: f64, seed: u64, plan: &Plan) -> SeedResult {
        let Slice { latencies, completed, errors, rejected, seconds } = self.slice();
        let arrival_seconds = plan.duration.as_secs_f64();
        let answered = || self.records.iter().filter(|record| record.outcome == Outcome::Ok);
        let completions = self.completions();
        let cached: Vec<u64> = answered().filter_map(|record| record.cached_tokens).collect();
        SeedResult {
            policy: name.to_owned(),
            role: Role::Policy,
            rate,
            seed,
            offered: self.records.len() as u64,
            completed,
            rejected,
            failed: errors,
            unfinished: 0,
            arrival_seconds,
            seconds,
            completed_rps: completions.rate(arrival_seconds),
            latency_growth: completions.latency_growth(),
            hit_tokens: (!cached.is_empty()).then(|| cached.iter().sum()),
            prompt_tokens: answered().map(|record| record.prompt_tokens).sum(),
            output_tokens: answered().map(|record| u64::from(record.output_tokens)).sum(),
            latencies: LatencySummary::new(&latencies),
            endpoints: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pointsman_report::{Level, Measure};

    use super::*;
    use crate::RequestRecord;
    use crate::workload::GenerationApi;

    fn record(intended: u64, end: u64, outcome: Outcome, cached_tokens: Option<u64>) -> RequestRecord {
        let at = Duration::from_millis(intended);
        RequestRecord {
            output_tokens: 10,
            prompt_tokens: 100,
            cached_tokens,
            ..RequestRecord::failed(at, at, Duration::from_millis(end), outcome)
        }
    }

    #[test]
    fn a_run_is_counted_as_a_sweep_takes_it() {
        let plan = Plan {
            api: GenerationApi::Completions,
            ignore_eos: false,
            duration: Duration::from_secs(2),
            requests: Vec::new(),
        };
        let records = vec![
            record(0, 500, Outcome::Ok, Some(30)),
            record(500, 4_000, Outcome::Ok, None),
            record(700, 800, Outcome::Rejected, None),
            record(900, 950, Outcome::Timeout, None),
        ];
        let result = LoadResult { records, elapsed: Duration::from_secs(4) };
        let found = result.seed_result("gateway", 2.0, 7, &plan);
        assert_eq!((found.offered, found.completed, found.rejected, found.failed), (4, 2, 1, 1));
        assert_eq!((found.prompt_tokens, found.output_tokens, found.hit_tokens), (200, 20, Some(30)));
        assert_eq!((found.arrival_seconds, found.seconds, found.completed_rps), (2.0, 4.0, 1.0));
        let e2e = found.latencies.of(Measure::E2e);
        assert_eq!(
            (e2e.quantile(Level::P50), e2e.quantile(Level::P90)),
            (Some(3_500.0), Some(f64::INFINITY))
        );
        assert_eq!(found.latency_growth, None);
    }
}
