//! Scanning of `multipart/form-data` bodies (RFC 7578) as they stream: the field `model` is read, files pass unread.

use memchr::memmem;

use super::FormModel;
use super::part_head::is_model;
use crate::body_error::BodyError;
use crate::request::MAX_MODEL_BYTES;
use crate::splice::{ModelSlot, Notation};

/// Longest header of a part, in bytes.
const MAX_PART_HEAD: usize = 8 << 10;
/// Longest white space after a delimiter, in bytes.
const MAX_PADDING: usize = 64;

/// A scanner that finds the field `model` in a multipart form, whatever its chunks. It keeps at most a part's header or
/// the model's name.
#[derive(Debug, Clone)]
pub struct MultipartScanner {
    /// Line feed, two hyphens, and the boundary. The carriage return before it is checked where it is found.
    delimiter: Box<[u8]>,
    state: State,
    /// Bytes of the state's item, or the last bytes of a part that is not read.
    kept: Vec<u8>,
    /// Number of bytes before `kept` and what follows it.
    offset: usize,
    model: Option<FormModel>,
    named: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter, of which the line feed is optional.
    Start,
    /// After a delimiter.
    Delimited,
    /// In a part's header.
    Head,
    /// In the content of the field `model`.
    Model,
    /// In the content of another part.
    Other,
    /// After the last delimiter.
    Closed,
}

/// The result of looking for the end of an item.
enum Step {
    /// More bytes are needed.
    More,
    /// The state changes, and this number of bytes of the item are consumed.
    Next(State, usize),
}

/// The boundary in a content-type of `multipart/form-data`.
///
/// # Errors
/// There is none, or parsers may disagree on it.
pub fn boundary(content_type: &str) -> Result<&str, BodyError> {
    let invalid = BodyError::Form { offset: 0, problem: "no valid boundary in the content-type" };
    let mut found = None;
    for parameter in content_type.split(';').skip(1) {
        let Some((key, value)) = parameter.split_once('=') else { continue };
        let key = key.trim();
        if key.len() >= 8 && key.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("boundary")) {
            let value = value.trim();
            let value = value.strip_prefix('"').map_or(Some(value), |inside| inside.strip_suffix('"'));
            if key.len() > 8 || found.replace(value.ok_or(invalid)?).is_some() {
                return Err(invalid);
            }
        }
    }
    let is_valid = |boundary: &&str| {
        let is_safe = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        (1..=200).contains(&boundary.len()) && boundary.bytes().all(is_safe)
    };
    found.filter(is_valid).ok_or(invalid)
}

impl MultipartScanner {
    /// A scanner for forms with this boundary.
    #[must_use]
    pub fn new(boundary: &str) -> Self {
        let delimiter = ["\n--", boundary].concat().into_bytes().into_boxed_slice();
        Self { delimiter, state: State::Start, kept: Vec::new(), offset: 0, model: None, named: false }
    }

    /// The model, once its field has been read.
    #[must_use]
    pub const fn model(&self) -> Option<&FormModel> {
        self.model.as_ref()
    }

    /// Whether the field `model` has been read, which may be empty.
    #[must_use]
    pub const fn is_named(&self) -> bool {
        self.named
    }

    /// Reads the next chunk.
    ///
    /// # Errors
    /// The form is malformed, or parsers may disagree on its model: a second field `model` for one.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let consumed = if self.state == State::Other { self.skip(rest)? } else { self.keep(rest)? };
            rest = rest.get(consumed..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the form.
    ///
    /// # Errors
    /// The form is incomplete.
    pub fn finish(&self) -> Result<(), BodyError> {
        if self.state == State::Closed { Ok(()) } else { Err(self.problem("an end within a part")) }
    }

    /// Adds to the item, and returns how many bytes of `rest` belong to it.
    fn keep(&mut self, rest: &[u8]) -> Result<usize, BodyError> {
        let kept = self.kept.len();
        // A few more than the largest item takes, so that a longer one is noticed.
        let room = (MAX_PART_HEAD + MAX_PADDING + self.delimiter.len()).saturating_sub(kept);
        let taken = rest.get(..rest.len().min(room)).unwrap_or(rest);
        self.kept.extend_from_slice(taken);
        match self.step()? {
            Step::More => Ok(taken.len()),
            Step::Next(state, consumed) => {
                self.enter(state, consumed)?;
                // Every step takes at least one byte beyond what was kept before.
                Ok(consumed.saturating_sub(kept).max(1).min(rest.len()))
            }
        }
    }

    fn step(&self) -> Result<Step, BodyError> {
        let kept = &*self.kept;
        match self.state {
            State::Start => {
                let start = self.delimiter.get(1..).unwrap_or_default();
                let at = if kept.starts_with(b"\r\n") { 2 } else { 0 };
                let seen = kept.get(at..).unwrap_or_default();
                if seen.len() >= start.len() && seen.starts_with(start) {
                    return Ok(Step::Next(State::Delimited, at + start.len()));
                }
                let may_follow = b"\r\n".starts_with(kept) || start.starts_with(seen);
                if may_follow { Ok(Step::More) } else { Err(self.problem("bytes before the first part")) }
            }
            State::Delimited => self.after_delimiter(),
            State::Head => match memmem::find(kept, b"\r\n\r\n") {
                Some(end) if end <= MAX_PART_HEAD => {
                    let head = kept.get(..end).unwrap_or_default();
                    let is_model = is_model(head).map_err(|problem| self.problem(problem))?;
                    Ok(Step::Next(if is_model { State::Model } else { State::Other }, end + 4))
                }
                None if kept.len() <= MAX_PART_HEAD => Ok(Step::More),
                Some(_) | None => Err(self.problem("a part's header that is too long")),
            },
            State::Model => match memmem::find(kept, &self.delimiter) {
                Some(end) => Ok(Step::Next(State::Delimited, end + self.delimiter.len())),
                None if kept.len() <= MAX_MODEL_BYTES + self.delimiter.len() + 1 => Ok(Step::More),
                None => Err(self.model_too_long()),
            },
            State::Closed => {
                let is_blank = kept.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | b'\t'));
                if is_blank {
                    Ok(Step::Next(State::Closed, kept.len()))
                } else {
                    Err(self.problem("bytes after the last part"))
                }
            }
            State::Other => Ok(Step::More),
        }
    }

    fn after_delimiter(&self) -> Result<Step, BodyError> {
        let kept = &*self.kept;
        if kept.starts_with(b"--") {
            return Ok(Step::Next(State::Closed, 2));
        }
        let padding = kept.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        match kept.get(padding..).unwrap_or_default() {
            [b'\r', b'\n', ..] => Ok(Step::Next(State::Head, padding + 2)),
            [] | b"\r" if padding <= MAX_PADDING => Ok(Step::More),
            b"-" if padding == 0 => Ok(Step::More),
            _ => Err(self.problem("bytes after a delimiter")),
        }
    }

    /// Ends the item, of which `consumed` bytes were part.
    fn enter(&mut self, state: State, consumed: usize) -> Result<(), BodyError> {
        match (self.state, state) {
            (State::Model, _) => {
                let end = consumed - self.delimiter.len();
                let content = self.kept.get(..end).unwrap_or_default();
                if content.starts_with(self.delimiter.get(1..).unwrap_or_default()) {
                    return Err(self.problem("a delimiter right after a header"));
                }
                let Some(name) = content.strip_suffix(b"\r") else {
                    return Err(self.problem("a delimiter without a carriage return"));
                };
                if name.len() > MAX_MODEL_BYTES {
                    return Err(self.model_too_long());
                }
                let range = self.offset..self.offset + name.len();
                let invalid = BodyError::InvalidUtf8 { offset: self.offset };
                let name = std::str::from_utf8(name).map_err(|_| invalid)?.to_owned();
                self.named = true;
                let slot = ModelSlot { range, notation: Notation::FormPart };
                self.model = Some(FormModel { name, slot }).filter(|model| !model.name.is_empty());
            }
            (_, State::Model) if self.named => {
                return Err(BodyError::DuplicateField { field: "model", offset: self.offset });
            }
            _ => {}
        }
        self.kept.clear();
        self.offset += consumed;
        if state == State::Other {
            // The line feed of the header, so that a delimiter right after it is noticed.
            self.kept.push(b'\n');
            self.offset -= 1;
        }
        self.state = state;
        Ok(())
    }

    /// Passes over the content of a part up to the next delimiter, and returns how many bytes of `rest` it takes.
    fn skip(&mut self, rest: &[u8]) -> Result<usize, BodyError> {
        let length = self.delimiter.len();
        let kept = self.kept.len();
        // A delimiter that begins in an earlier chunk.
        self.kept.extend_from_slice(rest.get(..rest.len().min(length)).unwrap_or(rest));
        if let Some(at) = memmem::find(&self.kept, &self.delimiter) {
            let before = at.checked_sub(1).and_then(|at| self.kept.get(at)).copied();
            return self.delimited(at, before, at + length - kept);
        }
        if let Some(at) = memmem::find(rest, &self.delimiter) {
            let before = at.checked_sub(1).and_then(|at| rest.get(at)).copied();
            return self.delimited(kept + at, before, at + length);
        }
        // One byte more than a delimiter, for the carriage return before it.
        let total = kept + rest.len();
        if rest.len() > length {
            self.kept.clear();
            self.kept.extend_from_slice(rest.get(rest.len() - length - 1..).unwrap_or_default());
        } else {
            let surplus = self.kept.len().saturating_sub(length + 1);
            self.kept.drain(..surplus);
        }
        self.offset += total - self.kept.len();
        Ok(rest.len())
    }

    /// Ends the content of a part with a delimiter `at` bytes after `self.offset`.
    fn delimited(&mut self, at: usize, before: Option<u8>, taken: usize) -> Result<usize, BodyError> {
        let end = self.offset + at + self.delimiter.len();
        if before != Some(b'\r') {
            return Err(self.problem("a delimiter without a carriage return"));
        }
        self.kept.clear();
        self.offset = end;
        self.state = State::Delimited;
        Ok(taken)
    }

    fn problem(&self, problem: &'static str) -> BodyError {
        BodyError::Form { offset: self.offset, problem }
    }

    fn model_too_long(&self) -> BodyError {
        BodyError::FieldTooLong { field: "model", offset: self.offset, limit: MAX_MODEL_BYTES }
    }
}
