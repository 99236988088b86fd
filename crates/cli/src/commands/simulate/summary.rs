//! The summary of a run that a sweep saves.

use std::time::Duration;

use pointsman_core::Time;
use pointsman_report::sweep::{Completion, Completions, EndpointPoint, EndpointSeries, LatencySummary, Role};
use pointsman_report::{Latencies, SeedResult, Timing};
use pointsman_sim::{End, LoadPoint, Outcome};

/// The parameters of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunParameters<'a> {
    pub(super) policy: &'a str,
    pub(super) role: Role,
    pub(super) rate: f64,
    pub(super) seed: u64,
    /// Jobs that arrive before this time are not counted.
    pub(super) warm_up: Duration,
    /// Length of the arrival period.
    pub(super) duration: Duration,
    /// Whether prompts share prefixes.
    pub(super) shares_prefixes: bool,
    /// Names of the engines; empty to omit their load over time.
    pub(super) endpoints: &'a [String],
}

/// Summarizes a run. Unanswered requests have infinite latency.
pub(super) fn summarize(of: &RunParameters<'_>, outcome: &Outcome) -> SeedResult {
    let count =
        |counted: fn(&End) -> bool| outcome.jobs.iter().filter(|(_, end)| counted(end)).count() as u64;
    let warm_up = Time::ZERO + of.warm_up;
    let arrival_seconds = of.duration.saturating_sub(of.warm_up).as_secs_f64();
    let answered = || {
        outcome.jobs.iter().filter_map(|(arrival, end)| match end {
            End::Answered { ttft_ms, e2e_ms, .. } => Some(Completion {
                // Since the end of the warm-up.
                at: arrival.since(warm_up).as_secs_f64(),
                ttft: Some(f64::from(*ttft_ms) / 1e3),
                e2e: f64::from(*e2e_ms) / 1e3,
            }),
            End::Rejected | End::Failed | End::Unfinished => None,
        })
    };
    let completions = Completions::new(answered());
    SeedResult {
        policy: of.policy.to_owned(),
        role: of.role,
        rate: of.rate,
        seed: of.seed,
        offered: outcome.jobs.len() as u64,
        completed: answered().count() as u64,
        rejected: count(|end| matches!(end, End::Rejected)),
        failed: count(|end| matches!(end, End::Failed)),
        unfinished: count(|end| matches!(end, End::Unfinished)),
        arrival_seconds,
        seconds: outcome.seconds,
        completed_rps: completions.rate(arrival_seconds),
        latency_growth: completions.latency_growth(),
        hit_tokens: of.shares_prefixes.then_some(outcome.cached_tokens),
        prompt_tokens: outcome.prompt_tokens,
        output_tokens: outcome.jobs.iter().map(|(_, end)| output_tokens(end)).sum(),
        latencies: LatencySummary::new(&Latencies::from_timings(
            outcome.jobs.iter().map(|(_, end)| timing(end)),
        )),
        endpoints: series(of, &outcome.engines),
    }
}

fn output_tokens(end: &End) -> u64 {
    match *end {
        End::Answered { output_tokens, .. } => u64::from(output_tokens),
        End::Rejected | End::Failed | End::Unfinished => 0,
    }
}

fn timing(end: &End) -> Timing {
    match *end {
        End::Answered { ttft_ms, e2e_ms, output_tokens } => {
            Timing::Answered { ttft: Some(milliseconds(ttft_ms)), e2e: milliseconds(e2e_ms), output_tokens }
        }
        End::Rejected | End::Failed | End::Unfinished => Timing::Failed,
    }
}

fn milliseconds(value: f32) -> Duration {
    Duration::from_secs_f64(f64::from(value).max(0.0) / 1e3)
}

fn series(of: &RunParameters<'_>, engines: &[Vec<LoadPoint>]) -> Vec<EndpointSeries> {
    let point = |point: &LoadPoint| EndpointPoint {
        seconds: thousandths(point.at),
        in_flight: f64::from(point.requests),
        kv_use: thousandths(point.kv_use),
    };
    let series = |(name, points): (&String, &Vec<LoadPoint>)| EndpointSeries {
        name: name.clone(),
        points: points.iter().map(point).collect(),
    };
    of.endpoints.iter().zip(engines).map(series).collect()
}

/// Rounds to a precision that suffices for plots and keeps files small.
fn thousandths(value: f32) -> f64 {
    (f64::from(value) * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use pointsman_report::{Level, Measure};

    #[test]
    fn each_end_is_counted_once_and_unanswered_requests_have_infinite_latency() {
        let second = |second: u64| Time::ZERO + Duration::from_secs(second);
        let answered = |e2e_ms| End::Answered { ttft_ms: 10.0, e2e_ms, output_tokens: 11 };
        let outcome = Outcome {
            jobs: vec![
                (second(10), answered(110.0)),
                (second(11), answered(210.0)),
                (second(12), End::Rejected),
                (second(13), End::Failed),
                (second(14), End::Unfinished),
            ],
            seconds: 12.0,
            prompt_tokens: 100,
            cached_tokens: 40,
            ..Outcome::default()
        };
        let of = RunParameters {
            policy: "random",
            role: Role::Policy,
            rate: 1.0,
            seed: 7,
            warm_up: Duration::from_secs(10),
            duration: Duration::from_secs(20),
            shares_prefixes: true,
            endpoints: &[],
        };
        let result = summarize(&of, &outcome);
        assert_eq!((result.offered, result.completed, result.rejected), (5, 2, 1));
        assert_eq!((result.failed, result.unfinished, result.output_tokens), (1, 1, 22));
        assert!((result.arrival_seconds - 10.0).abs() < 1e-9);
        assert_eq!(result.hit_tokens, Some(40));
        let e2e = result.latencies.of(Measure::E2e);
        assert_eq!(e2e.quantile(Level::P90), Some(f64::INFINITY));
        assert_eq!(e2e.answered, 2);
        let tpot = result.latencies.of(Measure::Tpot);
        assert!((tpot.min - 10.0).abs() < 1e-4, "{tpot:?}");
        assert_eq!(summarize(&RunParameters { shares_prefixes: false, ..of }, &outcome).hit_tokens, None);
    }
}
