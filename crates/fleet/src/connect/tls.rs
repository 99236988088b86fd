//! TLS to engines.

use std::path::Path;
use std::sync::Arc;

use pointsman_core::FailureCause;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
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

/// Trusts the certificates in a PEM file and no others: as authorities, and as engines' own (which then may state any name, as
/// a self-signed certificate often does).
pub(super) fn with_certificates(path: &Path) -> Result<Arc<ClientConfig>, AccessError> {
    let unusable = |reason: &dyn std::fmt::Display| AccessError::Authorities {
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let pem = super::read_bounded(path, MAX_AUTHORITIES_BYTES)?;
    let (mut roots, mut pinned) = (RootCertStore::empty(), Vec::new());
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate.clone()).map_err(|error| unusable(&error))?;
        pinned.push(certificate);
    }
    if roots.is_empty() {
        return Err(unusable(&"the file has no certificate"));
    }
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let authorities = authorities.map_err(|error| unusable(&error))?;
    verified_by(Arc::new(Pinned { pinned, authorities })).map_err(|error| unusable(&error))
}

/// Trusts any certificate; `None` where rustls cannot be set up, so that nothing is trusted.
pub(super) fn without_verification() -> Option<Arc<ClientConfig>> {
    verified_by(Arc::new(Unverified(provider().signature_verification_algorithms))).ok()
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn client_config(roots: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(with_protocols(config.with_root_certificates(roots).with_no_client_auth()))
}

fn verified_by(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    Ok(with_protocols(config.with_no_client_auth()))
}

fn with_protocols(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Arc::new(config)
}

/// Accepts the certificates of a file as they are, and what they have signed by the usual rules.
#[derive(Debug)]
struct Pinned {
    pinned: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned.as_ref() == end_entity.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Accepts every certificate whose key the server has.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
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
