//! TLS to engines.

use std::path::Path;
use std::sync::Arc;

use pointsman_core::FailureCause;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{AccessError, ConnectError, Connection, EngineStream, HttpVersion};

/// The longest file of certificate authorities, in bytes.
const MAX_AUTHORITIES_BYTES: u64 = 4 << 20;
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

pub(super) fn failed(reason: &dyn std::fmt::Display) -> ConnectError {
    ConnectError { cause: FailureCause::Tls, reason: reason.to_string() }
}

/// Trusts the authorities in a PEM file and no others.
pub(super) fn with_authorities(path: &Path) -> Result<Arc<ClientConfig>, AccessError> {
    let unusable = |reason: &dyn std::fmt::Display| AccessError::Authorities {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let pem = super::read_bounded(path, MAX_AUTHORITIES_BYTES)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"the file has no certificate"));
    }
    client_config(roots).map_err(|error| unusable(&error))
}

/// Trusts the authorities that the system trusts.
pub(super) fn with_system_authorities() -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "some of the system's certificate authorities cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    client_config(roots)
}

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(Arc::new(config))
}

pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    tcp: TcpStream,
) -> Result<Connection, ConnectError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| failed(&error))?;
    let io = EngineStream::Tls(Box::new(stream));
    let version = if io.negotiated_http2() { HttpVersion::Http2 } else { HttpVersion::Http1 };
    Ok(Connection { io, version })
}
