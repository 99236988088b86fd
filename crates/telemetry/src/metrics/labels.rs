//! Label sets and the label values that stand for many names.
//!
//! Metrics of the Gateway API Inference Extension have its labels and `pool`, because one Pointsman serves many pools.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

/// Value for all names beyond a limit.
pub const OTHER: &str = "other";
/// Value for models that neither a manifest nor an engine declares; clients can make up any number of them.
pub const UNDECLARED: &str = "undeclared";

/// Label sets of series that are dropped with their pool.
pub(super) trait OfPool {
    fn pool(&self) -> &str;
}

macro_rules! label_set {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
        pub(super) struct $name {
            $($(#[$field_meta])* pub(super) $field: $type),+
        }
    };
}

label_set!(Pool { pool: Arc<str> });
label_set!(Model { model_name: Arc<str>, target_model_name: Arc<str>, pool: Arc<str> });
label_set!(ModelError {
    model_name: Arc<str>,
    target_model_name: Arc<str>,
    error_code: &'static str,
    pool: Arc<str>,
});
label_set!(ModelRunning { model_name: Arc<str>, pool: Arc<str> });
label_set!(RequestOutcome { pool: Arc<str>, outcome: &'static str, reason: &'static str });
label_set!(Cause { pool: Arc<str>, cause: &'static str });
label_set!(Endpoint { pool: Arc<str>, endpoint: Arc<str> });
label_set!(EndpointCause { pool: Arc<str>, endpoint: Arc<str>, cause: &'static str });
label_set!(Reload { result: &'static str });
label_set!(ExtensionBuild { commit: &'static str, build_ref: &'static str });
label_set!(Build { version: &'static str, commit: &'static str });

macro_rules! of_pool {
    ($($name:ident),+ $(,)?) => {
        $(impl OfPool for $name {
            fn pool(&self) -> &str {
                &self.pool
            }
        })+
    };
}

of_pool!(Pool, Model, ModelError, ModelRunning, RequestOutcome, Cause, Endpoint, EndpointCause);
