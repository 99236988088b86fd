//! One text to its documents. Each is parsed on its own, so that a syntax error in one leaves the others readable.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::Options;
use super::tree::{Key, Node, Scalar, Value, quoted};
use crate::problem::Mark;

/// A document of a text: its tree, or what is wrong with it and where.
pub(crate) type Document = Result<Node, Defect>;

/// What keeps a document from being read.
#[derive(Clone, Debug)]
pub(crate) struct Defect {
    pub(crate) mark: Mark,
    pub(crate) message: String,
    pub(crate) fix: &'static str,
}

/// The documents of a text, empty ones left out, and defects in their places.
pub(crate) fn parse(text: &str, options: &Options) -> Vec<Document> {
    if text.len() > options.max_file_bytes {
        return vec![Err(Defect {
            mark: Mark { line: 1, column: 1 },
            message: format!("the file has {} bytes, the most is {}", text.len(), options.max_file_bytes),
            fix: "split it into several files",
        })];
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    for (first_line, part) in split(text) {
        Builder::new(part, first_line, options).read_all(&mut documents);
    }
    documents
}

/// The parts between lines that start with `---`, each with the number of lines before it. Such a line always ends
/// a document: YAML forbids it inside scalars.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let marks = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marks && offset > start {
            parts.push((start_line, &text[start..offset]));
            (start, start_line) = (offset, number);
        }
        offset += line.len();
    }
    parts.push((start_line, &text[start..]));
    parts
}

/// A collection that is being filled.
enum Open {
    List {
        mark: Mark,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        mark: Mark,
        anchor: usize,
        entries: Vec<(Key, Node)>,
        names: BTreeMap<Box<str>, Mark>,
        key: Option<Key>,
    },
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    lines_before: u32,
    options: &'a Options,
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
    duplicates: Vec<Defect>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, lines_before: u32, options: &'a Options) -> Self {
        Self {
            parser: Parser::new_from_str(text),
            lines_before,
            options,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            nodes: 0,
            root: None,
            duplicates: Vec::new(),
        }
    }

    fn read_all(mut self, documents: &mut Vec<Document>) {
        while let Some(event) = self.parser.next_event() {
            let step = match event {
                Ok((event, span)) => {
                    let mark = self.mark(&span.start);
                    self.step(event, mark, documents)
                }
                Err(error) => Err(self.syntax(&error)),
            };
            if let Err(defect) = step {
                documents.extend(self.duplicates.drain(..).map(Err));
                documents.push(Err(defect));
                return;
            }
        }
    }

    fn mark(&self, marker: &Marker) -> Mark {
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX).max(1);
        let column = u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1);
        Mark { line: line.saturating_add(self.lines_before), column }
    }

    fn syntax(&self, error: &saphyr_parser::ScanError) -> Defect {
        let fix = if error.info().contains("tab") {
            "indent with spaces"
        } else {
            "mend the YAML here or on the line before: indentation, quotes, brackets"
        };
        Defect { mark: self.mark(error.marker()), message: format!("not YAML: {}", error.info()), fix }
    }

    fn step(&mut self, event: Event<'a>, mark: Mark, documents: &mut Vec<Document>) -> Result<(), Defect> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.nodes = 0;
            }
            Event::DocumentEnd => {
                let broken = !self.duplicates.is_empty();
                documents.extend(self.duplicates.drain(..).map(Err));
                // A document whose keys are ambiguous is not read further.
                if let Some(root) = self.root.take().filter(|root| !broken && !root.is_null()) {
                    documents.push(Ok(root));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(mark, 1)?;
                let plain = style == ScalarStyle::Plain && !is_text_tag(tag.as_deref(), mark)?;
                self.place(
                    Node { mark, value: Value::Scalar(Scalar { text: text.into(), plain }) },
                    anchor,
                    1,
                )?;
            }
            Event::SequenceStart(anchor, tag) => {
                is_text_tag(tag.as_deref(), mark)?;
                self.descend(mark, Open::List { mark, anchor, items: Vec::new() })?;
            }
            Event::MappingStart(anchor, tag) => {
                is_text_tag(tag.as_deref(), mark)?;
                let names = BTreeMap::new();
                self.descend(mark, Open::Map { mark, anchor, entries: Vec::new(), names, key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(Defect {
                        mark,
                        message: "the alias stands inside the value that it names".to_owned(),
                        fix: "write the value out",
                    });
                };
                self.count(mark, size)?;
                self.place(node, 0, size)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, mark: Mark, nodes: usize) -> Result<(), Defect> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= self.options.max_nodes {
            return Ok(());
        }
        let message =
            format!("the document has more than {} values, aliases written out", self.options.max_nodes);
        Err(Defect { mark, message, fix: "split the document, and use fewer aliases" })
    }

    fn descend(&mut self, mark: Mark, open: Open) -> Result<(), Defect> {
        self.count(mark, 1)?;
        if self.open.len() >= self.options.max_depth {
            let message = format!("nested deeper than {} levels", self.options.max_depth);
            return Err(Defect {
                mark,
                message,
                fix: "no manifest needs that depth; look for a missing bracket",
            });
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Defect> {
        let (node, anchor) = match self.open.pop() {
            Some(Open::List { mark, anchor, items }) => (Node { mark, value: Value::List(items) }, anchor),
            Some(Open::Map { mark, anchor, entries, .. }) => {
                (Node { mark, value: Value::Map(entries) }, anchor)
            }
            None => return Ok(()),
        };
        let size = if anchor == 0 { 0 } else { size_of(&node) };
        self.place(node, anchor, size)
    }

    fn place(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Defect> {
        if anchor != 0 {
            self.count(node.mark, size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, names, key, .. }) => match key.take() {
                None => *key = Some(as_key(node)?),
                Some(name) => {
                    if let Some(first) = names.insert(name.name.clone(), name.mark) {
                        self.duplicates.push(Defect {
                            mark: name.mark,
                            message: format!(
                                "the key {} stands already on line {}",
                                quoted(&name.name),
                                first.line
                            ),
                            fix: "keep one of them",
                        });
                    }
                    entries.push((name, node));
                }
            },
        }
        Ok(())
    }
}

fn size_of(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 1,
        Value::List(items) => items.iter().map(size_of).sum::<usize>() + 1,
        Value::Map(entries) => entries.iter().map(|(_, node)| size_of(node) + 1).sum::<usize>() + 1,
    }
}

fn as_key(node: Node) -> Result<Key, Defect> {
    match node.value {
        Value::Scalar(scalar) => Ok(Key { mark: node.mark, name: scalar.text }),
        Value::List(_) | Value::Map(_) => Err(Defect {
            mark: node.mark,
            message: "a list or mapping stands where a key must".to_owned(),
            fix: "keys are plain words",
        }),
    }
}

/// Whether the tag makes a plain scalar a text.
fn is_text_tag(tag: Option<&Tag>, mark: Mark) -> Result<bool, Defect> {
    let Some(tag) = tag else { return Ok(false) };
    let plain = tag.is_yaml_core_schema();
    match (plain, tag.suffix.as_str()) {
        (true, "str") => Ok(true),
        (true, "map" | "seq" | "int" | "float" | "bool" | "null") => Ok(false),
        _ => Err(Defect {
            mark,
            message: format!("the tag {} has no meaning here", quoted(&tag.to_string())),
            fix: "remove it",
        }),
    }
}
