//! The manifest reference says what is so.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod support;

use std::path::Path;

use pointsman_config::{GatewayPolicy, Timeouts};
use pointsman_core::Policy;
use support::{GATEWAY, pool, world};

/// The YAML blocks of the reference that are whole objects.
fn objects() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifests.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    blocks.filter(|block| block.starts_with("apiVersion")).map(str::to_owned).collect()
}

#[test]
fn the_documented_policies_are_the_defaults() {
    let objects = objects();
    assert_eq!(objects.len(), 2);
    let world = world(&format!("{GATEWAY}{}{}", pool("llama", 8000), objects.join("---\n")));
    let pool = &world.pools[0];
    assert_eq!(pool.policy, Policy::default());
    assert_eq!(pool.timeouts, Timeouts::default());
    assert!(!pool.models.rejects_undeclared());
    assert_eq!(world.gateway, GatewayPolicy::default());
}
