//! What is read of an EndpointPickerConfig, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::time::Duration;

use pointsman_config::{Door, Options, PickerConfig, SourceText, load, read_picker_config};
use pointsman_core::{
    ActiveRequestScore, Affinity, Blend, BlendWeights, Picker, Placement, PrefixScore, SaturationLimits,
};

/// The defaults of the extension's chart 1.0, and of 1.5, which names where metrics come from.
const CHART_1_0: &str = "\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: kv-cache-utilization-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
";
const CHART_1_5: &str = "\
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: kv-cache-utilization-scorer
- type: prefix-cache-scorer
- type: metrics-data-source
  parameters:
    scheme: \"http\"
    path: \"/metrics\"
    insecureSkipVerify: true
- type: core-metrics-extractor
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
    weight: 2
  - pluginRef: kv-cache-utilization-scorer
    weight: 2
  - pluginRef: prefix-cache-scorer
    weight: 3
";

fn read(text: &str) -> Result<PickerConfig, Vec<String>> {
    let read = read_picker_config(&SourceText::new("c.yaml", text), &Options::default());
    read.map(|(config, warnings)| {
        assert_eq!(warnings, [], "{text}");
        config
    })
    .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn with_head(rest: &str) -> String {
    format!("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n{rest}")
}

#[track_caller]
fn check(rest: &str, expected: Blend) {
    let config = read(&with_head(rest)).unwrap();
    assert_eq!(config, PickerConfig { placement: Placement::Blend(expected), saturation: None }, "{rest}");
}

#[track_caller]
fn refused(rest: &str, problem: &str) {
    let problems = read(&with_head(rest)).unwrap_err();
    assert_eq!(problems, [format!("c.yaml:{problem}")], "{rest}");
}

#[test]
fn the_defaults_of_upstream_are_the_published_blend() {
    for text in [CHART_1_0, CHART_1_5, &CHART_1_0.replace("inference.networking.x-k8s.io", "llm-d.ai")] {
        let config = read(text).unwrap();
        assert_eq!(config, PickerConfig { placement: Placement::Blend(Blend::LLM_D), saturation: None });
    }
    check("", Blend::LLM_D);
}

#[test]
fn scorers_have_weight_one_unless_said() {
    let weights = BlendWeights { queue: 1.0, lora_affinity: 0.5, ..BlendWeights::NONE };
    check(
        "plugins: [{type: queue-scorer}, {type: lora-affinity-scorer, name: lora}]\nschedulingProfiles:\n\
         - {name: p, plugins: [{pluginRef: queue-scorer}, {pluginRef: lora, weight: 0.5}]}\n",
        Blend { weights, ..Blend::EMPTY },
    );
    let weights = BlendWeights { queue: 1.0, running_requests: 1.0, ..BlendWeights::NONE };
    check(
        "plugins: [{type: queue-scorer}, {type: running-requests-size-scorer}, {type: single-profile-handler}]\n",
        Blend { weights, ..Blend::EMPTY },
    );
}

#[test]
fn parameters_are_those_of_upstream() {
    let weights = BlendWeights {
        prefix_cache: 1.0,
        load_aware: 1.0,
        active_request: 1.0,
        token_load: 1.0,
        ..BlendWeights::NONE
    };
    let affinity = Affinity {
        threshold: 0.7,
        max_ttft_penalty: Duration::from_millis(2_500),
        peak_prefill_throughput: 9_000.0,
        exploration_probability: 0.01,
    };
    check(
        "plugins:\n\
         - {type: prefix-cache-scorer, parameters: {matchLengthWeight: 0.5, matchLengthScaleTokens: 4096}}\n\
         - {type: load-aware-scorer, parameters: {threshold: 32}}\n\
         - {type: active-request-scorer, parameters: {idleThreshold: 2, maxBusyScore: 0.5}}\n\
         - {type: token-load-scorer, parameters: {queueThresholdTokens: 1000}}\n\
         - {type: prefix-cache-affinity-filter, parameters: {affinityThreshold: 0.7, maxTTFTPenaltyMs: 2500, \
         peakPrefillThroughput: 9000, explorationProbability: 0.01}}\n\
         - {type: weighted-random-picker, parameters: {maxNumOfEndpoints: 1}}\n",
        Blend {
            weights,
            prefix: PrefixScore { match_length_weight: 0.5, match_length_scale_tokens: 4_096 },
            active_request: ActiveRequestScore { idle_threshold: 2, max_busy_score: 0.5 },
            load_aware_threshold: 32,
            token_load_threshold: 1_000,
            affinity: Some(affinity),
            picker: Picker::WeightedRandom,
        },
    );
}

#[test]
fn a_profile_that_scores_nothing_draws() {
    let random = Blend { picker: Picker::Random, ..Blend::EMPTY };
    check("plugins: [{type: max-score-picker}]\n", random);
    check(
        "plugins: [{type: random-picker}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: random-picker}]}]\n",
        random,
    );
}

#[test]
fn saturation_is_read_wherever_it_stands() {
    let limits = SaturationLimits { waiting: 10, kv_use: 0.9 };
    for text in [
        "saturationDetector: {queueDepthThreshold: 10, kvCacheUtilThreshold: 0.9}\n",
        "plugins:\n- type: utilization-detector\n  parameters: {queueDepthThreshold: 10, kvCacheUtilThreshold: 0.9}\n\
         saturationDetector: {pluginRef: utilization-detector}\n",
        "plugins:\n- type: utilization-detector\n  name: d\n\
         \x20 parameters: {queueDepthThreshold: 10, kvCacheUtilThreshold: 0.9}\n\
         flowControl: {saturationDetector: {pluginRef: d}}\nfeatureGates: [flowControl=false]\n",
    ] {
        assert_eq!(read(&with_head(text)).unwrap().saturation, Some(limits), "{text}");
    }
}

#[test]
fn what_has_no_counterpart_is_refused_by_its_path_with_what_to_use_instead() {
    const AT: &str = "error: EndpointPickerConfig:";
    refused(
        "plugins: [{type: latency-scorer}]\n",
        &format!(
            "3:18: {AT} plugins[0].type: \"latency-scorer\" has no counterpart here (fix: leave the file out: the \
             default placement weighs expected seconds)"
        ),
    );
    refused(
        "plugins: [{type: queue-scorers}]\n",
        &format!(
            "3:18: {AT} plugins[0].type: \"queue-scorers\" has no counterpart here (fix: did you mean queue-scorer?)"
        ),
    );
    refused(
        "plugins:\n- type: prefix-cache-scorer\n  parameters:\n    hashBlockSize: 64\n",
        &format!(
            "6:5: {AT} plugins[0].parameters.hashBlockSize: the index of prefixes sizes itself (fix: remove it)"
        ),
    );
    refused(
        "featureGates: [flowControl]\n",
        &format!(
            "3:16: {AT} featureGates[0]: requests are not queued here (fix: remove it: sheddable requests are \
             answered with 429)"
        ),
    );
    refused(
        "dataLayer: {discovery: {pluginRef: x}}\n",
        &format!(
            "3:13: {AT} dataLayer.discovery: endpoints come from --manifests or --endpoint (fix: remove it)"
        ),
    );
    refused(
        "plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: queue}]}]\n",
        &format!(
            "4:54: {AT} schedulingProfiles[0].plugins[0].pluginRef: there is no plugin \"queue\" (fix: did you mean \
             queue-scorer?)"
        ),
    );
    refused(
        "plugins: [{type: queue-scorer}, {type: kv-cache-scorer}, {type: kv-cache-utilization-scorer}]\n",
        &format!(
            "3:58: {AT} plugins[2]: a second \"kv-cache-utilization-scorer\" stands in the profile (fix: keep one)"
        ),
    );
}

#[test]
fn what_is_no_such_file_is_refused() {
    let problems = read("").unwrap_err();
    assert!(problems[0].contains("the file is empty"), "{problems:?}");
    let problems = read("apiVersion: v1\nkind: ConfigMap\n").unwrap_err();
    assert!(problems[0].contains("apiVersion: \"v1\" is not one of llm-d.ai/v1alpha1"), "{problems:?}");
    let problems = read(&format!("{CHART_1_0}---\n{CHART_1_0}")).unwrap_err();
    assert!(problems[0].contains("a second document"), "{problems:?}");
}

#[test]
fn what_no_profile_refers_to_is_a_warning() {
    let text = with_head(
        "plugins: [{type: queue-scorer}, {type: load-aware-scorer}]\n\
         schedulingProfiles: [{name: p, plugins: [{pluginRef: queue-scorer}]}]\n",
    );
    let (_, warnings) = read_picker_config(&SourceText::new("c.yaml", text), &Options::default()).unwrap();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "c.yaml:3:33: warning: EndpointPickerConfig: plugins[1]: nothing refers to it (fix: refer to it, or remove it)"
        ]
    );
}

const POOL: &str = "\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: p}
spec: {selector: {matchLabels: {app: p}}, targetPorts: [{number: 8000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: p, labels: {app: p}, annotations: {pointsman.dev/laptop-only: \"true\"}}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1]}]
---
";

fn for_picker(text: &str, config: Option<PickerConfig>) -> pointsman_config::Loaded {
    let options = Options { door: Door::Picker { config }, ..Options::default() };
    load(&[SourceText::new("f.yaml", text)], &options)
}

#[test]
fn a_picker_needs_a_pool_and_no_gateway() {
    let loaded = for_picker(POOL, None);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.world.pools.len(), 1);
    // The gateway in front reads it, whatever it says.
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: \
                   envoy, listeners: [{name: h, port: 443, protocol: TLS}]}\n---\n";
    let loaded = for_picker(&format!("{gateway}{POOL}"), None);
    assert_eq!((loaded.problems, loaded.world.listeners.len()), (vec![], 0));
    let problems = for_picker(gateway, None).problems;
    assert!(problems[0].message.contains("there is no InferencePool"), "{problems:?}");
}

#[test]
fn the_file_holds_for_the_pool_unless_a_policy_says_the_same() {
    let config = read(CHART_1_0).unwrap();
    let policy = |spec: &str| {
        format!(
            "{POOL}apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {{name: p}}\n\
             spec: {{poolRef: {{name: p}}, {spec}}}\n"
        )
    };
    let loaded = for_picker(&policy("undeclaredModels: allow"), Some(config));
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.world.pools[0].policy.placement, config.placement);
    let loaded = for_picker(&policy("placement: random"), Some(config));
    let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "f.yaml:15:39: error: PoolPolicy default/p: spec.placement: the picker's --config-file says it too (fix: say \
             it in one of them only)"
        ]
    );
}
