//! Problems of single manifests, as `check` prints them. `route_problems.rs` covers routes and listeners.

mod support;

use support::{GATEWAY, check_problems as check, pool, problems};

/// Checks the problems of a pool's spec in either version.
#[track_caller]
fn check_pool(api_version: &str, spec: &str, expected: &[&str]) {
    let text = format!(
        "apiVersion: {api_version}\nkind: InferencePool\nmetadata: {{name: q}}\nspec:\n{spec}\n---\n{}",
        pool("q", 8001).split_once("---\n").map_or(String::new(), |(_, slice)| slice.to_owned())
    );
    check(&text, expected);
}

const V1: &str = "inference.networking.k8s.io/v1";

const V1ALPHA2: &str = "inference.networking.x-k8s.io/v1alpha2";

#[test]
fn invalid_yaml() {
    check(
        "a: [1",
        &[
            "f.yaml:2:1: error: invalid YAML: while parsing a flow sequence, expected ',' or ']' (fix: check indentation, quotes and brackets here and on the line before)",
        ],
    );
    check(
        "a:\n\tb: 1",
        &[
            "f.yaml:2:2: error: invalid YAML: tabs disallowed within this context (block indentation) (fix: indent with spaces)",
        ],
    );
    check(
        "a: 1\nb: 2\na: 3",
        &["f.yaml:3:1: error: the key \"a\" is already defined on line 1 (fix: remove one of the two)"],
    );
    check(
        "a: *x",
        &[
            "f.yaml:1:4: error: invalid YAML: while parsing node, found unknown anchor (fix: check indentation, quotes and brackets here and on the line before)",
        ],
    );
    check(
        "a: &x [*x]",
        &[
            "f.yaml:1:8: error: the alias refers to a value that contains it (fix: replace the alias by the value)",
        ],
    );
    check("a: !secret b", &["f.yaml:1:4: error: the tag \"!secret\" is not supported (fix: remove it)"]);
    check(
        "? [a]\n: b",
        &["f.yaml:1:3: error: a key cannot be a list or a mapping (fix: write a string as the key)"],
    );
    check(
        "just text",
        &[
            "f.yaml:1:1: error: object: expects a mapping, found a text (fix: write `name: value` lines, or move files of other programs to another folder)",
        ],
    );
}

#[test]
fn kinds_and_versions() {
    check(
        "kind: Gateway",
        &[
            "f.yaml:1:1: error: Gateway: apiVersion: is missing (fix: write the group and version of the object)",
        ],
    );
    check(
        "apiVersion: v1\nkind: HttpRoute\nmetadata: {name: x}\nspec: {}",
        &[
            "f.yaml:2:7: error: HttpRoute default/x: kind: \"HttpRoute\" is not a supported kind (fix: did you mean HTTPRoute?)",
        ],
    );
    check(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {name: x}\nspec: {}",
        &[
            "f.yaml:2:7: error: TLSRoute default/x: kind: \"TLSRoute\" is not a supported kind (fix: write an HTTPRoute)",
        ],
    );
    check(
        "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: x}\nspec: {}",
        &[
            "f.yaml:2:7: warning: ReferenceGrant default/x: kind: ReferenceGrant is not supported, so the object is passed over (fix: move the route and its pool into one namespace)",
        ],
    );
    check(
        "apiVersion: pointsman.dev/v1\nkind: Cake\nmetadata: {name: x}",
        &[
            "f.yaml:2:7: error: Cake default/x: kind: \"Cake\" is not a supported kind (fix: remove it; supported kinds are Gateway, HTTPRoute, InferencePool, InferenceModel, InferenceObjective, InferenceModelRewrite, EndpointSlice, PoolPolicy, GatewayPolicy)",
        ],
    );
    check(
        "apiVersion: inference.networking.k8s.io/v1alpha2\nkind: InferencePool\nmetadata: {name: x}\nspec: {}",
        &[
            "f.yaml:1:13: error: InferencePool default/x: apiVersion: \"inference.networking.k8s.io/v1alpha2\" is not a supported version of InferencePool (fix: write inference.networking.k8s.io/v1 or inference.networking.x-k8s.io/v1alpha2)",
        ],
    );
}

#[test]
fn metadata() {
    let objective = |metadata: &str| {
        format!(
            "apiVersion: {V1ALPHA2}\nkind: InferenceObjective\nmetadata: {metadata}\nspec: {{poolRef: {{name: p}}}}"
        )
    };
    check(&objective("{name: o, uid: x, resourceVersion: \"1\", generation: 2, managedFields: []}"), &[]);
    check(
        &objective("{}"),
        &["f.yaml:3:11: error: InferenceObjective: metadata.name: is missing (fix: give the object a name)"],
    );
    check(
        &objective("{name: My_Objective}"),
        &[
            "f.yaml:3:18: error: InferenceObjective default/My_Objective: metadata.name: \"My_Objective\" is not a name of lower case letters, digits, dashes and dots (fix: write a name of lower case letters, digits, dashes and dots)",
        ],
    );
    check(
        &objective("{name: o, labels: {a: 1, -b: c}}"),
        &[
            "f.yaml:3:33: error: InferenceObjective default/o: metadata.labels[\"a\"]: expects a string, found the number 1 (fix: put it in quotes)",
            "f.yaml:3:40: error: InferenceObjective default/o: metadata.labels[\"-b\"]: \"-b\" is not a label key (fix: write it like app or example.com/app)",
        ],
    );
    check(
        &objective("{name: o, annotations: {pointsman.dev/laptoponly: \"true\"}}"),
        &[
            "f.yaml:3:61: error: InferenceObjective default/o: metadata.annotations[\"pointsman.dev/laptoponly\"]: \"pointsman.dev/laptoponly\" is not a known annotation (fix: write one of pointsman.dev/static-endpoints, pointsman.dev/metrics-port, pointsman.dev/metrics-path, or remove it)",
        ],
    );
    check(
        &objective("{name: o, creationTimestamp: yesterday}"),
        &[
            "f.yaml:3:40: error: InferenceObjective default/o: metadata.creationTimestamp: \"yesterday\" is not a time (fix: write it like \"2026-01-31T12:00:00Z\", or remove it)",
        ],
    );
    check(
        &objective("{name: on}"),
        &[
            "f.yaml:3:18: error: InferenceObjective default/on: metadata.name: expects a string, found on, which YAML 1.1 reads as a boolean (fix: put it in quotes)",
        ],
    );
}

#[test]
fn inference_pools() {
    let picker = |port: &str| {
        format!(
            "  selector: {{matchLabels: {{app: q}}}}\n  targetPorts: [{{number: 8000}}]\n  endpointPickerRef: {{name: epp{port}}}"
        )
    };
    check_pool(V1, &picker(", port: {number: 9002}"), &[]);
    check_pool(V1, &picker(", kind: Service, group: \"\", failureMode: FailOpen, port: {number: 9002}"), &[]);
    check_pool(V1, &picker(", kind: Other"), &[]);
    for kind in ["", ", kind: Service"] {
        check_pool(
            V1,
            &picker(kind),
            &[
                "f.yaml:7:22: error: InferencePool default/q: spec.endpointPickerRef: port is required where kind is Service or omitted (fix: write port: {number: 9002})",
            ],
        );
    }
    check_pool(
        V1,
        &picker(", port: {number: 0}, failureMode: FailSafe"),
        &[
            "f.yaml:7:49: error: InferencePool default/q: spec.endpointPickerRef.port.number: is 0, outside 1 to 65535 (fix: write a number from 1 to 65535)",
            "f.yaml:7:66: error: InferencePool default/q: spec.endpointPickerRef.failureMode: \"FailSafe\" is not one of FailOpen, FailClose (fix: write one of FailOpen, FailClose)",
        ],
    );
    check_pool(
        V1,
        "  selector: {matchLabels: {app: q}}\n  targetPorts: [{number: 8010}, {number: 8011}]\n  appProtocol: kubernetes.io/h2c",
        &[],
    );
    check_pool(
        V1,
        "  selector: {app: q}\n  targetPorts: []\n  appProtocol: grpc",
        &[
            "f.yaml:5:13: error: InferencePool default/q: spec.selector: v1 has the labels below matchLabels (fix: write matchLabels above them, or apiVersion: inference.networking.x-k8s.io/v1alpha2)",
            "f.yaml:6:16: error: InferencePool default/q: spec.targetPorts: is empty (fix: write targetPorts: [{number: 8000}])",
            "f.yaml:7:16: error: InferencePool default/q: spec.appProtocol: \"grpc\" is not one of http, kubernetes.io/h2c (fix: write one of http, kubernetes.io/h2c)",
        ],
    );
    let old = |rest: &str| format!("  selector: {{app: q}}\n  targetPortNumber: 8000\n  {rest}");
    check_pool(V1ALPHA2, &old("extensionRef: {name: epp, portNumber: 9002, failureMode: FailClose}"), &[]);
    check_pool(
        V1ALPHA2,
        &old(""),
        &[
            "f.yaml:5:3: error: InferencePool default/q: spec.extensionRef: is missing (fix: a cluster requires it: write extensionRef: {name: pointsman})",
        ],
    );
    check_pool(
        V1ALPHA2,
        "  selector: {matchLabels: {app: q}}\n  targetPorts: [{number: 1}]\n  targetPortNumber: 70000\n  extensionRef: {name: epp}",
        &[
            "f.yaml:5:13: error: InferencePool default/q: spec.selector: v1alpha2 has the labels directly below selector (fix: remove matchLabels, or write apiVersion: inference.networking.k8s.io/v1)",
            "f.yaml:6:3: error: InferencePool default/q: spec.targetPorts: is the name in v1 (fix: write targetPortNumber: 8000, or apiVersion: inference.networking.k8s.io/v1)",
            "f.yaml:7:21: error: InferencePool default/q: spec.targetPortNumber: is 70000, outside 1 to 65535 (fix: write a number from 1 to 65535)",
        ],
    );
}

#[test]
fn models() {
    let model = |spec: &str| {
        format!(
            "apiVersion: {V1ALPHA2}\nkind: InferenceModel\nmetadata: {{name: m}}\nspec: {{poolRef: {{name: p}}, {spec}}}"
        )
    };
    check(&model("modelName: m, targetModels: [{name: a, weight: 1}, {name: b, weight: 1000000}]"), &[]);
    check(
        &model("criticality: Critical"),
        &[
            "f.yaml:4:7: error: InferenceModel default/m: spec.modelName: is missing (fix: write the model name in client requests)",
        ],
    );
    check(
        &model("modelName: m, targetModels: [{name: a, weight: 0}, {weight: 1}]"),
        &[
            "f.yaml:4:75: error: InferenceModel default/m: spec.targetModels[0].weight: is 0, outside 1 to 1000000 (fix: write a number from 1 to 1000000)",
            "f.yaml:4:79: error: InferenceModel default/m: spec.targetModels[1].name: is missing (fix: name the target model)",
        ],
    );
    let many = ["{name: a}"; 11].join(", ");
    check(
        &model(&format!("modelName: m, targetModels: [{many}]")),
        &[
            "f.yaml:4:56: error: InferenceModel default/m: spec.targetModels: has 11 items, at most 10 are allowed (fix: split it into several objects)",
        ],
    );
    check(
        &model(&format!("modelName: {}", "m".repeat(257))),
        &[
            "f.yaml:4:39: error: InferenceModel default/m: spec.modelName: has 257 characters, at most 256 are allowed (fix: shorten it)",
        ],
    );
    let rewrite = |rules: &str| {
        format!(
            "apiVersion: {V1ALPHA2}\nkind: InferenceModelRewrite\nmetadata: {{name: w}}\nspec: {{poolRef: {{name: p}}, rules: {rules}}}"
        )
    };
    check(
        &rewrite(
            "[{targets: []}, {matches: [{model: {value: b}}], targets: [{modelRewrite: a}], split: [{modelRewrite: a}]}, {matches: [{model: {type: Prefix, value: a}}]}]",
        ),
        &[
            "f.yaml:4:46: error: InferenceModelRewrite default/w: spec.rules[0].targets: is empty (fix: write at least one target)",
            "f.yaml:4:121: error: InferenceModelRewrite default/w: spec.rules[1].split: is the former name of targets, which is also present (fix: remove split)",
            "f.yaml:4:143: error: InferenceModelRewrite default/w: spec.rules[2].targets: is missing (fix: write at least one target)",
            "f.yaml:4:169: error: InferenceModelRewrite default/w: spec.rules[2].matches[0].model.type: \"Prefix\" is not one of Exact (fix: write one of Exact)",
        ],
    );
}

#[test]
fn endpoint_slices() {
    let slice = |metadata: &str, rest: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s, {metadata}}}\n{rest}"
        )
    };
    let marked = "labels: {app: p}, annotations: {pointsman.dev/static-endpoints: \"true\"}";
    check(
        &slice(
            marked,
            "addressType: FQDN\nendpoints: [{addresses: [gpu-1.local, localhost]}]\nports: [{port: 9000, appProtocol: https, protocol: TCP, name: http}]",
        ),
        &[],
    );
    check(
        &slice(
            "labels: {app: p, pointsman.dev/engine: vlm}",
            "addressType: IPv6\nendpoints: [{addresses: [\"::1\", 127.0.0.1], zone: a}]",
        ),
        &[
            "f.yaml:1:1: error: EndpointSlice default/s: metadata.annotations[\"pointsman.dev/static-endpoints\"]: an EndpointSlice must be marked as static endpoints (fix: add the annotation pointsman.dev/static-endpoints: \"true\", and do not apply the file to a cluster, which creates EndpointSlices from pods)",
            "f.yaml:1:1: error: EndpointSlice default/s: metadata.labels[\"pointsman.dev/engine\"]: \"vlm\" is not a known engine (fix: write one of vllm, sglang, trtllm-serve, lmdeploy, llama.cpp, tgi, triton, or remove it)",
            "f.yaml:5:12: warning: EndpointSlice default/s: endpoints: zone has no effect outside a cluster (fix: nothing, or remove it)",
            "f.yaml:5:33: error: EndpointSlice default/s: endpoints[0].addresses[1]: \"127.0.0.1\" is not an IPv6 address (fix: write one, or another addressType: FQDN is that of host names)",
        ],
    );
    check(
        &slice(
            &marked.replace("app: p", "app: none"),
            "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\nports: [{port: 1, protocol: UDP}]",
        ),
        &[
            "f.yaml:1:1: warning: EndpointSlice default/s: no InferencePool of its namespace selects its labels, so its endpoints are not used (fix: add the labels of a pool's selector)",
            "f.yaml:6:29: error: EndpointSlice default/s: ports[0].protocol: UDP is not supported (fix: write TCP, or remove the port)",
        ],
    );
    check(
        &slice(
            marked,
            "addressType: IPv4\nendpoints: [{addresses: [127.0.0.1]}]\nports: [{port: 8000, appProtocol: kubernetes.io/h2c}]",
        ),
        &[
            "f.yaml:1:1: error: EndpointSlice default/s: 127.0.0.1:8000 is declared with another protocol, engine or metrics page by EndpointSlice default/p (f.yaml:22) (fix: give an address the same appProtocol, engine label and place of the metrics page in every slice)",
        ],
    );
}

#[test]
fn duplicate_names() {
    check(
        &format!(
            "apiVersion: {V1}\nkind: InferencePool\nmetadata: {{name: p}}\nspec: {{selector: {{matchLabels: {{app: p}}}}, targetPorts: [{{number: 1}}]}}"
        ),
        &[
            "f.yaml:13:1: error: InferencePool default/p: is already defined at f.yaml:1 (fix: remove one of the two, or give them different names)",
        ],
    );
}

#[test]
fn lists_are_flattened_and_an_empty_set_is_an_error() {
    check(
        &format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: {V1ALPHA2}\n  kind: InferenceObjective\n  metadata: {{name: o}}\n  spec: {{poolRef: {{name: none}}}}"
        ),
        &[
            "f.yaml:7:26: error: InferenceObjective default/o: spec.poolRef.name: there is no InferencePool default/none (fix: write the pool, or correct the name)",
        ],
    );
    check(
        "apiVersion: v1\nkind: List",
        &["f.yaml:1:1: error: List: items: is missing (fix: write the objects below items)"],
    );
    assert_eq!(
        problems("# nothing"),
        [
            "f.yaml:1:1: error: there is no object (fix: write a Gateway, an HTTPRoute, an InferencePool and an EndpointSlice)"
        ]
    );
}

#[test]
fn a_set_without_a_gateway_is_an_error() {
    assert_eq!(
        problems(&pool("p", 8000)),
        [
            "f.yaml:1:1: error: there is no Gateway, so nothing would listen (fix: write a Gateway with a listener)"
        ]
    );
}

#[test]
fn json_is_yaml() {
    let objective = "{\n\t\"apiVersion\": \"inference.networking.x-k8s.io/v1alpha2\",\n\t\"kind\": \"InferenceObjective\",\n\t\"metadata\": {\"name\": \"o\", \"creationTimestamp\": null},\n\t\"spec\": {\"priority\": -1,\n\t\t\"poolRef\": {\"name\": \"none\"}}\n}\n";
    check(
        objective,
        &[
            "f.yaml:6:23: error: InferenceObjective default/o: spec.poolRef.name: there is no InferencePool default/none (fix: write the pool, or correct the name)",
        ],
    );
}

#[test]
fn the_former_annotation_of_static_endpoints_is_accepted() {
    let set = format!("{GATEWAY}{}", pool("p", 8000));
    assert_eq!(problems(&set.replace("static-endpoints", "laptop-only")), problems(&set));
}
