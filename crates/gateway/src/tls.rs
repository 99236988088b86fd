//! Listeners' certificates, selected by server name (SNI).

use std::sync::Arc;

use pointsman_config::{Listener, TlsFiles};
use pointsman_door::certificates::{Reloaded, TlsError, certified_key, server_config};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::bound_port::specificity;

/// ALPN protocols, in order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificates of the TLS listeners that share a port, reloaded when their files change.
#[derive(Debug)]
pub(crate) struct Certificates(Reloaded<Vec<ListenerCertificate>>);

#[derive(Debug)]
struct ListenerCertificate {
    hostname: Option<Arc<str>>,
    files: TlsFiles,
    key: Arc<CertifiedKey>,
}

impl Certificates {
    /// Loads the certificates of these listeners.
    pub(crate) fn load(listeners: &[&Listener]) -> Result<Arc<Self>, TlsError> {
        let named =
            listeners.iter().filter_map(|listener| Some((listener.hostname.clone(), listener.tls.as_ref()?)));
        let named: Vec<_> = named.collect();
        let paths = named.iter().flat_map(|(_, files)| [files.certificate.clone(), files.key.clone()]);
        let entries = || {
            named.iter().map(|(hostname, files)| ListenerCertificate::read(hostname.clone(), files)).collect()
        };
        Ok(Arc::new(Self(Reloaded::open(paths.collect(), entries)?)))
    }

    /// Whether these are the certificates of the listeners, in this order.
    pub(crate) fn serves(&self, listeners: &[&Listener]) -> bool {
        let wanted =
            listeners.iter().filter_map(|listener| Some((&listener.hostname, listener.tls.as_ref()?)));
        wanted.eq(self.0.load().iter().map(|entry| (&entry.hostname, &entry.files)))
    }

    /// Reloads changed files. `None` if none changed; after an error the old certificates stay in use.
    pub(crate) fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        self.0.reload_if_changed(|old| {
            old.iter().map(|entry| ListenerCertificate::read(entry.hostname.clone(), &entry.files)).collect()
        })
    }

    /// The TLS configuration of a socket with these certificates.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        server_config(Arc::clone(self) as Arc<dyn ResolvesServerCert>, None, &PROTOCOLS)
    }
}

impl ResolvesServerCert for Certificates {
    /// Selects the most specific host name; without SNI, the first listener's certificate.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let entries = self.0.load();
        let best = match hello.server_name() {
            Some(name) => {
                let rank = |entry: &&ListenerCertificate| specificity(entry.hostname.as_deref(), name);
                entries.iter().filter(|entry| rank(entry).is_some()).max_by_key(rank)
            }
            None => entries.first(),
        };
        best.map(|entry| Arc::clone(&entry.key))
    }
}

impl ListenerCertificate {
    fn read(hostname: Option<Arc<str>>, files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { hostname, files: files.clone(), key: certified_key(files)? })
    }
}
