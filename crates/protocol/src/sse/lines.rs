//! The framing of `text/event-stream`, over pieces of any size.

/// Longest event name that is kept; longer ones are no event we know.
pub(super) const MAX_NAME: usize = 48;

/// Something that the framing yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Part of a `data` line's value.
    Data(&'a [u8]),
    /// Part of an `event` line's value.
    Name(&'a [u8]),
    /// A `data` or `event` line ended.
    LineEnd,
    /// A blank line.
    EventEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Within a field's name; so far these bytes of it.
    Field,
    /// After the colon, where one space is dropped.
    Colon,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Data,
    Event,
    Ignored,
}

/// The place in the framing.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    place: Place,
    field: Field,
    name: [u8; 8],
    name_len: usize,
    after_cr: bool,
    at_start: bool,
}

/// The byte order mark that may open a stream.
const MARK: &[u8] = "\u{feff}".as_bytes();

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Field,
            field: Field::Ignored,
            name: [0; 8],
            name_len: 0,
            after_cr: false,
            at_start: true,
        }
    }

    /// Gives the next piece and the bytes after it; none when the bytes are used up.
    pub(super) fn next<'a>(&mut self, mut rest: &'a [u8]) -> Option<(Piece<'a>, &'a [u8])> {
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
            let (found, after) = match self.place {
                Place::Field => self.field_name(rest),
                Place::Colon => {
                    self.place = Place::Value;
                    (None, rest.strip_prefix(b" ").unwrap_or(rest))
                }
                Place::Value => self.value(rest),
            };
            rest = after;
            if let Some(piece) = found {
                return Some((piece, rest));
            }
        }
    }

    fn field_name<'a>(&mut self, rest: &'a [u8]) -> (Option<Piece<'a>>, &'a [u8]) {
        if self.name_len == 0
            && let Some(after) = rest.strip_prefix(b"data:")
        {
            self.begin(Field::Data);
            return (None, after);
        }
        let Some((&byte, after)) = rest.split_first() else { return (None, rest) };
        match byte {
            b'\n' | b'\r' => {
                self.after_cr = byte == b'\r';
                let blank = self.name_len == 0;
                // A field name without a colon is a field with an empty value.
                let field = self.field();
                self.begin_line();
                let piece = if blank { Some(Piece::EventEnd) } else { ends(field) };
                (piece, after)
            }
            b':' => {
                let field = self.field();
                self.begin(field);
                (None, after)
            }
            _ => {
                if let Some(slot) = self.name.get_mut(self.name_len) {
                    *slot = byte;
                }
                self.name_len = (self.name_len + 1).min(self.name.len() + 1);
                if self.at_start && self.name.get(..self.name_len) == Some(MARK) {
                    self.begin_line();
                }
                (None, after)
            }
        }
    }

    /// The field whose name was read.
    fn field(&self) -> Field {
        match self.name.get(..self.name_len) {
            Some(b"data") => Field::Data,
            Some(b"event") => Field::Event,
            _ => Field::Ignored,
        }
    }

    fn begin(&mut self, field: Field) {
        self.field = field;
        self.place = Place::Colon;
    }

    fn begin_line(&mut self) {
        self.place = Place::Field;
        self.name_len = 0;
        self.at_start = false;
    }

    fn value<'a>(&mut self, rest: &'a [u8]) -> (Option<Piece<'a>>, &'a [u8]) {
        let end = memchr::memchr2(b'\n', b'\r', rest);
        let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
        if !text.is_empty() {
            let piece = match self.field {
                Field::Data => Some(Piece::Data(text)),
                Field::Event => Some(Piece::Name(text)),
                Field::Ignored => None,
            };
            return (piece, after);
        }
        let Some((&byte, after)) = after.split_first() else { return (None, after) };
        self.after_cr = byte == b'\r';
        self.begin_line();
        (ends(self.field), after)
    }
}

fn ends(field: Field) -> Option<Piece<'static>> {
    match field {
        Field::Data | Field::Event => Some(Piece::LineEnd),
        Field::Ignored => None,
    }
}
