//! Engine profiles of an experiment: built-in ones and its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pointsman_yaml::{Field, Fields};

use super::Files;
use super::values::{duration, mistake};
use crate::engine::{BuiltinProfile, EngineProfile};

/// Profiles that a fleet may name.
#[derive(Default)]
pub(super) struct Profiles {
    own: BTreeMap<Box<str>, Arc<EngineProfile>>,
    /// Names of profiles with mistakes, which are reported where they are defined.
    broken: Vec<Box<str>>,
}

impl Profiles {
    /// The profile that a field names.
    pub(super) fn find(&self, field: &Field<'_>) -> Option<Arc<EngineProfile>> {
        let name = field.text()?;
        if let Some(own) = self.own.get(name) {
            return Some(Arc::clone(own));
        }
        if self.broken.iter().any(|broken| **broken == *name) {
            return None;
        }
        builtin(field, name, self.own.keys())
    }
}

fn builtin<'a>(
    field: &Field<'_>,
    name: &str,
    own: impl Iterator<Item = &'a Box<str>>,
) -> Option<Arc<EngineProfile>> {
    match EngineProfile::named(name) {
        Ok(profile) => Some(Arc::new(profile)),
        Err(_) => {
            let known: Vec<&str> =
                own.map(|name| &**name).chain(BuiltinProfile::ALL.map(BuiltinProfile::name)).collect();
            let message = format!("there is no engine profile {name:?}");
            mistake(field, message, format!("write one of {}", known.join(", ")))
        }
    }
}

pub(super) fn read(field: &Field<'_>, files: &dyn Files) -> Profiles {
    let mut profiles = Profiles::default();
    for (name, field) in field.entries() {
        if BuiltinProfile::ALL.iter().any(|builtin| builtin.name() == name) {
            field.error("is the name of a built-in profile", "choose another name");
        }
        let profile = field.fields(|fields| read_profile(name, fields, files)).flatten();
        match profile.filter(|_| field.is_sound()) {
            Some(profile) => {
                profiles.own.insert(name.into(), Arc::new(profile));
            }
            None => profiles.broken.push(name.into()),
        }
    }
    profiles
}

fn read_profile(name: &str, fields: &mut Fields<'_>, files: &dyn Files) -> Option<EngineProfile> {
    let base = fields.get("base");
    let file = fields.get("file");
    let mut profile = match (&base, &file) {
        (Some(base), None) => {
            base.text().and_then(|text| builtin(base, text, [].iter())).map(|p| (*p).clone())
        }
        (None, Some(file)) => read_file(file, files),
        (Some(_), Some(file)) => mistake(file, "has no effect beside base", "write base or file, not both"),
        (None, None) => {
            fields
                .error("has neither base nor file", "write base: llama-3-8b-h100, or another profile's name");
            None
        }
    };
    let mut count = |name| fields.get(name).and_then(|field| field.u32_from(1));
    let blocks = count("blocks");
    let (max_batched_tokens, max_sequences) = (count("maxBatchedTokens"), count("maxSequences"));
    let (max_model_len, max_adapters) = (count("maxModelLen"), count("maxAdapters"));
    let adapter_load = fields.get("adapterLoad").and_then(|field| duration(&field));
    if let Some(profile) = &mut profile {
        profile.name = name.to_owned();
        let set = |to: &mut u32, value: Option<u32>| *to = value.unwrap_or(*to);
        set(&mut profile.blocks, blocks);
        set(&mut profile.max_batched_tokens, max_batched_tokens);
        set(&mut profile.max_sequences, max_sequences);
        set(&mut profile.max_model_len, max_model_len);
        set(&mut profile.max_adapters, max_adapters);
        if let Some(load) = adapter_load {
            profile.adapter_load_ns = nanoseconds(load);
        }
    }
    match profile?.checked() {
        Ok(profile) => Some(profile),
        Err(error) => {
            fields.error(format!("is not a valid engine: {error}"), "change the fields that it names");
            None
        }
    }
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn read_file(field: &Field<'_>, files: &dyn Files) -> Option<EngineProfile> {
    let text = file_text(field, files)?;
    match EngineProfile::from_json(&text) {
        Ok(profile) => Some(profile),
        Err(error) => mistake(field, error.to_string(), "correct the file; `simulate fit` writes such files"),
    }
}

/// The text of the file that a field names.
pub(super) fn file_text(field: &Field<'_>, files: &dyn Files) -> Option<Arc<str>> {
    let path = field.text_up_to(4_096)?;
    match files.text(path) {
        Ok(text) => Some(text),
        Err(why) => mistake(
            field,
            format!("cannot be read: {why}"),
            "write a path relative to the experiment's folder",
        ),
    }
}
