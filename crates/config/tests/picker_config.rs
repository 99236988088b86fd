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
}

#[test]
fn near_misses_are_named() {
    const AT: &str = "error: EndpointPickerConfig:";
    check_problem(
        "plugins: [{type: queue-depth-scorer}]\n",
        &format!(
            "3:18: {AT} plugins[0].type: \"queue-depth-scorer\" is not supported (fix: did you mean queue-scorer?)"
        ),
    );
    check_problem(
        "plugins: [{type: custom-picker}]\n",
        &format!(
            "3:18: {AT} plugins[0].type: \"custom-picker\" is not supported (fix: remove it; supported types of picker are \
             max-score-picker, random-picker, weighted-random-picker)"
        ),
    );
    check_problem(
        "plugins: [{type: queue-scorer, parameters: {a: 1}}]\n",
        &format!(
            "3:45: {AT} plugins[0].parameters.a: is not a known field (fix: remove it: no field has an effect here)"
        ),
    );
    check_problem(
        "plugins: [{type: token-load-scorer}]\nschedulingProfiles: [{name: p, plugins: [{pluginRef: \
         active-request-scorer}]}]\n",
        &format!(
            "4:54: {AT} schedulingProfiles[0].plugins[0].pluginRef: there is no plugin \"active-request-scorer\" (fix: \
             add `- type: active-request-scorer` to plugins)"
        ),
    );
    check_problem(
        "plugins: [{type: core-metrics-extractor, parameters: {defaultEngine: mine}}]\n",
        &format!(
            "3:70: {AT} plugins[0].parameters.defaultEngine: \"mine\" is not one of vllm, sglang, trtllm-serve, triton, \
             triton-tensorrt-llm (fix: write one of vllm, sglang, trtllm-serve, triton, triton-tensorrt-llm)"
        ),
    );
}

#[test]
fn settings_of_queues_and_discovery_are_errors() {
    const AT: &str = "error: EndpointPickerConfig:";
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
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata:\n  a.yaml: |\n    kind: EndpointPickerConfig\n";
    assert_eq!(
        read(map).unwrap_err(),
        [
            "c.yaml:2:7: error: EndpointPickerConfig: kind: is a ConfigMap, of which a picker reads one text (fix: save the text below data[\"a.yaml\"] in a file, and give that)"
        ]
    );
    let problems = read("apiVersion: llm-d.ai/v2\nkind: EndpointPickerConfig\nplugins: []\n").unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("apiVersion: \"llm-d.ai/v2\" is not one of llm-d.ai/v1, "), "{problems:?}");
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

/// The warnings of a configuration that is accepted.
#[track_caller]
fn warnings(rest: &str) -> Vec<String> {
    let text = with_header(rest);
    let (_, warnings) = read_picker_config(&SourceText::new("c.yaml", text), &Limits::default()).unwrap();
    warnings.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect()
}

#[test]
fn what_pointsman_does_anyway_is_accepted() {
    for rest in [
        "plugins: [{type: core-metrics-extractor, parameters: {defaultEngine: sglang}}]\n",
        "plugins: [{type: metrics-data-source, parameters: {path: /prometheus/metrics, insecureSkipVerify: true}}]\n",
        "plugins: [{type: prefix-cache-scorer, parameters: {prefixMatchInfoProducerName: approx-prefix-cache-producer}}, \
         {type: approx-prefix-cache-producer}]\n",
        "plugins: [{type: no-hit-lru-scorer, parameters: {lruSize: 2048}}]\n",
        "plugins: [{type: inflight-load-producer, parameters: {addEstimatedOutputTokens: false}}]\n",
        "plugins: [{type: models-data-source}, {type: models-data-extractor}]\ndataLayer: {sources: [{pluginRef: \
         models-data-source, extractors: [{pluginRef: models-data-extractor}]}]}\n",
        "plugins: [{type: fcfs-ordering-policy}, {type: static-usage-limit-policy}]\n",
        "featureGates: [dataLayer, prepareDataPlugins]\n",
        "plugins: [{type: vllmhttp-parser}]\nrequestHandler: {parser: {pluginRef: vllmhttp-parser}}\n",
    ] {
        assert_eq!(warnings(rest), Vec::<String>::new(), "{rest}");
    }
}

#[test]
fn what_has_no_effect_is_said_in_one_line() {
    #[track_caller]
    fn check(rest: &str, expected: &str) {
        assert_eq!(warnings(rest), [format!("EndpointPickerConfig: {expected}")], "{rest}");
    }
    check(
        "plugins: [{type: prefix-cache-scorer, parameters: {hashBlockSize: 64, maxPrefixBlocksToMatch: 256, \
         lruCapacityPerServer: 31250}}]\n",
        "plugins[0].parameters: hashBlockSize, lruCapacityPerServer, maxPrefixBlocksToMatch have no effect: the prefix \
         index has blocks and a memory budget of its own",
    );
    check(
        "saturationDetector: {queueDepthThreshold: 8, kvCacheUtilThreshold: 0.9, metricsStalenessThreshold: 150ms}\n",
        "saturationDetector: metricsStalenessThreshold has no effect: old metrics lose weight gradually",
    );
    check(
        "plugins: [{type: decode-filter}, {type: queue-scorer}]\n",
        "plugins[0].type: has no effect: the endpoints are those of the pool, whatever their role",
    );
    check(
        "plugins: [{type: max-score-picker, parameters: {maxNumOfEndpoints: 3}}]\n",
        "plugins[0].parameters.maxNumOfEndpoints: has no effect: fallback endpoints are always named",
    );
    check(
        "plugins: [{type: random-picker}, {type: queue-scorer}]\nschedulingProfiles: [{name: p, plugins: \
         [{pluginRef: random-picker}, {pluginRef: queue-scorer}]}]\n",
        "schedulingProfiles[0].plugins: scorers have no effect with random-picker",
    );
}

#[test]
fn a_random_picker_beside_scorers_picks_at_random() {
    let text = with_header(
        "plugins: [{type: random-picker}, {type: queue-scorer}]\nschedulingProfiles: [{name: p, plugins: \
         [{pluginRef: random-picker}, {pluginRef: queue-scorer}]}]\n",
    );
    let (config, _) = read_picker_config(&SourceText::new("c.yaml", text), &Limits::default()).unwrap();
    let random = Blend { picker: Picker::Random, ..Blend::EMPTY };
    assert_eq!(config.placement, Placement::Blend(random));
}

#[test]
fn earlier_names_of_plugins_are_read() {
    let weights =
        BlendWeights { queue: 1.0, kv_cache_utilization: 1.0, prefix_cache: 2.0, ..BlendWeights::NONE };
    check(
        "plugins: [{type: queue}, {type: kv-cache}, {type: prefix-cache}, {type: max-score}, {type: single-profile}]\n\
         schedulingProfiles: [{name: p, plugins: [{pluginRef: queue}, {pluginRef: kv-cache}, \
         {pluginRef: prefix-cache, weight: 2}, {pluginRef: max-score}]}]\n",
        Blend { weights, ..Blend::EMPTY },
    );
    let config = read(&CHART_1_5.replace("inference.networking.x-k8s.io/v1alpha1", "llm-d.ai/v1")).unwrap();
    assert_eq!(config.placement, Placement::Blend(Blend::LLM_D));
}

#[test]
fn any_policy_of_flow_control_is_accepted_without_effect() {
    for policy in ["program-aware-fairness-policy", "soft-reflective-ceiling-policy"] {
        assert_eq!(
            warnings(&format!(
                "plugins: [{{type: {policy}, parameters: {{a: 1}}}}, {{type: queue-scorer}}]\n"
            )),
            ["EndpointPickerConfig: plugins[0].type: has no effect: requests are not queued"]
        );
    }
}

#[test]
fn estimates_of_output_tokens_are_one_setting() {
    assert_eq!(
        warnings(
            "plugins: [{type: inflight-load-producer, parameters: {addEstimatedOutputTokens: true, outputRatio: 0.2, \
             maxEstimatedOutputTokens: 1000}}]\n"
        ),
        [
            "EndpointPickerConfig: plugins[0].parameters: addEstimatedOutputTokens has no effect: tokens in flight are those \
             of prompts"
        ]
    );
}

#[test]
fn metadata_of_a_picker_configuration_has_no_effect() {
    assert_eq!(
        warnings("metadata: {name: llm}\nplugins: [{type: queue-scorer}]\n"),
        ["EndpointPickerConfig: metadata: has no effect: a picker reads a file, no object of a cluster"]
    );
}
