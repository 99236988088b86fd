use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pointsman_config::EndpointAddress;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedKey, IsCa, KeyPair,
    generate_simple_self_signed,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const BUDGET: Duration = Duration::from_secs(30);

fn address(host: &str, port: u16, protocol: AppProtocol) -> EndpointAddress {
    EndpointAddress {
        host: host.into(),
        port,
        protocol,
        engine: None,
        metrics: pointsman_config::MetricsPage::default(),
    }
}

/// A TLS server that says "hi" on each connection, with a certificate for `localhost`.
async fn tls_server(alpn: &[&[u8]]) -> (u16, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (serve(alpn, &cert, &signing_key).await, cert.pem())
}

/// The same with the certificate that `openssl req -x509` makes: it states that it is an authority, and another name.
async fn self_signed_server() -> (u16, String) {
    let mut params = CertificateParams::new(["elsewhere".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (serve(&[], &certificate, &key).await, certificate.pem())
}

async fn serve(alpn: &[&[u8]], cert: &Certificate, signing_key: &KeyPair) -> u16 {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                // The client may close the connection first.
                let _ = stream.write_all(b"hi").await;
                let _ = stream.flush().await;
            }
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_in_the_file_is_accepted_as_the_engines_own() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let ((port, own), (other_port, _)) = (self_signed_server().await, self_signed_server().await);
    std::fs::write(&ca, own).unwrap();
    let connector = Connector::new(&access(Some(&ca), None)).unwrap();
    let target = |port| address("localhost", port, AppProtocol::Https);
    assert!(connector.connect(&target(port), BUDGET).await.is_ok());
    // Another certificate of the same form is not.
    assert_eq!(connector.connect(&target(other_port), BUDGET).await.unwrap_err().cause, FailureCause::Tls);
    let unverified = EngineAccess { insecure_skip_verify: true, ..EngineAccess::default() };
    let connector = Connector::new(&unverified).unwrap();
    assert!(connector.connect(&target(other_port), BUDGET).await.is_ok());
}

fn access(ca: Option<&Path>, api_key: Option<&Path>) -> EngineAccess {
    let (ca, api_key) = (ca.map(Path::to_owned), api_key.map(Path::to_owned));
    EngineAccess { ca, api_key, ..EngineAccess::default() }
}

#[tokio::test]
async fn tls_is_verified_against_the_file_and_the_version_is_agreed() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    for (alpn, version) in [
        (&[&b"h2"[..], b"http/1.1"][..], HttpVersion::Http2),
        (&[b"http/1.1"], HttpVersion::Http1),
        (&[], HttpVersion::Http1),
    ] {
        let (port, pem) = tls_server(alpn).await;
        std::fs::write(&ca, pem).unwrap();
        let connector = Connector::new(&access(Some(&ca), None)).unwrap();
        let mut connection =
            connector.connect(&address("localhost", port, AppProtocol::Https), BUDGET).await.unwrap();
        assert_eq!(connection.version, version);
        let mut said = [0; 2];
        connection.io.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hi");
    }
}

#[tokio::test]
async fn a_server_is_refused_until_its_authority_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let ((_, other), (port, right)) = (tls_server(&[]).await, tls_server(&[]).await);
    std::fs::write(&ca, other).unwrap();
    let connector = Connector::new(&access(Some(&ca), None)).unwrap();
    let target = address("localhost", port, AppProtocol::Https);
    assert_eq!(connector.connect(&target, BUDGET).await.unwrap_err().cause, FailureCause::Tls);
    assert!(!connector.reload_if_changed().unwrap());
    replace(&ca, &right, 1);
    assert!(connector.reload_if_changed().unwrap());
    assert!(connector.connect(&target, BUDGET).await.is_ok());
    replace(&ca, "nothing", 2);
    assert!(matches!(connector.reload_if_changed(), Err(AccessError::Authorities { .. })));
    assert!(!connector.reload_if_changed().unwrap(), "an error is returned once");
    assert!(connector.connect(&target, BUDGET).await.is_ok(), "the old authorities stay in force");
}

/// Writes a file and sets its time, since two writes may fall into one tick of the file system's clock.
fn replace(path: &Path, text: &str, tick: u64) {
    std::fs::write(path, text).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(tick)).unwrap();
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let connector = Connector::new(&EngineAccess::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "no-such-host.invalid"] {
        let error = connector.connect(&address(host, port, AppProtocol::Http), BUDGET).await.unwrap_err();
        assert_eq!(error.cause, FailureCause::Connect);
    }
}

#[tokio::test]
async fn a_handshake_without_a_response_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connector = Connector::new(&EngineAccess::default()).unwrap();
    let target = address("127.0.0.1", port, AppProtocol::Https);
    assert!(connector.connect(&target, Duration::from_millis(50)).await.is_err());
}

#[tokio::test]
async fn clear_text_uses_the_protocol_of_the_manifest() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connector = Connector::new(&EngineAccess::default()).unwrap();
    for (protocol, version) in
        [(AppProtocol::Http, HttpVersion::Http1), (AppProtocol::H2c, HttpVersion::Http2)]
    {
        let connection = connector.connect(&address("127.0.0.1", port, protocol), BUDGET).await.unwrap();
        assert_eq!(connection.version, version);
    }
}

#[test]
fn a_key_becomes_a_sensitive_header_and_never_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "sk-secret-7\n").unwrap();
    let connector = Connector::new(&access(None, Some(&path))).unwrap();
    let (name, header) = connector.api_key().unwrap();
    assert_eq!((name.as_str(), header.to_str().unwrap()), ("authorization", "Bearer sk-secret-7"));
    assert!(header.is_sensitive());
    assert!(!format!("{connector:?}").contains("secret"));
    replace(&path, "sk-secret-8", 1);
    assert!(connector.reload_if_changed().unwrap());
    assert_eq!(connector.api_key().unwrap().1.to_str().unwrap(), "Bearer sk-secret-8");
    let access = EngineAccess { api_key_header: ApiKeyHeader::XApiKey, ..access(None, Some(&path)) };
    let (name, header) = Connector::new(&access).unwrap().api_key().unwrap();
    assert_eq!((name.as_str(), header.to_str().unwrap()), ("x-api-key", "sk-secret-8"));
}

#[test]
fn unusable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    assert!(matches!(Connector::new(&access(None, Some(&path))), Err(AccessError::Read { .. })));
    for key in ["", " \n", "two\nlines", "t\u{e9}st"] {
        std::fs::write(&path, key).unwrap();
        assert!(
            matches!(Connector::new(&access(None, Some(&path))), Err(AccessError::Key { .. })),
            "{key:?}"
        );
    }
    assert!(matches!(Connector::new(&access(Some(&path), None)), Err(AccessError::Authorities { .. })));
}
