//! Signals.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use pointsman_fleet::manifests::Reloader;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// SIGTERM, by which a supervisor ends a server.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
}

/// The first SIGTERM or SIGINT.
pub(crate) struct FirstSignal {
    /// Cancelled by it.
    pub(crate) token: CancellationToken,
    cause: Arc<OnceLock<Cause>>,
}

impl FirstSignal {
    /// Awaits it.
    pub(crate) async fn cause(&self) -> Cause {
        self.token.cancelled().await;
        self.cause.get().copied().unwrap_or(Cause::Interrupt)
    }
}

/// Watches for the first SIGTERM or SIGINT. A second signal ends the process at once, with exit status 130.
///
/// # Errors
/// The signal handlers cannot be installed.
pub(crate) fn on_signal() -> Result<FirstSignal> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let first = FirstSignal { token: CancellationToken::new(), cause: Arc::default() };
    let (token, cause) = (first.token.clone(), Arc::clone(&first.cause));
    tokio::spawn(async move {
        let _ = cause.set(either(&mut terminate, &mut interrupt).await);
        token.cancel();
        either(&mut terminate, &mut interrupt).await;
        std::process::exit(130);
    });
    Ok(first)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> Cause {
    tokio::select! {
        _ = terminate.recv() => Cause::Terminate,
        _ = interrupt.recv() => Cause::Interrupt,
    }
}

/// Has the manifests read again on SIGHUP, which ends a process otherwise; without manifests there is nothing to do.
///
/// # Errors
/// The signal handler cannot be installed.
pub(crate) fn on_hangup(manifests: Option<Reloader>) -> Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match &manifests {
                Some(reloader) => {
                    tracing::info!("SIGHUP: the manifests are read again");
                    reloader.reload();
                }
                None => tracing::info!("SIGHUP: there are no manifests to read again"),
            }
        }
    });
    Ok(())
}
