//! Parts that the overhead measurements of the gateway and of the endpoint picker share: servers in processes of their
//! own, loads, errors.

pub(crate) mod load;
pub(crate) mod server;

use tokio::signal::unix::{SignalKind, signal};

use crate::run::RunError;
use crate::workload::WorkloadError;

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub enum MeasurementError {
    /// A server's command is empty, cannot be run, or ended early.
    #[error("{server} did not start: {cause}")]
    Start {
        /// The server.
        server: &'static str,
        /// The cause, with the last line that the server printed.
        cause: String,
    },
    /// A server ended or its accounts cannot be read. Needs Linux's `/proc`.
    #[error("cannot read the CPU time or memory of {server}: {cause}")]
    Accounting {
        /// The server.
        server: &'static str,
        /// The cause.
        cause: std::io::Error,
    },
    /// The load could not be planned.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The load could not start.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No port, thread or signal handler is available.
    #[error("cannot set up the measurement: {0}")]
    Setup(#[from] std::io::Error),
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

/// Runs a measurement until it ends or a signal stops it. Dropping it drops its servers, which stops them.
pub(crate) async fn until_signal<T>(
    measurement: impl Future<Output = Result<T, MeasurementError>>,
) -> Result<T, MeasurementError> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        result = measurement => result,
        _ = interrupt.recv() => Err(MeasurementError::Interrupted),
        _ = terminate.recv() => Err(MeasurementError::Interrupted),
    }
}
