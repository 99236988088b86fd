//! Reading of EndpointPickerConfig.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::time::Duration;

use pointsman_config::{Consumer, Limits, Options, PickerConfig, SourceText, load, read_picker_config};
use pointsman_core::{
    ActiveRequestScore, Affinity, Blend, BlendWeights, Picker, Placement, PrefixScore, SaturationLimits,
};

/// The default configuration of the extension's Helm chart 1.0. That of 1.5 adds the source of metrics.
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
    let read = read_picker_config(&SourceText::new("c.yaml", text), &Limits::default());
    read.map(|(config, warnings)| {
        assert_eq!(warnings, [], "{text}");
        config
    })
    .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn with_header(rest: &str) -> String {
    format!("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n{rest}")
}

#[track_caller]
fn check(rest: &str, expected: Blend) {
    let config = read(&with_header(rest)).unwrap();
    assert_eq!(config, PickerConfig { placement: Placement::Blend(expected), saturation: None }, "{rest}");
}

#[track_caller]
fn check_problem(rest: &str, problem: &str) {
    let problems = read(&with_header(rest)).unwrap_err();
    assert_eq!(problems, [format!("c.yaml:{problem}")], "{rest}");
}

#[test]
fn the_default_configuration_of_upstream_is_the_published_blend() {
    for text in [CHART_1_0, CHART_1_5, &CHART_1_0.replace("inference.networking.x-k8s.io", "llm-d.ai")] {
        let config = read(text).unwrap();
        assert_eq!(config, PickerConfig { placement: Placement::Blend(Blend::LLM_D), saturation: None });
    }
    check("", Blend::LLM_D);
}

#[test]
fn scorers_have_weight_one_by_default() {
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
fn parameters_have_the_names_of_upstream() {
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
fn a_profile_without_scorers_picks_at_random() {
    let random = Blend { picker: Picker::Random, ..Blend::EMPTY };
    check("plugins: [{type: max-score-picker}]\n", random);
    check(
        "plugins: [{type: random-picker}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: random-picker}]}]\n",
        random,
    );
}

#[test]
fn saturation_limits_may_be_inline_or_in_a_plugin() {
    let limits = SaturationLimits { waiting: 10, kv_use: 0.9 };
    for text in [
        "saturationDetector: {queueDepthThreshold: 10, kvCacheUtilThreshold: 0.9}\n",
        "plugins:\n- type: utilization-detector\n  parameters: {queueDepthThreshold: 10, kvCacheUtilThreshold: 0.9}\n\
         saturationDetector: {pluginRef: utilization-detector}\n",
        "plugins:\n- type: utilization-detector\n  name: d\n\
         \x20 parameters: {queueDepthThreshold: 10, kvCacheUtilThreshold: 0.9}\n\
         flowControl: {saturationDetector: {pluginRef: d}}\nfeatureGates: [flowControl=false]\n",
    ] {
        assert_eq!(read(&with_header(text)).unwrap().saturation, Some(limits), "{text}");
    }
}

#[test]
fn unsupported_settings_are_errors_with_an_alternative() {
    const AT: &str = "error: EndpointPickerConfig:";
    check_problem(
        "plugins: [{type: latency-scorer}]\n",
        &format!(
            "3:18: {AT} plugins[0].type: \"latency-scorer\" is not supported (fix: omit the file: the \
             default placement minimises the expected latency)"
        ),
    );
    check_problem(
        "plugins: [{type: queue-scorers}]\n",
        &format!(
            "3:18: {AT} plugins[0].type: \"queue-scorers\" is not supported (fix: did you mean queue-scorer?)"
        ),
    );
    check_problem(
        "plugins:\n- type: prefix-cache-scorer\n  parameters:\n    hashBlockSize: 64\n",
        &format!(
            "6:5: {AT} plugins[0].parameters.hashBlockSize: is not supported: the prefix index has a fixed memory budget (fix: remove it)"
        ),
    );
    check_problem(
        "featureGates: [flowControl]\n",
        &format!(
            "3:16: {AT} featureGates[0]: requests are not queued (fix: remove it: sheddable requests are \
             rejected with 429)"
        ),
    );
    check_problem(
        "dataLayer: {discovery: {pluginRef: x}}\n",
        &format!(
            "3:13: {AT} dataLayer.discovery: endpoints come from --manifests or --endpoint (fix: remove it)"
        ),
    );
    check_problem(
        "plugins: [{type: queue-scorer}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: queue}]}]\n",
        &format!(
            "4:54: {AT} schedulingProfiles[0].plugins[0].pluginRef: there is no plugin \"queue\" (fix: did you mean \
             queue-scorer?)"
        ),
    );
    check_problem(
        "plugins: [{type: queue-scorer}, {type: kv-cache-scorer}, {type: kv-cache-utilization-scorer}]\n",
        &format!(
            "3:58: {AT} plugins[2]: the profile already has a \"kv-cache-utilization-scorer\" (fix: remove one of the two)"
        ),
    );
}

#[test]
fn other_files_are_errors() {
    let problems = read("").unwrap_err();
    assert!(problems[0].contains("the file is empty"), "{problems:?}");
    let problems = read("apiVersion: v1\nkind: ConfigMap\n").unwrap_err();
    assert!(problems[0].contains("apiVersion: \"v1\" is not one of llm-d.ai/v1alpha1"), "{problems:?}");
    let problems = read(&format!("{CHART_1_0}---\n{CHART_1_0}")).unwrap_err();
    assert!(problems[0].contains("a second document"), "{problems:?}");
}

#[test]
fn an_unused_plugin_is_a_warning() {
    let text = with_header(
        "plugins: [{type: queue-scorer}, {type: load-aware-scorer}]\n\
         schedulingProfiles: [{name: p, plugins: [{pluginRef: queue-scorer}]}]\n",
    );
    let (_, warnings) = read_picker_config(&SourceText::new("c.yaml", text), &Limits::default()).unwrap();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "c.yaml:3:33: warning: EndpointPickerConfig: plugins[1]: is not used (fix: refer to it by pluginRef, or remove it)"
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
metadata: {name: p, labels: {app: p}, annotations: {pointsman.dev/static-endpoints: \"true\"}}
addressType: IPv4
endpoints: [{addresses: [127.0.0.1]}]
---
";

fn for_picker(text: &str, config: Option<PickerConfig>) -> pointsman_config::Loaded {
    let options = Options { consumer: Consumer::Picker { config }, ..Options::default() };
    load(&[SourceText::new("f.yaml", text)], &options)
}

#[test]
fn a_picker_requires_a_pool_and_ignores_gateways() {
    let loaded = for_picker(POOL, None);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.world.pools.len(), 1);
    // A Gateway configures the gateway that calls the picker.
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: \
                   envoy, listeners: [{name: h, port: 443, protocol: TLS}]}\n---\n";
    let loaded = for_picker(&format!("{gateway}{POOL}"), None);
    assert_eq!((loaded.problems, loaded.world.listeners.len()), (vec![], 0));
    let problems = for_picker(gateway, None).problems;
    assert!(problems[0].message.contains("there is no InferencePool"), "{problems:?}");
}

#[test]
fn the_file_applies_to_pools_and_excludes_the_same_setting_in_a_policy() {
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
            "f.yaml:15:39: error: PoolPolicy default/p: spec.placement: is also set by the picker\'s --config-file (fix: \
             remove it from one of the two)"
        ]
    );
}
