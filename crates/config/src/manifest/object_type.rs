//! `apiVersion` and `kind`: what a document is, and whether it is read.

use std::sync::Arc;

use pointsman_yaml::{Field, Fields, quoted};

use super::{PassedOver, picker_text};
use crate::foreign::{self, Foreign, classify};
use crate::kind::{self, Kind};
use crate::options::Options;

/// The type of a document.
pub(super) enum Type {
    /// A supported kind with its group and version.
    Supported(Kind, &'static str, &'static str),
    PassedOver(PassedOver),
    /// Missing or not supported, which is reported.
    Unusable,
}

/// Reads the kind, its group and its version.
pub(super) fn read_type(file: &Arc<str>, fields: &mut Fields<'_>, options: &Options) -> Type {
    if !fields.has("apiVersion") && !fields.has("kind") {
        return read_untyped(file, fields);
    }
    let api_version = fields.required("apiVersion", "write the group and version of the object");
    let kind = fields.required("kind", "write the kind of the object");
    let (Some(api_version), Some(kind)) = (api_version, kind) else { return Type::Unusable };
    let (Some(text), Some(kind_text)) = (api_version.text(), kind.text()) else { return Type::Unusable };
    let group = text.rsplit_once('/').map_or("", |(group, _)| group);
    match classify(group, kind_text) {
        None => read_version(&api_version, text, kind_text),
        Some(Foreign::Refused { fix }) => {
            kind.error(format!("{} is not a supported kind", quoted(kind_text)), fix);
            Type::Unusable
        }
        Some(Foreign::PassedOver { message, fix }) => {
            kind.warn(format!("{message}, so the object is passed over"), fix);
            Type::PassedOver(PassedOver::Foreign)
        }
        Some(Foreign::PickerConfig) => {
            if !options.picker_configs {
                kind.warn(
                    "is passed over: it configures a picker",
                    "give it to `pointsman epp --config-file`",
                );
            }
            Type::PassedOver(PassedOver::PickerConfig)
        }
        Some(Foreign::ConfigMap) => {
            if options.picker_configs && fields.get("data").is_some_and(|data| picker_text::is_in(data.node))
            {
                return Type::PassedOver(PassedOver::PickerConfig);
            }
            kind.warn("ConfigMap has no part in routing here, so the object is passed over", foreign::LEAVE);
            Type::PassedOver(PassedOver::Foreign)
        }
    }
}

/// A document without kind and version: a kustomization, which may omit both, or no object at all.
fn read_untyped(file: &Arc<str>, fields: &mut Fields<'_>) -> Type {
    let name = file.rsplit('/').next().unwrap_or(file);
    if matches!(name, "kustomization.yaml" | "kustomization.yml") {
        fields.warn("kustomize is not run: the files beside it are read as they are", foreign::KUSTOMIZE);
        return Type::PassedOver(PassedOver::Foreign);
    }
    fields.error(
        "is not a Kubernetes object: it has neither apiVersion nor kind",
        "write both, or move files of other programs to another folder",
    );
    Type::Unusable
}

fn read_version(field: &Field<'_>, text: &str, kind_text: &str) -> Type {
    let Some(kind) = kind::by_name(kind_text) else { return Type::Unusable };
    let versions = kind.api_versions();
    if let Some((group, version)) =
        versions.iter().find(|(group, version)| text == format!("{group}/{version}"))
    {
        return Type::Supported(kind, group, version);
    }
    let all: Vec<String> = versions.iter().map(|(group, version)| format!("{group}/{version}")).collect();
    let message = format!("{} is not a supported version of {kind}", quoted(text));
    field.error(message, format!("write {}", all.join(" or ")));
    Type::Unusable
}
