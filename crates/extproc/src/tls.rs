//! The certificate of the gRPC port: made at the start, or read from files and read again when they change.

use std::path::PathBuf;
use std::sync::Arc;

use pointsman_config::TlsFiles;
use pointsman_fleet::certificates::{Reloaded, TlsError, certified_key, client_authorities, server_config};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// gRPC runs on HTTP/2 alone.
const PROTOCOLS: [&[u8]; 1] = [b"h2"];

/// How the gRPC port is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all: HTTP/2 in clear text.
    Plain,
    /// With a certificate made at the start, which nobody can verify; gateways that expect one do not try.
    SelfSigned,
    /// With a certificate from files.
    Files(SecurityFiles),
}

/// What a port is secured with, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityFiles {
    /// The certificate chain and its key.
    pub server: TlsFiles,
    /// Authorities of which one must have signed the client's certificate.
    pub client_ca: Option<PathBuf>,
}

/// Why the gRPC port cannot be secured.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The files cannot be used.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// A certificate could not be made.
    #[error("self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// The TLS side of a port, replaced as its files change.
#[derive(Debug)]
pub(crate) enum Secured {
    Made(Arc<ServerConfig>),
    Read { files: SecurityFiles, config: Reloaded<Arc<ServerConfig>> },
}

impl Secured {
    /// `None` for a port in clear text.
    pub(crate) fn open(security: Security) -> Result<Option<Self>, SecurityError> {
        Ok(Some(match security {
            Security::Plain => return Ok(None),
            Security::SelfSigned => Self::Made(self_signed()?),
            Security::Files(files) => {
                let server = [&files.server.certificate, &files.server.key];
                let paths = server.into_iter().chain(&files.client_ca).cloned().collect();
                let config = Reloaded::open(paths, || from_files(&files))?;
                Self::Read { files, config }
            }
        }))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        match self {
            Self::Made(config) => Arc::clone(config),
            Self::Read { config, .. } => Arc::clone(&config.load()),
        }
    }

    /// Reads changed files again. `None` where nothing changed; with an error the old certificate stays.
    pub(crate) fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        match self {
            Self::Made(_) => None,
            Self::Read { files, config } => config.reload_if_changed(|_| from_files(files)),
        }
    }
}

fn self_signed() -> Result<Arc<ServerConfig>, SecurityError> {
    let made = rcgen::generate_simple_self_signed(["pointsman".to_owned(), "localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = rustls::crypto::ring::default_provider();
    let key = CertifiedKey::from_der(vec![made.cert.der().clone()], key.into(), &provider);
    let key = SingleCertAndKey::from(key.map_err(TlsError::from)?);
    Ok(server_config(Arc::new(key), None, &PROTOCOLS)?)
}

fn from_files(files: &SecurityFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let key = SingleCertAndKey::from(certified_key(&files.server)?);
    let clients = files.client_ca.as_deref().map(client_authorities).transpose()?;
    server_config(Arc::new(key), clients, &PROTOCOLS)
}
