//! Connections to engines: TCP or TLS within a timeout, with the pool's certificate authorities and API key.

mod stream;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use http::{HeaderName, HeaderValue, header};
use pointsman_config::{ApiKeyHeader, AppProtocol, EndpointAddress, EngineAccess};
use pointsman_core::FailureCause;
use rustls::ClientConfig;
use tokio::net::TcpStream;

pub use stream::EngineStream;

/// The longest API key file, in bytes.
const MAX_KEY_BYTES: u64 = 16 << 10;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The headers that hold the credentials of a client.
pub static CREDENTIALS: [HeaderName; 2] = [header::AUTHORIZATION, X_API_KEY];

/// An error in the files of an [`EngineAccess`].
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file has no usable certificate.
    #[error("{path}: no usable certificate authority: {reason}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The file's text cannot be a header value.
    #[error("{0}: not an API key: it must be one line of visible ASCII characters")]
    Key(PathBuf),
}

/// A connection that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", .cause.as_str())]
pub struct ConnectError {
    /// The cause by which the core counts it: [`FailureCause::Connect`] or [`FailureCause::Tls`].
    pub cause: FailureCause,
    /// The error in words, for logs.
    pub reason: String,
}

/// The HTTP version of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, by ALPN or with prior knowledge in plaintext.
    Http2,
}

/// An open connection to an engine.
#[derive(Debug)]
pub struct Connection {
    /// The byte stream, with `TCP_NODELAY`.
    pub io: EngineStream,
    /// The HTTP version to use.
    pub version: HttpVersion,
}

/// Opens connections for all pools with the same [`EngineAccess`].
#[derive(Debug)]
pub struct Connector {
    access: EngineAccess,
    /// Made at the first TLS connection where the system's authorities are used, which take milliseconds to read.
    tls: ArcSwapOption<ClientConfig>,
    api_key: ArcSwapOption<HeaderValue>,
    modified: Mutex<[Option<SystemTime>; 2]>,
}

impl Connector {
    /// Reads the files that `access` names.
    ///
    /// # Errors
    /// When one of them cannot be read or used.
    pub fn new(access: &EngineAccess) -> Result<Self, AccessError> {
        let connector = Self {
            access: access.clone(),
            tls: ArcSwapOption::empty(),
            api_key: ArcSwapOption::empty(),
            modified: Mutex::new(modification_times(access)),
        };
        connector.load()?;
        Ok(connector)
    }

    fn load(&self) -> Result<(), AccessError> {
        let EngineAccess { ca, insecure_skip_verify, api_key, api_key_header } = &self.access;
        let tls = if *insecure_skip_verify {
            tls::without_verification()
        } else {
            ca.as_deref().map(tls::with_certificates).transpose()?
        };
        let api_key = api_key.as_deref().map(|path| read_key(path, *api_key_header)).transpose()?;
        self.tls.store(tls);
        self.api_key.store(api_key.map(Arc::new));
        Ok(())
    }

    /// Reloads the files if they changed. Returns whether they did; after an error the old ones stay in use.
    ///
    /// # Errors
    /// When a changed file cannot be read or used; returned once for each change.
    pub fn reload_if_changed(&self) -> Result<bool, AccessError> {
        let now = modification_times(&self.access);
        let mut known = self.modified.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *known, now) == now {
            return Ok(false);
        }
        drop(known);
        self.load().map(|()| true)
    }

    pub(crate) const fn has_files(&self) -> bool {
        self.access.ca.is_some() || self.access.api_key.is_some()
    }

    /// The header with the API key of the engines, marked sensitive. It replaces the client's credentials, in whichever header
    /// of [`CREDENTIALS`].
    #[must_use]
    pub fn api_key(&self) -> Option<(HeaderName, HeaderValue)> {
        let key = self.api_key.load().as_deref().cloned()?;
        let name = match self.access.api_key_header {
            ApiKeyHeader::Authorization => header::AUTHORIZATION,
            ApiKeyHeader::XApiKey => X_API_KEY,
        };
        Some((name, key))
    }

    /// Opens a connection, including name resolution and TLS, within `timeout`.
    ///
    /// # Errors
    /// When the name cannot be resolved, the connection is refused or times out, or TLS fails.
    pub async fn connect(
        &self,
        address: &EndpointAddress,
        timeout: Duration,
    ) -> Result<Connection, ConnectError> {
        match tokio::time::timeout(timeout, self.open(address)).await {
            Ok(result) => result,
            Err(_) => Err(failed(format!("no connection within {} ms", timeout.as_millis()))),
        }
    }

    async fn open(&self, address: &EndpointAddress) -> Result<Connection, ConnectError> {
        let tcp = open_tcp(&address.host, address.port).await?;
        let plain = |tcp, version| Connection { io: EngineStream::Plain(tcp), version };
        match address.protocol {
            AppProtocol::Http => Ok(plain(tcp, HttpVersion::Http1)),
            AppProtocol::H2c => Ok(plain(tcp, HttpVersion::Http2)),
            AppProtocol::Https => {
                let config = self.tls_config().await?;
                tls::handshake(config, &address.host, tcp).await
            }
        }
    }

    async fn tls_config(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        if let Some(config) = self.tls.load_full() {
            return Ok(config);
        }
        let made = tokio::task::spawn_blocking(tls::with_system_authorities).await;
        let config = made.map_err(|error| tls::failed(&error))?.map_err(|error| tls::failed(&error))?;
        self.tls.store(Some(Arc::clone(&config)));
        Ok(config)
    }
}

fn failed(reason: String) -> ConnectError {
    ConnectError { cause: FailureCause::Connect, reason }
}

async fn open_tcp(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let mut reason = None;
    if let Ok(ip) = host.parse() {
        return tcp_to(SocketAddr::new(ip, port)).await.map_err(|error| failed(error.to_string()));
    }
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| failed(error.to_string()))?;
    for address in found {
        match tcp_to(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => reason = Some(error.to_string()),
        }
    }
    Err(failed(reason.unwrap_or_else(|| "the host name has no address".into())))
}

async fn tcp_to(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn modification_times(access: &EngineAccess) -> [Option<SystemTime>; 2] {
    [&access.ca, &access.api_key]
        .map(|path| std::fs::metadata(path.as_ref()?).and_then(|metadata| metadata.modified()).ok())
}

fn read_key(path: &std::path::Path, header: ApiKeyHeader) -> Result<HeaderValue, AccessError> {
    let text = read_bounded(path, MAX_KEY_BYTES)?;
    let invalid = || AccessError::Key(path.to_owned());
    let key = std::str::from_utf8(&text).map_err(|_| invalid())?.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid());
    }
    let value = match header {
        ApiKeyHeader::Authorization => format!("Bearer {key}"),
        ApiKeyHeader::XApiKey => key.to_owned(),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_| invalid())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a file of at most `limit` bytes.
fn read_bounded(path: &std::path::Path, limit: u64) -> Result<Vec<u8>, AccessError> {
    use std::io::Read as _;
    let fail = |source| AccessError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(fail(std::io::Error::other(format!("longer than {limit} bytes"))));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
