//! The YAML parser. Documents of a text are parsed one by one, so that a syntax error in one leaves the others readable.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::node::{Key, Node, Scalar, Value, quoted};
use crate::problem::Position;
use crate::source::Limits;

/// The reason why a document cannot be parsed.
#[derive(Clone, Debug)]
pub struct ParseError {
    /// Where parsing failed.
    pub position: Position,
    /// The mistake.
    pub message: String,
    /// The suggested fix.
    pub fix: &'static str,
}

impl ParseError {
    fn new(position: Position, message: impl Into<String>, fix: &'static str) -> Self {
        Self { position, message: message.into(), fix }
    }
}

/// Parses the documents of a text in order. Empty documents are omitted.
#[must_use]
pub fn parse(text: &str, limits: &Limits) -> Vec<Result<Node, ParseError>> {
    if text.len() > limits.max_bytes {
        let message = format!("the file has {} bytes, at most {} are allowed", text.len(), limits.max_bytes);
        return vec![Err(ParseError::new(Position::START, message, "split it into several files"))];
    }
    let text = without_byte_order_marks(text);
    let mut documents = Vec::new();
    for (first_line, part) in split(&text) {
        Builder::new(part, first_line, limits).parse_all(&mut documents);
    }
    documents
}

/// Files of Windows that were joined have a byte order mark at the first line of each.
fn without_byte_order_marks(text: &str) -> Cow<'_, str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.contains('\u{feff}') { Cow::Owned(text.replace("\n\u{feff}", "\n")) } else { Cow::Borrowed(text) }
}

/// Splits a text before each line that starts with `---`, with the number of lines before each part. Such a line always
/// starts a document: YAML forbids it inside scalars.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let is_start = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is_start && offset > start {
            parts.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, number);
        }
        offset += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

/// A list or mapping whose end is not parsed yet.
struct Open {
    position: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Mapping { entries: Vec<(Key, Node)>, names: BTreeMap<Box<str>, Position>, key: Option<Key> },
}

struct Builder<'a> {
    /// The text of the document.
    text: &'a str,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Number of lines of the text before this document.
    lines_before: u32,
    limits: &'a Limits,
    open: Vec<Open>,
    /// Anchored values with their sizes in nodes, by the parser's anchor ids.
    anchors: BTreeMap<usize, (Node, usize)>,
    /// Number of nodes so far.
    nodes: usize,
    root: Option<Node>,
    duplicates: Vec<ParseError>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, lines_before: u32, limits: &'a Limits) -> Self {
        Self {
            text,
            parser: Parser::new_from_str(text),
            lines_before,
            limits,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            root: None,
            duplicates: Vec::new(),
        }
    }

    fn parse_all(mut self, documents: &mut Vec<Result<Node, ParseError>>) {
        while let Some(event) = self.parser.next_event() {
            let result = match event {
                Ok((event, span)) => {
                    let position = self.position(&span.start);
                    self.handle(event, position, documents)
                }
                Err(error) => Err(self.syntax(&error)),
            };
            if let Err(error) = result {
                documents.extend(self.duplicates.drain(..).map(Err));
                let fix = self.placeholder(error.position).unwrap_or(error.fix);
                documents.push(Err(ParseError { fix, ..error }));
                return;
            }
        }
    }

    fn position(&self, marker: &Marker) -> Position {
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX).max(1);
        let column = u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1);
        Position { line: line.saturating_add(self.lines_before), column }
    }

    fn syntax(&self, error: &saphyr_parser::ScanError) -> ParseError {
        let fix = if error.info().contains("tab") {
            "indent with spaces"
        } else if error.info().contains("<document start>") {
            "write a line `---` between documents"
        } else {
            "check indentation, quotes and brackets here and on the line before"
        };
        ParseError::new(self.position(error.marker()), format!("invalid YAML: {}", error.info()), fix)
    }

    /// The fix where a document is not YAML because something has still to be replaced in it.
    fn placeholder(&self, position: Position) -> Option<&'static str> {
        let is_template = |line: &str| line.trim_start().starts_with("{{") || line.contains(": {{");
        if self.text.lines().any(is_template) {
            return Some("render the template first, as by `helm template`");
        }
        let line = position.line.checked_sub(self.lines_before.saturating_add(1))?;
        let line = self.text.lines().nth(usize::try_from(line).ok()?)?;
        line.contains("${").then_some("replace the variables first, as by `envsubst`")
    }

    fn handle(
        &mut self,
        event: Event<'a>,
        position: Position,
        documents: &mut Vec<Result<Node, ParseError>>,
    ) -> Result<(), ParseError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.nodes = 0;
            }
            Event::DocumentEnd => {
                let is_ambiguous = !self.duplicates.is_empty();
                documents.extend(self.duplicates.drain(..).map(Err));
                // A document with duplicate keys is ambiguous.
                if let Some(root) = self.root.take().filter(|root| !is_ambiguous && !root.is_null()) {
                    documents.push(Ok(root));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(position, 1)?;
                let plain = style == ScalarStyle::Plain && !is_string_tag(tag.as_deref(), position)?;
                let value = Value::Scalar(Scalar { text: text.into(), plain });
                self.place(Node { position, value }, anchor, 1)?;
            }
            Event::SequenceStart(anchor, tag) => {
                is_string_tag(tag.as_deref(), position)?;
                self.begin(position, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                is_string_tag(tag.as_deref(), position)?;
                let content = Content::Mapping { entries: Vec::new(), names: BTreeMap::new(), key: None };
                self.begin(position, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    let message = "the alias refers to a value that contains it";
                    return Err(ParseError::new(position, message, "replace the alias by the value"));
                };
                self.count(position, size)?;
                self.place(node, 0, size)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, position: Position, nodes: usize) -> Result<(), ParseError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= self.limits.max_nodes {
            return Ok(());
        }
        let message =
            format!("the document has more than {} values with aliases expanded", self.limits.max_nodes);
        Err(ParseError::new(position, message, "split the document or use fewer aliases"))
    }

    fn begin(&mut self, position: Position, anchor: usize, content: Content) -> Result<(), ParseError> {
        self.count(position, 1)?;
        if self.open.len() >= self.limits.max_depth {
            let message = format!("is nested deeper than {} levels", self.limits.max_depth);
            return Err(ParseError::new(position, message, "look for a missing bracket"));
        }
        self.open.push(Open { position, anchor, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), ParseError> {
        let Some(Open { position, anchor, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Mapping { entries, .. } => Value::Mapping(entries),
        };
        let node = Node { position, value };
        let size = if anchor == 0 { 0 } else { size_of(&node) };
        self.place(node, anchor, size)
    }

    fn place(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), ParseError> {
        if anchor != 0 {
            self.count(node.position, size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let is_root = self.open.len() == 1;
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Mapping { entries, names, key }) => match key.take() {
                None => *key = Some(as_key(node)?),
                Some(name) => {
                    if let Some(first) = names.insert(name.name.clone(), name.position) {
                        let (key, line) = (quoted(&name.name), first.line);
                        let message = format!("the key {key} is already defined on line {line}");
                        let begins_object = is_root && ["apiVersion", "kind"].contains(&&*name.name);
                        let fix = if begins_object {
                            "write a line `---` between objects, or remove one of the two"
                        } else {
                            "remove one of the two"
                        };
                        self.duplicates.push(ParseError::new(name.position, message, fix));
                    }
                    entries.push((name, node));
                }
            },
        }
        Ok(())
    }
}

/// Number of nodes (values and keys) in the tree.
fn size_of(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(items) => items.iter().map(size_of).sum::<usize>() + 1,
        Value::Mapping(entries) => entries.iter().map(|(_, node)| size_of(node) + 1).sum::<usize>() + 1,
    }
}

fn as_key(node: Node) -> Result<Key, ParseError> {
    match node.value {
        Value::Scalar(scalar) => Ok(Key { position: node.position, name: scalar.text }),
        Value::List(_) | Value::Mapping(_) => {
            let message = "a key cannot be a list or a mapping";
            Err(ParseError::new(node.position, message, "write a string as the key"))
        }
    }
}

/// Whether a tag makes a plain scalar a string.
fn is_string_tag(tag: Option<&Tag>, position: Position) -> Result<bool, ParseError> {
    let Some(tag) = tag else { return Ok(false) };
    match (tag.is_yaml_core_schema(), tag.suffix.as_str()) {
        (true, "str") => Ok(true),
        (true, "map" | "seq" | "int" | "float" | "bool" | "null") => Ok(false),
        _ => {
            let message = format!("the tag {} is not supported", quoted(&tag.to_string()));
            Err(ParseError::new(position, message, "remove it"))
        }
    }
}
