//! Whether one match holds for one request, its path apart.

use http::HeaderMap;

use super::Entry;
use crate::manifest::route_match::{HeaderRule, TextRule};
use crate::route::RouteRequest;

impl Entry {
    pub(super) fn matches_besides_path(&self, request: &RouteRequest<'_>) -> bool {
        let rules = &self.rule_match;
        rules.method.as_ref().is_none_or(|method| method == request.method)
            && rules.headers.iter().all(|(name, rule)| has_header(request.headers, name, rule))
            && rules.queries.iter().all(|(name, rule)| has_query(request.query, name, rule))
    }
}

/// Whether any of the header's lines fits.
fn has_header(headers: &HeaderMap, name: &http::HeaderName, rule: &HeaderRule) -> bool {
    headers.get_all(name).iter().any(|value| match rule {
        HeaderRule::Exact(wanted) => value == wanted,
        HeaderRule::Pattern(pattern) => value.to_str().is_ok_and(|text| pattern.0.is_match(text)),
    })
}

/// Whether the first parameter of that name fits, escapes undone.
fn has_query(query: &str, name: &str, rule: &TextRule) -> bool {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.filter(|(key, _)| unescaped(key).eq(name.bytes())).map(|(_, value)| value).next();
    let Some(value) = value else { return false };
    match rule {
        TextRule::Exact(wanted) => unescaped(value).eq(wanted.bytes()),
        TextRule::Pattern(pattern) if !value.contains(['%', '+']) => pattern.0.is_match(value),
        TextRule::Pattern(pattern) => {
            let bytes: Vec<u8> = unescaped(value).collect();
            std::str::from_utf8(&bytes).is_ok_and(|text| pattern.0.is_match(text))
        }
    }
}

/// The bytes behind percent escapes and plus signs; an escape that is none stands for itself.
fn unescaped(text: &str) -> impl Iterator<Item = u8> + '_ {
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
