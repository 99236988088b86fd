//! TLS towards the collector.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::error::OtlpError;

/// PEM files of the TLS connection, by OpenTelemetry's environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Certificate authorities to trust instead of the system's: `OTEL_EXPORTER_OTLP_CERTIFICATE`.
    pub(super) authorities: Option<PathBuf>,
    /// Certificate chain and key that identify this client: `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and
    /// `OTEL_EXPORTER_OTLP_CLIENT_KEY`.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// Reads the files. Without authorities of its own, the client trusts the system's.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or does not hold what it should.
    pub(super) fn client_config(&self) -> Result<ClientConfig, OtlpError> {
        let roots = match &self.authorities {
            Some(path) => authorities(path)?,
            None => system_authorities(),
        };
        let error = |error: rustls::Error| OtlpError::Tls(error.to_string());
        let config = builder()?.with_root_certificates(roots);
        match &self.client {
            None => Ok(config.with_no_client_auth()),
            Some((certificate, key)) => {
                let pem = read(key)?;
                let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| in_file(key, &error))?;
                config.with_client_auth_cert(certificates(certificate)?, private).map_err(error)
            }
        }
    }
}

/// A configuration for endpoints without TLS, which the connector takes all the same.
pub(super) fn unused_config() -> Result<ClientConfig, OtlpError> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, OtlpError> {
    // Explicit, because a process-wide default provider may or may not be installed.
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| OtlpError::Tls(error.to_string()))
}

fn authorities(path: &Path) -> Result<RootCertStore, OtlpError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| in_file(path, &error))?;
    }
    Ok(roots)
}

fn system_authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    roots
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OtlpError> {
    let pem = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| in_file(path, &error))?;
    if certificates.is_empty() {
        return Err(in_file(path, &"it holds no certificate"));
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, OtlpError> {
    std::fs::read(path).map_err(|error| in_file(path, &error))
}

fn in_file(path: &Path, reason: &dyn std::fmt::Display) -> OtlpError {
    OtlpError::TlsFile { path: path.to_owned(), reason: reason.to_string() }
}
