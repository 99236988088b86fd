use std::collections::BTreeMap;

use pointsman_workload::LengthTable;

use super::*;

fn workload() -> Workload {
    Workload {
        offered: OfferedLoad::poisson(200.0),
        duration: Duration::from_secs(50),
        source: Source::Generated {
            prompt: LengthTable::ShareGpt.prompt(),
            output: LengthTable::ShareGpt.output(),
            shared_prefix: None,
        },
        models: vec![WeightedModel { name: "m".into(), weight: 1.0 }],
        stream_share: 1.0,
        api: GenerationApi::ChatCompletions,
        ignore_eos: true,
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

fn near(found: f64, expect: f64, share: f64) {
    assert!((found / expect - 1.0).abs() < share, "{found} is not near {expect}");
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    assert_eq!(workload().plan(1).unwrap(), workload().plan(1).unwrap());
    assert_ne!(workload().plan(1).unwrap(), workload().plan(2).unwrap());
}

#[test]
fn changing_lengths_leaves_arrivals_alone() {
    let mut other = workload();
    other.source = Source::Generated {
        prompt: Distribution::Fixed(5.0),
        output: Distribution::Fixed(5.0),
        shared_prefix: None,
    };
    let times = |plan: Plan| plan.requests.into_iter().map(|request| request.at).collect::<Vec<_>>();
    assert_eq!(times(workload().plan(1).unwrap()), times(other.plan(1).unwrap()));
}

#[test]
fn poisson_arrivals_have_the_rate_and_spread_of_poisson() {
    let plan = workload().plan(3).unwrap();
    near(plan.requests.len() as f64, 10_000.0, 0.05);
    let gaps: Vec<f64> =
        plan.requests.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
    let average = mean(gaps.iter().copied());
    let variance = mean(gaps.iter().map(|gap| (gap - average).powi(2)));
    near(variance.sqrt() / average, 1.0, 0.05);
}

#[test]
fn constant_arrivals_have_equal_gaps() {
    let workload = Workload { offered: OfferedLoad::constant(4.0), ..workload() };
    let plan = Workload { duration: Duration::from_secs(1), ..workload }.plan(1).unwrap();
    let times: Vec<f64> = plan.requests.iter().map(|request| request.at.as_secs_f64()).collect();
    assert!(times.len() == 4 && times.windows(2).all(|pair| (pair[1] - pair[0] - 0.25).abs() < 1e-6));
}

#[test]
fn distributions_meet_their_parameters() {
    let check = |text: &str, expect_mean: f64| {
        let lengths: TokenLengths = text.parse().unwrap();
        near(lengths.distribution().mean_tokens(), expect_mean, 0.03);
    };
    check("constant:7", 7.0);
    check("uniform:10:30", 20.0);
    check("exponential:100:100000", 100.0);
    check("lognormal:100:0.5:100000", 100.0 * 0.125_f64.exp());
    check("quantiles:0=10,1=30", 20.0);
}

#[test]
fn invalid_workloads_are_refused_with_a_reason() {
    for text in [
        "",
        "constant",
        "constant:0",
        "constant:-1",
        "uniform:5:4",
        "exponential:0:5",
        "lognormal:1:-1:5",
        "quantiles:0=5",
        "quantiles:0=5,1=4",
        "quantiles:0=0,1=4",
        "sharegpt",
        "sharegpt-prompt:1",
    ] {
        assert!(text.parse::<TokenLengths>().is_err(), "{text}");
    }
    for text in ["", "poisson", "poisson:0", "poisson:inf", "constant:-3", "bursty:4"] {
        assert!(text.parse::<OfferedLoad>().is_err(), "{text}");
    }
    let check = |workload: Workload, expect| assert_eq!(workload.plan(1).unwrap_err(), expect);
    check(Workload { models: vec![], ..workload() }, WorkloadError::Models);
    check(Workload { stream_share: 1.5, ..workload() }, WorkloadError::StreamShare);
    check(Workload { offered: OfferedLoad::poisson(0.0), ..workload() }, WorkloadError::Rate);
    check(Workload { offered: OfferedLoad::constant(1e9), ..workload() }, WorkloadError::TooManyRequests);
    check(Workload { source: Source::Conversations(vec![]), ..workload() }, WorkloadError::NoConversations);
}

#[test]
fn models_and_streams_follow_their_shares() {
    let models = [("a", 3.0), ("b", 1.0)].map(|(name, weight)| WeightedModel { name: name.into(), weight });
    let plan = Workload { models: models.to_vec(), stream_share: 0.5, ..workload() }.plan(1).unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &plan.requests {
        *counts.entry(&request.model).or_default() += 1;
    }
    let total = plan.requests.len() as f64;
    near(counts["a"] as f64 / total, 0.75, 0.05);
    near(plan.requests.iter().filter(|request| request.stream).count() as f64 / total, 0.5, 0.05);
}

#[test]
fn prompts_have_their_length_and_differ_between_salts() {
    let shared_prefix = Some(SharedPrefix { groups: 1, tokens: 10 });
    let source = Source::Generated {
        prompt: Distribution::Fixed(20.0),
        output: Distribution::Fixed(1.0),
        shared_prefix,
    };
    let plan = Workload { source, ..workload() }.plan(1).unwrap();
    let [first, second] = [&plan.requests[0].prompt, &plan.requests[1].prompt];
    assert_eq!(first.tokens(), 30);
    assert_eq!(first.text(1).split_whitespace().count(), 30);
    assert_eq!(first.text(1).len(), 120);
    assert_eq!(first.text(1), first.text(1));
    let common =
        |left: &str, right: &str| left.bytes().zip(right.bytes()).take_while(|(l, r)| l == r).count();
    assert!((40..60).contains(&common(&first.text(1), &second.text(1))));
    assert!(common(&first.text(1), &first.text(2)) < 12);
}

#[test]
fn bodies_have_the_format_of_the_api() {
    let mut plan = workload().plan(1).unwrap();
    let request = PlannedRequest {
        prompt: Prompt::Recorded { text: "say \"hi\"".into() },
        max_tokens: 9,
        ..plan.requests[0].clone()
    };
    let body: serde_json::Value = serde_json::from_slice(&plan.body(&request, 0)).unwrap();
    let expect = serde_json::json!({
        "model": "m", "messages": [{"role": "user", "content": "say \"hi\""}], "max_tokens": 9,
        "stream": true, "stream_options": {"include_usage": true}, "ignore_eos": true,
    });
    assert_eq!(body, expect);
    plan.api = GenerationApi::Completions;
    plan.ignore_eos = false;
    let body: serde_json::Value =
        serde_json::from_slice(&plan.body(&PlannedRequest { stream: false, ..request }, 0)).unwrap();
    let expect = serde_json::json!({"model": "m", "prompt": "say \"hi\"", "max_tokens": 9, "stream": false});
    assert_eq!(body, expect);
}

#[test]
fn slices_hold_every_request_once_and_start_at_zero() {
    let plan = workload().plan(1).unwrap();
    let slices = plan.slices(7);
    assert_eq!(slices.len(), 7);
    assert_eq!(slices.iter().map(|slice| slice.requests.len()).sum::<usize>(), plan.requests.len());
    for slice in &slices {
        let window = slice.duration + Duration::from_micros(1);
        assert!(slice.requests.iter().all(|request| request.at <= window));
        assert!(slice.requests[0].at < Duration::from_millis(100));
    }
}

#[test]
fn debug_output_holds_no_prompt() {
    let prompt = Prompt::Recorded { text: "SECRET".into() };
    assert_eq!(format!("{prompt:?}"), "Recorded(6 bytes)");
}

#[test]
fn lengths_display_as_they_are_parsed() {
    for text in [
        "constant:5",
        "uniform:1:9",
        "exponential:12.5:100",
        "lognormal:100:1.5:4000",
        "quantiles:0=4,0.5=109,1=1024",
        "sharegpt-prompt",
        "sharegpt-output",
    ] {
        let lengths: TokenLengths = text.parse().unwrap();
        assert_eq!(lengths.to_string(), text);
    }
}
