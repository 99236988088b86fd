//! An incremental parser of a metrics page for the few series that are needed.
//!
//! By hand, because a page of vLLM has up to 2 MB and thousands of lines and 20 of them matter: `benches/extractor.rs`
//! measures what a page costs.

use memchr::{memchr, memchr3};
use pointsman_config::EngineKind;
use pointsman_core::{LoadReport, Time};

use super::labels::Sample;
use super::profile::{Name, names, stem};
use super::reading::Reading;

/// The longest line in bytes; longer ones are skipped. vLLM's longest has 1.1 kB, and a list of a thousand adapters fits.
const MAX_LINE: usize = 64 << 10;

/// Reads a page in the Prometheus text format from chunks of any length. Lines of other series are skipped without being
/// parsed, and only a line that is split between two chunks is copied.
#[derive(Clone, Debug)]
pub struct Extractor {
    /// Whether the engine was named, so that series of others do not count.
    is_named: bool,
    /// The series by engine: of the named one, or of each that a series was found of.
    readings: Vec<Reading>,
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
    /// Whether the rest of the current line is skipped because it is too long.
    skipping: bool,
}

impl Extractor {
    /// An extractor for the page of this engine, or of the engine that the metric names show. A page may have names of
    /// several: Triton's own beside those of its vLLM backend, Dynamo's beside its worker's.
    #[must_use]
    pub fn new(engine: Option<EngineKind>) -> Self {
        let readings: Vec<_> = engine.map(Reading::of).into_iter().collect();
        Self { is_named: engine.is_some(), readings, partial: Vec::new(), skipping: false }
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

    /// The engine that was given, or else detected: the one whose present load the page shows best.
    #[must_use]
    pub fn engine(&self) -> Option<EngineKind> {
        self.best().and_then(|best| self.readings.get(best)).map(Reading::engine)
    }

    /// The report of the page; `None` where it had none of the series. `taken` is the time of the request for the page.
    #[must_use]
    pub fn finish(mut self, taken: Time) -> Option<LoadReport> {
        self.end_line();
        self.finish_cut(taken)
    }

    /// The report of a page that was cut, whose last line does not count.
    #[must_use]
    pub fn finish_cut(mut self, taken: Time) -> Option<LoadReport> {
        let reading = self.readings.swap_remove(self.best()?);
        (!reading.is_empty()).then(|| reading.report(taken))
    }

    /// The index of the reading with most of the present load; of equal ones the first engine by [`EngineKind::ALL`].
    fn best(&self) -> Option<usize> {
        let rank = |reading: &Reading| (std::cmp::Reverse(reading.load_known()), reading.engine());
        let readings = self.readings.iter().enumerate();
        readings.min_by_key(|(_, reading)| rank(reading)).map(|(index, _)| index)
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
        let line = if line.first().is_some_and(is_blank) { line.trim_ascii_start() } else { line };
        if line.first().is_none_or(|first| *first == b'#') {
            return;
        }
        let known = self.readings.iter_mut().find_map(|reading| {
            let (name, rest) = find(reading.engine(), line)?;
            Some((reading, name, rest))
        });
        if let Some((reading, name, rest)) = known {
            take(reading, name, rest);
        } else if !self.is_named {
            self.first_line_of_an_engine(line);
        }
    }

    /// Begins a reading where the line is of an engine without one.
    fn first_line_of_an_engine(&mut self, line: &[u8]) {
        let found = EngineKind::ALL.into_iter().find_map(|engine| {
            let (name, rest) = find(engine, line)?;
            Some((engine, name, rest))
        });
        if let Some((engine, name, rest)) = found {
            let mut reading = Reading::of(engine);
            take(&mut reading, name, rest);
            self.readings.push(reading);
        }
    }
}

/// Whether a byte is white space within a line.
const fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn take(reading: &mut Reading, name: &Name, rest: &[u8]) {
    if let Some(sample) = Sample::split(rest) {
        reading.take(name, sample);
    }
}

/// The engine's series of a line and the rest behind its name; `None` for other lines.
fn find(engine: EngineKind, line: &[u8]) -> Option<(&'static Name, &[u8])> {
    let stem = stem(engine);
    let own = line.strip_prefix(stem.as_bytes())?;
    let own = own.strip_prefix(b":").or_else(|| own.strip_prefix(b"_"))?;
    let (found, rest) = own.split_at_checked(memchr3(b'{', b' ', b'\t', own)?)?;
    let name = names(engine).iter().find(|name| name.name.as_bytes().get(stem.len() + 1..) == Some(found))?;
    Some((name, rest))
}
