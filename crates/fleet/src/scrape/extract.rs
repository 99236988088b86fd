//! A metrics page, fed in pieces, down to the few series that are wanted.

use memchr::{memchr, memchr2};
use pointsman_config::EngineKind;
use pointsman_core::{LoadReport, Time};

use super::labels::Sample;
use super::profile::{ENGINES, Name, names, prefix};
use super::reading::Reading;

/// Longer lines are passed over. vLLM's longest has 1.1 kB; one that lists a thousand adapters stays below.
const MAX_LINE: usize = 64 << 10;

/// Reads a page in the Prometheus text format as its bytes arrive, however they are split. Lines of other series are
/// passed over without being parsed; only a line that is split between two pieces is copied.
#[derive(Clone, Debug)]
pub struct Extractor {
    engine: Option<EngineKind>,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Whether the rest of the present line is passed over, because it is too long.
    skipping: bool,
    reading: Reading,
}

impl Extractor {
    /// For the page of this engine, or of the one that the page's own names show.
    #[must_use]
    pub fn new(engine: Option<EngineKind>) -> Self {
        Self { engine, partial: Vec::new(), skipping: false, reading: Reading::default() }
    }

    /// Takes in the next piece of the page.
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

    /// The engine whose names were found, or which was given.
    #[must_use]
    pub const fn engine(&self) -> Option<EngineKind> {
        self.engine
    }

    /// The report of the page; `None` where it had none of the wanted series. `taken` is when the page was asked for.
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

/// The wanted series that a line is of, and what follows its name. `own` is the line behind the engine's prefix.
fn find<'a>(names: &'static [Name], prefix: usize, own: &'a [u8]) -> Option<(&'static Name, &'a [u8])> {
    let (found, rest) = own.split_at_checked(memchr2(b'{', b' ', own)?)?;
    let name = names.iter().find(|name| name.name.as_bytes().get(prefix..) == Some(found))?;
    Some((name, rest))
}
