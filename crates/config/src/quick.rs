//! The quick form: a configuration from a list of endpoint URLs. It is defined by the manifests that it prints, so that
//! replacing the URLs by these manifests changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use pointsman_yaml::{Severity, SourceText, quoted};

use crate::endpoint::{AppProtocol, mixed_protocols};
use crate::load::load;
use crate::names::is_dns_name;
use crate::options::Options;
use crate::picker_config::PickerConfig;
use crate::settings::{ApiKeyHeader, EngineAccess, GatewayPolicy};
use crate::world::World;

/// Options of the quick form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuickOptions {
    /// Address of the listener; port 0 stands for 8080.
    pub listen: SocketAddr,
    /// Certificates and API key of the engines.
    pub access: EngineAccess,
    /// The `host` of requests to engines, instead of the client's.
    pub engine_host: Option<String>,
    /// Timeout from the request sent to the first byte of the response body.
    pub first_byte_timeout: Option<Duration>,
    /// Lifetime of a client's connection without a request.
    pub client_keep_alive: Option<Duration>,
    /// Maximum length of a request body in bytes.
    pub max_body_bytes: Option<u64>,
}

const PORT: u16 = 8080;

impl Default for QuickOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            access: EngineAccess::default(),
            engine_host: None,
            first_byte_timeout: None,
            client_keep_alive: None,
            max_body_bytes: None,
        }
    }
}

/// Why the quick form is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuickError {
    /// There is no endpoint.
    #[error("no endpoint given")]
    NoEndpoint,
    /// An endpoint URL is not valid.
    #[error("{url} is not an endpoint: {reason}; write it like http://127.0.0.1:8000")]
    Endpoint {
        /// The URL, in quotes.
        url: String,
        /// The mistake.
        reason: &'static str,
    },
    /// The endpoints have different protocols, and a gateway with a picker uses one.
    #[error("pool {pool}: {message} (fix: give endpoints of one scheme)")]
    Protocols {
        /// The pool.
        pool: String,
        /// The mistake.
        message: String,
    },
    /// The `host` for engines is not a host name.
    #[error("{0} is not a host name; write it like engine.example.com")]
    Host(String),
    /// A path cannot be written in a manifest.
    #[error("the path {0} is not UTF-8")]
    Path(String),
    /// The generated manifests do not load, which is a bug.
    #[error("the generated manifests do not load: {0}")]
    Manifests(String),
}

/// The configuration of one pool with these endpoints, `default/pointsman`, and a route of all requests to it. The
/// headers of trusted clients (objective, fairness, deadline) are accepted from loopback only.
///
/// # Errors
/// [`QuickError`] where an endpoint is not a URL of scheme `http`, `https` or `h2c` with a host, an optional port and
/// nothing else.
pub fn quick_form(endpoints: &[impl AsRef<str>], options: &QuickOptions) -> Result<World, QuickError> {
    let text = print_manifests(endpoints, options)?;
    let loaded = load(&[SourceText::new("quick-form", text)], &Options::default());
    match loaded.problems.iter().find(|problem| problem.severity == Severity::Error) {
        None => Ok(loaded.world),
        Some(problem) => Err(QuickError::Manifests(problem.to_string())),
    }
}

/// The same for an endpoint picker, with its configuration.
///
/// # Errors
/// As [`quick_form`], and where the endpoints have different schemes.
pub fn quick_form_of_picker(
    endpoints: &[impl AsRef<str>],
    options: &QuickOptions,
    config: Option<PickerConfig>,
) -> Result<World, QuickError> {
    let mut world = quick_form(endpoints, options)?;
    for pool in &mut world.pools {
        if let Some(message) = mixed_protocols(&pool.endpoints) {
            return Err(QuickError::Protocols { pool: pool.name.to_string(), message });
        }
        if let Some(config) = config {
            config.apply(&mut pool.policy);
        }
    }
    Ok(world)
}

/// The manifests of [`quick_form`]. Relative paths in them are relative to the folder of the manifests.
///
/// # Errors
/// As [`quick_form`].
pub fn print_manifests(endpoints: &[impl AsRef<str>], options: &QuickOptions) -> Result<String, QuickError> {
    if endpoints.is_empty() {
        return Err(QuickError::NoEndpoint);
    }
    let mut slices: BTreeMap<SliceKey, Vec<String>> = BTreeMap::new();
    for url in endpoints {
        let url = url.as_ref();
        let (key, host) =
            parse_endpoint(url).map_err(|reason| QuickError::Endpoint { url: quoted(url), reason })?;
        let hosts = slices.entry(key).or_default();
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    let port = if options.listen.port() == 0 { PORT } else { options.listen.port() };
    let mut text = MANIFESTS
        .replace("PORT", &port.to_string())
        .replace("ADDRESSES", &addresses(options))
        .replace("FILTERS", &filters(options)?)
        .replace("LIMITS", &limits(options));
    text.push_str(&pool_policy(options)?);
    for (number, (key, hosts)) in (1..).zip(&slices) {
        write_slice(&mut text, number, key, hosts);
    }
    Ok(text)
}

/// The properties that the endpoints of one EndpointSlice share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SliceKey {
    address_type: &'static str,
    port: u16,
    protocol: AppProtocol,
}

const MANIFESTS: &str = r#"# The manifests of `pointsman gateway --endpoint …`. Save them in a folder and run
# `pointsman gateway --manifests FOLDER`.
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: pointsman
spec:
  gatewayClassName: pointsman
ADDRESSES  listeners:
  - name: http
    port: PORT
    protocol: HTTP
---
# All requests go to one pool.
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: pointsman
spec:
  parentRefs:
  - name: pointsman
  rules:
  - backendRefs:
    - group: inference.networking.k8s.io
      kind: InferencePool
      name: pointsman
FILTERS---
# The endpoints of the pool are those of every EndpointSlice with this label.
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata:
  name: pointsman
spec:
  selector:
    matchLabels:
      app: pointsman
  targetPorts:
  - number: 8000
  # Required in a cluster; the gateway ignores it.
  endpointPickerRef:
    name: pointsman
    port:
      number: 9002
---
# Clients whose objective header is trusted.
apiVersion: pointsman.dev/v1alpha1
kind: GatewayPolicy
metadata:
  name: pointsman
spec:
  trustedSources:
  - 127.0.0.0/8
  - ::1/128
LIMITS"#;

/// The address to bind, where it is not loopback, which is the default.
fn addresses(options: &QuickOptions) -> String {
    let address = options.listen.ip();
    if address == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        return "  # It listens on 127.0.0.1, unless `addresses` names another IPAddress.\n".to_owned();
    }
    format!("  addresses:\n  - type: IPAddress\n    value: \"{address}\"\n")
}

fn filters(options: &QuickOptions) -> Result<String, QuickError> {
    let Some(host) = &options.engine_host else { return Ok(String::new()) };
    if !is_dns_name(host) || host.parse::<IpAddr>().is_ok() {
        return Err(QuickError::Host(quoted(host)));
    }
    Ok(format!("    filters:\n    - type: URLRewrite\n      urlRewrite:\n        hostname: {host}\n"))
}

fn limits(options: &QuickOptions) -> String {
    let mut limits = String::new();
    // Writing to a string does not fail.
    if let Some(max_body) = options.max_body_bytes {
        let _ = writeln!(limits, "  maxBodyBytes: {max_body}");
        if max_body > GatewayPolicy::default().max_held_bytes {
            let _ = writeln!(limits, "  maxHeldBytes: {max_body}");
        }
    }
    if let Some(keep_alive) = options.client_keep_alive {
        let _ = write!(limits, "  clientTimeouts:\n    keepAlive: {}\n", gateway_duration(keep_alive));
    }
    limits
}

fn pool_policy(options: &QuickOptions) -> Result<String, QuickError> {
    let EngineAccess { ca, insecure_skip_verify, api_key, api_key_header } = &options.access;
    let mut engine = String::new();
    for (name, path) in [("caFile", ca), ("apiKeyFile", api_key)] {
        if let Some(path) = path {
            let _ = writeln!(engine, "    {name}: {}", yaml_text(path)?);
        }
    }
    if *insecure_skip_verify {
        engine.push_str("    insecureSkipVerify: true\n");
    }
    if *api_key_header == ApiKeyHeader::XApiKey {
        engine.push_str("    apiKeyHeader: x-api-key\n");
    }
    let mut sections = String::new();
    if let Some(timeout) = options.first_byte_timeout {
        let _ = write!(sections, "  timeouts:\n    firstByte: {}\n", gateway_duration(timeout));
    }
    if !engine.is_empty() {
        let _ = write!(sections, "  engine:\n{engine}");
    }
    if sections.is_empty() {
        return Ok(sections);
    }
    Ok(format!(
        "---\napiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata:\n  name: pointsman\nspec:\n  \
         poolRef:\n    name: pointsman\n{sections}"
    ))
}

/// A duration in the format of the Gateway API, to the millisecond.
fn gateway_duration(duration: Duration) -> String {
    let (seconds, milliseconds) = (duration.as_secs(), duration.subsec_millis());
    let parts =
        [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (milliseconds.into(), "ms")];
    let written: String =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if written.is_empty() { "0s".to_owned() } else { written }
}

/// A path in double quotes, valid in both JSON and YAML.
fn yaml_text(path: &Path) -> Result<String, QuickError> {
    let text = path.to_str().ok_or_else(|| QuickError::Path(path.display().to_string()))?;
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Ok(quoted)
}

fn write_slice(text: &mut String, number: usize, key: &SliceKey, hosts: &[String]) {
    let SliceKey { address_type, port, protocol } = key;
    let protocol = match protocol {
        AppProtocol::Http => "http",
        AppProtocol::Https => "https",
        AppProtocol::H2c => "kubernetes.io/h2c",
    };
    let _ = write!(
        text,
        "---\n# Static endpoints. Do not apply them to a cluster, which creates EndpointSlices from pods.\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: pointsman-{number}\n  \
         labels:\n    app: pointsman\n  annotations:\n    pointsman.dev/static-endpoints: \"true\"\n\
         addressType: {address_type}\nports:\n- port: {port}\n  appProtocol: {protocol}\nendpoints:\n"
    );
    for host in hosts {
        let _ = writeln!(text, "- addresses: [\"{host}\"]");
    }
}

/// Parses `scheme://host[:port][/]`.
fn parse_endpoint(url: &str) -> Result<(SliceKey, String), &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
    let (protocol, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (AppProtocol::Http, 80),
        "https" => (AppProtocol::Https, 443),
        "h2c" => (AppProtocol::H2c, 80),
        _ => return Err("its scheme is not http, https or h2c"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains("://") {
        return Err("it is several; repeat the flag for each");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("it has a path or a query; clients send the path");
    }
    if authority.contains('@') {
        return Err("it contains a user name; use --engine-api-key-file for API keys");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or("a bracket is not closed")?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = if port.is_empty() {
        default_port
    } else {
        let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port != 0);
        port.ok_or("its port is not valid")?
    };
    let host = host.to_ascii_lowercase();
    let address_type = if authority.starts_with('[') {
        host.parse::<Ipv6Addr>().map_err(|_| "its address is not an IPv6 address")?;
        "IPv6"
    } else if host.parse::<Ipv4Addr>().is_ok() {
        "IPv4"
    } else if is_dns_name(&host) {
        "FQDN"
    } else {
        return Err("its host is neither a host name nor an IP address");
    };
    Ok((SliceKey { address_type, port, protocol }, host))
}
