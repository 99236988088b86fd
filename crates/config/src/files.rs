//! The files that manifests name. This crate does not read them: see [`NamedFiles::problem`].

use pointsman_yaml::Problem;

use crate::settings::EngineAccess;
use crate::world::TlsFiles;

/// Files that an object names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFiles {
    /// The files.
    pub files: Files,
    /// A problem without text, where the object names them.
    pub(crate) at: Problem,
}

/// Files by their use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// A listener's certificate and key.
    Certificate(TlsFiles),
    /// Certificates and API key of engines.
    EngineAccess(EngineAccess),
}

impl NamedFiles {
    /// The problem that the files cannot be used.
    #[must_use]
    pub fn problem(&self, message: String) -> Problem {
        let fix = "make the file, or correct its path, which is relative to the manifest's folder".to_owned();
        Problem { message, fix, ..self.at.clone() }
    }
}
