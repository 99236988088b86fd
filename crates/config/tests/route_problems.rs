//! Problems of single routes and listeners, as `check` prints them.

mod support;

use support::{check_problems as check, to};

/// Checks the problems of a rule, which starts on line 8.
#[track_caller]
fn check_rule(rule: &str, expected: &[&str]) {
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec:\n  parentRefs: [{{name: g}}]\n  hostnames: [r.local]\n  rules:\n  - {rule}"
    );
    let expected: Vec<String> =
        expected.iter().map(|line| line.replace("RULE", "HTTPRoute default/r: spec.rules[0]")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&text, &expected);
}

/// Checks the problems of a listener of a second Gateway.
#[track_caller]
fn check_listener(listener: &str, expected: &[&str]) {
    let text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: l}}\nspec:\n  gatewayClassName: any\n  listeners:\n  - {listener}"
    );
    let expected: Vec<String> = expected
        .iter()
        .map(|line| line.replace("LISTENER", "Gateway default/l: spec.listeners[0]"))
        .collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(&text, &expected);
}

#[test]
fn unsupported_features_of_route_rules() {
    let to = to("p");
    check_rule(
        &format!("{{retry: {{attempts: 2}}, backendRefs: [{to}]}}"),
        &[
            "f.yaml:8:6: error: RULE.retry: is not supported in a route (fix: write retryBudget in a PoolPolicy)",
        ],
    );
    check_rule(
        &format!("{{sessionPersistence: {{}}, backendRefs: [{to}]}}"),
        &[
            "f.yaml:8:6: error: RULE.sessionPersistence: is not supported (fix: remove it: the default placement already prefers endpoints with a cached prefix)",
        ],
    );
    for (kind, field) in [
        ("RequestMirror", "requestMirror"),
        ("ExtensionRef", "extensionRef"),
        ("CORS", "cors"),
        ("ExternalAuth", "externalAuth"),
    ] {
        check_rule(
            &format!("{{filters: [{{type: {kind}, {field}: {{}}}}], backendRefs: [{to}]}}"),
            &[&format!(
                "f.yaml:8:23: error: RULE.filters[0].type: {kind} is not supported (fix: remove the filter)"
            )],
        );
    }
    check_rule(
        "backendRefs: [{name: web, port: 80}]",
        &[
            "f.yaml:8:19: error: RULE.backendRefs[0]: Service backends are not supported (fix: write group: inference.networking.k8s.io and kind: InferencePool)",
        ],
    );
    check_rule(
        "backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: web}]",
        &[
            "f.yaml:8:56: error: RULE.backendRefs[0].kind: multicluster.x-k8s.io/ServiceImport backends are not supported (fix: write group: inference.networking.k8s.io and kind: InferencePool)",
        ],
    );
    check_rule(
        "backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p, namespace: other}]",
        &[
            "f.yaml:8:97: error: RULE.backendRefs[0].namespace: differs from the route's namespace, and ReferenceGrant is not supported (fix: move the route and its pool into one namespace)",
        ],
    );
    check_rule(
        "backendRefs: [{group: inference.networking.x-k8s.io, kind: InferencePool, name: p}]",
        &[
            "f.yaml:8:19: error: RULE.backendRefs[0]: InferencePool default/p is of group inference.networking.k8s.io (f.yaml:17) (fix: write group: inference.networking.k8s.io)",
        ],
    );
    check_rule(
        "backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p, port: 9}]",
        &[
            "f.yaml:8:19: warning: RULE.backendRefs[0]: port 9 is not a port of the pool, whose ports apply (fix: remove port)",
        ],
    );
    check_rule(
        "backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p, port: 8000}]",
        &[],
    );
}

/// Checks the problems of a match, which is on line 8.
#[track_caller]
fn check_match(rule_match: &str, expected: &[&str]) {
    let expected: Vec<String> =
        expected.iter().map(|line| line.replace("MATCH", "RULE.matches[0]")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check_rule(&format!("matches: [{rule_match}]\n    backendRefs: [{}]", to("p")), &expected);
}

#[test]
fn paths_of_matches() {
    let path = |value: &str, wrong: &str| {
        check_match(
            &format!("{{path: {{value: \"{value}\"}}}}"),
            &[&format!(
                "f.yaml:8:30: error: MATCH.path.value: \"{value}\" {wrong} (fix: write it like /v1/chat)"
            )],
        );
    };
    path("v1", "does not start with a slash");
    path("/a//b", "contains two slashes in a row");
    path("/a/../b", "contains a dot segment, which clients resolve before sending");
    path("/a/.", "contains a dot segment, which clients resolve before sending");
    path("/a%2Fb", "contains an escaped slash");
    path("/a?b", "contains a query or a fragment");
    path("/a b", "contains characters that must be percent-encoded in a path");
    check_match(
        "{path: {type: RegularExpression, value: \"a)(b\"}}",
        &[
            "f.yaml:8:55: error: MATCH.path.value: is not a regular expression: unopened group (fix: correct it; the syntax is that of RE2)",
        ],
    );
    check_match(
        "{path: {type: RegularExpression, value: \"((a{1,1000}){1,1000}){1,1000}\"}}",
        &[
            "f.yaml:8:55: error: MATCH.path.value: the regular expression is too large (fix: reduce its repetitions)",
        ],
    );
}

#[test]
fn methods_headers_and_queries_of_matches() {
    check_match(
        "{method: post}",
        &[
            "f.yaml:8:24: error: MATCH.method: \"post\" is not one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH (fix: did you mean POST?)",
        ],
    );
    check_match(
        "{headers: [{name: a b, value: c}, {name: x}]}",
        &[
            "f.yaml:8:33: error: MATCH.headers[0].name: \"a b\" is not a header name (fix: write it like x-team)",
            "f.yaml:8:49: error: MATCH.headers[1].value: is missing (fix: write the value to match)",
        ],
    );
    check_match(
        "{headers: [{name: X, value: c}, {name: x, value: d}]}",
        &[
            "f.yaml:8:15: error: MATCH.headers: \"x\" is listed twice (fix: write each name once; a regular expression can match several values)",
        ],
    );
    check_match(
        "{queryParams: [{name: q, value: 1}]}",
        &[
            "f.yaml:8:47: error: MATCH.queryParams[0].value: expects a string, found the number 1 (fix: put it in quotes)",
        ],
    );
    check_match(
        "{grpc: {}}",
        &[
            "f.yaml:8:16: error: MATCH.grpc: is not a known field (fix: remove it; known fields are path, method, headers, queryParams)",
        ],
    );
}

/// Checks the problems of filters, which are on line 8.
#[track_caller]
fn check_filter(filters: &str, expected: &[&str]) {
    check_rule(&format!("filters: {filters}\n    backendRefs: [{}]", to("p")), expected);
}

#[test]
fn header_filters() {
    check_filter(
        "[{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Content-Length, value: \"1\"}, {name: host, value: a}]}}]",
        &[
            "f.yaml:8:82: error: RULE.filters[0].requestHeaderModifier.set[0].name: content-length cannot be modified: it is part of the message framing or the connection (fix: remove it)",
            "f.yaml:8:118: error: RULE.filters[0].requestHeaderModifier.set[1].name: host cannot be modified: it is part of the message framing or the connection (fix: write a URLRewrite filter with hostname)",
        ],
    );
    check_filter(
        "[{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X, value: a}], remove: [x]}}]",
        &[
            "f.yaml:8:70: error: RULE.filters[0].responseHeaderModifier: \"x\" is listed twice (fix: write each header once)",
        ],
    );
    check_filter(
        "[{type: RequestHeaderModifier, requestHeaderModifier: {}}]",
        &[
            "f.yaml:8:68: error: RULE.filters[0].requestHeaderModifier: has no effect (fix: write headers to set, add or remove)",
        ],
    );
    check_filter(
        "[{type: RequestHeaderModifier, urlRewrite: {hostname: a}}]",
        &[
            "f.yaml:8:15: error: RULE.filters[0].requestHeaderModifier: is missing (fix: write headers to set, add or remove)",
            "f.yaml:8:45: error: RULE.filters[0].urlRewrite: is not a known field (fix: remove it; known fields are type, requestMirror, extensionRef, cors, externalAuth, requestHeaderModifier)",
        ],
    );
}

#[test]
fn rewrites_redirects_and_timeouts() {
    check_filter(
        "[{type: URLRewrite, urlRewrite: {hostname: a}}, {type: URLRewrite, urlRewrite: {hostname: b}}]",
        &[
            "f.yaml:8:62: error: RULE.filters[1]: is the second filter of its type (fix: merge the two filters)",
        ],
    );
    check_filter(
        "[{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replacePrefixMatch: /a}}}]",
        &[
            "f.yaml:8:53: error: RULE.filters[0].urlRewrite.path.replaceFullPath: is missing (fix: write the new path)",
            "f.yaml:8:77: error: RULE.filters[0].urlRewrite.path.replacePrefixMatch: does not belong to this type (fix: remove it, or change the type)",
        ],
    );
    check_rule(
        &format!(
            "matches: [{{path: {{type: Exact, value: /a}}}}]\n    filters: [{{type: URLRewrite, urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: /b}}}}}}]\n    backendRefs: [{}]",
            to("p")
        ),
        &[
            "f.yaml:9:100: error: RULE.filters[0].urlRewrite.path.replacePrefixMatch: ReplacePrefixMatch requires exactly one match, of type PathPrefix (fix: give the rule one match of type PathPrefix, or use ReplaceFullPath)",
        ],
    );
    check_filter(
        "[{type: RequestRedirect, requestRedirect: {scheme: ftp, statusCode: 304, hostname: \"*.a\"}}]",
        &[
            "f.yaml:8:65: error: RULE.filters[0].requestRedirect.scheme: \"ftp\" is not one of http, https (fix: write one of http, https)",
            "f.yaml:8:82: error: RULE.filters[0].requestRedirect.statusCode: 304 is not a redirect status (fix: write 301, 302, 303, 307 or 308)",
            "f.yaml:8:97: error: RULE.filters[0].requestRedirect.hostname: cannot be a wildcard (fix: write a full host name)",
            "f.yaml:9:18: error: RULE.backendRefs: a rule with RequestRedirect cannot have backends (fix: remove backendRefs or RequestRedirect)",
        ],
    );
    check_rule(
        &format!("timeouts: {{request: 10, backendRequest: 1x}}\n    backendRefs: [{}]", to("p")),
        &[
            "f.yaml:8:25: error: RULE.timeouts.request: \"10\" is not a duration (fix: write it like 500ms, 30s or 1m30s)",
            "f.yaml:8:45: error: RULE.timeouts.backendRequest: \"1x\" is not a duration (fix: write it like 500ms, 30s or 1m30s)",
        ],
    );
    check_rule(
        "{}",
        &[
            "f.yaml:8:5: warning: RULE: has no backend, so the response is 500 (fix: add backendRefs to an InferencePool)",
        ],
    );
}

#[test]
fn parents() {
    #[track_caller]
    fn check_parent(parent: &str, expected: &str) {
        check(
            &format!(
                "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r, namespace: other}}\nspec:\n  parentRefs: [{parent}]\n  rules: [{{filters: [{{type: RequestRedirect, requestRedirect: {{scheme: https}}}}]}}]"
            ),
            &[&format!("f.yaml:5:{expected}")],
        );
    }
    check_parent(
        "{name: g}",
        "16: error: HTTPRoute other/r: spec.parentRefs[0]: there is no Gateway other/g (fix: write the Gateway, or correct the name)",
    );
    check_parent(
        "{name: g, namespace: default}",
        "16: error: HTTPRoute other/r: spec.parentRefs[0]: the Gateway accepts only routes of its own namespace (fix: write allowedRoutes: {namespaces: {from: All}} in the listener)",
    );
    check_parent(
        "{name: g, namespace: default, sectionName: https}",
        "16: error: HTTPRoute other/r: spec.parentRefs[0]: the Gateway has no listener with this sectionName and port (fix: write the name and port of one of its listeners)",
    );
    check_parent(
        "{name: g, namespace: default, port: 1}",
        "16: error: HTTPRoute other/r: spec.parentRefs[0]: the Gateway has no listener with this sectionName and port (fix: write the name and port of one of its listeners)",
    );
    check_parent(
        "{name: g, kind: Service, group: gateway.networking.k8s.io}",
        "16: error: HTTPRoute other/r: spec.parentRefs[0]: routes attach to Gateways here, not to a Service (fix: name a Gateway: {name: …})",
    );
}

#[test]
fn listeners() {
    check_listener(
        "{name: a, port: 9000, protocol: HTTP, allowedRoutes: {namespaces: {from: All}, kinds: [{kind: HTTPRoute}]}}",
        &[],
    );
    check_listener(
        "{name: a, port: 9000, protocol: TLS}",
        &["f.yaml:7:37: error: LISTENER.protocol: TLS is not supported (fix: write HTTP or HTTPS)"],
    );
    check_listener(
        "{name: a, port: 9000, protocol: HTTPS}",
        &[
            "f.yaml:7:5: error: LISTENER.tls: an HTTPS listener needs a certificate (fix: write tls.options with pointsman.dev/certificate-file and pointsman.dev/key-file)",
        ],
    );
    check_listener(
        "{name: a, port: 9000, protocol: HTTP, tls: {}}",
        &[
            "f.yaml:7:48: error: LISTENER.tls: has no effect on an HTTP listener (fix: write protocol: HTTPS, or remove tls)",
        ],
    );
    check_listener(
        "{name: a, port: 9000, protocol: HTTPS, tls: {mode: Passthrough, options: {pointsman.dev/certificate-file: c}}}",
        &[
            "f.yaml:7:56: error: LISTENER.tls.mode: Passthrough is not supported (fix: write mode: Terminate, because routing reads the request body)",
            "f.yaml:7:78: error: LISTENER.tls.options: needs both pointsman.dev/certificate-file and pointsman.dev/key-file (fix: write tls.options with pointsman.dev/certificate-file and pointsman.dev/key-file)",
        ],
    );
    check_listener(
        "{name: a, port: 9000, protocol: HTTP, hostname: \"10.0.0.1\"}",
        &[
            "f.yaml:7:53: error: LISTENER.hostname: \"10.0.0.1\" is an IP address, not a host name (fix: write a host name, or remove the field)",
        ],
    );
    check_listener(
        "{name: a, port: 9000, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {}}, kinds: [{kind: TCPRoute}]}}",
        &[
            "f.yaml:7:78: error: LISTENER.allowedRoutes.namespaces.from: Selector is not supported (fix: write Same or All)",
            "f.yaml:7:88: error: LISTENER.allowedRoutes.namespaces.selector: is not supported (fix: write from: Same or from: All)",
            "f.yaml:7:118: error: LISTENER.allowedRoutes.kinds[0].kind: \"TCPRoute\" is not HTTPRoute, the only supported kind of route (fix: write HTTPRoute, the only supported kind of route)",
        ],
    );
    check_listener(
        "{name: a, port: 8080, protocol: HTTP}",
        &[
            "f.yaml:7:5: error: Gateway default/l: spec.listeners[0]: has the same port and host name as listener \"http\" of Gateway default/g (f.yaml:9) (fix: change the port or the hostname)",
        ],
    );
    check_listener(
        "{name: a, port: 1, protocol: HTTP}\n  - {name: a, port: 2, protocol: HTTP}\n  - {name: b, port: 2, protocol: HTTP}",
        &[
            "f.yaml:8:5: error: Gateway default/l: spec.listeners[1]: the name \"a\" is already used on line 7 (fix: give each listener its own name)",
            "f.yaml:9:5: error: Gateway default/l: spec.listeners[2]: has the same port and host name as listener \"a\" (fix: change the port or the hostname)",
        ],
    );
}
