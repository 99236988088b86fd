//! Signals.

use anyhow::{Context as _, Result};
use pointsman_fleet::manifests::Reloader;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled at the first SIGTERM or SIGINT. A second signal ends the process at once, with exit status
/// 130.
///
/// # Errors
/// The signal handlers cannot be installed.
pub(crate) fn on_signal() -> Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        stop.cancel();
        either(&mut terminate, &mut interrupt).await;
        std::process::exit(130);
    });
    Ok(token)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
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
