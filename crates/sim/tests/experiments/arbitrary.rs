//! Arbitrary files are refused with positions, or can be run.

use std::sync::Arc;

use pointsman_sim::experiment::load;
use pointsman_workload::Jobs;
use pointsman_workload::{TraceFormat, read_sharegpt};
use pointsman_yaml::SourceText;
use proptest::prelude::*;

use super::shipped::shipped;

const ROWS: [(TraceFormat, &str); 3] = [
    (
        TraceFormat::Azure,
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\n2023-11-16 18:15:50.99,396,109\n",
    ),
    (
        TraceFormat::BurstGpt,
        "Timestamp,Model,Request tokens,Response tokens\n5,ChatGPT,472,18\n45,ChatGPT,1087,230\n",
    ),
    (
        TraceFormat::Mooncake,
        "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [1, 2]}\n",
    ),
];

/// A text with some ranges removed or replaced.
fn changed(text: &str, edits: &[(usize, usize, String)]) -> String {
    let mut text = text.to_owned();
    for (from, length, by) in edits {
        let mut from = from % (text.len() + 1);
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        let mut to = (from + length).min(text.len());
        while !text.is_char_boundary(to) {
            to -= 1;
        }
        text.replace_range(from..to, by);
    }
    text
}

fn edits() -> impl Strategy<Value = Vec<(usize, usize, String)>> {
    let word = prop_oneof![
        Just(String::new()),
        "[0-9]{1,20}",
        "[-.:,{}\\[\\]\n]{1,3}",
        prop::sample::select(vec![
            "0",
            "-1",
            ".nan",
            "1e400",
            "\"",
            "s",
            "ms",
            "zipf: 3",
            "kind",
            "9999999999999"
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec((0..4_000_usize, 0..12_usize, word), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_experiment_is_refused_with_places_or_can_be_run(which in 0..100_usize, edits in edits()) {
        let files = shipped();
        let text = changed(&files[which % files.len()].1, &edits);
        let nothing = |_: &str| Err::<Arc<str>, String>("there are no files".to_owned());
        let lines = text.lines().count().max(1);
        match load(&SourceText::new("changed.yaml", text), &nothing) {
            Ok(experiment) => {
                let mut jobs = experiment.jobs(experiment.rates[0], experiment.seeds[0]);
                let mut last = None;
                for _ in 0..50 {
                    let Some(job) = jobs.next_job() else { break };
                    prop_assert!(job.prompt_tokens > 0 && last <= Some(job.arrival));
                    jobs.follow_up(&job, job.arrival);
                    last = Some(job.arrival);
                }
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!((1..=lines + 1).contains(&(problem.line as usize)), "{problem}");
                    prop_assert!(!problem.fix.is_empty() && !problem.message.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_trace_is_refused_with_lines_or_has_requests(which in 0..3_usize, edits in edits()) {
        let (format, rows) = ROWS[which];
        let source = SourceText::new("trace", changed(rows, &edits));
        match format.read(&source, false) {
            Ok(trace) => prop_assert!(!trace.is_empty() && trace.rate() > 0.0),
            Err(problems) => prop_assert!(problems.iter().all(|problem| problem.line >= 1)),
        }
        if let Err(problems) = read_sharegpt(&source) {
            prop_assert!(!problems.is_empty());
        }
    }
}
