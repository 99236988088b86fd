//! The manifest reference agrees with the code.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]
#![expect(clippy::disallowed_methods, reason = "the test reads the documentation")]

mod support;

use std::path::Path;

use pointsman_config::{GatewayPolicy, Timeouts};
use pointsman_core::{Placement, PoolPolicy};
use support::{GATEWAY, pool, world};

/// The YAML blocks of the reference that are complete objects.
fn objects() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifests.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks =
        page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    blocks.filter(|block| block.starts_with("apiVersion")).map(str::to_owned).collect()
}

#[test]
fn the_documented_policies_have_the_default_values() {
    let objects = objects();
    assert_eq!(objects.len(), 2);
    let world = world(&format!("{GATEWAY}{}{}", secure_pool(), objects.join("---\n")));
    let pool = &world.pools[0];
    assert_eq!(pool.policy, PoolPolicy::default());
    assert_eq!(pool.timeouts, Timeouts::default());
    assert!(pool.models.resolve(Some("undeclared"), None, 0).is_ok());
    assert_eq!(world.gateway, GatewayPolicy::default());
}

/// The pool of the reference, whose certificates are for engines with TLS.
fn secure_pool() -> String {
    pool("llama", 8000)
        .replace("addressType: IPv4", "addressType: IPv4\nports: [{port: 8000, appProtocol: https}]")
}

#[test]
fn the_documented_heartbeat_is_read() {
    let policy = objects().into_iter().find(|object| object.contains("kind: PoolPolicy")).unwrap();
    let policy = policy.replace("# heartbeat:", "heartbeat:");
    let world = world(&format!("{GATEWAY}{}{policy}", secure_pool()));
    assert_eq!(world.pools[0].timeouts.heartbeat, Some(std::time::Duration::from_secs(15)));
}

#[test]
fn the_documented_placement_parameters_have_the_published_values() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manifests.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split("### Placement rules").nth(1).unwrap();
    for placement in Placement::ALL {
        assert!(section.contains(&format!("`{}`", placement.as_str())), "{}", placement.as_str());
    }
    let block = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let mut seen = Vec::new();
    for written in block.split("placement:").skip(1) {
        let policy = format!(
            "apiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {{name: p}}\nspec:\n  \
             poolRef: {{name: p}}\n  placement:{}\n---\n",
            written.trim_end().replace('\n', "\n  ")
        );
        let placement = world(&format!("{GATEWAY}{}{policy}", pool("p", 8000))).pools[0].policy.placement;
        assert!(Placement::ALL.contains(&placement), "{placement:?}");
        seen.push(placement.as_str());
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
}
