//! The examples of the repository: valid ones load without a problem, and every mistake of the broken ones is reported.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "the tests read the shipped examples")]

use std::path::{Path, PathBuf};

use pointsman_config::{Loaded, Options, QuickOptions, SourceText, load, print_manifests};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn load_files(files: &[PathBuf]) -> Loaded {
    let source = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        SourceText::new(name, std::fs::read_to_string(file).unwrap())
    };
    load(&files.iter().map(source).collect::<Vec<_>>(), &Options::default())
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

#[test]
fn every_example_loads_without_a_problem() {
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir() && !folder.ends_with("broken"));
    assert!(folders.len() >= 6);
    for folder in folders {
        let loaded = load_files(&yaml_files(&folder));
        assert_eq!(loaded.problems, [], "{}", folder.display());
        assert!(!loaded.world.listeners.is_empty() && !loaded.world.pools.is_empty(), "{}", folder.display());
    }
}

#[test]
fn the_quick_example_is_the_output_of_the_quick_form() {
    let urls = ["http://127.0.0.1:8000", "http://127.0.0.1:8001"];
    let printed = print_manifests(&urls, &QuickOptions::default()).unwrap();
    assert_eq!(std::fs::read_to_string(examples().join("quick/all.yaml")).unwrap(), printed);
}

#[test]
fn every_mistake_of_the_broken_examples_is_reported() {
    for file in yaml_files(&examples().join("broken")) {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap().to_owned();
        let (_, expected) = BROKEN.iter().find(|(broken, _)| *broken == name).unwrap();
        let loaded = load_files(&[file]);
        let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        let expected: Vec<String> = expected.iter().map(|line| format!("{name}:{line}")).collect();
        assert_eq!(lines, expected);
        assert!(loaded.has_errors());
    }
}

/// The problems of each broken example, by file name.
const BROKEN: &[(&str, &[&str])] = &[
    (
        "gateway.yaml",
        &[
            "10:5: error: Gateway default/inference: spec.listeners[0].port: is missing (fix: write the port to listen on)",
            "14:15: error: Gateway default/inference: spec.listeners[1].protocol: TCP is not supported (fix: write HTTP or HTTPS)",
            "19:7: error: Gateway default/inference: spec.listeners[2].tls.certificateRefs: Secrets are not supported (fix: write tls.options with pointsman.dev/certificate-file and pointsman.dev/key-file)",
            "23:7: warning: Secret default/certificate: kind: Secrets are not read, so the object is passed over (fix: keep keys out of manifests: name their files in the listener's tls.options, pointsman.dev/certificate-file and pointsman.dev/key-file, and in engine.apiKeyFile of a PoolPolicy)",
            "48:5: error: HTTPRoute default/all: spec.parentRefs[1]: there is no Gateway default/missing (fix: write the Gateway, or correct the name)",
            "49:14: error: HTTPRoute default/all: spec.hostnames: no listener of Gateway default/narrow accepts any of the host names (fix: write host names that a listener's hostname covers)",
        ],
    ),
    (
        "models.yaml",
        &[
            "64:16: error: InferenceModel default/assistant: spec.criticality: \"critical\" is not one of Critical, Standard, Sheddable (fix: did you mean Critical?)",
            "68:5: error: InferenceModel default/assistant: spec.targetModels: only some targets have a weight (fix: give all targets a weight, or none)",
            "77:14: warning: InferenceModel default/assistant-too: spec.modelName: assistant is declared by InferenceModel default/assistant (models.yaml:58), which has precedence only because creation times are missing or equal (fix: remove one of them, or write metadata.creationTimestamp in both)",
            "88:11: error: InferenceModel default/elsewhere: spec.poolRef.name: there is no InferencePool default/mistral (fix: write the pool, or correct the name)",
            "95:13: error: InferenceObjective default/overnight: spec.priority: expects an integer, found the string \"low\" (fix: write an integer)",
        ],
    ),
    (
        "policies.yaml",
        &[
            "65:14: error: PoolPolicy default/first: spec.placement: \"round_robin\" is not one of pointsman, round-robin, random, least-request, two-choices, filter-tree, llm-d-blend, sticky-until-saturated, sglang-cache-aware, dynamo-cost, lpwl, lmetric, bounded-load-hash (fix: did you mean round-robin?)",
            "67:12: error: PoolPolicy default/first: spec.saturation.kvUse: is 1.5, outside 0 to 1 (fix: write a number from 0 to 1)",
            "69:14: error: PoolPolicy default/first: spec.timeouts.connect: \"30\" is not a duration (fix: write it like 500ms, 30s or 1m30s)",
            "77:11: error: PoolPolicy default/second: spec.poolRef.name: the pool already has a PoolPolicy, default/first (policies.yaml:58) (fix: merge the two)",
            "79:5: error: PoolPolicy default/second: spec.timeouts: idleLimit (60s) is shorter than idle (120s) (fix: raise idleLimit, or shorten idle)",
            "87:20: error: GatewayPolicy default/limits: spec.trustedSources[0]: \"10.0.0.0/33\" is not an address range (fix: write it like 10.0.0.0/8 or ::1/128)",
            "89:1: error: GatewayPolicy default/more-limits: is the second GatewayPolicy, after default/limits (policies.yaml:82) (fix: merge the two: a GatewayPolicy applies to the whole gateway)",
            "95:17: error: GatewayPolicy default/more-limits: spec.maxHeldBytes: maxHeldBytes is less than maxBodyBytes, so the longest bodies are always rejected (fix: raise maxHeldBytes, or lower maxBodyBytes)",
        ],
    ),
    (
        "pools.yaml",
        &[
            "35:5: error: InferencePool default/llama: spec.selector.matchExpressions: an InferencePool selects by matchLabels only (fix: write matchLabels)",
            "38:13: error: InferencePool default/llama: spec.targetPorts[0].number: is 80000, outside 1 to 65535 (fix: write a number from 1 to 65535)",
            "40:5: error: InferencePool default/llama: spec.targetPorts[2]: port 8000 is listed twice (fix: remove one of the two)",
            "42:5: error: InferencePool default/llama: spec.endpointPickerRef: port is required where kind is Service or omitted (fix: write port: {number: 9002})",
            "44:1: error: InferencePool default/llama: is already defined at pools.yaml:27 (fix: remove one of the two, or give them different names)",
            "55:1: error: EndpointSlice default/llama: metadata.annotations[\"pointsman.dev/static-endpoints\"]: an EndpointSlice must be marked as static endpoints (fix: add the annotation pointsman.dev/static-endpoints: \"true\", and do not apply the file to a cluster, which creates EndpointSlices from pods)",
            "65:15: error: EndpointSlice default/llama: endpoints[0].addresses[0]: \"gpu-1.local\" is not an IPv4 address (fix: write one, or another addressType: FQDN is that of host names)",
        ],
    ),
    (
        "routes.yaml",
        &[
            "22:3: error: HTTPRoute default/chat: spec.hostname: is not a known field (fix: did you mean hostnames?)",
            "26:15: error: HTTPRoute default/chat: spec.rules[0].matches[0].path.type: \"Prefix\" is not one of Exact, PathPrefix, RegularExpression (fix: did you mean PathPrefix?)",
            "30:16: error: HTTPRoute default/chat: spec.rules[0].matches[1].path.value: is not a regular expression: unclosed group (fix: correct it; the syntax is that of RE2)",
            "35:15: error: HTTPRoute default/chat: spec.rules[0].backendRefs[0].weight: is -1, outside 0 to 1000000 (fix: write a number from 0 to 1000000)",
            "36:7: error: HTTPRoute default/chat: spec.rules[0].backendRefs[1]: Service backends are not supported (fix: write group: inference.networking.k8s.io and kind: InferencePool)",
            "38:7: error: HTTPRoute default/chat: spec.rules[0].backendRefs[2]: there is no InferencePool default/lama (fix: did you mean llama?)",
            "42:13: error: HTTPRoute default/chat: spec.rules[0].filters[0].type: RequestMirror is not supported (fix: remove the filter)",
            "48:23: error: HTTPRoute default/chat: spec.rules[0].timeouts.backendRequest: is longer than the request timeout (fix: shorten it to at most request)",
            "49:5: error: HTTPRoute default/chat: spec.rules[0].sessionPersistence: is not supported (fix: remove it: the default placement already prefers endpoints with a cached prefix)",
        ],
    ),
    (
        "yaml.yaml",
        &[
            "6:2: error: invalid YAML: tabs disallowed within this context (block indentation) (fix: indent with spaces)",
            "12:3: error: the key \"name\" is already defined on line 11 (fix: remove one of the two)",
            "15:1: warning: InferencePool default/llama: has no endpoint, so the response is 503 (fix: write an EndpointSlice with a ready address and with the labels of the pool's selector)",
            "20:3: error: InferencePool default/llama: spec.selectors: is not a known field (fix: did you mean selector?)",
        ],
    ),
];
