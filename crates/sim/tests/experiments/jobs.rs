//! The jobs of experiments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pointsman_core::{BlockHash, Time, seconds};
use pointsman_sim::experiment::{Experiment, Files, load};
use pointsman_workload::{Job, Jobs, RecordedRequest};
use pointsman_yaml::SourceText;

const MOONCAKE: &str = r#"{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [1, 2, 3]}
{"timestamp": 1000, "input_length": 1030, "output_length": 6, "hash_ids": [1, 2, 4]}
{"timestamp": 1000, "input_length": 1030, "output_length": 7, "hash_ids": [5, 2, 4]}
{"timestamp": 9000, "input_length": 10, "output_length": 8, "hash_ids": [6]}
"#;

struct Given;

impl Files for Given {
    fn text(&self, path: &str) -> Result<Arc<str>, String> {
        match path {
            "mooncake.jsonl" => Ok(MOONCAKE.into()),
            "talk.json" => Ok(r#"[{"conversations": [{"from": "human", "value": "0123456789abcdefghij"},
                {"from": "gpt", "value": "0123456789abcdef0123456789abcdef"}]},
                {"conversations": [{"value": "too short"}, {"value": "x"}]}]"#
                .into()),
            "azure.csv" => Ok("TIMESTAMP,ContextTokens,GeneratedTokens\n\
                2023-11-16 18:15:46.5,374,44\n2023-11-16 18:15:48.0000000,396,0\n"
                .into()),
            "burst.csv" => Ok("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\r\n\
                5,ChatGPT,472,18,490,Conversation log\r\n45,ChatGPT,1087,0,1087,Conversation log\r\n\
                118.5,GPT-4,417,276,693,API log\r\n"
                .into()),
            other => Err(format!("there is no {other}")),
        }
    }

    fn recorded(&self, _path: &str) -> Result<Vec<RecordedRequest>, String> {
        let request = |second: u64, hash: u64, priority| RecordedRequest {
            at: Time::from_nanos(second * 1_000_000_000),
            prompt_tokens: 140,
            output_tokens: 3,
            max_output_tokens: Some(9),
            blocks: Arc::from([BlockHash(7), BlockHash(hash)]),
            block_tokens: 64,
            adapter: Some(1),
            priority,
            streamed: false,
        };
        Ok(vec![request(9, 8, -1), request(1, 8, 0), request(5, 9, 1)])
    }
}

/// An experiment with four engines of 8,192 tokens and this workload, 60 s long.
fn experiment(workload: &str) -> Experiment {
    experiment_at(workload, "rates: [1]")
}

fn experiment_at(workload: &str, rates: &str) -> Experiment {
    let text = format!(
        "fleet: [{{profile: llama-3-8b-h100, count: 4}}]\n{rates}\nduration: 60s\nworkload: {workload}"
    );
    load(&SourceText::new("test.yaml", text), &Given).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn jobs(workload: &str, rate: f64, seed: u64) -> Vec<Job> {
    let mut jobs = experiment(workload).jobs(rate, seed);
    std::iter::from_fn(|| jobs.next_job()).collect()
}

/// All fields of a job.
fn facts(job: &Job) -> String {
    format!("{job:?}")
}

fn at(job: &Job) -> f64 {
    seconds(job.arrival.since(Time::ZERO))
}

/// Number of leading blocks that two prompts share.
fn shared(a: &Job, b: &Job) -> usize {
    a.hashes.iter().zip(b.hashes.iter()).take_while(|(a, b)| a == b).count()
}

const SESSIONS: &str = "{lengths: {prompt: {kind: uniform, low: 20, high: 60}, output: {kind: uniform, low: 30, high: 90}},
  sessions: {turns: 4, thinkTime: {kind: exponential, mean: 5s}, systemPrompt: 100}, prefixes: {groups: 2, tokens: 200},
  connections: 8, adapters: {count: 2}}";

#[test]
fn a_seed_gives_the_same_jobs_in_any_order_of_calls() {
    let mut plain = experiment(SESSIONS).jobs(20.0, 3);
    let mut asked = experiment(SESSIONS).jobs(20.0, 3);
    let mut count = 0;
    while let (Some(one), Some(other)) = (plain.next_job(), asked.next_job()) {
        assert_eq!(facts(&one), facts(&other));
        // The order in which sessions continue makes no difference.
        let later = asked.follow_up(&other, other.arrival).unwrap();
        asked.follow_up(&later, later.arrival).unwrap();
        let alike = plain.follow_up(&one, one.arrival).unwrap();
        assert_eq!(facts(&later), facts(&alike));
        count += 1;
    }
    assert!(count > 200);
    assert_ne!(facts(&jobs(SESSIONS, 20.0, 4)[0]), facts(&jobs(SESSIONS, 20.0, 3)[0]));
}

#[test]
fn a_rate_changes_arrivals_only() {
    let workload = "{lengths: sharegpt, criticality: {critical: 1, standard: 1}}";
    let (slow, fast) = (jobs(workload, 5.0, 1), jobs(workload, 10.0, 1));
    assert!(fast.len() > slow.len());
    for (slow, fast) in slow.iter().zip(&fast) {
        assert!((at(slow) / at(fast) - 2.0).abs() < 1e-6);
        assert_eq!(
            (slow.prompt_tokens, slow.output_tokens, slow.priority),
            (fast.prompt_tokens, fast.output_tokens, fast.priority)
        );
    }
}

#[test]
fn a_turn_shares_all_blocks_of_the_previous_one() {
    let mut source = experiment(SESSIONS).jobs(2.0, 1);
    let mut numbers = BTreeSet::new();
    while let Some(mut job) = source.next_job() {
        let first = job.clone();
        assert_eq!(job.hashes.len() as u32, (job.prompt_tokens + job.output_tokens) / 16);
        for turn in 1..4 {
            let ended = job.arrival + std::time::Duration::from_secs(2);
            let next = source.follow_up(&job, ended).unwrap();
            assert!(next.arrival >= ended && numbers.insert(next.number));
            let added = next.prompt_tokens - job.prompt_tokens - job.output_tokens;
            assert!((20..=60).contains(&added));
            assert_eq!(shared(&job, &next), job.hashes.len());
            assert_eq!((next.connection, next.adapter), (first.connection, first.adapter));
            assert_eq!(next.turn.unwrap().index, turn);
            job = next;
        }
        assert!(source.follow_up(&job, job.arrival).is_none());
        assert!(numbers.insert(first.number));
    }
    assert_eq!(numbers.len() % 4, 0);
}

#[test]
fn sessions_share_their_groups_prefix_only() {
    let jobs = jobs(SESSIONS, 8.0, 1);
    let mut seen = BTreeMap::new();
    for (place, a) in jobs.iter().enumerate() {
        for b in &jobs[..place] {
            let common = shared(a, b);
            assert!(common == 0 || common == 200 / 16, "{common}");
            assert!(common == 0 || a.adapter == b.adapter);
            *seen.entry((common, a.adapter == b.adapter)).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn a_session_ends_before_a_turn_that_no_engine_accepts() {
    let workload = "{lengths: {prompt: 2000, output: 700}, sessions: {turns: 100, thinkTime: 1s}}";
    let mut source = experiment(workload).jobs(100.0, 1);
    let mut job = source.next_job().unwrap();
    let mut turns = 1;
    while let Some(next) = source.follow_up(&job, job.arrival) {
        job = next;
        turns += 1;
    }
    // 3 · 2,700 are 8,100 tokens, and the engine accepts 8,192.
    assert_eq!((turns, job.prompt_tokens), (3, 7_400));
}

#[test]
fn shares_are_as_asked_for() {
    #[track_caller]
    fn check(workload: &str, expected: f64, is: impl Fn(&Job) -> bool) {
        let jobs = jobs(workload, 200.0, 1);
        let share = jobs.iter().filter(|job| is(job)).count() as f64 / jobs.len() as f64;
        assert!((share - expected).abs() < 0.02, "{share}");
    }
    check("{lengths: sharegpt, criticality: {critical: 1, sheddable: 3}}", 0.25, |job| job.priority == 1);
    check("{lengths: sharegpt, criticality: sheddable}", 1.0, |job| job.priority == -1);
    check("{lengths: sharegpt, streamed: 0.3}", 0.3, |job| job.streamed);
    check("{lengths: sharegpt, adapters: {count: 3, base: 0.4}}", 0.2, |job| job.adapter == Some(2));
    check("{lengths: sharegpt, adapters: {count: 3, base: 0.4}}", 0.4, |job| job.adapter.is_none());
    check("{lengths: sharegpt, adapters: {weights: [3, 1]}}", 0.75, |job| job.adapter == Some(0));
    check("{lengths: sharegpt, connections: 4}", 0.25, |job| job.connection == 3);
    check("{lengths: sharegpt}", 1.0, |job| u64::from(job.connection) == job.number && job.hashes.is_empty());
    check("{lengths: {prompt: 10, output: 9}, maxTokens: {value: 4, share: 0.5}}", 0.5, |job| {
        job.output_tokens == 4 && job.max_output_tokens == Some(4)
    });
    check("{lengths: {prompt: 10, output: 9}, maxTokens: exact}", 1.0, |job| {
        job.max_output_tokens == Some(9)
    });
    check("{lengths: {prompt: 4000, output: 900}, cutAt: 1000}", 1.0, |job| {
        (job.prompt_tokens, job.output_tokens) == (100, 900)
    });
    check("{lengths: {sharegpt: talk.json}}", 1.0, |job| (job.prompt_tokens, job.output_tokens) == (5, 8));
    let classes = "{classes: [{weight: 3, lengths: {prompt: 10, output: 5}, adapters: {count: 2}},
      {lengths: {prompt: 20, output: 5}, adapters: {count: 1}}]}";
    check(classes, 0.25, |job| job.prompt_tokens == 20 && job.adapter == Some(2));
}

#[test]
fn a_trace_is_replayed_from_the_row_that_the_seed_draws() {
    let workload = "{trace: {format: mooncake, file: mooncake.jsonl}}";
    let experiment = experiment_at(workload, "rates: [0.05]");
    let round = 12.0; // nine seconds and a mean gap of three
    let mut starts = BTreeSet::new();
    for seed in 0..20 {
        let mut source = experiment.jobs(4.0 / round, seed);
        let jobs: Vec<Job> = std::iter::from_fn(|| source.next_job()).collect();
        assert_eq!(jobs.len(), 4);
        let place = |job: &Job| job.output_tokens - 5;
        let times = [0.0, 1.0, 1.0, 9.0];
        for job in &jobs {
            let since = times[place(job) as usize] - times[place(&jobs[0]) as usize];
            let wraps = place(job) < place(&jobs[0]);
            assert!((at(job) - since - if wraps { round } else { 0.0 }).abs() < 1e-6);
        }
        starts.insert(place(&jobs[0]));
        let by_row: BTreeMap<u32, &Job> = jobs.iter().map(|job| (place(job), job)).collect();
        assert_eq!(by_row[&0].hashes.len(), 1_100 / 16);
        // Ids 1 and 2 are 1,024 tokens; equal ids after a different first id are different prefixes.
        assert_eq!((shared(by_row[&0], by_row[&1]), shared(by_row[&1], by_row[&2])), (64, 0));
        assert!(by_row[&3].hashes.is_empty());
    }
    assert_eq!(starts.len(), 4);
    let mut twice = experiment.jobs(8.0 / round, 1);
    let fast: Vec<Job> = std::iter::from_fn(|| twice.next_job()).collect();
    assert!(at(&fast[3]) <= 6.0 && fast.len() == 4);
}

#[test]
fn an_event_log_keeps_adapters_priorities_and_hashes() {
    let workload = "{trace: {format: event-log, file: gateway.log}}";
    let experiment = experiment_at(workload, "");
    // Three requests in eight seconds, and one mean gap.
    assert!((experiment.rates[0] - 0.25).abs() < 1e-9);
    let mut source = experiment.jobs(experiment.rates[0], 1);
    let jobs: Vec<Job> = std::iter::from_fn(|| source.next_job()).collect();
    assert_eq!(jobs.len(), 3);
    for job in &jobs {
        assert_eq!((job.prompt_tokens, job.output_tokens, job.max_output_tokens), (140, 3, Some(9)));
        assert_eq!((job.adapter, job.streamed, job.hashes.len()), (Some(1), false, 8));
    }
    let priorities: BTreeSet<i32> = jobs.iter().map(|job| job.priority).collect();
    assert_eq!(priorities, [-1, 0, 1].into());
    let commons = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| shared(&jobs[a], &jobs[b]));
    assert_eq!(commons.iter().sum::<usize>(), 8 + 4 + 4);
}

#[test]
fn a_recording_at_its_own_rate_lasts_as_long_as_recorded() {
    let load_with = |lines: &str| {
        let text = format!(
            "fleet: [{{profile: llama-3-8b-h100, count: 4}}]\n\
             workload: {{trace: {{format: event-log, file: gateway.log}}}}\n{lines}"
        );
        load(&SourceText::new("test.yaml", text), &Given)
    };
    let times = |lines: &str| {
        let experiment = load_with(lines).unwrap_or_else(|problems| panic!("{problems:#?}"));
        (experiment.duration.as_secs_f64(), experiment.warm_up.as_secs_f64())
    };
    // Eight seconds, and one mean gap.
    assert_eq!(times(""), (12.0, 1.2));
    assert_eq!(times("warmUp: 5s\n"), (12.0, 5.0));
    assert_eq!(times("duration: 60s\n"), (60.0, 6.0));
    assert_eq!(times("rates: [0.01]\n"), (120.0, 12.0), "at another pace its length says nothing");
    let problems = load_with("warmUp: 30s\n").expect_err("nothing would be counted");
    assert!(format!("{problems:?}").contains("the recording lasts 12s"), "{problems:?}");
    // The fleet cannot change after the end of the recording.
    let changing = |at: &str| {
        let text = format!(
            "fleet: [{{profile: llama-3-8b-h100, count: 4, changes: [{{at: {at}, slowness: 2}}]}}]\n\
             workload: {{trace: {{format: event-log, file: gateway.log}}}}\n"
        );
        load(&SourceText::new("test.yaml", text), &Given)
    };
    assert!(changing("11s").is_ok());
    let problems = changing("13s").expect_err("it would never happen");
    assert!(format!("{problems:?}").contains("which lasts 12s"), "{problems:?}");
}

#[test]
fn published_formats_are_read_as_their_authors_wrote_them() {
    #[track_caller]
    fn check(trace: &str, rate: f64, expected: &[(u32, u32)]) {
        let experiment = experiment_at(&format!("{{trace: {{{trace}}}}}"), "");
        assert!((experiment.rates[0] - rate).abs() < 1e-9, "{}", experiment.rates[0]);
        let mut source = experiment.jobs(100.0, 1);
        let mut found: Vec<(u32, u32)> = std::iter::from_fn(|| source.next_job())
            .map(|job| (job.prompt_tokens, job.output_tokens))
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected);
    }
    check("format: azure, file: azure.csv", 1.0 / 1.5, &[(374, 44), (396, 0)]);
    // The request without response tokens failed and is skipped.
    check("format: burstgpt, file: burst.csv", 1.0 / 113.5, &[(417, 276), (472, 18)]);
    check(
        "format: mooncake, file: mooncake.jsonl",
        1.0 / 3.0,
        &[(10, 8), (1_030, 6), (1_030, 7), (1_100, 5)],
    );
}
