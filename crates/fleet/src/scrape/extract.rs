//! An incremental parser of a metrics page for the few series that are needed.
//!
//! By hand, because a page of vLLM has up to 2 MB and thousands of lines and 20 of them matter: `benches/extractor.rs`
//! measures what a page costs.

use memchr::{memchr, memchr2};
use pointsman_config::EngineKind;
use pointsman_core::{LoadReport, Time};

use super::labels::Sample;
use super::profile::{ENGINES, Name, names, prefix};
use super::reading::Reading;

/// The longest line in bytes; longer ones are skipped. vLLM's longest has 1.1 kB, and a list of a thousand adapters fits.
const MAX_LINE: usize = 64 << 10;

/// Reads a page in the Prometheus text format from chunks of any length. Lines of other series are skipped without being
/// parsed, and only a line that is split between two chunks is copied.
#[derive(Clone, Debug)]
pub struct Extractor {
    engine: Option<EngineKind>,
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Whether the rest of the current line is skipped because it is too long.
    skipping: bool,
    reading: Reading,
}

impl Extractor {
    /// An extractor for the page of this engine, or of the engine that the metric names show.
    #[must_use]
    pub fn new(engine: Option<EngineKind>) -> Self {
        Self { engine, partial: Vec::new(), skipping: false, reading: Reading::default() }
    }

    /// Reads the next chunk of the page.
    pub fn feed(&mut self, mut piece: &[u8]) {
        if self.skipping || !self.partial.is_empty() {
            let Some(end) = memchr(b'\n', piece) else {
                self.hold(piece);
                return;
            };
            let (first, rest) = piece.split_at(end);
            self.hold(first);
            self.end_line();
            piece = rest.get(1..).unwrap_or_default();
        }
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end);
            if line.len() <= MAX_LINE {
                self.line(line);
            }
            piece = rest.get(1..).unwrap_or_default();
        }
        self.hold(piece);
    }

    /// The engine that was given, or else detected.
    #[must_use]
    pub const fn engine(&self) -> Option<EngineKind> {
        self.engine
    }

    /// The report of the page; `None` where it had none of the series. `taken` is the time of the request for the page.
    #[must_use]
    pub fn finish(mut self, taken: Time) -> Option<LoadReport> {
        self.end_line();
        (!self.reading.is_empty()).then(|| self.reading.report(taken))
    }

    fn hold(&mut self, piece: &[u8]) {
        if !self.skipping && self.partial.len() + piece.len() <= MAX_LINE {
            self.partial.extend_from_slice(piece);
        } else {
            self.skipping = true;
            self.partial.clear();
        }
    }

    fn end_line(&mut self) {
        if !self.skipping {
            let line = std::mem::take(&mut self.partial);
            self.line(&line);
            self.partial = line;
        }
        self.partial.clear();
        self.skipping = false;
    }

    fn line(&mut self, line: &[u8]) {
        if line.first().is_none_or(|first| *first == b'#') {
            return;
        }
        let engine = match self.engine {
            Some(engine) => engine,
            None => {
                let shows = |engine: &EngineKind| line.starts_with(prefix(*engine).as_bytes());
                let Some(engine) = ENGINES.into_iter().find(shows) else { return };
                self.engine = Some(engine);
                engine
            }
        };
        let Some(own) = line.strip_prefix(prefix(engine).as_bytes()) else { return };
        let Some((name, rest)) = find(names(engine), prefix(engine).len(), own) else { return };
        if let Some(sample) = Sample::split(rest) {
            self.reading.take(name, sample);
        }
    }
}

/// The series of a line and the rest behind its name; `None` for other series. `own` is the line behind the engine's
/// prefix.
fn find<'a>(names: &'static [Name], prefix: usize, own: &'a [u8]) -> Option<(&'static Name, &'a [u8])> {
    let (found, rest) = own.split_at_checked(memchr2(b'{', b' ', own)?)?;
    let name = names.iter().find(|name| name.name.as_bytes().get(prefix..) == Some(found))?;
    Some((name, rest))
}
