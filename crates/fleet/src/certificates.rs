//! Certificates of a front door's own ports: PEM files, read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use pointsman_config::TlsFiles;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

/// Why a port cannot be secured.
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
    /// The TLS library refused its own defaults, or a certificate that was made for it.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// A file cannot be read or holds no PEM, or the two do not belong together.
pub fn certified_key(files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unusable(&files.key, &error))?;
    let provider = rustls::crypto::ring::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(|source| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })?;
    Ok(Arc::new(key))
}

/// Reads the authorities of which one must have signed a client's certificate.
///
/// # Errors
/// The file cannot be read or holds no authorities.
pub fn client_authorities(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| unusable(path, &error))
}

/// The TLS side of a port: TLS 1.2 and 1.3, with these protocols by ALPN, best first. Without `clients` anybody may
/// connect.
///
/// # Errors
/// The TLS library refuses its own defaults.
pub fn server_config(
    keys: Arc<dyn ResolvesServerCert>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients),
    };
    let mut config = builder.with_cert_resolver(keys);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// What was read from files, replaced as they change.
#[derive(Debug)]
pub struct Reloaded<T> {
    paths: Vec<PathBuf>,
    stamps: Mutex<Vec<Stamp>>,
    value: ArcSwap<T>,
}

/// What tells that a file was replaced.
type Stamp = Option<(SystemTime, u64)>;

impl<T> Reloaded<T> {
    /// Reads for the first time. `paths` are the files that `read` looks at.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn open(paths: Vec<PathBuf>, read: impl FnOnce() -> Result<T, TlsError>) -> Result<Self, TlsError> {
        // Looked at before they are read: what changes in between is read again.
        let stamps = Mutex::new(paths.iter().map(|path| stamp(path)).collect());
        Ok(Self { stamps, value: ArcSwap::from_pointee(read()?), paths })
    }

    /// What was last read without an error.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Reads again where a file changed. `None` where none did; after an error the old value stays until a file changes
    /// once more.
    pub fn reload_if_changed(
        &self,
        read: impl FnOnce(&T) -> Result<T, TlsError>,
    ) -> Option<Result<(), TlsError>> {
        let now: Vec<Stamp> = self.paths.iter().map(|path| stamp(path)).collect();
        let mut known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return None;
        }
        *known = now;
        drop(known);
        Some(read(&self.value.load()).map(|value| self.value.store(Arc::new(value))))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unusable(path, &error))?;
    if certificates.is_empty() {
        return Err(unusable(path, &"the file holds no certificate"));
    }
    Ok(certificates)
}

fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a certificate of its own authority, and the files' names.
    fn made() -> (tempfile::TempDir, TlsFiles) {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let at = |name: &str| folder.path().join(name);
        let files = TlsFiles { certificate: at("tls.crt"), key: at("tls.key") };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        (folder, files)
    }

    fn check(result: Result<(), TlsError>, expected: &str) {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let (_folder, files) = made();
        assert!(certified_key(&files).is_ok());
        assert!(client_authorities(&files.certificate).is_ok());
        let missing = TlsFiles { certificate: "/none/tls.crt".into(), ..files.clone() };
        check(certified_key(&missing).map(drop), "/none/tls.crt: ");
        let swapped = TlsFiles { certificate: files.key.clone(), key: files.certificate.clone() };
        check(certified_key(&swapped).map(drop), "tls.key: the file holds no certificate");
        let (_other_folder, other) = made();
        let mixed = TlsFiles { key: other.key, ..files.clone() };
        check(certified_key(&mixed).map(drop), "tls.crt with ");
        check(client_authorities(&files.key).map(drop), "tls.key: the file holds no certificate");
        check(client_authorities(Path::new("/none/ca.pem")).map(drop), "/none/ca.pem: ");
    }

    #[test]
    fn a_value_is_replaced_only_by_one_that_can_be_read() {
        let (_folder, files) = made();
        let paths = vec![files.certificate.clone(), files.key.clone()];
        let held = Reloaded::open(paths, || certified_key(&files)).unwrap();
        let first = held.load();
        let again = || held.reload_if_changed(|_| certified_key(&files));
        assert!(again().is_none(), "nothing changed");
        std::fs::write(&files.certificate, "no certificate").unwrap();
        check(again().unwrap(), "tls.crt: the file holds no certificate");
        assert!(again().is_none(), "it was told once");
        assert!(Arc::ptr_eq(&held.load(), &first));
        let (_other_folder, other) = made();
        std::fs::copy(&other.certificate, &files.certificate).unwrap();
        std::fs::copy(&other.key, &files.key).unwrap();
        again().unwrap().unwrap();
        assert!(!Arc::ptr_eq(&held.load(), &first));
    }
}
