//! Outcome counts of a run, and warnings about its validity.

use pointsman_report::{Level, Table, count, millis, per_second};

use crate::Outcome;
use crate::run::LoadResult;
use crate::workload::Plan;

/// Send lag p99 in milliseconds above which the generator distorts latencies.
const LAG_LIMIT: f64 = 5.0;

/// Share of the offered rate below which the server did not keep up, so that latencies depend on the length of the run.
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
        let offered = plan.requests.len() as f64 / plan.duration.as_secs_f64();
        let answered = tally.get(&Outcome::Ok).copied().unwrap_or(0) as f64;
        let achieved = answered / self.elapsed.as_secs_f64();
        if offered.is_finite() && achieved < KEPT_UP * offered {
            warnings.push(format!(
                "{} were offered and {} answered, draining included: either the servers were past their capacity, \
                 or the run is short beside its longest answers",
                per_second(Some(offered)),
                per_second(Some(achieved))
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
            requests: vec![request; 10],
        }
    }

    fn result(outcome: Outcome, lag: u64, elapsed: u64) -> LoadResult {
        let (intended, sent) = (Duration::ZERO, Duration::from_millis(lag));
        let record = RequestRecord::failed(intended, sent, sent, outcome);
        LoadResult { records: vec![record; 10], elapsed: Duration::from_millis(elapsed) }
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
        check(&result(Outcome::Ok, 1, 1_000), &[]);
        check(&result(Outcome::Ok, 50, 1_000), &["late by 50.0 ms"]);
        check(&result(Outcome::Ok, 1, 2_000), &["10.0/s were offered and 5.00/s answered"]);
        check(&result(Outcome::NotSent, 1, 1_000), &["no open loop", "0/s answered"]);
    }

    #[test]
    fn outcomes_are_listed_with_their_counts() {
        let text = result(Outcome::HttpError(503), 0, 1_000).outcome_table().render(80);
        assert!(text.contains("HTTP 503        10"), "{text}");
    }
}
