//! Scanning of `application/x-www-form-urlencoded` bodies.

use super::FormModel;
use crate::body_error::BodyError;
use crate::request::MAX_MODEL_BYTES;
use crate::splice::{ModelSlot, Notation};

/// Finds the field `model` of a complete form. An empty one counts as absent.
///
/// # Errors
/// The field occurs twice, is too long or not UTF-8, or occurs for parsers alone that also separate fields by semicolons.
pub fn scan_urlencoded(body: &[u8]) -> Result<Option<FormModel>, BodyError> {
    let mut found: Option<FormModel> = None;
    let mut seen = false;
    let mut offset = 0;
    for pair in body.split(|byte| *byte == b'&') {
        let start = offset;
        offset += pair.len() + 1;
        let Some(value_at) = model_value(pair) else {
            if pair.contains(&b';')
                && pair.split(|byte| *byte == b';').any(|part| model_value(part).is_some())
            {
                return Err(BodyError::Form { offset: start, problem: "a field after a semicolon" });
            }
            continue;
        };
        if std::mem::replace(&mut seen, true) {
            return Err(BodyError::DuplicateField { field: "model", offset: start });
        }
        let value = pair.get(value_at..).unwrap_or_default();
        if value.contains(&b';') {
            return Err(BodyError::Form { offset: start, problem: "a semicolon in `model`" });
        }
        let name = decoded(value).ok_or(BodyError::InvalidUtf8 { offset: start + value_at })?;
        if name.len() > MAX_MODEL_BYTES {
            let limit = MAX_MODEL_BYTES;
            return Err(BodyError::FieldTooLong { field: "model", offset: start + value_at, limit });
        }
        let range = start + value_at..start + pair.len();
        let slot = ModelSlot { range, notation: Notation::UrlEncoded };
        found = Some(FormModel { name, slot }).filter(|model| !model.name.is_empty());
    }
    Ok(found)
}

/// The offset of the value in a pair whose key is `model`.
fn model_value(pair: &[u8]) -> Option<usize> {
    let key_end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
    let key = pair.get(..key_end)?;
    // The longest spelling escapes every byte.
    let is_model = key.len() <= 15 && decoded(key).is_some_and(|key| key == "model");
    is_model.then_some((key_end + 1).min(pair.len()))
}

/// Decodes plus signs and percent escapes; invalid escapes stay. `None` if the result is not UTF-8.
fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escaped = if byte == b'%' { crate::api::hex_pair(text.get(at + 1..at + 3)) } else { None };
        at += if escaped.is_some() { 3 } else { 1 };
        out.push(escaped.unwrap_or(if byte == b'+' { b' ' } else { byte }));
    }
    String::from_utf8(out).ok()
}
