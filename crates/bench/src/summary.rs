//! Outcome counts of a run, and warnings about its validity.

use pointsman_report::{Level, Table, count, millis, per_second};

use crate::Outcome;
use crate::run::LoadResult;
use crate::workload::Plan;

/// Send lag p99 in milliseconds above which the generator distorts latencies.
const LAG_LIMIT: f64 = 5.0;

/// Share of the offered rate below which the server did not keep up.
const KEPT_UP: f64 = 0.95;

impl Outcome {
    /// The label in tables.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Ok => "answered".to_owned(),
            Self::Rejected => "rejected (429)".to_owned(),
            Self::HttpError(status) => format!("HTTP {status}"),
            Self::BrokenResponse => "broken response".to_owned(),
            Self::Timeout => "timed out".to_owned(),
            Self::ConnectionFailed => "connection failed".to_owned(),
            Self::NotSent => "not sent: too many in flight".to_owned(),
        }
    }
}

impl LoadResult {
    /// A table of outcome counts.
    #[must_use]
    pub fn outcome_table(&self) -> Table {
        let mut table = Table::new(["outcome", "requests"]);
        for (outcome, requests) in self.outcome_counts() {
            table.row([outcome.label(), count(requests)]);
        }
        table
    }

    /// Warnings about the validity of the results, the most severe first.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "request counts stay far below 2^53")]
    pub fn warnings(&self, plan: &Plan) -> Vec<String> {
        let mut warnings = Vec::new();
        let tally = self.outcome_counts();
        if let Some(&not_sent) = tally.get(&Outcome::NotSent) {
            warnings.push(format!(
                "{} requests were not sent because too many were in flight: this is no open loop; raise the \
                 limit or lower the rate",
                count(not_sent)
            ));
        }
        let arrival_seconds = plan.duration.as_secs_f64();
        let (offered, answered) = (plan.requests.len() as f64, self.completions());
        let answered_rate = answered.rate(arrival_seconds);
        let complete = tally.get(&Outcome::Ok).copied().unwrap_or(0) as f64;
        if complete < KEPT_UP * offered {
            warnings.push(format!("only {complete} of {offered} requests were answered"));
        } else if answered_rate < KEPT_UP * offered / arrival_seconds {
            warnings.push(format!(
                "latency grew all the time, with {} offered and {} answered: the servers were past their capacity, and \
                 latencies depend on the length of the run",
                per_second(Some(offered / arrival_seconds)),
                per_second(Some(answered_rate))
            ));
        }
        let lag = self.send_lag().quantile(Level::P99);
        if lag.is_some_and(|lag| lag > LAG_LIMIT) {
            warnings.push(format!(
                "the load generator itself was late by {} at p99: its machine is too busy for this rate",
                millis(lag)
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::RequestRecord;
    use crate::workload::{GenerationApi, PlannedRequest, Prompt};

    fn plan() -> Plan {
        let request = PlannedRequest {
            at: Duration::ZERO,
            prompt: Prompt::Recorded { text: "".into() },
            max_tokens: 1,
            model: "m".into(),
            stream: false,
        };
        Plan {
            api: GenerationApi::Completions,
            ignore_eos: false,
            duration: Duration::from_secs(1),
            requests: vec![request; 20],
        }
    }

    /// Twenty requests in a second, the latency of each in milliseconds from its planned time.
    fn answered(latency: impl Fn(u64) -> u64, lag: u64) -> LoadResult {
        let record = |index: u64| {
            let at = index * 50;
            let time = Duration::from_millis;
            RequestRecord::failed(time(at), time(at + lag), time(at + latency(at)), Outcome::Ok)
        };
        LoadResult { records: (0..20).map(record).collect(), elapsed: Duration::from_secs(60) }
    }

    fn failed(outcome: Outcome) -> LoadResult {
        let record = RequestRecord::failed(Duration::ZERO, Duration::ZERO, Duration::ZERO, outcome);
        LoadResult { records: vec![record; 20], elapsed: Duration::from_secs(1) }
    }

    fn check(result: &LoadResult, expect: &[&str]) {
        let warnings = result.warnings(&plan());
        assert_eq!(warnings.len(), expect.len(), "{warnings:?}");
        for (warning, expect) in warnings.iter().zip(expect) {
            assert!(warning.contains(expect), "{warning}");
        }
    }

    #[test]
    fn doubtful_runs_say_so() {
        check(&answered(|_| 10, 1), &[]);
        check(&answered(|_| 10, 50), &["late by 50.0 ms"]);
        check(&failed(Outcome::NotSent), &["no open loop", "only 0 of 20 requests were answered"]);
    }

    /// Responses that take longer than the run are no overload; ever longer ones are.
    #[test]
    fn overload_is_a_trend_and_not_what_is_in_flight_at_the_end() {
        check(&answered(|at| 5_000 + at % 100, 1), &[]);
        check(&answered(|at| 100 + 3 * at, 1), &["20.0/s offered and 5.00/s answered"]);
    }

    #[test]
    fn outcomes_are_listed_with_their_counts() {
        let text = failed(Outcome::HttpError(503)).outcome_table().render(80);
        assert!(text.contains("HTTP 503        20"), "{text}");
    }
}
