//! Matches of a rule on path, method, headers and query parameters.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use regex::Regex;

use super::RouteRequest;
use super::table::is_model_header;

/// A match of a rule: all its conditions must hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RouteMatch {
    pub(crate) path: PathRule,
    pub(crate) method: Option<Method>,
    pub(crate) headers: Vec<(HeaderName, ValueRule<HeaderValue>)>,
    pub(crate) queries: Vec<(Arc<str>, ValueRule<Arc<str>>)>,
}

/// A condition on the path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PathRule {
    Exact(Arc<str>),
    /// Without trailing slash, so that the prefix `/` is empty.
    Prefix(Arc<str>),
    Pattern(Pattern),
}

/// A condition on a header or a query parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ValueRule<T> {
    Exact(T),
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
    /// The match of a rule without matches: the path prefix `/`.
    pub(crate) fn any() -> Self {
        Self { path: PathRule::Prefix("".into()), method: None, headers: Vec::new(), queries: Vec::new() }
    }

    /// A text that is the same for equal matches, whatever the order of their headers and query parameters.
    pub(crate) fn identity(&self) -> String {
        let mut headers: Vec<String> = self.headers.iter().map(|header| format!("{header:?}")).collect();
        let mut queries: Vec<String> = self.queries.iter().map(|query| format!("{query:?}")).collect();
        headers.sort();
        queries.sort();
        format!("{:?} {:?} {headers:?} {queries:?}", self.path, self.method)
    }

    /// Whether there is a condition on the request's model.
    pub(super) fn is_on_model(&self) -> bool {
        self.headers.iter().any(|(name, _)| is_model_header(name))
    }

    /// Whether all conditions except those on the path and the model hold.
    pub(super) fn matches_besides_path_and_model(&self, request: &RouteRequest<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == request.method)
            && self
                .headers
                .iter()
                .all(|(name, rule)| is_model_header(name) || has_header(request.headers, name, rule))
            && self.queries.iter().all(|(name, rule)| has_query(request.query, name, rule))
    }

    /// Whether all conditions except the one on the path hold.
    pub(super) fn matches_besides_path(&self, request: &RouteRequest<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == request.method)
            && self.headers.iter().all(|(name, rule)| has_header(request.headers, name, rule))
            && self.queries.iter().all(|(name, rule)| has_query(request.query, name, rule))
    }
}

/// Whether any value of the header matches.
fn has_header(headers: &HeaderMap, name: &HeaderName, rule: &ValueRule<HeaderValue>) -> bool {
    headers.get_all(name).iter().any(|value| match rule {
        ValueRule::Exact(wanted) => value == wanted,
        ValueRule::Pattern(pattern) => value.to_str().is_ok_and(|text| pattern.0.is_match(text)),
    })
}

/// Whether the first query parameter of that name matches, percent-decoded.
fn has_query(query: &str, name: &str, rule: &ValueRule<Arc<str>>) -> bool {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.filter(|(key, _)| percent_decoded(key).eq(name.bytes())).map(|(_, value)| value).next();
    let Some(value) = value else { return false };
    match rule {
        ValueRule::Exact(wanted) => percent_decoded(value).eq(wanted.bytes()),
        ValueRule::Pattern(pattern) if !value.contains(['%', '+']) => pattern.0.is_match(value),
        ValueRule::Pattern(pattern) => {
            let bytes: Vec<u8> = percent_decoded(value).collect();
            std::str::from_utf8(&bytes).is_ok_and(|text| pattern.0.is_match(text))
        }
    }
}

/// Decodes percent escapes and plus signs. Invalid escapes are kept.
fn percent_decoded(text: &str) -> impl Iterator<Item = u8> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        let escape = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|digits| {
            let digit = |b: u8| char::from(b).to_digit(16);
            u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
        });
        at += if escape.is_some() { 3 } else { 1 };
        Some(escape.unwrap_or(if byte == b'+' { b' ' } else { byte }))
    })
}
