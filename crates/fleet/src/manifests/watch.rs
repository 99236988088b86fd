//! Noticing changes: the file system tells, and once a second the files are looked at in case it did not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use pointsman_config::SourceText;

use super::reading::{ManifestError, Snapshot, read_steadily, snapshot};

/// Changes come in bursts; so long must it be quiet before they are read.
const QUIET: Duration = Duration::from_millis(100);
/// But a change is read after so long even when it is never quiet.
const PATIENCE: Duration = Duration::from_millis(500);
/// Symbolic links may lead where no watch is, and some file systems tell nothing.
const LOOK_EVERY: Duration = Duration::from_millis(700);

/// What was found when the files were read again.
#[derive(Debug)]
pub struct Reload {
    /// The manifests, or why they cannot be read.
    pub sources: Result<Vec<SourceText>, ManifestError>,
    /// When the change was noticed.
    pub noticed: Instant,
}

/// Follows the manifests under some paths.
#[derive(Debug)]
pub struct Watch {
    paths: Vec<PathBuf>,
    /// `None` while what is there cannot be read: whatever can be read then is a change.
    seen: Option<Snapshot>,
    unreadable: bool,
    told: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Reads `paths` as [`super::read`] does, and follows them from there.
    ///
    /// # Errors
    /// When they cannot be read now; later that is no error but told by [`Watch::next`].
    pub fn start(paths: Vec<PathBuf>) -> Result<(Vec<SourceText>, Self), ManifestError> {
        // Watched first, so that no change falls between.
        let mut watch = Self::new(paths);
        let (sources, seen) = read_steadily(&watch.paths)?;
        watch.seen = Some(seen);
        Ok((sources, watch))
    }

    fn new(paths: Vec<PathBuf>) -> Self {
        let told = Arc::new(Notify::new());
        let watcher = watch(&paths, &told)
            .inspect_err(|error| tracing::info!(%error, "files cannot be watched and are looked at instead"));
        Self { paths, seen: None, unreadable: false, told, _watcher: watcher.ok() }
    }

    /// Waits for the next change and reads the manifests anew. A state that cannot be read is told once.
    pub async fn next(&mut self) -> Reload {
        loop {
            let heard = tokio::time::timeout(LOOK_EVERY, self.told.notified()).await.is_ok();
            let noticed = Instant::now();
            // A file is emptied before it is written: what was just touched is left alone for a moment.
            if !heard && self.look(differs).await != Some(true) {
                continue;
            }
            self.settle().await;
            let Some(found) = self.look(changed).await else { continue };
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

    /// Looks at the files where blocking is allowed; `None` where the runtime is about to end.
    async fn look<T: Send + 'static>(&self, how: fn(&[PathBuf], Option<&Snapshot>) -> T) -> Option<T> {
        let (paths, seen) = (self.paths.clone(), self.seen.clone());
        tokio::task::spawn_blocking(move || how(&paths, seen.as_ref())).await.ok()
    }

    async fn settle(&self) {
        let quiet = async { while tokio::time::timeout(QUIET, self.told.notified()).await.is_ok() {} };
        // Never quiet: what is there now is read, and the rest later.
        let _ = tokio::time::timeout(PATIENCE, quiet).await;
    }
}

/// Whether the files are not as they were seen. What cannot be looked at differs.
fn differs(paths: &[PathBuf], seen: Option<&Snapshot>) -> bool {
    snapshot(paths).map_or(true, |found| Some(&found) != seen)
}

/// The manifests, where they are not as they were seen.
fn changed(
    paths: &[PathBuf],
    seen: Option<&Snapshot>,
) -> Result<Option<(Vec<SourceText>, Snapshot)>, ManifestError> {
    if Some(&snapshot(paths)?) == seen { Ok(None) } else { read_steadily(paths).map(Some) }
}

fn watch(paths: &[PathBuf], told: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let told = Arc::clone(told);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading the files is no change to them.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            told.notify_one();
        }
    })?;
    for path in paths {
        // A file is often replaced as a whole, which only its folder hears of.
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
