//! Endpoint addresses in headers and metadata (proposal 004).

use std::net::{IpAddr, SocketAddr};

use crate::wire::{Kind, Metadata, Struct, Value};

/// Header, and key in the metadata namespace [`NAMESPACE`]: the endpoints to send the request to, `ip:port` in order of
/// preference.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";
/// Key in the metadata namespace [`NAMESPACE`]: the `ip:port` that served the request.
pub const SERVED: &str = "x-gateway-destination-endpoint-served";
/// Key in the metadata namespace [`SUBSET_NAMESPACE`]: the addresses that may serve the request.
pub const SUBSET: &str = "x-gateway-destination-endpoint-subset";

/// The metadata namespace for load balancing.
pub(crate) const NAMESPACE: &str = "envoy.lb";
const SUBSET_NAMESPACE: &str = "envoy.lb.subset_hint";

/// A gateway's list of the addresses that may serve a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubsetHint {
    entries: Vec<(Host, Option<u16>)>,
}

/// A host, with IP addresses in a comparable form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(Box<str>),
}

impl SubsetHint {
    /// The list in a message's metadata: `None` where the gateway sends none, empty where it allows no endpoint. A
    /// comma-separated string is a list, too.
    #[must_use]
    pub fn read(metadata: &Metadata) -> Option<Self> {
        let hint = metadata.filter_metadata.get(SUBSET_NAMESPACE)?.fields.get(SUBSET)?;
        if let Some(Kind::List(list)) = &hint.kind {
            return Some(Self::of(list.values.iter().filter_map(Value::as_text)));
        }
        hint.as_text().map(|text| Self::of(text.split(',')))
    }

    /// The list of these addresses: `ip:port`, `[ip]:port` for IPv6, or an `ip` for all its ports.
    pub fn of<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Self {
        Self { entries: addresses.into_iter().filter_map(parse).collect() }
    }

    /// Whether the endpoint at this host and port is in the list.
    #[must_use]
    pub fn contains(&self, host: &str, port: u16) -> bool {
        self.has(&parse_host(host), port)
    }

    /// Whether the endpoint at this address is in the list.
    #[must_use]
    pub fn contains_address(&self, address: SocketAddr) -> bool {
        self.has(&Host::Ip(address.ip().to_canonical()), address.port())
    }

    fn has(&self, host: &Host, port: u16) -> bool {
        self.entries.iter().any(|(listed, at)| listed == host && at.is_none_or(|at| at == port))
    }
}

/// The address of the endpoint that served the request, from a message's metadata.
pub(crate) fn served(metadata: &Metadata) -> Option<&str> {
    metadata.filter_metadata.get(NAMESPACE)?.fields.get(SERVED)?.as_text()
}

/// The metadata with the endpoints to send the request to.
pub(crate) fn destination_metadata(addresses: &str) -> Struct {
    let inner = Struct::of(DESTINATION, Kind::Text(addresses.to_owned()));
    Struct::of(NAMESPACE, Kind::Struct(inner))
}

fn parse(entry: &str) -> Option<(Host, Option<u16>)> {
    let entry = entry.trim();
    if entry.is_empty() {
        return None;
    }
    if let Ok(address) = entry.parse::<SocketAddr>() {
        return Some((Host::Ip(address.ip().to_canonical()), Some(address.port())));
    }
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Some((Host::Ip(ip.to_canonical()), None));
    }
    match entry.rsplit_once(':') {
        Some((host, port)) => Some((parse_host(host), Some(port.parse().ok()?))),
        None => Some((parse_host(entry), None)),
    }
}

fn parse_host(host: &str) -> Host {
    host.parse::<IpAddr>().map_or_else(|_| Host::Name(host.into()), |ip| Host::Ip(ip.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ListValue;

    fn check(listed: &[&str], host: &str, port: u16, expected: bool) {
        assert_eq!(SubsetHint::of(listed.iter().copied()).contains(host, port), expected, "{listed:?}");
    }

    #[test]
    fn addresses_are_compared_in_any_notation() {
        check(&["10.0.0.1:8000"], "10.0.0.1", 8000, true);
        check(&["10.0.0.1:8000"], "10.0.0.1", 8001, false);
        check(&["10.0.0.1"], "10.0.0.1", 8001, true);
        check(&[" 10.0.0.1:8000 "], "10.0.0.1", 8000, true);
        check(&["[fd00::1]:8000"], "fd00:0::1", 8000, true);
        check(&["[fd00::1]"], "fd00::1", 8000, true);
        check(&["fd00::1"], "fd00::1", 9, true);
        check(&["[::ffff:10.0.0.1]:8000"], "10.0.0.1", 8000, true);
        check(&["engine:8000"], "engine", 8000, true);
        check(&["engine:port"], "engine", 8000, false);
        check(&["", " "], "10.0.0.1", 8000, false);
        check(&[], "10.0.0.1", 8000, false);
        let listed = SubsetHint::of(["10.0.0.1:8000"]);
        assert!(listed.contains_address(SocketAddr::from(([10, 0, 0, 1], 8000))));
        assert!(!listed.contains_address(SocketAddr::from(([10, 0, 0, 1], 8001))));
    }

    fn hint(kind: Kind) -> Option<SubsetHint> {
        let inner = Struct::of(SUBSET, kind);
        SubsetHint::read(&Metadata { filter_metadata: [(SUBSET_NAMESPACE.to_owned(), inner)].into() })
    }

    #[test]
    fn an_empty_list_differs_from_no_list() {
        assert_eq!(SubsetHint::read(&Metadata::default()), None);
        assert_eq!(hint(Kind::List(ListValue::default())), Some(SubsetHint::default()));
        assert_eq!(hint(Kind::Text(String::new())), Some(SubsetHint::default()));
        assert_eq!(hint(Kind::Number(1.0)), None);
    }

    #[test]
    fn a_comma_separated_string_equals_a_list() {
        let values = ["10.0.0.1:8000", "10.0.0.2:8000"].map(|text| Value::text(text.to_owned())).to_vec();
        let list = hint(Kind::List(ListValue { values }));
        assert_eq!(list, hint(Kind::Text("10.0.0.1:8000, 10.0.0.2:8000".into())));
        assert!(list.is_some_and(|list| list.contains("10.0.0.2", 8000)));
    }
}
