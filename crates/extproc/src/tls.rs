//! The certificate of the gRPC port: made at the start, or read from files and read again when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// How the gRPC port is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all: HTTP/2 in clear text.
    Plain,
    /// With a certificate made at the start, which nobody can verify; gateways that expect one do not try.
    SelfSigned,
    /// With a certificate from files, all PEM.
    Files {
        /// The certificate chain.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
        /// Authorities of which one must have signed the client's certificate.
        client_ca: Option<PathBuf>,
    },
}

/// Why a certificate cannot be used.
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
    #[error("certificate: {0}")]
    Certificate(#[from] rustls::Error),
    /// The authorities for clients cannot be used.
    #[error("client certificate authorities: {0}")]
    ClientCa(String),
    /// A certificate could not be made.
    #[error("self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// The TLS side of a port, replaced as its files change.
#[derive(Debug)]
pub(crate) struct Secured {
    security: Security,
    config: ArcSwap<ServerConfig>,
    stamps: Mutex<Vec<Stamp>>,
}

/// What tells that a file was replaced.
type Stamp = Option<(SystemTime, u64)>;

impl Secured {
    /// `None` for a port in clear text.
    pub(crate) fn open(security: Security) -> Result<Option<Self>, TlsError> {
        let stamps = Mutex::new(stamps(&security));
        let config = match &security {
            Security::Plain => return Ok(None),
            Security::SelfSigned => self_signed()?,
            Security::Files { certificate, key, client_ca } => {
                from_files(certificate, key, client_ca.as_deref())?
            }
        };
        Ok(Some(Self { security, config: ArcSwap::from_pointee(config), stamps }))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Reads changed files again. `None` where nothing changed; with an error the old certificate stays.
    pub(crate) fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        let Security::Files { certificate, key, client_ca } = &self.security else { return None };
        let now = stamps(&self.security);
        let mut known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == now {
            return None;
        }
        *known = now;
        drop(known);
        let read = from_files(certificate, key, client_ca.as_deref());
        Some(read.map(|config| self.config.store(Arc::new(config))))
    }
}

fn self_signed() -> Result<ServerConfig, TlsError> {
    let made = rcgen::generate_simple_self_signed(["pointsman".to_owned(), "localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    server_config(vec![made.cert.der().clone()], key.into(), None)
}

fn from_files(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<ServerConfig, TlsError> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let roots = client_ca.map(certificates).transpose()?;
    server_config(chain, key, roots)
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_roots: Option<Vec<CertificateDer<'static>>>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match client_roots {
        None => builder.with_no_client_auth(),
        Some(certificates) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder
                .with_client_cert_verifier(verifier.map_err(|error| TlsError::ClientCa(error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unreadable(path, &error))?;
    if certificates.is_empty() {
        return Err(unreadable(path, &"the file holds no certificate"));
    }
    Ok(certificates)
}

fn unreadable(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: reason.to_string() }
}

fn stamps(security: &Security) -> Vec<Stamp> {
    let Security::Files { certificate, key, client_ca } = security else { return Vec::new() };
    let files = [Some(certificate), Some(key), client_ca.as_ref()];
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.into_iter().flatten().map(stamp).collect()
}
