//! Kubernetes manifests to validated core types. One run reports every mistake, with its position.
//!
//! This crate does not know the file system (texts are passed in with their names), sockets or clocks.

mod assemble;
mod endpoint;
mod files;
mod foreign;
mod identity;
mod kind;
mod load;
mod manifest;
pub mod models;
mod names;
mod options;
mod picker_config;
mod quick;
pub mod route;
mod settings;
mod weighted;
mod world;

pub use endpoint::{AppProtocol, EndpointAddress, EngineKind, MetricsPage, mixed_protocols};
pub use files::{Files, NamedFiles};
pub use identity::{ObjectId, ObjectName, PoolIndex};
pub use kind::Kind;
pub use load::{Inventory, Loaded, load, load_with_previous};
pub use manifest::placement::read_parameters as read_placement_parameters;
pub use options::{Consumer, Options};
pub use picker_config::{PickerConfig, read_picker_config};
pub use pointsman_yaml::{Limits, Problem, Severity, SourceText, parse_quantity};
pub use quick::{QuickError, QuickOptions, print_manifests, quick_form, quick_form_of_picker};
pub use settings::{ApiKeyHeader, ClientTimeouts, EngineAccess, GatewayPolicy, IpNet, Timeouts};
pub use world::{Listener, PoolSpec, TlsFiles, World};
