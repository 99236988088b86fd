//! Matches of a rule of an HTTPRoute.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use pointsman_yaml::{Field, Fields, quoted};

use crate::route::{PathRule, Pattern, RouteMatch, ValueRule};

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
        let method = fields.optional("method", |f| f.choice(&METHODS.map(|name| (name, name))));
        let headers = fields.list("headers", 16, read_header);
        let queries = fields.list("queryParams", 16, read_query);
        let method = method?.and_then(|name| name.parse::<Method>().ok());
        refuse_duplicates(fields, "headers", headers.iter().map(|(name, _)| name.as_str()));
        refuse_duplicates(fields, "queryParams", queries.iter().map(|(name, _)| &**name));
        Some(RouteMatch { path: path?, method, headers, queries })
    })?
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

fn refuse_duplicates<'n>(fields: &Fields<'_>, list: &str, names: impl Iterator<Item = &'n str>) {
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            let fix = "write each name once; a regular expression can match several values";
            fields.error_in(list, format!("{} is listed twice", quoted(name)), fix);
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

/// The reason why a text cannot be the path of a request, by the Gateway API's rules for HTTPPathMatch.
pub(crate) fn path_defect(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@%".contains(&b);
    if !text.starts_with('/') {
        Some("does not start with a slash")
    } else if text.contains("//") {
        Some("contains two slashes in a row")
    } else if text.split('/').any(|segment| segment == "." || segment == "..") {
        Some("contains a dot segment, which clients resolve before sending")
    } else if lower.contains("%2f") {
        Some("contains an escaped slash")
    } else if text.contains(['#', '?']) {
        Some("contains a query or a fragment")
    } else if !text.bytes().all(allowed) {
        Some("contains characters that must be percent-encoded in a path")
    } else {
        None
    }
}

/// Maximum memory of a compiled regular expression in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

fn pattern(field: &Field<'_>, text: &str) -> Option<Pattern> {
    // The text is compiled alone first, because the surrounding parentheses make `a)(b` valid. The newline ends a
    // comment in an `(?x)` pattern, and `\A` and `\z` match at the ends of the text even in an `(?m)` pattern.
    let build = |text: &str| regex::RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build();
    let whole = build(text)
        .and_then(|_| build(&format!("\\A(?:{text}{})\\z", if text.contains("(?x") { "\n" } else { "" })));
    match whole {
        Ok(regex) => Some(Pattern(regex)),
        Err(regex::Error::CompiledTooBig(_)) => {
            field.error("the regular expression is too large", "reduce its repetitions");
            None
        }
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            field.error(
                format!("is not a regular expression: {reason}"),
                "correct it; the syntax is that of RE2",
            );
            None
        }
    }
}

fn read_header(field: &Field<'_>) -> Option<(HeaderName, ValueRule<HeaderValue>)> {
    field.fields(|fields| {
        let kind = fields.get("type").map_or(Some(TextType::Exact), |f| f.choice(&TEXT_TYPES));
        let name = fields.required_value("name", "name the header", read_header_name);
        let value = fields.required("value", "write the value to match");
        let (kind, value) = (kind?, value?);
        let text = value.text_up_to(4096)?;
        let rule = match kind {
            TextType::Pattern => ValueRule::Pattern(pattern(&value, text)?),
            TextType::Exact => ValueRule::Exact(read_header_value(&value)?),
        };
        Some((name?, rule))
    })?
}

fn read_query(field: &Field<'_>) -> Option<(Arc<str>, ValueRule<Arc<str>>)> {
    field.fields(|fields| {
        let kind = fields.get("type").map_or(Some(TextType::Exact), |f| f.choice(&TEXT_TYPES));
        let token = |text: &str| HeaderName::from_bytes(text.as_bytes()).is_ok();
        let name =
            fields.required_value("name", "name the parameter", |f| f.text_where(token, "a parameter name"));
        let value = fields.required("value", "write the value to match");
        let (kind, value) = (kind?, value?);
        let text = value.text_up_to(1024)?;
        let rule = match kind {
            TextType::Pattern => ValueRule::Pattern(pattern(&value, text)?),
            TextType::Exact => ValueRule::Exact(text.into()),
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
