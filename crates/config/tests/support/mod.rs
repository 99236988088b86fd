//! A small valid set of manifests for tests, and assertions on the loaded world.
#![allow(dead_code, reason = "each test file uses only some functions")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pointsman_config::route::{RouteAction, RouteRequest, RouteTable};
use pointsman_config::{Loaded, Options, SourceText, World, load};

/// A Gateway with one listener, `default/g`.
pub(crate) const GATEWAY: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: pointsman
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
";

/// A pool `name` with one endpoint on `port`.
pub(crate) fn pool(name: &str, port: u16) -> String {
    format!(
        "\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  targetPorts: [{{number: {port}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, labels: {{app: {name}}}, annotations: {{pointsman.dev/static-endpoints: \"true\"}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1]}}]
---
"
    )
}

/// An HTTPRoute of the Gateway `g`. `spec` is the rest of its spec, indented by two spaces.
pub(crate) fn route(name: &str, spec: &str) -> String {
    format!(
        "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: g}}]
{spec}
---
"
    )
}

/// A backend reference to an InferencePool v1.
pub(crate) fn to(pool: &str) -> String {
    format!("{{group: inference.networking.k8s.io, kind: InferencePool, name: {pool}}}")
}

pub(crate) fn load_text(text: &str) -> Loaded {
    load(&[SourceText::new("f.yaml", text)], &Options::default())
}

/// The problems of a text, one line each.
pub(crate) fn problems(text: &str) -> Vec<String> {
    load_text(text).problems.iter().map(ToString::to_string).collect()
}

/// The world of a text that must have no problem.
#[track_caller]
pub(crate) fn world(text: &str) -> World {
    let loaded = load_text(text);
    let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines, Vec::<String>::new());
    loaded.world
}

/// A request such as `GET chat.example.com/v1?a=1 x-team: a`, with single spaces.
pub(crate) struct Request {
    method: Method,
    host: String,
    path: String,
    query: String,
    headers: HeaderMap,
}

impl Request {
    pub(crate) fn new(text: &str) -> Self {
        let mut words = text.split(' ');
        let method = words.next().unwrap().parse().unwrap();
        let target = words.next().unwrap();
        let (host, path) = target.split_at(target.find('/').unwrap());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut headers = HeaderMap::new();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            let name = HeaderName::try_from(name.trim_end_matches(':')).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Self { method, host: host.to_owned(), path: path.to_owned(), query: query.to_owned(), headers }
    }

    pub(crate) fn find<'t>(&self, table: &'t RouteTable, draw: u64) -> Option<RouteAction<'t>> {
        let Self { method, host, path, query, headers } = self;
        table.find(&RouteRequest { host, path, query, method, headers }, draw)
    }
}

/// The outcome of routing: the name of the pool, `-> status location`, `500` or `404`.
pub(crate) fn outcome(world: &World, listener: usize, request: &str) -> String {
    match Request::new(request).find(&world.listeners[listener].routes, 0) {
        None => "404".to_owned(),
        Some(RouteAction::NoBackend) => "500".to_owned(),
        Some(RouteAction::Redirect(to)) => format!("-> {} {}", to.status, to.location),
        Some(RouteAction::Forward(forward)) => world.pools[forward.pool.0].name.name.to_string(),
    }
}

/// Checks the problems of `text` within a set that is otherwise valid.
#[track_caller]
pub(crate) fn check_problems(text: &str, expected: &[&str]) {
    let set = format!(
        "{text}\n---\n{GATEWAY}{}{}",
        pool("p", 8000),
        route("ok", &format!("  rules: [{{backendRefs: [{}]}}]", to("p")))
    );
    assert_eq!(problems(&set), expected);
}
