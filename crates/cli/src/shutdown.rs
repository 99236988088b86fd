//! Signals.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use pointsman_fleet::manifests::Reloader;
use pointsman_report::count;
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

/// Time after the signal at which a process that has not ended says what it waits for.
const FIRST_LINE: Duration = Duration::from_millis(250);
/// Time between two lines.
const NEXT_LINE: Duration = Duration::from_secs(5);

/// How long a server goes on after a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grace {
    /// Time for which requests are accepted.
    pub(crate) handover: Duration,
    /// Time for which requests in flight may continue, the handover included.
    pub(crate) drain: Duration,
}

/// Awaits `work`. From the signal on, standard error says every few seconds what is waited for; `in_flight` is the number
/// of requests in flight, `None` where it is not known.
pub(crate) async fn announced<T>(
    signal: &CancellationToken,
    grace: Grace,
    in_flight: impl Fn() -> Option<u64>,
    work: impl Future<Output = T>,
) -> T {
    let announcements = async {
        signal.cancelled().await;
        let start = tokio::time::Instant::now();
        tokio::time::sleep(FIRST_LINE).await;
        loop {
            // Nobody may be reading any more.
            let _ = writeln!(std::io::stderr(), "{}", waiting_line(in_flight(), grace, start.elapsed()));
            tokio::time::sleep(NEXT_LINE).await;
        }
    };
    tokio::select! {
        done = work => done,
        never = announcements => never,
    }
}

/// What a server waits for, `elapsed` after the signal.
fn waiting_line(in_flight: Option<u64>, grace: Grace, elapsed: Duration) -> String {
    let left = |limit: Duration| limit.saturating_sub(elapsed).as_secs_f64().round();
    let requests = match in_flight {
        Some(1) => "1 request".to_owned(),
        Some(0) => "connections to close".to_owned(),
        Some(requests) => format!("{} requests", count(requests)),
        None => "requests in flight".to_owned(),
    };
    let accepting = if elapsed < grace.handover {
        format!("accepting requests for {} s more, then ", left(grace.handover))
    } else {
        String::new()
    };
    format!(
        "stopping: {accepting}waiting for {requests}, at most {} s more; Ctrl-C again ends at once",
        left(grace.drain)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_waited_for_and_how_long() {
        let grace =
            |handover| Grace { handover: Duration::from_secs(handover), drain: Duration::from_secs(30) };
        let line = |requests, handover, millis| {
            waiting_line(requests, grace(handover), Duration::from_millis(millis))
        };
        let again = "Ctrl-C again ends at once";
        assert_eq!(
            line(Some(1), 0, 250),
            format!("stopping: waiting for 1 request, at most 30 s more; {again}")
        );
        assert_eq!(
            line(Some(1_200), 5, 250),
            format!(
                "stopping: accepting requests for 5 s more, then waiting for 1,200 requests, at most 30 s more; {again}"
            )
        );
        assert!(
            line(Some(0), 5, 6_000).starts_with("stopping: waiting for connections to close, at most 24 s")
        );
        assert!(line(None, 0, 31_000).contains("requests in flight, at most 0 s more"));
    }

    #[tokio::test]
    async fn announcements_end_with_the_work() {
        let signal = CancellationToken::new();
        signal.cancel();
        let grace = Grace { handover: Duration::ZERO, drain: Duration::ZERO };
        assert_eq!(announced(&signal, grace, || Some(0), async { 7 }).await, 7);
    }
}
