//! What a conversation's client saw.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::reply::Reply;

/// Time after which a timeout that should have ended a wait was not heeded. The longest ends after some seconds; the machine
/// may be busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
pub struct Record {
    /// Responses, with the number of the request; cut ones too.
    pub replies: Vec<(usize, Reply)>,
    /// Requests whose head was sent in full.
    pub begun: usize,
    /// Requests that were sent in full.
    pub sent: HashSet<usize>,
    pub faults: Vec<String>,
}

/// A client's view of the gateway.
pub struct Setting {
    pub address: SocketAddr,
    pub record: Mutex<Record>,
    /// The load that is reserved for the conversation.
    pub reserved: Box<dyn Fn() -> u32 + Send + Sync>,
}

impl Setting {
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    pub fn fault(&self, text: impl Into<String>) {
        self.record().faults.push(text.into());
    }

    /// Waits for the end of something that a timeout should end.
    pub async fn patiently<T>(&self, what: &str, future: impl Future<Output = T>) -> Option<T> {
        let done = tokio::time::timeout(PATIENCE, future).await.ok();
        if done.is_none() {
            self.fault(format!("a timeout was not heeded: {what}"));
        }
        done
    }

    /// Waits, without reading, until nothing is reserved.
    pub async fn sulk(&self) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let released = async {
            while (self.reserved)() > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        self.patiently("a client that reads nothing holds an endpoint", released).await;
    }
}
