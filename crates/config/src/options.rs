//! Options of loading a set of manifests.

use pointsman_yaml::Limits;

use crate::picker_config::PickerConfig;

/// The component that a set of manifests is loaded for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Consumer {
    /// The gateway, which listens as the Gateways say.
    #[default]
    Gateway,
    /// The endpoint picker. Gateways and HTTPRoutes are ignored: they configure the gateway that calls it.
    Picker {
        /// The picker's configuration file. It applies to all pools, and excludes the same settings in a PoolPolicy.
        config: Option<PickerConfig>,
    },
}

/// The consumer of a set of manifests and the limits on the set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The component that loads the set.
    pub consumer: Consumer,
    /// Whether EndpointPickerConfigs among the texts, also within ConfigMaps, are checked. Without, they are passed over
    /// with a warning.
    pub picker_configs: bool,
    /// Limits on each text.
    pub limits: Limits,
    /// Maximum number of objects in the set.
    pub max_objects: usize,
    /// Maximum number of problems kept. One more problem gives the number of those omitted.
    pub max_problems: usize,
}

impl Default for Options {
    fn default() -> Self {
        let (consumer, limits) = (Consumer::Gateway, Limits::default());
        Self { consumer, picker_configs: false, limits, max_objects: 10_000, max_problems: 1_000 }
    }
}
