//! Gateway: listeners.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use pointsman_yaml::{Field, Fields, Located, quoted};

use crate::kind::GATEWAY_GROUP;
use crate::names::is_dns_name;
use crate::world::TlsFiles;

const CERTIFICATE_FILE: &str = "pointsman.dev/certificate-file";
const KEY_FILE: &str = "pointsman.dev/key-file";

/// A listener of a Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayListener {
    pub(crate) name: Arc<str>,
    pub(crate) hostname: Option<Arc<str>>,
    /// The Gateway's address: loopback unless it names one.
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Paths as written, relative to the folder of the manifest.
    pub(crate) tls: Option<TlsFiles>,
    /// Whether routes of other namespaces may attach.
    pub(crate) all_namespaces: bool,
}

/// Reads the listeners of a Gateway.
pub(crate) fn read(spec: &mut Fields<'_>) -> Option<Vec<Located<GatewayListener>>> {
    // The API requires a class. Every Gateway of the set is used, whatever its class.
    if let Some(class) = spec.required("gatewayClassName", "write gatewayClassName: pointsman") {
        class.text_where(is_dns_name, "the name of a GatewayClass");
    }
    let address = spec.get("addresses").and_then(|f| read_addresses(&f));
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    spec.pass_over("infrastructure", "has no effect outside a cluster", crate::foreign::LEAVE_FIELD);
    for name in ["allowedListeners", "backendTLS", "tls", "defaultScope"] {
        spec.refuse(name, "is not supported", "remove it");
    }
    let listeners = spec.required("listeners", "write at least one listener")?;
    let fix = "write at least one listener, with name, port and protocol";
    let read = listeners.non_empty_list(64, fix, |field| read_listener(field, address));
    for (i, listener) in read.iter().enumerate() {
        let value = &listener.value;
        for earlier in &read[..i] {
            let other = &earlier.value;
            if other.name == value.name {
                let (name, line) = (quoted(&value.name), earlier.location.position.line);
                let message = format!("the name {name} is already used on line {line}");
                spec.error_at(&listener.location, message, "give each listener its own name");
            } else if other.port == value.port && other.hostname == value.hostname {
                let message = format!("has the same port and host name as listener {}", quoted(&other.name));
                spec.error_at(&listener.location, message, "change the port or the hostname");
            } else if other.port == value.port && other.tls.is_some() != value.tls.is_some() {
                let (port, name) = (value.port, quoted(&other.name));
                let message = format!("has the same port {port} as listener {name}, but another protocol");
                spec.error_at(&listener.location, message, "use another port");
            }
        }
    }
    Some(read)
}

const PROTOCOL_FIX: &str = "write HTTP or HTTPS";

/// Protocols of the API, and whether they use TLS; `None` for those not supported.
const PROTOCOLS: [(&str, Option<bool>); 5] =
    [("HTTP", Some(false)), ("HTTPS", Some(true)), ("TLS", None), ("TCP", None), ("UDP", None)];

/// Reads the address to bind. One that only a cloud's load balancer can have is passed over.
fn read_addresses(field: &Field<'_>) -> Option<IpAddr> {
    let addresses = field.list(16, |item| {
        item.fields(|fields| {
            let kind = fields.get("type").map_or(Some("IPAddress"), |f| f.text_up_to(253))?;
            let value = fields.get("value");
            if kind != "IPAddress" {
                let message = "only an IPAddress can be bound, so this address is passed over";
                fields.warn(message, "write type: IPAddress with the address to bind");
                return None;
            }
            let value = value?;
            let address = value.text()?.parse().ok();
            if address.is_none() {
                value
                    .error("is not an IP address", "write it like 0.0.0.0, for all interfaces, or 127.0.0.1");
            }
            address
        })?
    });
    if addresses.len() > 1 {
        field.error("has more than one address to bind", "keep one; 0.0.0.0 or :: is all of them");
    }
    addresses.first().copied()
}

fn read_listener(field: &Field<'_>, address: IpAddr) -> Option<Located<GatewayListener>> {
    let listener = field.fields(|fields| {
        let name = fields.required_value("name", "give the listener a name", |f| {
            f.text_where(is_dns_name, "a name of lower case letters, digits and dashes")
        });
        let port = fields.required_value("port", "write the port to listen on", Field::port);
        let hostname = fields.optional("hostname", read_hostname);
        let https =
            fields.required_value("protocol", PROTOCOL_FIX, |f| f.supported_choice(&PROTOCOLS, PROTOCOL_FIX));
        let tls = read_tls(fields, https);
        let all_namespaces = fields.get("allowedRoutes").is_some_and(|f| read_allowed_routes(&f));
        let tls = if https? { Some(tls?) } else { None };
        let name = name?.into();
        Some(GatewayListener { name, hostname: hostname?, address, port: port?, tls, all_namespaces })
    });
    listener.flatten().map(|listener| field.locate(listener))
}

/// Reads a host name in lower case, possibly with `*.` before it.
pub(crate) fn read_hostname(field: &Field<'_>) -> Option<Arc<str>> {
    let text = field.text()?;
    let bare = text.strip_prefix("*.").unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() {
        field.error(
            format!("{} is an IP address, not a host name", quoted(text)),
            "write a host name, or remove the field",
        );
        return None;
    }
    if is_dns_name(bare) {
        return Some(text.into());
    }
    let fix = if bare.contains(':') {
        "remove the port"
    } else {
        "write it like chat.example.com or *.example.com"
    };
    field.error(format!("{} is not a host name", quoted(text)), fix);
    None
}

fn read_tls(listener: &mut Fields<'_>, https: Option<bool>) -> Option<TlsFiles> {
    const FIX: &str = "write tls.options with pointsman.dev/certificate-file and pointsman.dev/key-file";
    let Some(tls) = listener.get("tls") else {
        if https == Some(true) {
            listener.error_in("tls", "an HTTPS listener needs a certificate", FIX);
        }
        return None;
    };
    if https == Some(false) {
        tls.error("has no effect on an HTTP listener", "write protocol: HTTPS, or remove tls");
        return None;
    }
    tls.fields(|fields| {
        let modes = [("Terminate", Some(())), ("Passthrough", None)];
        let fix = "write mode: Terminate, because routing reads the request body";
        fields.optional("mode", |f| f.supported_choice(&modes, fix));
        fields.refuse("certificateRefs", "Secrets are not supported", FIX);
        fields.refuse("frontendValidation", "client certificates are not supported", "remove it");
        if fields.has("certificateRefs") && !fields.has("options") {
            // The fix of certificateRefs already names the options.
            fields.ignore("options");
            return None;
        }
        let options = fields.required("options", FIX)?;
        let (mut certificate, mut key) = (None, None);
        for (name, value) in options.string_entries() {
            match name {
                CERTIFICATE_FILE => certificate = value.text_up_to(4096),
                KEY_FILE => key = value.text_up_to(4096),
                _ => value.error(
                    format!("{} is not a known option", quoted(name)),
                    format!("write {CERTIFICATE_FILE} and {KEY_FILE}"),
                ),
            }
        }
        if (certificate.is_none() || key.is_none()) && options.is_sound() {
            options.error(format!("needs both {CERTIFICATE_FILE} and {KEY_FILE}"), FIX);
        }
        Some(TlsFiles { certificate: certificate?.into(), key: key?.into() })
    })?
}

/// Whether routes of all namespaces may attach.
fn read_allowed_routes(field: &Field<'_>) -> bool {
    let all = field.fields(|allowed| {
        if let Some(kinds) = allowed.get("kinds") {
            kinds.list(8, |kind| {
                kind.fields(|fields| {
                    fields.optional("group", |f| f.text_where(|text| text == GATEWAY_GROUP, GATEWAY_GROUP));
                    if let Some(kind) = fields.required("kind", "write HTTPRoute") {
                        kind.text_where(
                            |text| text == "HTTPRoute",
                            "HTTPRoute, the only supported kind of route",
                        );
                    }
                })
            });
        }
        let from = allowed.get("namespaces").and_then(|namespaces| {
            namespaces.fields(|fields| {
                fields.refuse("selector", "is not supported", "write from: Same or from: All");
                let values = [("Same", Some(false)), ("All", Some(true)), ("Selector", None)];
                fields.get("from")?.supported_choice(&values, "write Same or All")
            })
        });
        from.flatten().unwrap_or(false)
    });
    all.unwrap_or(false)
}
