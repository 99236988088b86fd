//! Certificates of listeners: read from files, chosen by server name, read again when the files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use pointsman_config::{Listener, TlsFiles};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why a listener's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("{certificate} with {key}: {source}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The certificates of all TLS listeners that share a port.
#[derive(Debug)]
pub(crate) struct Certificates {
    entries: ArcSwap<Vec<Entry>>,
    stamps: Mutex<Vec<Stamp>>,
}

#[derive(Debug)]
struct Entry {
    hostname: Option<Arc<str>>,
    files: TlsFiles,
    key: Arc<CertifiedKey>,
}

/// What tells that a file was replaced.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Certificates {
    /// Reads the certificates of these listeners.
    pub(crate) fn load(listeners: &[&Listener]) -> Result<Arc<Self>, TlsError> {
        let named =
            listeners.iter().filter_map(|listener| Some((listener.hostname.clone(), listener.tls.as_ref()?)));
        let named: Vec<_> = named.map(|(hostname, files)| (hostname, files.clone())).collect();
        let stamps = named.iter().map(|(_, files)| stamp(files)).collect();
        let entries = named.into_iter().map(|(hostname, files)| Entry::read(hostname, files));
        let entries = ArcSwap::from_pointee(entries.collect::<Result<_, _>>()?);
        Ok(Arc::new(Self { entries, stamps: Mutex::new(stamps) }))
    }

    /// Whether they are these listeners' certificates, in this order.
    pub(crate) fn serves(&self, listeners: &[&Listener]) -> bool {
        let wanted =
            listeners.iter().filter_map(|listener| Some((&listener.hostname, listener.tls.as_ref()?)));
        let entries = self.entries.load();
        wanted.eq(entries.iter().map(|entry| (&entry.hostname, &entry.files)))
    }

    /// Reads changed files again. `None` where nothing changed; with an error the old certificates stay.
    pub(crate) fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        let old = self.entries.load_full();
        let now: Vec<Stamp> = old.iter().map(|entry| stamp(&entry.files)).collect();
        let mut known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return None;
        }
        *known = now;
        drop(known);
        let entries = old.iter().map(|entry| Entry::read(entry.hostname.clone(), entry.files.clone()));
        Some(entries.collect::<Result<_, _>>().map(|entries| self.entries.store(Arc::new(entries))))
    }

    /// The configuration of a socket with these certificates: HTTP/2 and HTTP/1.1 by ALPN.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificates {
    /// The most specific host name wins; a client that names none gets the first listener's certificate.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let entries = self.entries.load();
        let name = hello.server_name();
        let fits = |entry: &&Entry| fit(entry.hostname.as_deref(), name);
        let best = match name {
            Some(_) => entries.iter().filter(|entry| fits(entry).is_some()).max_by_key(fits),
            None => entries.first(),
        };
        best.map(|entry| Arc::clone(&entry.key))
    }
}

fn fit(hostname: Option<&str>, name: Option<&str>) -> Option<usize> {
    let (Some(hostname), Some(name)) = (hostname, name) else { return Some(0) };
    match hostname.strip_prefix('*') {
        Some(suffix) => {
            name.to_ascii_lowercase().ends_with(&suffix.to_ascii_lowercase()).then_some(hostname.len())
        }
        None => hostname.eq_ignore_ascii_case(name).then_some(usize::MAX),
    }
}

impl Entry {
    fn read(hostname: Option<Arc<str>>, files: TlsFiles) -> Result<Self, TlsError> {
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| unreadable(&files.certificate, &error))?;
        if certificates.is_empty() {
            return Err(unreadable(&files.certificate, &"the file holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(certificates, key, &provider).map_err(|source| TlsError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        })?;
        Ok(Self { hostname, files, key: Arc::new(key) })
    }
}

fn unreadable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

fn stamp(files: &TlsFiles) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}
