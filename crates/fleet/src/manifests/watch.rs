//! Watches manifests by file system notifications, and by polling where those do not come.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use pointsman_config::SourceText;

use super::reading::{ManifestError, Snapshot, read_consistently, snapshot};

/// Changes come in bursts: they are read after this long without another one.
const QUIET: Duration = Duration::from_millis(100);
/// The longest delay of a change by later ones.
const MAX_DELAY: Duration = Duration::from_millis(500);
/// Interval of polling: symbolic links may lead outside of the watched folders, and some file systems send no
/// notifications.
const POLL_INTERVAL: Duration = Duration::from_millis(700);

/// The result of reading the files again.
#[derive(Debug)]
pub struct Reload {
    /// The manifests, or the reason why they cannot be read.
    pub sources: Result<Vec<SourceText>, ManifestError>,
    /// When the change was noticed.
    pub noticed: Instant,
}

/// A watch on the manifests under some paths.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    /// The snapshot of the last state read; `None` while the files cannot be read, so that the next readable state counts as
    /// a change.
    seen: Option<Snapshot>,
    unreadable: bool,
    notified: Arc<Notify>,
    requested: Arc<AtomicBool>,
    _watcher: Option<RecommendedWatcher>,
}

/// Has a [`Watch`] read its files again, changed or not.
#[derive(Clone, Debug)]
pub struct Reloader {
    notified: Arc<Notify>,
    requested: Arc<AtomicBool>,
}

impl Reloader {
    /// Asks for it.
    pub fn reload(&self) {
        self.requested.store(true, Ordering::Relaxed);
        self.notified.notify_one();
    }
}

impl Watch {
    /// Reads `paths` as [`super::read`] does and starts to watch them.
    ///
    /// # Errors
    /// When they cannot be read. Later errors are returned by [`Watch::next`].
    pub fn start(paths: Vec<PathBuf>) -> Result<(Vec<SourceText>, Self), ManifestError> {
        // The watch starts before the files are read, so that no change is missed.
        let mut watch = Self::new(paths);
        let (sources, seen) = read_consistently(&watch.paths)?;
        watch.seen = Some(seen);
        Ok((sources, watch))
    }

    fn new(paths: Vec<PathBuf>) -> Self {
        let notified = Arc::new(Notify::new());
        let watcher = watch(&paths, &notified)
            .inspect_err(|error| tracing::info!(%error, "files cannot be watched and are polled instead"));
        let requested = Arc::default();
        Self { paths, seen: None, unreadable: false, notified, requested, _watcher: watcher.ok() }
    }

    /// Has this watch read its files again, changed or not.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader { notified: Arc::clone(&self.notified), requested: Arc::clone(&self.requested) }
    }

    /// Waits for the next change and reads the manifests again. An unreadable state is returned once.
    pub async fn next(&mut self) -> Reload {
        loop {
            let was_notified = tokio::time::timeout(POLL_INTERVAL, self.notified.notified()).await.is_ok();
            let noticed = Instant::now();
            // Editors truncate a file before they write it, so a change is read a moment later.
            if !was_notified && self.inspect(differs).await != Some(true) {
                continue;
            }
            self.settle().await;
            if self.requested.swap(false, Ordering::Relaxed) {
                (self.seen, self.unreadable) = (None, false);
            }
            let Some(found) = self.inspect(changed).await else { continue };
            match found {
                Ok(None) => self.unreadable = false,
                Ok(Some((sources, seen))) => {
                    self.seen = Some(seen);
                    self.unreadable = false;
                    return Reload { sources: Ok(sources), noticed };
                }
                Err(_) if self.unreadable => {}
                Err(error) => {
                    self.unreadable = true;
                    self.seen = None;
                    return Reload { sources: Err(error), noticed };
                }
            }
        }
    }

    /// Runs `how` on a thread for blocking work; `None` while the runtime shuts down.
    async fn inspect<T: Send + 'static>(&self, how: fn(&[PathBuf], Option<&Snapshot>) -> T) -> Option<T> {
        let (paths, seen) = (self.paths.clone(), self.seen.clone());
        tokio::task::spawn_blocking(move || how(&paths, seen.as_ref())).await.ok()
    }

    async fn settle(&self) {
        let quiet = async { while tokio::time::timeout(QUIET, self.notified.notified()).await.is_ok() {} };
        // After a timeout the present state is read, and later changes after it.
        let _ = tokio::time::timeout(MAX_DELAY, quiet).await;
    }
}

/// Whether the files differ from the snapshot, or cannot be inspected.
fn differs(paths: &[PathBuf], seen: Option<&Snapshot>) -> bool {
    snapshot(paths).map_or(true, |found| Some(&found) != seen)
}

/// The manifests, if their files differ from the snapshot.
fn changed(
    paths: &[PathBuf],
    seen: Option<&Snapshot>,
) -> Result<Option<(Vec<SourceText>, Snapshot)>, ManifestError> {
    if Some(&snapshot(paths)?) == seen { Ok(None) } else { read_consistently(paths).map(Some) }
}

fn watch(paths: &[PathBuf], notified: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let notified = Arc::clone(notified);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Read accesses are not changes.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            notified.notify_one();
        }
    })?;
    for path in paths {
        // A file is often replaced by a rename, of which only a watch on its folder is notified.
        let folder = match path.parent() {
            Some(parent) if !path.is_dir() => {
                if parent == Path::new("") {
                    Path::new(".")
                } else {
                    parent
                }
            }
            Some(_) | None => path,
        };
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}
