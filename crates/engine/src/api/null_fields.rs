//! Response fields that are always `null`.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A field that vLLM writes and that has no value here.
pub(super) type Null = ();

/// Names of such fields. Flattened into a struct, each becomes `null`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NullFields(pub(super) &'static [&'static str]);

impl Serialize for NullFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for name in self.0 {
            map.serialize_entry(name, &())?;
        }
        map.end()
    }
}
