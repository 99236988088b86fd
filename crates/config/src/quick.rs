//! The quick form: a few URLs instead of a folder. It is defined as the manifests that it prints, so that growing
//! from it changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::decode::is_dns_name;
use crate::load::load;
use crate::source::{Options, SourceText, quoted};
use crate::world::{AppProtocol, World};

/// What goes with the URLs of the quick form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuickOptions {
    /// The port of the one listener.
    pub port: u16,
    /// Certificate authorities to trust for `https://` endpoints, instead of the system's.
    pub engine_ca: Option<PathBuf>,
    /// A file with the key that engines want.
    pub engine_api_key_file: Option<PathBuf>,
}

impl Default for QuickOptions {
    fn default() -> Self {
        Self { port: 8080, engine_ca: None, engine_api_key_file: None }
    }
}

/// Why the quick form amounts to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuickError {
    /// No endpoint was given.
    #[error("no endpoint given")]
    NoEndpoint,
    /// An endpoint is not what it should be.
    #[error("{url} is not an endpoint: {reason}; write it like http://127.0.0.1:8000")]
    Endpoint {
        /// What was given, in quotes.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path cannot stand in a manifest.
    #[error("the path {0} is not UTF-8")]
    Path(String),
    /// The manifests do not load: a mistake of ours.
    #[error("the quick form's manifests do not load: {0}")]
    Manifests(String),
}

/// One pool of these endpoints, `default/pointsman`, and a route that leads everything to it; headers about
/// objective and fairness are believed from loopback only.
///
/// # Errors
/// [`QuickError`] where an endpoint is no URL of scheme `http`, `https` or `h2c` with a host and nothing behind its
/// port.
pub fn quick_form(endpoints: &[impl AsRef<str>], options: &QuickOptions) -> Result<World, QuickError> {
    let text = print_manifests(endpoints, options)?;
    let loaded = load(&[SourceText::new("quick-form", text)], &Options::default());
    match loaded.problems.first() {
        None => Ok(loaded.world),
        Some(problem) => Err(QuickError::Manifests(problem.to_string())),
    }
}

/// The manifests that [`quick_form`] amounts to. Relative paths in them start at the folder they are written to.
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
    let mut text = MANIFESTS.replace("PORT", &options.port.to_string());
    text.push_str(&pool_policy(options)?);
    for (number, (key, hosts)) in (1..).zip(&slices) {
        write_slice(&mut text, number, key, hosts);
    }
    Ok(text)
}

/// What the endpoints of one slice have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct SliceKey {
    address_type: &'static str,
    port: u16,
    protocol: AppProtocol,
}

const MANIFESTS: &str = r#"# What `pointsman gateway --endpoint …` amounts to. Save it into a folder and run it with
# `pointsman gateway --manifests FOLDER`.
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: pointsman
spec:
  gatewayClassName: pointsman
  listeners:
  - name: http
    port: PORT
    protocol: HTTP
---
# Every request goes to the one pool.
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
---
# The pool holds the endpoints of every EndpointSlice with this label.
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
  # Needed in a cluster, without effect here.
  endpointPickerRef:
    name: pointsman
    port:
      number: 9002
---
# Who may set a request's objective by header.
apiVersion: pointsman.dev/v1alpha1
kind: GatewayPolicy
metadata:
  name: pointsman
spec:
  trustedSources:
  - 127.0.0.0/8
  - ::1/128
"#;

fn pool_policy(options: &QuickOptions) -> Result<String, QuickError> {
    let files = [("caFile", &options.engine_ca), ("apiKeyFile", &options.engine_api_key_file)];
    let mut lines = String::new();
    for (name, path) in files {
        if let Some(path) = path {
            let _ = writeln!(lines, "    {name}: {}", yaml_text(path)?);
        }
    }
    if lines.is_empty() {
        return Ok(lines);
    }
    Ok(format!(
        "---\napiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata:\n  name: pointsman\nspec:\n  \
         poolRef:\n    name: pointsman\n  engine:\n{lines}"
    ))
}

/// A path in double quotes, as JSON and YAML both have them.
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
        "---\n# Where the engines listen. A cluster has pods instead: keep this out of it.\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: pointsman-{number}\n  \
         labels:\n    app: pointsman\n  annotations:\n    pointsman.dev/laptop-only: \"true\"\n\
         addressType: {address_type}\nports:\n- port: {port}\n  appProtocol: {protocol}\nendpoints:\n"
    );
    for host in hosts {
        let _ = writeln!(text, "- addresses: [\"{host}\"]");
    }
}

/// `scheme://host[:port][/]`.
fn parse_endpoint(url: &str) -> Result<(SliceKey, String), &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
    let (protocol, usual) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (AppProtocol::Http, 80),
        "https" => (AppProtocol::Https, 443),
        "h2c" => (AppProtocol::H2c, 80),
        _ => return Err("its scheme is none of http, https and h2c"),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err("something stands behind its port; paths come from the clients");
    }
    if authority.contains('@') {
        return Err("it holds a user name; keys belong into --engine-api-key-file");
    }
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']').ok_or("a bracket is not closed")?;
        (
            host,
            if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':').ok_or("its port is not a port")?)
            },
        )
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit());
    let port = match port {
        None => usual,
        Some(port) => {
            port.parse().ok().filter(|number| *number != 0 && digits(port)).ok_or("its port is not a port")?
        }
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
        return Err("its host is no name and no address");
    };
    Ok((SliceKey { address_type, port, protocol }, host))
}
