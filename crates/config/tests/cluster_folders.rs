//! Folders as clusters have them: other objects beside the routing, other versions, and names of earlier versions.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use pointsman_config::{Options, PoolSpec, SourceText, load};
use support::{GATEWAY, check_problems as check, pool, problems, route, to, world};

const LLM_D: &str = "llm-d.ai/v1alpha2";
const LLM_D_V1: &str = "llm-d.ai/v1";
const X_K8S: &str = "inference.networking.x-k8s.io/v1alpha2";

/// The priority of the objective `x`, and the target of any model.
fn resolved(pool: &PoolSpec) -> (i32, Option<String>) {
    let resolved = pool.models.resolve(Some("m"), Some("x"), 0).unwrap();
    (resolved.priority, resolved.target.map(|target| target.to_string()))
}

fn object(api_version: &str, kind: &str, rest: &str) -> String {
    format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: x}}\n{rest}\n")
}

#[test]
fn objects_of_a_cluster_are_passed_over_with_one_warning() {
    #[track_caller]
    fn passed_over(api_version: &str, kind: &str, rest: &str) {
        let text = format!("{}---\n{GATEWAY}{}", object(api_version, kind, rest), pool("p", 8000));
        let set = format!("{text}{}", route("r", &format!("  rules: [{{backendRefs: [{}]}}]", to("p"))));
        let lines = problems(&set);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].contains("warning") && lines[0].contains("passed over"), "{lines:?}");
    }
    passed_over("v1", "Service", "spec: {selector: {app: x}, ports: [{port: 9002}]}");
    passed_over("apps/v1", "Deployment", "spec: {replicas: 1}");
    passed_over("rbac.authorization.k8s.io/v1", "Role", "rules: [{apiGroups: [\"\"], resources: [pods]}]");
    passed_over("rbac.authorization.k8s.io/v1", "RoleBinding", "roleRef: {}\nsubjects: []");
    passed_over("v1", "ConfigMap", "data: {plugins.yaml: \"\"}\nbinaryData: {}\nimmutable: true");
    passed_over("v1", "Secret", "stringData: {key: value}\ntype: Opaque");
    passed_over("networking.gke.io/v1", "HealthCheckPolicy", "spec: {default: {}}");
    passed_over("networking.istio.io/v1", "DestinationRule", "spec: {host: x, trafficPolicy: {}}");
    passed_over("networking.istio.io/v1", "Gateway", "spec: {servers: []}");
    passed_over("networking.k8s.io/v1", "NetworkPolicy", "spec: {}");
    passed_over("gateway.networking.k8s.io/v1", "GatewayClass", "spec: {controllerName: x}");
    passed_over(LLM_D, "EndpointPickerConfig", "plugins: [{type: nonsense}]");
    passed_over("gateway.envoyproxy.io/v1alpha1", "EnvoyExtensionPolicy", "spec: {extProc: []}");
    passed_over("gateway.kgateway.dev/v1alpha1", "TrafficPolicy", "spec: {}");
    passed_over("aigateway.envoyproxy.io/v1alpha1", "AIGatewayRoute", "spec: {rules: []}");
    passed_over("serving.kserve.io/v1alpha2", "LLMInferenceService", "spec: {router: {}}");
    passed_over("kustomize.config.k8s.io/v1beta1", "Kustomization", "resources: [a.yaml]");
}

#[test]
fn a_kustomization_needs_neither_kind_nor_name() {
    let source = |name, text: &str| SourceText::new(name, text);
    let loaded = |name| load(&[source(name, "resources: [a.yaml]\n")], &Options::default()).problems;
    let found: Vec<String> = loaded("dir/kustomization.yaml").iter().map(ToString::to_string).collect();
    assert!(found[1].contains("warning: object: kustomize is not run"), "{found:?}");
    let found: Vec<String> = loaded("dir/values.yaml").iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "dir/values.yaml:1:1: error: object: is not a Kubernetes object: it has neither apiVersion nor kind (fix: write both, or move files of other programs to another folder)"
        ]
    );
}

#[test]
fn after_an_unknown_kind_or_version_nothing_else_is_reported() {
    check(
        &object("inference.networking.k8s.io/v1", "InferenceObjective", "spec: {nonsense: 1}\nmore: 2"),
        &[
            "f.yaml:1:13: error: InferenceObjective default/x: apiVersion: \"inference.networking.k8s.io/v1\" is not a supported version of InferenceObjective (fix: write llm-d.ai/v1 or llm-d.ai/v1alpha2 or inference.networking.x-k8s.io/v1alpha2)",
        ],
    );
    check(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HttpRoute\nmetadata: {name: X_Y}\nrules: []",
        &[
            "f.yaml:2:7: error: HttpRoute default/X_Y: kind: \"HttpRoute\" is not a supported kind (fix: did you mean HTTPRoute?)",
        ],
    );
}

#[test]
fn objectives_and_rewrites_are_read_in_each_of_their_groups() {
    let set = |text: &str| format!("{GATEWAY}{}{}{text}", pool("p", 8000), pool("q", 8001));
    for version in [X_K8S, LLM_D] {
        let objective = object(version, "InferenceObjective", "spec: {priority: -5, poolRef: {name: p}}");
        let world = world(&set(&objective));
        assert_eq!(resolved(&world.pools[0]).0, -5);
        let rewrite = "spec: {poolRef: {name: p}, rules: [{targets: [{modelRewrite: t}]}]}";
        let found = support::world(&set(&object(version, "InferenceModelRewrite", rewrite)));
        assert_eq!(resolved(&found.pools[0]).1.as_deref(), Some("t"));
    }
    let objective =
        object(LLM_D_V1, "InferenceObjective", "spec: {priority: 3, poolRefs: [{name: p}, {name: q}]}");
    let found = world(&set(&objective));
    assert!(found.pools.iter().all(|pool| resolved(pool).0 == 3));
    let rewrite = "spec: {poolRefs: [{name: q}], rules: [{targets: [{modelRewrite: t}]}]}";
    let found = world(&set(&object(LLM_D_V1, "InferenceModelRewrite", rewrite)));
    let rewritten: Vec<_> = found.pools.iter().map(|pool| resolved(pool).1.is_some()).collect();
    assert_eq!(rewritten, [false, true]);
}

#[test]
fn an_objective_may_select_its_pools_by_label() {
    let labelled = pool("p", 8000).replacen("{name: p}", "{name: p, labels: {team: ml}}", 1);
    let selector = "spec: {priority: 3, poolSelector: {matchLabels: {team: ml}}}";
    let objective = object(LLM_D_V1, "InferenceObjective", selector);
    let found = world(&format!("{GATEWAY}{labelled}{}{objective}", pool("q", 8001)));
    let applies: Vec<_> = found.pools.iter().map(|pool| resolved(pool).0 == 3).collect();
    assert_eq!(applies, [true, false]);
    check(
        &object(LLM_D_V1, "InferenceObjective", "spec: {poolSelector: {matchLabels: {team: none}}}"),
        &[
            "f.yaml:4:22: warning: InferenceObjective default/x: spec.poolSelector: no InferencePool of the namespace has these labels (fix: write labels of a pool's metadata)",
        ],
    );
    check(
        &object(LLM_D_V1, "InferenceObjective", "spec: {poolRef: {name: p}}"),
        &[
            "f.yaml:4:8: error: InferenceObjective default/x: spec.poolRef: is the name before llm-d.ai/v1 (fix: write poolRefs: [{name: …}])",
        ],
    );
    check(
        &object(LLM_D, "InferenceObjective", "spec: {poolRefs: [{name: p}]}"),
        &[
            "f.yaml:4:8: error: InferenceObjective default/x: spec.poolRefs: is a field of llm-d.ai/v1 (fix: write poolRef: {name: …}, or apiVersion: llm-d.ai/v1)",
        ],
    );
}

#[test]
fn names_of_earlier_versions_say_the_present_ones() {
    check(
        &object(X_K8S, "InferenceObjective", "spec: {criticality: Sheddable, poolRef: {name: p}}"),
        &[
            "f.yaml:4:21: error: InferenceObjective default/x: spec.criticality: is the former name of priority (fix: write priority: -1)",
        ],
    );
    let pool = |version: &str, spec: &str| object(version, "InferencePool", &format!("spec: {{{spec}}}"));
    let v1 = "inference.networking.k8s.io/v1";
    check(
        &pool(v1, "selector: {app: p}, targetPortNumber: 8000, extensionRef: {name: e}"),
        &[
            "f.yaml:4:18: error: InferencePool default/x: spec.selector: v1 has the labels below matchLabels (fix: write matchLabels above them, or apiVersion: inference.networking.x-k8s.io/v1alpha2)",
            "f.yaml:4:28: error: InferencePool default/x: spec.targetPortNumber: is the name in v1alpha2 (fix: write targetPorts: [{number: 8000}])",
            "f.yaml:4:52: error: InferencePool default/x: spec.extensionRef: is the name in v1alpha2 (fix: write endpointPickerRef: {name: …, port: {number: 9002}})",
        ],
    );
    check(
        &pool(
            v1,
            "selector: {matchLabels: {app: p}}, targetPorts: [{number: 1}], endpointPickerRef: {name: e, portNumber: 9002}",
        ),
        &[
            "f.yaml:4:100: error: InferencePool default/x: spec.endpointPickerRef.portNumber: is the name in v1alpha2 (fix: write port: {number: 9002})",
        ],
    );
    check(
        &pool(X_K8S, "selector: {app: p}, targetPorts: [{number: 8000}], endpointPickerRef: {name: e}"),
        &[
            "f.yaml:4:28: error: InferencePool default/x: spec.targetPorts: is the name in v1 (fix: write targetPortNumber: 8000, or apiVersion: inference.networking.k8s.io/v1)",
            "f.yaml:4:59: error: InferencePool default/x: spec.endpointPickerRef: is the name in v1 (fix: write extensionRef, or apiVersion: inference.networking.k8s.io/v1)",
        ],
    );
}

#[test]
fn a_port_of_a_route_that_is_none_of_the_pool_is_a_warning() {
    let backend = "{group: inference.networking.k8s.io, kind: InferencePool, name: p, port: 8888}";
    check(
        &route("r", &format!("  hostnames: [r.example.com]\n  rules: [{{backendRefs: [{backend}]}}]")),
        &[
            "f.yaml:7:26: warning: HTTPRoute default/r: spec.rules[0].backendRefs[0]: port 8888 is not a port of the pool, whose ports apply (fix: remove port)",
        ],
    );
}

#[test]
fn infrastructure_of_a_gateway_is_passed_over() {
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: x}\nspec:\n  \
                   gatewayClassName: istio\n  infrastructure: {labels: {a: b}}\n  \
                   listeners: [{name: h, port: 8090, protocol: HTTP}]";
    check(
        gateway,
        &[
            "f.yaml:6:3: warning: Gateway default/x: spec.infrastructure: has no effect outside a cluster (fix: nothing, or remove it)",
        ],
    );
}

#[test]
fn a_parent_that_is_not_here_is_passed_over_beside_one_that_is() {
    let with_parents = |parents: &str| {
        let rules = format!("  hostnames: [r.example.com]\n  rules: [{{backendRefs: [{}]}}]", to("p"));
        route("r", &rules).replace("[{name: g}]", parents)
    };
    check(
        &with_parents("[{name: g}, {name: shared, namespace: infra}, {group: \"\", kind: Service, name: s}]"),
        &[
            "f.yaml:5:27: warning: HTTPRoute default/r: spec.parentRefs[1]: there is no Gateway infra/shared, so this parent is passed over (fix: nothing, or remove it)",
            "f.yaml:5:61: warning: HTTPRoute default/r: spec.parentRefs[2]: routes attach to Gateways here, not to a Service, so this parent is passed over (fix: nothing, or remove it)",
        ],
    );
    check(
        &with_parents("[{group: \"\", kind: Service, name: s}]"),
        &[
            "f.yaml:5:16: error: HTTPRoute default/r: spec.parentRefs[0]: routes attach to Gateways here, not to a Service (fix: name a Gateway: {name: …})",
        ],
    );
    check(
        &with_parents("[{name: g}, {name: gg}]"),
        &[
            "f.yaml:5:27: error: HTTPRoute default/r: spec.parentRefs[1]: there is no Gateway default/gg (fix: write the Gateway, or correct the name)",
        ],
    );
}

const CONFIG: &str = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorers\n";

#[test]
fn configurations_of_the_picker_are_checked_where_that_is_asked_for() {
    let options = Options { picker_configs: true, ..Options::default() };
    let found = |text: &str| -> Vec<String> {
        load(&[SourceText::new("f.yaml", text)], &options).problems.iter().map(ToString::to_string).collect()
    };
    const MISTAKE: &str = "\"queue-scorers\" is not supported (fix: did you mean queue-scorer?)";
    assert_eq!(
        found(CONFIG),
        [format!("f.yaml:4:9: error: EndpointPickerConfig: plugins[0].type: {MISTAKE}")]
    );
    assert_eq!(found(&CONFIG.replace("scorers", "scorer")), Vec::<String>::new());
    let indented: String = CONFIG.lines().map(|line| format!("    {line}\n")).collect();
    let map =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata:\n  a.yaml: |\n{indented}");
    assert_eq!(
        found(&map),
        [format!("f.yaml:9:13: error: data[\"a.yaml\"]: EndpointPickerConfig: plugins[0].type: {MISTAKE}")]
    );
}

#[test]
fn settings_of_engines_certificates_and_keys_that_exclude_each_other_are_reported() {
    let policy = |engine: &str| {
        let spec = format!("spec: {{poolRef: {{name: p}}, engine: {{{engine}}}}}");
        object("pointsman.dev/v1alpha1", "PoolPolicy", &spec)
    };
    check(
        &policy("caFile: a, insecureSkipVerify: true, apiKeyHeader: x-api-key"),
        &[
            "f.yaml:4:36: warning: PoolPolicy default/x: spec.engine: no endpoint of the pool uses TLS, so its certificate settings have no effect (fix: write appProtocol: https, or remove them)",
            "f.yaml:4:68: error: PoolPolicy default/x: spec.engine.insecureSkipVerify: leaves caFile without effect (fix: remove one of the two)",
            "f.yaml:4:88: error: PoolPolicy default/x: spec.engine.apiKeyHeader: has no effect without apiKeyFile (fix: write apiKeyFile, or remove it)",
        ],
    );
    let text = format!("{GATEWAY}{}{}", pool("p", 8000), policy("apiKeyFile: k, apiKeyHeader: x-api-key"));
    let access = &world(&text).pools[0].access;
    assert_eq!(access.api_key_header, pointsman_config::ApiKeyHeader::XApiKey);
    let https = pool("p", 8000)
        .replace("addressType: IPv4", "ports: [{port: 8000, appProtocol: https}]\naddressType: IPv4");
    let found = problems(&format!("{GATEWAY}{https}{}", policy("insecureSkipVerify: true")));
    assert!(found[0].contains("warning") && found[0].contains("are not verified"), "{found:?}");
}

#[test]
fn an_endpoint_slice_of_a_cluster_needs_only_the_annotation() {
    let slice = |namespace: &str| {
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: x, namespace: {namespace}, labels: {{app: p}}, \
             annotations: {{pointsman.dev/static-endpoints: \"true\"}}}}\naddressType: IPv4\n\
             ports: [{{name: http, port: 8000, protocol: TCP}}, {{name: metrics, port: 9100, protocol: TCP}}]\n\
             endpoints:\n\
             - {{addresses: [10.0.0.1], conditions: {{ready: true, serving: true, terminating: false}}, nodeName: n, zone: z}}\n\
             - {{addresses: [10.0.0.2], conditions: {{ready: true, serving: true, terminating: false}}, nodeName: n, \
             targetRef: {{kind: Pod, name: x}}}}\n"
        )
    };
    check(
        &slice("default"),
        &[
            "f.yaml:5:57: warning: EndpointSlice default/x: ports[1].name: requests are sent to this port as to the others (fix: remove the port, and say where metrics are by the annotation pointsman.dev/metrics-port)",
            "f.yaml:7:3: warning: EndpointSlice default/x: endpoints: nodeName, serving, targetRef, zone have no effect outside a cluster (fix: nothing, or remove it)",
        ],
    );
    let found = problems(&format!("{}---\n{GATEWAY}{}", slice("other"), pool("p", 8000)));
    assert!(
        found
            .iter()
            .any(|line| line.ends_with("(fix: default/p does, in another namespace: move both into one)")),
        "{found:#?}"
    );
}
