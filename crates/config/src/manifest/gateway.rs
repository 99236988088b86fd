//! Gateway: listeners.

use std::sync::Arc;

use super::kind::GATEWAY_GROUP;
use crate::decode::{Field, Fields, is_dns_name};
use crate::problem::Located;
use crate::source::quoted;

const CERTIFICATE_FILE: &str = "pointsman.dev/certificate-file";
const KEY_FILE: &str = "pointsman.dev/key-file";

#[derive(Debug, PartialEq)]
pub(crate) struct Gateway {
    pub(crate) listeners: Vec<Located<GatewayListener>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GatewayListener {
    pub(crate) name: Arc<str>,
    pub(crate) hostname: Option<Arc<str>>,
    pub(crate) port: u16,
    pub(crate) tls: Option<CertificateFiles>,
    /// Routes of other namespaces may attach.
    pub(crate) all_namespaces: bool,
}

/// Paths as written: relative to the folder of the manifest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: Box<str>,
    pub(crate) key: Box<str>,
}

pub(crate) fn read(spec: &mut Fields<'_>) -> Option<Gateway> {
    // Required by the API; every Gateway of a folder is meant for us, whatever its class.
    if let Some(class) = spec.required("gatewayClassName", "write gatewayClassName: pointsman") {
        class.text_where(is_dns_name, "the name of a GatewayClass");
    }
    spec.refuse("addresses", "addresses cannot be chosen here", "remove it; give the address with --listen");
    for name in ["infrastructure", "allowedListeners", "backendTLS", "tls", "defaultScope"] {
        spec.refuse(name, "is not supported", "remove it");
    }
    let listeners = spec.required("listeners", "write at least one listener")?;
    let read: Vec<_> = listeners.list(64, read_listener);
    if read.is_empty() && listeners.is_sound() {
        listeners.error("has no listener", "write at least one, with name, port and protocol");
    }
    for (i, listener) in read.iter().enumerate() {
        let value = &listener.value;
        for earlier in &read[..i] {
            let other = &earlier.value;
            if other.name == value.name {
                let message = format!(
                    "the name {} stands already on line {}",
                    quoted(&value.name),
                    earlier.spot.mark.line
                );
                spec.report.error_at(&listener.spot, message, "give each listener its own name");
            } else if other.port == value.port && other.hostname == value.hostname {
                let message = format!("has the port and host name of listener {}", quoted(&other.name));
                spec.report.error_at(&listener.spot, message, "change the port or the hostname");
            } else if other.port == value.port && other.tls.is_some() != value.tls.is_some() {
                let message = format!(
                    "shares port {} with listener {}, but not its protocol",
                    value.port,
                    quoted(&other.name)
                );
                spec.report.error_at(&listener.spot, message, "use another port");
            }
        }
    }
    Some(Gateway { listeners: read })
}

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Http,
    Https,
    Other,
}

fn read_listener(field: &Field<'_>) -> Option<Located<GatewayListener>> {
    let listener = field.fields(|fields| {
        let name = fields
            .required("name", "give the listener a name")
            .and_then(|f| f.text_where(is_dns_name, "a name of lower case letters, digits and dashes"));
        let port = fields.required("port", "write the port to listen on").and_then(|f| f.port());
        let hostname = fields.get("hostname").map(|f| read_hostname(&f));
        let protocol = fields.required("protocol", "write HTTP or HTTPS").and_then(|f| read_protocol(&f));
        let tls = read_tls(fields, protocol);
        let all_namespaces = fields.get("allowedRoutes").is_some_and(|f| read_allowed_routes(&f));
        let hostname = match hostname {
            None => None,
            Some(read) => Some(read?),
        };
        let tls = if protocol? == Protocol::Https { Some(tls?) } else { None };
        Some(GatewayListener { name: name?.into(), hostname, port: port?, tls, all_namespaces })
    });
    listener.flatten().map(|listener| field.locate(listener))
}

fn read_protocol(field: &Field<'_>) -> Option<Protocol> {
    let words = [
        ("HTTP", Protocol::Http),
        ("HTTPS", Protocol::Https),
        ("TLS", Protocol::Other),
        ("TCP", Protocol::Other),
        ("UDP", Protocol::Other),
    ];
    let protocol = field.choice(&words)?;
    if protocol == Protocol::Other {
        field.error(format!("{} listeners are not supported", field.text()?), "write HTTP or HTTPS");
        return None;
    }
    Some(protocol)
}

/// A host name, possibly with `*.` before it, in lower case.
pub(crate) fn read_hostname(field: &Field<'_>) -> Option<Arc<str>> {
    let text = field.text()?;
    let bare = text.strip_prefix("*.").unwrap_or(text);
    if bare.parse::<std::net::IpAddr>().is_ok() {
        field.error(
            format!("{} is an address, not a host name", quoted(text)),
            "write a name, or remove the field",
        );
        return None;
    }
    if is_dns_name(bare) {
        return Some(text.into());
    }
    let fix = if bare.contains(':') {
        "write the name without port"
    } else {
        "write it like chat.example.com or *.example.com"
    };
    field.error(format!("{} is not a host name", quoted(text)), fix);
    None
}

fn read_tls(listener: &mut Fields<'_>, protocol: Option<Protocol>) -> Option<CertificateFiles> {
    const FIX: &str = "write tls.options with pointsman.dev/certificate-file and pointsman.dev/key-file";
    let Some(tls) = listener.get("tls") else {
        if protocol == Some(Protocol::Https) {
            let spot = listener.spot();
            listener.report.error(
                spot.mark,
                &format!("{}.tls", spot.path),
                "an HTTPS listener needs a certificate",
                FIX,
            );
        }
        return None;
    };
    if protocol == Some(Protocol::Http) {
        tls.error("has no effect on an HTTP listener", "write protocol: HTTPS, or remove tls");
        return None;
    }
    tls.fields(|fields| {
        if let Some(mode) = fields.get("mode")
            && mode.choice(&[("Terminate", true), ("Passthrough", false)]) == Some(false)
        {
            mode.error("Passthrough is not supported: the model's name is inside", "write mode: Terminate");
        }
        fields.refuse("certificateRefs", "there is no store of Secrets here", FIX);
        fields.refuse("frontendValidation", "client certificates are not supported", "remove it");
        if fields.has("certificateRefs") && !fields.has("options") {
            // That fix names the options already.
            fields.ignore("options");
            return None;
        }
        let options = fields.required("options", FIX)?;
        let (mut certificate, mut key) = (None, None);
        for (name, value) in options.text_map() {
            match name {
                CERTIFICATE_FILE => certificate = value.text_up_to(4096),
                KEY_FILE => key = value.text_up_to(4096),
                _ => value.error(
                    format!("{} is not an option here", quoted(name)),
                    format!("known are {CERTIFICATE_FILE} and {KEY_FILE}"),
                ),
            }
        }
        if (certificate.is_none() || key.is_none()) && options.is_sound() {
            options.error(format!("wants both {CERTIFICATE_FILE} and {KEY_FILE}"), FIX);
        }
        Some(CertificateFiles { certificate: certificate?.into(), key: key?.into() })
    })?
}

/// Whether routes of all namespaces may attach.
fn read_allowed_routes(field: &Field<'_>) -> bool {
    let all = field.fields(|allowed| {
        if let Some(kinds) = allowed.get("kinds") {
            kinds.list(8, |kind| {
                kind.fields(|fields| {
                    if let Some(group) = fields.get("group") {
                        group.text_where(|text| text == GATEWAY_GROUP, GATEWAY_GROUP);
                    }
                    if let Some(kind) = fields.required("kind", "write HTTPRoute") {
                        kind.text_where(|text| text == "HTTPRoute", "HTTPRoute, the only kind of route here");
                    }
                })
            });
        }
        let from = allowed.get("namespaces").and_then(|namespaces| {
            namespaces.fields(|fields| {
                fields.refuse(
                    "selector",
                    "labels of namespaces are not known here",
                    "write from: Same or from: All",
                );
                let from = fields.get("from")?;
                let all = from.choice(&[("Same", Some(false)), ("All", Some(true)), ("Selector", None)])?;
                if all.is_none() {
                    from.error("Selector is not supported", "write Same or All");
                }
                all
            })
        });
        from.flatten().unwrap_or(false)
    });
    all.unwrap_or(false)
}
