//! TLS of the gRPC port: with a self-signed certificate, or with one from files that is reloaded when they change.

use std::path::PathBuf;
use std::sync::Arc;

use pointsman_config::TlsFiles;
use pointsman_door::certificates::{Reloaded, TlsError, certified_key, client_authorities, server_config};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The ALPN protocols: gRPC needs HTTP/2.
const PROTOCOLS: [&[u8]; 1] = [b"h2"];

/// The security of the gRPC port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// None: HTTP/2 in plaintext.
    Plain,
    /// TLS with a self-signed certificate made at start. Gateways that expect such a certificate do not verify it.
    SelfSigned,
    /// TLS with a certificate from files.
    Files(SecurityFiles),
}

impl Security {
    /// Reads the files.
    ///
    /// # Errors
    /// A port cannot be secured with them.
    pub fn check(&self) -> Result<(), SecurityError> {
        Secured::open(self.clone()).map(drop)
    }
}

/// The PEM files of a port's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityFiles {
    /// The certificate chain and its key.
    pub server: TlsFiles,
    /// The authorities that client certificates are verified against. Without, none is requested.
    pub client_ca: Option<PathBuf>,
}

/// An error in the TLS setup of the gRPC port.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The files cannot be used.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// The self-signed certificate could not be made.
    #[error("self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// The TLS configuration of a port.
#[derive(Debug)]
pub(crate) enum Secured {
    SelfSigned(Arc<ServerConfig>),
    FromFiles { files: SecurityFiles, config: Reloaded<Arc<ServerConfig>> },
}

impl Secured {
    /// The configuration; `None` for a port in plaintext.
    pub(crate) fn open(security: Security) -> Result<Option<Self>, SecurityError> {
        Ok(Some(match security {
            Security::Plain => return Ok(None),
            Security::SelfSigned => Self::SelfSigned(self_signed()?),
            Security::Files(files) => {
                let server = [&files.server.certificate, &files.server.key];
                let paths = server.into_iter().chain(&files.client_ca).cloned().collect();
                let config = Reloaded::open(paths, || from_files(&files))?;
                Self::FromFiles { files, config }
            }
        }))
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        match self {
            Self::SelfSigned(config) => Arc::clone(config),
            Self::FromFiles { config, .. } => Arc::clone(&config.load()),
        }
    }

    /// Reloads the files if one changed; `None` if none did. After an error the old certificate stays in use.
    pub(crate) fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        match self {
            Self::SelfSigned(_) => None,
            Self::FromFiles { files, config } => config.reload_if_changed(|_| from_files(files)),
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
