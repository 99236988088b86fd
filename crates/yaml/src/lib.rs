//! YAML documents with source positions, and typed readers that report every mistake in one run.
//!
//! [`parse`] turns a text into one tree of [`Node`]s per document. A [`Field`] is a node with its path, a [`Fields`] a
//! mapping that remembers which names were read. Both report mistakes to a [`Report`] and continue, so that one run
//! finds them all. [`read_document`] combines these steps for files that hold one document.
//!
//! This crate does not know manifest kinds, the file system or clocks.

mod document;
mod duration;
mod field;
mod fields;
mod nearest;
mod node;
mod parse;
mod problem;
mod report;
mod scalars;
mod source;

pub use document::read_document;
pub use duration::{parse_duration, parse_gateway_duration};
pub use field::{Field, ValueKind};
pub use fields::Fields;
pub use nearest::nearest;
pub use node::{Node, quoted, truncated};
pub use parse::{ParseError, parse};
pub use problem::{Located, Location, Position, Problem, Severity};
pub use report::Report;
pub use scalars::parse_quantity;
pub use source::{Limits, SourceText};
