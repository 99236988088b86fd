//! The framing of `text/event-stream`, over chunks of any size.

/// Longest event name in bytes that is stored. No known event has a longer one.
pub(super) const MAX_EVENT_NAME: usize = 48;

/// A part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// Bytes of a `data` line's value.
    Data(&'a [u8]),
    /// Bytes of an `event` line's value.
    EventName(&'a [u8]),
    /// The end of a `data` or `event` line.
    LineEnd,
    /// A blank line, which ends the event.
    EventEnd,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Position {
    /// Within a field's name.
    #[default]
    Field,
    /// After the colon, where one space is skipped.
    Colon,
    Value,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    #[default]
    Ignored,
}

/// The state of the framing.
#[derive(Debug, Clone, Default)]
pub(super) struct LineParser {
    position: Position,
    field: Field,
    name: [u8; 8],
    name_len: usize,
    after_cr: bool,
    /// Whether the first line is over, so that no byte order mark can follow.
    started: bool,
}

/// The byte order mark with which a stream may start.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

impl LineParser {
    /// Returns the next part and the bytes after it; `None` at the end of the chunk.
    pub(super) fn next<'a>(&mut self, mut rest: &'a [u8]) -> Option<(Part<'a>, &'a [u8])> {
        loop {
            if std::mem::take(&mut self.after_cr) {
                match rest.split_first() {
                    Some((b'\n', after)) => rest = after,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if rest.is_empty() {
                return None;
            }
            let (part, after) = match self.position {
                Position::Field => self.field_name(rest),
                Position::Colon => {
                    self.position = Position::Value;
                    (None, rest.strip_prefix(b" ").unwrap_or(rest))
                }
                Position::Value => self.value(rest),
            };
            rest = after;
            if let Some(part) = part {
                return Some((part, rest));
            }
        }
    }

    /// Whether the next byte begins a line.
    pub(super) const fn is_at_line_start(&self) -> bool {
        matches!(self.position, Position::Field) && self.name_len == 0
    }

    fn field_name<'a>(&mut self, rest: &'a [u8]) -> (Option<Part<'a>>, &'a [u8]) {
        if self.name_len == 0
            && let Some(after) = rest.strip_prefix(b"data:")
        {
            self.start_value(Field::Data);
            return (None, after);
        }
        let Some((&byte, after)) = rest.split_first() else { return (None, rest) };
        match byte {
            b'\n' | b'\r' => {
                self.after_cr = byte == b'\r';
                let blank = self.name_len == 0;
                // A line without a colon is a field with an empty value.
                let field = self.field();
                self.start_line();
                let part = if blank { Some(Part::EventEnd) } else { line_end(field) };
                (part, after)
            }
            b':' => {
                let field = self.field();
                self.start_value(field);
                (None, after)
            }
            _ => {
                if let Some(slot) = self.name.get_mut(self.name_len) {
                    *slot = byte;
                }
                self.name_len = (self.name_len + 1).min(self.name.len() + 1);
                if !self.started && self.name.get(..self.name_len) == Some(BYTE_ORDER_MARK) {
                    self.start_line();
                }
                (None, after)
            }
        }
    }

    /// The field of the name that was read.
    fn field(&self) -> Field {
        match self.name.get(..self.name_len) {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Event,
            _ => Field::Ignored,
        }
    }

    fn start_value(&mut self, field: Field) {
        self.field = field;
        self.position = Position::Colon;
    }

    fn start_line(&mut self) {
        self.position = Position::Field;
        self.name_len = 0;
        self.started = true;
    }

    fn value<'a>(&mut self, rest: &'a [u8]) -> (Option<Part<'a>>, &'a [u8]) {
        let end = memchr::memchr2(b'\n', b'\r', rest);
        let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
        if !text.is_empty() {
            let part = match self.field {
                Field::Data => Some(Part::Data(text)),
                Field::Event => Some(Part::EventName(text)),
                Field::Ignored => None,
            };
            return (part, after);
        }
        let Some((&byte, after)) = after.split_first() else { return (None, after) };
        self.after_cr = byte == b'\r';
        self.start_line();
        (line_end(self.field), after)
    }
}

fn line_end(field: Field) -> Option<Part<'static>> {
    match field {
        Field::Data | Field::Event => Some(Part::LineEnd),
        Field::Ignored => None,
    }
}
