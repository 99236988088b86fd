//! TLS of the gRPC port.

use std::path::Path;
use std::sync::Arc;

use pointsman_config::TlsFiles;
use pointsman_extproc::{PickerOptions, Security, SecurityFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::Client;
use crate::running::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key for `localhost`.
    fn issue(&self) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().der().clone(), key)
    }

    fn write(&self, folder: &Path) {
        let (certificate, key) = self.issue();
        std::fs::write(folder.join("tls.crt"), pem("CERTIFICATE", &certificate)).unwrap();
        std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
        std::fs::write(folder.join("ca.crt"), self.0.pem()).unwrap();
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in der.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { char::from(digit) } else { '=' });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

async fn connect(
    picker: &Running,
    authority: &Authority,
    own: Option<(CertificateDer<'static>, KeyPair)>,
) -> std::io::Result<Client> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(picker.grpc).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Client::over(stream).await.map_err(std::io::Error::other)
}

fn files(folder: &Path, client_ca: bool) -> PickerOptions {
    let server = TlsFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
    let client_ca = client_ca.then(|| folder.join("ca.crt"));
    PickerOptions { security: Security::Files(SecurityFiles { server, client_ca }), ..options() }
}

async fn works(client: &mut Client) -> bool {
    client.health("readiness").await == Ok(1)
}

#[tokio::test]
async fn a_certificate_from_files_is_reloaded_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new(), Authority::new());
    old.write(folder.path());
    let picker = Running::with(world(&[1]), files(folder.path(), false)).await;
    assert!(works(&mut connect(&picker, &old, None).await.unwrap()).await);
    assert!(connect(&picker, &new, None).await.is_err());
    new.write(folder.path());
    while connect(&picker, &new, None).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_client_without_a_valid_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(), Authority::new());
    ours.write(folder.path());
    let picker = Running::with(world(&[1]), files(folder.path(), true)).await;
    assert!(works(&mut connect(&picker, &ours, Some(ours.issue())).await.unwrap()).await);
    for own in [None, Some(other.issue())] {
        let refused = match connect(&picker, &ours, own).await {
            Ok(mut client) => !works(&mut client).await,
            Err(_) => true,
        };
        assert!(refused);
    }
}

#[tokio::test]
async fn a_port_accepts_only_its_own_protocol() {
    let secured = PickerOptions { security: Security::SelfSigned, ..options() };
    let picker = Running::with(world(&[1]), secured).await;
    let refused = match Client::over(TcpStream::connect(picker.grpc).await.unwrap()).await {
        Ok(mut client) => !works(&mut client).await,
        Err(_) => true,
    };
    assert!(refused, "plaintext on a port with TLS");
    let plain = Running::start(world(&[1])).await;
    assert!(connect(&plain, &Authority::new(), None).await.is_err(), "TLS on a port in plaintext");
}

#[tokio::test]
async fn a_missing_certificate_is_an_error_that_names_it() {
    let metrics =
        pointsman_telemetry::Metrics::new(&pointsman_telemetry::BuildInfo { version: "0", commit: "" });
    let fleet =
        pointsman_fleet::Fleet::start(pointsman_fleet::FleetOptions::default(), metrics.clone()).unwrap();
    fleet.apply(world(&[1]), 0).unwrap();
    let error =
        pointsman_extproc::Picker::bind(files(Path::new("/nowhere"), false), fleet, metrics).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/tls.crt: "), "{error}");
}
