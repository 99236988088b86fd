//! Reads manifests from files, and from the YAML and JSON files of folders.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pointsman_config::SourceText;

/// The longest file, in bytes.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// The largest number of files.
const MAX_FILES: usize = 10_000;
/// The largest total length, in bytes.
const MAX_TOTAL_BYTES: u64 = 256 << 20;
/// The number of attempts to read the files without a change in between.
const ATTEMPTS: u32 = 5;

/// Why manifests cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A folder or file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is too long.
    #[error("{0}: longer than {MAX_FILE_BYTES} bytes")]
    TooLong(PathBuf),
    /// A file is not UTF-8.
    #[error("{0}: not UTF-8; save it in that encoding")]
    NotText(PathBuf),
    /// There are too many files, or too many bytes in them.
    #[error("{0}: more than {MAX_FILES} files or {MAX_TOTAL_BYTES} bytes of manifests")]
    TooMany(PathBuf),
    /// The files changed during each attempt to read them.
    #[error("the manifests keep changing while they are read")]
    Changing,
}

/// The files' metadata, by which a change is noticed: modification time, length and inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot(Vec<(PathBuf, Option<SystemTime>, u64, u64)>);

/// Reads all manifests under `paths`: files, and the files `*.yaml`, `*.yml` and `*.json` of folders (not of their
/// subfolders) in order of name, except those whose name begins with a dot. If a file changes meanwhile, all are read again.
///
/// # Errors
/// When one of them cannot be read or exceeds a limit.
pub fn read(paths: &[PathBuf]) -> Result<Vec<SourceText>, ManifestError> {
    read_consistently(paths).map(|(sources, _)| sources)
}

/// Reads all manifests under `paths` that can be read, as [`read`] does, and says why the others cannot.
#[must_use]
pub fn read_all(paths: &[PathBuf]) -> (Vec<SourceText>, Vec<ManifestError>) {
    let (mut sources, mut errors) = (Vec::new(), Vec::new());
    let mut total = 0;
    for path in paths {
        let files = match files(path) {
            Ok(files) => files,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        for file in files.into_iter().filter(|file| !file.is_dir()) {
            match read_file(&file) {
                Ok(source) => {
                    total += u64::try_from(source.text.len()).unwrap_or(u64::MAX);
                    sources.push(source);
                }
                Err(error) => errors.push(error),
            }
            if total > MAX_TOTAL_BYTES || sources.len() + errors.len() > MAX_FILES {
                errors.push(ManifestError::TooMany(path.clone()));
                return (sources, errors);
            }
        }
    }
    (sources, errors)
}

/// The texts and the snapshot of their files.
pub(super) fn read_consistently(paths: &[PathBuf]) -> Result<(Vec<SourceText>, Snapshot), ManifestError> {
    let mut before = snapshot(paths)?;
    for _ in 0..ATTEMPTS {
        let sources = before.0.iter().map(|(path, ..)| read_file(path)).collect::<Result<Vec<_>, _>>();
        let after = snapshot(paths)?;
        if before == after {
            return Ok((sources?, after));
        }
        before = after;
    }
    Err(ManifestError::Changing)
}

/// The present metadata of the files.
pub(super) fn snapshot(paths: &[PathBuf]) -> Result<Snapshot, ManifestError> {
    let mut all = Vec::new();
    let mut total = 0;
    for path in paths {
        all.extend(files(path)?);
        if all.len() > MAX_FILES {
            return Err(ManifestError::TooMany(path.clone()));
        }
    }
    let mut seen = Vec::with_capacity(all.len());
    for path in all {
        let metadata = metadata(&path)?;
        if metadata.is_dir() {
            continue;
        }
        total += metadata.len();
        if total > MAX_TOTAL_BYTES {
            return Err(ManifestError::TooMany(path));
        }
        seen.push((path, metadata.modified().ok(), metadata.len(), identity(&metadata)));
    }
    Ok(Snapshot(seen))
}

/// The manifests of a folder in order of name, or the file itself.
fn files(path: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    if !metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let fail = |source| ManifestError::Read { path: path.to_owned(), source };
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(path).map_err(fail)? {
        let entry = entry.map_err(fail)?.path();
        if is_manifest(&entry) {
            inside.push(entry);
        }
        if inside.len() > MAX_FILES {
            return Err(ManifestError::TooMany(path.to_owned()));
        }
    }
    inside.sort();
    Ok(inside)
}

/// Follows symbolic links, which ConfigMap volumes use.
fn metadata(path: &Path) -> Result<Metadata, ManifestError> {
    std::fs::metadata(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> u64 {
    0
}

fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let ends = |wanted: &str| path.extension().and_then(OsStr::to_str) == Some(wanted);
    !hidden && (ends("yaml") || ends("yml") || ends("json"))
}

fn read_file(path: &Path) -> Result<SourceText, ManifestError> {
    let fail = |source| ManifestError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(fail)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(ManifestError::TooLong(path.to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| ManifestError::NotText(path.to_owned()))?;
    Ok(SourceText::new(path.to_string_lossy(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[PathBuf]) -> Vec<String> {
        let sources = read(paths).unwrap();
        sources.iter().map(|source| source.name.rsplit('/').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn a_folder_is_read_in_order_of_name_without_other_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yaml", "c.json", ".hidden.yaml", "README.md", "no-extension"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::fs::create_dir_all(folder.path().join("inner.yaml")).unwrap();
        std::fs::write(folder.path().join("inner.yaml/d.yaml"), "d").unwrap();
        assert_eq!(names(&[folder.path().to_owned()]), ["a.yaml", "b.yml", "c.json"]);
        let files = [folder.path().join("README.md"), folder.path().to_owned()];
        assert_eq!(names(&files), ["README.md", "a.yaml", "b.yml", "c.json"]);
    }

    #[test]
    fn files_that_cannot_be_read_leave_the_others_readable() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("a.yaml"), [0xff, 0xfe, b'k', 0]).unwrap();
        std::fs::write(file("c.yaml"), "kind: x").unwrap();
        std::fs::create_dir(file("d.yaml")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("nowhere", file("b.yaml")).unwrap();
        let (sources, errors) = read_all(&[folder.path().to_owned(), file("missing")]);
        assert_eq!(sources.len(), 1);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(errors[0].ends_with("a.yaml: not UTF-8; save it in that encoding"), "{errors:?}");
        assert!(errors.last().unwrap().contains("missing: No such file"), "{errors:?}");
        assert_eq!(errors.len(), if cfg!(unix) { 3 } else { 2 });
    }

    #[test]
    fn an_unreadable_path_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        assert!(
            matches!(read(std::slice::from_ref(&missing)), Err(ManifestError::Read { path, .. }) if path == missing)
        );
        std::fs::write(folder.path().join("a.yaml"), [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&[folder.path().to_owned()]), Err(ManifestError::NotText { .. })));
        let length = usize::try_from(MAX_FILE_BYTES).unwrap() + 1;
        std::fs::write(folder.path().join("a.yaml"), vec![b'#'; length]).unwrap();
        assert!(matches!(read(&[folder.path().to_owned()]), Err(ManifestError::TooLong { .. })));
    }
}
