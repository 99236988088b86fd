//! Certificates of a front door's own ports: PEM files, reloaded when they change.

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

/// An error in the TLS setup of a port.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// Certificate and key do not match, or cannot be used.
    #[error("{certificate} with {key}: {source}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// The TLS library rejected its defaults or a generated certificate.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// A file cannot be read or is not PEM, or the two do not match.
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

/// Reads the authorities that client certificates are verified against.
///
/// # Errors
/// The file cannot be read or has no certificate.
pub fn client_authorities(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| unusable(path, &error))
}

/// The TLS configuration of a port: TLS 1.2 and 1.3, with these ALPN protocols in order of preference. Without `clients`,
/// client certificates are not requested.
///
/// # Errors
/// The TLS library rejects its defaults.
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

/// A value that is read from files and reloaded when they change.
#[derive(Debug)]
pub struct Reloaded<T> {
    paths: Vec<PathBuf>,
    stamps: Mutex<Vec<Stamp>>,
    value: ArcSwap<T>,
}

/// A file's modification time and length, by which a change is noticed.
type Stamp = Option<(SystemTime, u64)>;

impl<T> Reloaded<T> {
    /// Reads the value for the first time. `paths` are the files that `read` uses.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn open(paths: Vec<PathBuf>, read: impl FnOnce() -> Result<T, TlsError>) -> Result<Self, TlsError> {
        // Taken before the files are read, so that a change in between leads to a reload.
        let stamps = Mutex::new(paths.iter().map(|path| stamp(path)).collect());
        Ok(Self { stamps, value: ArcSwap::from_pointee(read()?), paths })
    }

    /// The value that was last read without an error.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// Reloads the value if a file changed; `None` if none did. After an error the old value stays until the next change.
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
        return Err(unusable(path, &"the file has no certificate"));
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
    fn errors_name_the_file() {
        let (_folder, files) = made();
        assert!(certified_key(&files).is_ok());
        assert!(client_authorities(&files.certificate).is_ok());
        let missing = TlsFiles { certificate: "/none/tls.crt".into(), ..files.clone() };
        check(certified_key(&missing).map(drop), "/none/tls.crt: ");
        let swapped = TlsFiles { certificate: files.key.clone(), key: files.certificate.clone() };
        check(certified_key(&swapped).map(drop), "tls.key: the file has no certificate");
        let (_other_folder, other) = made();
        let mixed = TlsFiles { key: other.key, ..files.clone() };
        check(certified_key(&mixed).map(drop), "tls.crt with ");
        check(client_authorities(&files.key).map(drop), "tls.key: the file has no certificate");
        check(client_authorities(Path::new("/none/ca.pem")).map(drop), "/none/ca.pem: ");
    }

    #[test]
    fn a_value_is_replaced_only_by_a_valid_one() {
        let (_folder, files) = made();
        let paths = vec![files.certificate.clone(), files.key.clone()];
        let held = Reloaded::open(paths, || certified_key(&files)).unwrap();
        let first = held.load();
        let again = || held.reload_if_changed(|_| certified_key(&files));
        assert!(again().is_none(), "nothing changed");
        std::fs::write(&files.certificate, "no certificate").unwrap();
        check(again().unwrap(), "tls.crt: the file has no certificate");
        assert!(again().is_none(), "an error is returned once");
        assert!(Arc::ptr_eq(&held.load(), &first));
        let (_other_folder, other) = made();
        std::fs::copy(&other.certificate, &files.certificate).unwrap();
        std::fs::copy(&other.key, &files.key).unwrap();
        again().unwrap().unwrap();
        assert!(!Arc::ptr_eq(&held.load(), &first));
    }
}
