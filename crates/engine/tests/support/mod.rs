//! A server in the test's process and a minimal HTTP client.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::time::Duration;

use pointsman_engine::{EngineConfig, EngineServer};
use pointsman_sim::engine::EngineProfile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server that runs until it is dropped or stopped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// The `tiny` profile with the recorded server's sizes, at twenty times real time, with faults allowed.
pub(crate) fn config() -> EngineConfig {
    let mut profile = EngineProfile::named("tiny").unwrap();
    profile.block_size = 32;
    let mut config = EngineConfig::new("127.0.0.1:0".parse().unwrap(), "tiny", profile);
    config.speed = 20.0;
    config.seed = 7;
    config.faults = true;
    config.adapters = vec!["tiny-lora-a".to_owned()];
    config
}

pub(crate) async fn start(config: EngineConfig) -> Server {
    let server = EngineServer::bind(config).await.unwrap();
    let address = server.local_addr();
    let (shutdown, asked) = oneshot::channel::<()>();
    let task = tokio::spawn(server.serve(async {
        let _ = asked.await;
    }));
    Server { address, shutdown: Some(shutdown), task }
}

impl Server {
    /// Starts the shutdown.
    pub(crate) fn stop(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    /// Waits for the end of the shutdown.
    pub(crate) async fn stopped(self) {
        tokio::time::timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap();
    }

    /// Sends bytes and reads until the server closes: the bytes received and the result of the last read.
    pub(crate) async fn exchange(&self, request: &[u8]) -> (Vec<u8>, std::io::Result<()>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut response = Vec::new();
        let end = stream.read_to_end(&mut response).await.map(drop);
        (response, end)
    }

    /// A POST of JSON with further header lines, on a new connection.
    pub(crate) async fn post_with(
        &self,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (String, std::io::Result<()>) {
        let request = request_bytes("POST", path, headers, body);
        let (response, end) = self.exchange(&request).await;
        (String::from_utf8(response).unwrap(), end)
    }

    /// A POST of JSON; the whole response.
    pub(crate) async fn post(&self, path: &str, body: &str) -> String {
        self.post_with(path, "", body).await.0
    }

    /// A GET; the whole response.
    pub(crate) async fn get(&self, path: &str) -> String {
        let (response, end) = self.exchange(&request_bytes("GET", path, "", "")).await;
        end.unwrap();
        String::from_utf8(response).unwrap()
    }

    /// The value of one series on the metrics page.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let page = self.get("/metrics").await;
        let line = page.lines().find(|line| line.starts_with(series));
        line.unwrap_or_else(|| panic!("{series} is missing")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Polls a metric until the condition holds; fails after a minute.
    pub(crate) async fn until(&self, series: &str, holds: impl Fn(f64) -> bool) {
        let poll = async {
            while !holds(self.metric(series).await) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), poll).await.unwrap_or_else(|_| panic!("{series}"));
    }
}

pub(crate) fn request_bytes(method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: tiny\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The body of a response that is not chunked.
pub(crate) fn body(response: &str) -> serde_json::Value {
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {response}"))
}

/// The data of the events of a streamed response.
pub(crate) fn events(response: &str) -> Vec<String> {
    let data = response.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned).collect()
}
