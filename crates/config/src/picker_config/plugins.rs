//! `plugins`: the plugins of a file, and references to them.

use std::cell::Cell;
use std::collections::BTreeMap;

use pointsman_core::{ActiveRequestScore, Affinity, Picker, PrefixScore, SaturationLimits};
use pointsman_yaml::{Field, Fields, nearest, quoted};

use super::catalogue::{self, find};

/// A declared plugin.
#[derive(Debug)]
pub(super) struct Plugin<'a> {
    pub(super) type_name: &'a str,
    pub(super) role: Role,
    pub(super) field: Field<'a>,
    /// Whether anything refers to the plugin.
    pub(super) used: Cell<bool>,
}

/// The function of a plugin, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    Scorer(Scorer),
    Affinity(Affinity),
    Picker(Picker),
    Detector(SaturationLimits),
    /// What Pointsman does anyway, or cannot do otherwise, wherever the plugin is named: one profile for every request, the
    /// data of scorers, no queue.
    Passive,
    /// What Pointsman scrapes anyway.
    DataSource,
    DataExtractor,
    Parser,
}

/// A scorer, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scorer {
    Queue,
    RunningRequests,
    KvCacheUtilization,
    PrefixCache(PrefixScore),
    LoraAffinity,
    NoHitLru,
    LoadAware(u32),
    ActiveRequest(ActiveRequestScore),
    TokenLoad(u64),
}

impl Plugin<'_> {
    /// Reports a reference to this plugin in a place that requires another role.
    pub(super) fn report_misplaced(&self, reference: &Field<'_>) {
        let fix = match self.role {
            Role::Detector(_) => "name it as saturationDetector instead: it filters no endpoints",
            Role::Scorer(_)
            | Role::Affinity(_)
            | Role::Picker(_)
            | Role::Passive
            | Role::DataSource
            | Role::DataExtractor
            | Role::Parser => "remove the reference",
        };
        reference.error(format!("{} cannot be used here", quoted(self.type_name)), fix);
    }
}

/// The plugins of a file.
#[derive(Debug, Default)]
pub(super) struct Plugins<'a> {
    by_name: BTreeMap<&'a str, Plugin<'a>>,
    /// Whether some plugin is not usable. A reference to an unknown name may then mean that plugin.
    has_unusable: bool,
}

impl<'a> Plugins<'a> {
    pub(super) fn read(fields: &mut Fields<'a>) -> Self {
        let mut plugins = Self::default();
        let Some(list) = fields.get("plugins") else { return plugins };
        list.list(256, |field| {
            let (name, plugin) =
                field.fields(|fields| read_plugin(fields, field)).flatten().or_else(|| {
                    plugins.has_unusable = true;
                    None
                })?;
            if let Some(first) = plugins.by_name.get(name) {
                let line = first.field.node.position.line;
                let message = format!("{} is already defined on line {line}", quoted(name));
                field.error(message, "give one of the two another name");
            }
            plugins.by_name.insert(name, plugin);
            Some(())
        });
        plugins
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && !self.has_unusable
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Plugin<'a>> {
        self.by_name.values()
    }

    /// The plugin that a reference names.
    pub(super) fn get(&self, reference: &Field<'_>) -> Option<&Plugin<'a>> {
        let name = reference.text()?;
        let Some(plugin) = self.by_name.get(name) else {
            if !self.has_unusable {
                let is_type = find(name).is_some_and(|known| known.name == name);
                let near = nearest(name, self.by_name.keys().copied()).filter(|_| !is_type);
                let fix = match near {
                    Some(near) => format!("did you mean {near}?"),
                    None if find(name).is_some() => format!("add `- type: {name}` to plugins"),
                    None => "add it to plugins".to_owned(),
                };
                reference.error(format!("there is no plugin {}", quoted(name)), fix);
            }
            return None;
        };
        plugin.used.set(true);
        Some(plugin)
    }

    /// Checks that `pluginRef` names a plugin of a role, whatever its parameters.
    pub(super) fn check_reference(&self, fields: &mut Fields<'_>, role: &Role) {
        let Some(reference) = fields.required("pluginRef", "name a plugin") else { return };
        if let Some(plugin) = self.get(&reference)
            && std::mem::discriminant(&plugin.role) != std::mem::discriminant(role)
        {
            plugin.report_misplaced(&reference);
        }
    }

    /// The limits of the detector that a reference names.
    pub(super) fn detector(&self, reference: &Field<'_>) -> Option<SaturationLimits> {
        let plugin = self.get(reference)?;
        if let Role::Detector(limits) = plugin.role {
            return Some(limits);
        }
        plugin.report_misplaced(reference);
        None
    }

    /// Warns of plugins that have no effect because nothing refers to them, as upstream.
    pub(super) fn warn_of_unused(&self) {
        for plugin in self.all().filter(|plugin| !plugin.used.get()) {
            match plugin.role {
                Role::Scorer(_) | Role::Affinity(_) | Role::Picker(_) | Role::Detector(_) => {
                    plugin.field.warn("is not used", "refer to it by pluginRef, or remove it");
                }
                Role::Passive | Role::DataSource | Role::DataExtractor | Role::Parser => {}
            }
        }
    }
}

fn read_plugin<'a>(fields: &mut Fields<'a>, whole: &Field<'a>) -> Option<(&'a str, Plugin<'a>)> {
    let kind = fields.required("type", "write the plugin's type");
    let name = fields.get("name").and_then(|field| field.text_up_to(253));
    let parameters = fields.get("parameters");
    let kind = kind?;
    let type_name = kind.text()?;
    let Some(known) = find(type_name) else {
        kind.error(format!("{} is not supported", quoted(type_name)), catalogue::alternative(type_name));
        return None;
    };
    if let Some(note) = known.note {
        kind.warn(note, "nothing, or remove it");
    }
    let role = (known.read)(parameters.as_ref())?;
    let plugin = Plugin { type_name, role, field: whole.clone(), used: Cell::new(false) };
    Some((name.unwrap_or(type_name), plugin))
}
