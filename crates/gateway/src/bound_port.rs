//! Which listeners a socket serves, and which of them take a host name.

use http::{HeaderMap, Uri, header};
use pointsman_config::{Listener, World};

/// The listeners that a socket serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BoundPort {
    /// All plain HTTP listeners, whatever their ports.
    AllPlain,
    /// The listeners of one port.
    Port(u16),
}

impl BoundPort {
    fn includes(self, listener: &Listener) -> bool {
        match self {
            Self::AllPlain => listener.tls.is_none(),
            Self::Port(port) => listener.port == port,
        }
    }

    /// The listeners with the most specific host name that matches `host`.
    pub(crate) fn listeners<'w, 'h>(
        self,
        world: &'w World,
        host: &'h str,
    ) -> impl Iterator<Item = &'w Listener> + use<'w, 'h> {
        let included = move |listener: &&Listener| self.includes(listener);
        let best = world
            .listeners
            .iter()
            .filter(included)
            .filter_map(|listener| specificity(listener.hostname.as_deref(), host))
            .max();
        let is_best = move |listener: &&Listener| {
            best.is_some() && specificity(listener.hostname.as_deref(), host) == best
        };
        world.listeners.iter().filter(included).filter(is_best)
    }
}

/// How specific a listener's host name is, if it matches: an exact name beats wildcards, and a longer wildcard a shorter
/// one.
pub(crate) fn specificity(hostname: Option<&str>, host: &str) -> Option<usize> {
    let Some(name) = hostname else { return Some(0) };
    match name.strip_prefix('*') {
        Some(suffix) => {
            let (start, end) = host.split_at_checked(host.len().checked_sub(suffix.len())?)?;
            (!start.is_empty() && end.eq_ignore_ascii_case(suffix)).then_some(name.len())
        }
        None => name.eq_ignore_ascii_case(host).then_some(usize::MAX),
    }
}

/// The request's host name without its port; empty if there is none.
pub(crate) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a str {
    if let Some(host) = uri.host() {
        return host;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pointsman_config::{ObjectName, TlsFiles};

    use super::*;

    fn listener(name: &str, port: u16, hostname: Option<&str>, tls: bool) -> Listener {
        Listener {
            gateway: ObjectName { namespace: "default".into(), name: "g".into() },
            name: name.into(),
            address: [127, 0, 0, 1].into(),
            port,
            hostname: hostname.map(Arc::from),
            tls: tls.then(|| TlsFiles { certificate: "c".into(), key: "k".into() }),
            routes: Arc::default(),
        }
    }

    #[test]
    fn the_most_specific_listener_matches() {
        let world = World {
            listeners: vec![
                listener("any", 80, None, false),
                listener("wild", 80, Some("*.example.com"), false),
                listener("deep", 80, Some("*.a.example.com"), false),
                listener("exact", 80, Some("b.example.com"), false),
                listener("other", 81, None, false),
                listener("tls", 443, None, true),
            ],
            ..World::default()
        };
        let check = |bound_port: BoundPort, host: &str, expected: &[&str]| {
            let found: Vec<&str> =
                bound_port.listeners(&world, host).map(|listener| &*listener.name).collect();
            assert_eq!(found, expected, "{host}");
        };
        let port = BoundPort::Port(80);
        check(port, "b.example.com", &["exact"]);
        check(port, "B.EXAMPLE.COM", &["exact"]);
        check(port, "c.example.com", &["wild"]);
        check(port, "c.a.example.com", &["deep"]);
        check(port, "example.com", &["any"]);
        check(port, "", &["any"]);
        check(BoundPort::AllPlain, "x", &["any", "other"]);
        check(BoundPort::Port(443), "x", &["tls"]);
        check(BoundPort::Port(9), "x", &[]);
    }

    #[test]
    fn the_host_excludes_its_port() {
        #[track_caller]
        fn check(uri: &'static str, header: Option<&str>, expected: &str) {
            let mut headers = HeaderMap::new();
            if let Some(value) = header {
                headers.insert(header::HOST, value.parse().unwrap());
            }
            assert_eq!(host(&Uri::from_static(uri), &headers), expected);
        }
        check("/", Some("a.b:8080"), "a.b");
        check("/", Some("a.b"), "a.b");
        check("/", Some("[::1]:80"), "[::1]");
        check("/", None, "");
        check("http://c.d:1/", Some("a.b"), "c.d");
    }
}
