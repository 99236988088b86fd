//! `schedulingProfiles`: the scheduling profile as a blend of scorers.

use pointsman_core::{Blend, BlendWeights, Picker};
use pointsman_yaml::{Field, Fields, quoted};

use crate::foreign::LEAVE_FIELD;

use super::plugins::{Plugin, Plugins, Role, Scorer};

/// Maximum weight of a scorer, beyond any useful value.
const MAX_WEIGHT: f64 = 1e6;

/// A profile whose plugins are being added.
#[derive(Default)]
struct Profile {
    blend: Option<Blend>,
    picker: Option<Picker>,
    scorers: Vec<&'static str>,
}

/// Reads the profile. A file without profiles has one of all plugins, each scorer with weight 1.
pub(super) fn read(fields: &mut Fields<'_>, plugins: &Plugins<'_>) -> Option<Blend> {
    let Some(list) = fields.get("schedulingProfiles") else {
        let mut profile = Profile::default();
        for plugin in plugins.all() {
            match profile.add(plugin, 1.0) {
                Ok(()) => plugin.used.set(true),
                // Such a plugin belongs to no profile.
                Err(Mistake::Misplaced) => {}
                Err(duplicate @ Mistake::Duplicate) => duplicate.report(&plugin.field, plugin),
            }
        }
        return Some(profile.finish());
    };
    let mut profiles = list.list(16, |profile| profile.fields(|fields| read_profile(fields, plugins)));
    if profiles.len() > 1 {
        list.error(
            "has more than one profile",
            "keep the one for every request; disaggregated prefill is not supported",
        );
    }
    profiles.pop().flatten().or_else(|| list.is_sound().then_some(Blend::LLM_D))
}

fn read_profile(fields: &mut Fields<'_>, plugins: &Plugins<'_>) -> Option<Blend> {
    if let Some(name) = fields.required("name", "write the profile's name") {
        name.text_up_to(253);
    }
    let list = fields.required("plugins", "list the profile's plugins")?;
    let mut profile = Profile::default();
    list.list(256, |item| {
        item.fields(|fields| {
            let reference = fields.required("pluginRef", "name a plugin");
            let weight = fields.get("weight");
            let value = weight.as_ref().map_or(Some(1.0), |field| field.number(0.0..=MAX_WEIGHT));
            let (reference, value) = (reference?, value?);
            let plugin = plugins.get(&reference)?;
            if let (Some(weight), false) = (&weight, matches!(plugin.role, Role::Scorer(_))) {
                weight.warn("has no effect: the plugin is not a scorer", LEAVE_FIELD);
            }
            profile.add(plugin, value).unwrap_or_else(|mistake| mistake.report(&reference, plugin));
            Some(())
        })
        .flatten()
    });
    if profile.picker == Some(Picker::Random) && !profile.scorers.is_empty() {
        list.warn("scorers have no effect with random-picker", "remove them, or use max-score-picker");
    }
    Some(profile.finish())
}

/// Why a plugin cannot be part of a profile.
enum Mistake {
    /// Its role does not belong in a profile.
    Misplaced,
    /// The profile already has a plugin of its type.
    Duplicate,
}

impl Mistake {
    fn report(&self, reference: &Field<'_>, plugin: &Plugin<'_>) {
        match self {
            Self::Misplaced => plugin.report_misplaced(reference),
            Self::Duplicate => {
                let message = format!("the profile already has a {}", quoted(plugin.type_name));
                reference.error(message, "remove one of the two");
            }
        }
    }
}

impl Profile {
    fn add(&mut self, plugin: &Plugin<'_>, weight: f64) -> Result<(), Mistake> {
        let blend = self.blend.get_or_insert(Blend::EMPTY);
        match plugin.role {
            Role::Scorer(scorer) => {
                let name = set(blend, scorer, weight);
                if self.scorers.contains(&name) {
                    return Err(Mistake::Duplicate);
                }
                self.scorers.push(name);
            }
            Role::Affinity(affinity) => {
                if blend.affinity.replace(affinity).is_some() {
                    return Err(Mistake::Duplicate);
                }
            }
            Role::Picker(picker) => {
                if self.picker.replace(picker).is_some() {
                    return Err(Mistake::Duplicate);
                }
            }
            // Upstream accepts these in profiles too, without further effect.
            Role::Passive => {}
            Role::Detector(_) | Role::DataSource | Role::DataExtractor | Role::Parser => {
                return Err(Mistake::Misplaced);
            }
        }
        Ok(())
    }

    /// The blend. Without scorers all endpoints are equal, so the picker is random.
    fn finish(self) -> Blend {
        let mut blend = self.blend.unwrap_or(Blend::EMPTY);
        let default = if blend.weights == BlendWeights::NONE { Picker::Random } else { Picker::MaxScore };
        blend.picker = match self.picker {
            None | Some(Picker::MaxScore) => default,
            Some(Picker::Random) => {
                blend = Blend { affinity: blend.affinity, ..Blend::EMPTY };
                Picker::Random
            }
            Some(picker @ Picker::WeightedRandom) => picker,
        };
        blend
    }
}

/// Sets the weight and the parameters of a scorer, and returns the scorer's name.
const fn set(blend: &mut Blend, scorer: Scorer, weight: f64) -> &'static str {
    let weights = &mut blend.weights;
    let (slot, name) = match scorer {
        Scorer::Queue => (&mut weights.queue, "queue"),
        Scorer::RunningRequests => (&mut weights.running_requests, "running requests"),
        Scorer::KvCacheUtilization => (&mut weights.kv_cache_utilization, "KV cache"),
        Scorer::PrefixCache(score) => {
            blend.prefix = score;
            (&mut weights.prefix_cache, "prefix cache")
        }
        Scorer::LoraAffinity => (&mut weights.lora_affinity, "adapter"),
        Scorer::NoHitLru => (&mut weights.no_hit_lru, "no hit"),
        Scorer::LoadAware(threshold) => {
            blend.load_aware_threshold = threshold;
            (&mut weights.load_aware, "load")
        }
        Scorer::ActiveRequest(score) => {
            blend.active_request = score;
            (&mut weights.active_request, "active requests")
        }
        Scorer::TokenLoad(threshold) => {
            blend.token_load_threshold = threshold;
            (&mut weights.token_load, "token load")
        }
    };
    *slot = weight;
    name
}
