//! What a rule of an HTTPRoute matches on.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use regex::Regex;

use crate::decode::{Field, Fields};
use crate::source::quoted;

/// A match: everything in it must hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteMatch {
    pub(crate) path: PathRule,
    pub(crate) method: Option<Method>,
    pub(crate) headers: Vec<(HeaderName, HeaderRule)>,
    pub(crate) queries: Vec<(Arc<str>, TextRule)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PathRule {
    Exact(Arc<str>),
    /// Without slash at its end, so that the prefix of everything is empty.
    Prefix(Arc<str>),
    Pattern(Pattern),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HeaderRule {
    Exact(HeaderValue),
    Pattern(Pattern),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TextRule {
    Exact(Arc<str>),
    Pattern(Pattern),
}

/// A regular expression that must match the whole text.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(pub(crate) Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl RouteMatch {
    pub(crate) fn everything() -> Self {
        Self { path: PathRule::Prefix("".into()), method: None, headers: Vec::new(), queries: Vec::new() }
    }

    /// A text that is equal for equal matches, whatever the order of their headers and parameters.
    pub(crate) fn identity(&self) -> String {
        let mut headers: Vec<String> = self.headers.iter().map(|header| format!("{header:?}")).collect();
        let mut queries: Vec<String> = self.queries.iter().map(|query| format!("{query:?}")).collect();
        headers.sort();
        queries.sort();
        format!("{:?} {:?} {headers:?} {queries:?}", self.path, self.method)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum TextType {
    Exact,
    Pattern,
}

const TEXT_TYPES: [(&str, TextType); 2] =
    [("Exact", TextType::Exact), ("RegularExpression", TextType::Pattern)];

pub(crate) fn read_match(field: &Field<'_>) -> Option<RouteMatch> {
    field.fields(|fields| {
        let path = fields.get("path").map_or(Some(PathRule::Prefix("".into())), |f| read_path(&f));
        let method = fields.get("method").map(|f| f.choice(&METHODS));
        let headers = fields.get("headers").map(|f| f.list(16, read_header)).unwrap_or_default();
        let queries = fields.get("queryParams").map(|f| f.list(16, read_query)).unwrap_or_default();
        let method = match method {
            None => None,
            Some(read) => Some(method_of(read?)),
        };
        refuse_repeats(fields, "headers", headers.iter().map(|(name, _)| name.as_str()));
        refuse_repeats(fields, "queryParams", queries.iter().map(|(name, _)| &**name));
        Some(RouteMatch { path: path?, method, headers, queries })
    })?
}

const METHODS: [(&str, usize); 9] = [
    ("GET", 0),
    ("HEAD", 1),
    ("POST", 2),
    ("PUT", 3),
    ("DELETE", 4),
    ("CONNECT", 5),
    ("OPTIONS", 6),
    ("TRACE", 7),
    ("PATCH", 8),
];

const fn method_of(index: usize) -> Method {
    match index {
        0 => Method::GET,
        1 => Method::HEAD,
        2 => Method::POST,
        3 => Method::PUT,
        4 => Method::DELETE,
        5 => Method::CONNECT,
        6 => Method::OPTIONS,
        7 => Method::TRACE,
        _ => Method::PATCH,
    }
}

fn refuse_repeats<'n>(fields: &Fields<'_>, list: &str, names: impl Iterator<Item = &'n str>) {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let spot = fields.spot();
            let message = format!("{} stands there twice", quoted(name));
            fields.report.error(
                spot.mark,
                &format!("{}.{list}", spot.path),
                message,
                "name each once; a pattern can hold several values",
            );
        }
    }
}

fn read_path(field: &Field<'_>) -> Option<PathRule> {
    #[derive(Clone, Copy)]
    enum Type {
        Exact,
        Prefix,
        Pattern,
    }
    const TYPES: [(&str, Type); 3] =
        [("Exact", Type::Exact), ("PathPrefix", Type::Prefix), ("RegularExpression", Type::Pattern)];
    field.fields(|fields| {
        let kind = fields.get("type").map_or(Some(Type::Prefix), |f| f.choice(&TYPES));
        let value = fields.get("value");
        let (kind, text) = (kind?, value.as_ref().map_or(Some("/"), |f| f.text_up_to(1024))?);
        match kind {
            Type::Pattern => {
                value.map_or_else(|| pattern(field, text), |f| pattern(&f, text)).map(PathRule::Pattern)
            }
            Type::Exact | Type::Prefix => {
                if let Some(wrong) = path_defect(text) {
                    let at = value.as_ref().unwrap_or(field);
                    at.error(format!("{} {wrong}", quoted(text)), "write it like /v1/chat");
                    return None;
                }
                Some(match kind {
                    Type::Prefix => PathRule::Prefix(text.trim_end_matches('/').into()),
                    Type::Exact | Type::Pattern => PathRule::Exact(text.into()),
                })
            }
        }
    })?
}

/// What makes a text no path that a request can have, by the Gateway API's rules for HTTPPathMatch.
pub(crate) fn path_defect(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@%".contains(&b);
    if !text.starts_with('/') {
        Some("does not start with a slash")
    } else if text.contains("//") {
        Some("holds two slashes in a row")
    } else if text.split('/').any(|segment| segment == "." || segment == "..") {
        Some("holds a dot segment, which clients resolve before they send")
    } else if lower.contains("%2f") {
        Some("holds an escaped slash")
    } else if text.contains(['#', '?']) {
        Some("holds more than a path")
    } else if !text.bytes().all(allowed) {
        Some("holds characters that stand escaped in a path")
    } else {
        None
    }
}

/// The most memory that one compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;

fn pattern(field: &Field<'_>, text: &str) -> Option<Pattern> {
    // Checked alone first, so that `a)(b` is not mended by the parentheses around it. They end on a line of their
    // own, so that a comment in the pattern (`(?x)… #`) does not swallow them, and neither does the anchor apply to
    // lines (`(?m)`).
    let build = |text: &str| regex::RegexBuilder::new(text).size_limit(PATTERN_BYTES).build();
    let whole = build(text)
        .and_then(|_| build(&format!("\\A(?:{text}{})\\z", if text.contains("(?x") { "\n" } else { "" })));
    match whole {
        Ok(regex) => Some(Pattern(regex)),
        Err(regex::Error::CompiledTooBig(_)) => {
            field.error("the pattern is too large", "bound its repetitions");
            None
        }
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            field.error(format!("is not a regular expression: {reason}"), "mend it; the syntax is RE2's");
            None
        }
    }
}

fn read_header(field: &Field<'_>) -> Option<(HeaderName, HeaderRule)> {
    field.fields(|fields| {
        let kind = fields.get("type").map_or(Some(TextType::Exact), |f| f.choice(&TEXT_TYPES));
        let name = fields.required("name", "name the header").and_then(|f| read_header_name(&f));
        let value = fields.required("value", "write the value to look for");
        let (kind, value) = (kind?, value?);
        let text = value.text_up_to(4096)?;
        let rule = match kind {
            TextType::Pattern => HeaderRule::Pattern(pattern(&value, text)?),
            TextType::Exact => HeaderRule::Exact(read_header_value(&value)?),
        };
        Some((name?, rule))
    })?
}

fn read_query(field: &Field<'_>) -> Option<(Arc<str>, TextRule)> {
    field.fields(|fields| {
        let kind = fields.get("type").map_or(Some(TextType::Exact), |f| f.choice(&TEXT_TYPES));
        let token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
        let name = fields
            .required("name", "name the parameter")
            .and_then(|f| f.text_where(token, "a parameter name"));
        let value = fields.required("value", "write the value to look for");
        let (kind, value) = (kind?, value?);
        let text = value.text_up_to(1024)?;
        let rule = match kind {
            TextType::Pattern => TextRule::Pattern(pattern(&value, text)?),
            TextType::Exact => TextRule::Exact(text.into()),
        };
        Some((name?.into(), rule))
    })?
}

pub(crate) fn read_header_name(field: &Field<'_>) -> Option<HeaderName> {
    let text = field.text_up_to(256)?;
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        field.error(format!("{} is not a header name", quoted(text)), "write it like x-team");
    }
    name
}

pub(crate) fn read_header_value(field: &Field<'_>) -> Option<HeaderValue> {
    let text = field.text()?;
    let value = HeaderValue::from_str(text).ok().filter(|_| text.len() <= 4096 && text.is_ascii());
    if value.is_none() {
        field.error("is not a header value", "write at most 4096 printable ASCII characters");
    }
    value
}
