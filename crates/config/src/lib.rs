//! Manifests to validated core types: every mistake in one run, with its position.
//!
//! What this crate must not know: files and directories (it is given texts with their names), sockets, clocks.

mod assemble;
mod decode;
pub mod document;
mod load;
mod manifest;
pub mod models;
mod picker_config;
mod problem;
mod quick;
pub mod route;
mod source;
mod weighted;
mod world;

pub use load::{Inventory, Loaded, load, load_with_previous};
pub use manifest::{Kind, ObjectId, SupportedKind, supported_kinds};
pub use picker_config::{PickerConfig, read_picker_config};
pub use problem::{Problem, Severity};
pub use quick::{QuickError, QuickOptions, print_manifests, quick_form};
pub use source::{Door, Options, SourceText};
pub use world::{
    AppProtocol, EndpointAddress, EngineAccess, EngineKind, GatewayPolicy, IpNet, Listener, ObjectName,
    PoolIndex, PoolSpec, Timeouts, TlsFiles, World,
};
