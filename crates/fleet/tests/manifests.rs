//! Manifests in files: every form of change is noticed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;

use pointsman_config::Options;
use pointsman_fleet::manifests::Watch;

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

async fn texts(watch: &mut Watch) -> Vec<String> {
    let sources = watch.next().await.sources.unwrap();
    sources.iter().map(|source| source.text.to_string()).collect()
}

fn start(folder: &Path) -> Watch {
    Watch::start(vec![folder.to_owned()]).unwrap().1
}

#[tokio::test]
async fn changed_added_and_removed_files_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", "one");
    let mut watch = start(folder.path());
    write(folder.path(), "a.yaml", "two, longer");
    assert_eq!(texts(&mut watch).await, ["two, longer"]);
    write(folder.path(), "b.yaml", "new");
    assert_eq!(texts(&mut watch).await, ["two, longer", "new"]);
    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    assert_eq!(texts(&mut watch).await, ["new"]);
    std::fs::rename(folder.path().join("b.yaml"), folder.path().join("c.yaml")).unwrap();
    assert_eq!(texts(&mut watch).await, ["new"]);
    std::fs::remove_file(folder.path().join("c.yaml")).unwrap();
    assert!(texts(&mut watch).await.is_empty());
}

#[tokio::test]
async fn a_file_replaced_by_renaming_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", "old");
    let mut watch = start(folder.path());
    write(folder.path(), ".a.yaml.tmp", "new");
    std::fs::rename(folder.path().join(".a.yaml.tmp"), folder.path().join("a.yaml")).unwrap();
    assert_eq!(texts(&mut watch).await, ["new"]);
}

/// A ConfigMap volume: `a.yaml` links to `..data/a.yaml`, and the link `..data` is replaced atomically.
#[tokio::test]
async fn an_updated_config_map_volume_is_noticed_and_read_consistently() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let fill = |version: &str| {
        std::fs::create_dir(root.join(version)).unwrap();
        write(&root.join(version), "a.yaml", &format!("a {version}"));
        write(&root.join(version), "b.yaml", &format!("b {version}"));
    };
    fill("..1");
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    symlink("..data/b.yaml", root.join("b.yaml")).unwrap();
    let mut watch = start(root);
    for version in ["..2", "..3"] {
        fill(version);
        symlink(version, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        assert_eq!(texts(&mut watch).await, [format!("a {version}"), format!("b {version}")]);
    }
}

#[tokio::test]
async fn a_link_to_an_unwatched_folder_is_noticed() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(elsewhere.path(), "a.yaml", "old");
    symlink(elsewhere.path().join("a.yaml"), folder.path().join("a.yaml")).unwrap();
    let mut watch = start(folder.path());
    write(elsewhere.path(), "a.yaml", "new and longer");
    assert_eq!(texts(&mut watch).await, ["new and longer"]);
}

#[tokio::test]
async fn a_removed_folder_is_reported_once_and_its_return_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifests");
    std::fs::create_dir(&path).unwrap();
    write(&path, "a.yaml", "one");
    let mut watch = start(&path);
    std::fs::remove_dir_all(&path).unwrap();
    // The files may disappear before the folder.
    while watch.next().await.sources.is_ok() {}
    std::fs::create_dir(&path).unwrap();
    write(&path, "a.yaml", "one");
    let found = loop {
        let found = texts(&mut watch).await;
        if !found.is_empty() {
            break found;
        }
    };
    assert_eq!(found, ["one"]);
}

#[tokio::test]
async fn without_a_write_there_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", "one");
    let mut watch = start(folder.path());
    let mut next = std::pin::pin!(watch.next());
    let first = tokio::time::timeout(std::time::Duration::from_millis(1_500), next.as_mut()).await;
    assert!(first.is_err(), "{first:?}");
    write(folder.path(), "a.yaml", "two, longer");
    assert!(next.await.sources.is_ok());
}

#[tokio::test]
async fn files_are_read_again_on_request_though_they_did_not_change() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", "one");
    let mut watch = start(folder.path());
    let reloader = watch.reloader();
    for _ in 0..2 {
        reloader.reload();
        assert_eq!(texts(&mut watch).await, ["one"]);
    }
}

const MANIFESTS: &str = "\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: chat, namespace: default}
spec:
  selector: {matchLabels: {app: vllm}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: epp, port: {number: 9002}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: laptop
  namespace: default
  labels: {app: vllm}
  annotations: {pointsman.dev/static-endpoints: 'true'}
addressType: IPv4
ports: [{port: 1}]
endpoints:
- addresses: [ADDRESS]
";

#[tokio::test]
async fn a_change_is_applied_and_objects_with_errors_keep_their_last_valid_version() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", &MANIFESTS.replace("ADDRESS", "127.0.0.1"));
    let (sources, watch) = Watch::start(vec![folder.path().to_owned()]).unwrap();
    let loaded = pointsman_config::load(&sources, &Options::default());
    let fleet = support::start();
    fleet.apply(loaded.world, 0).unwrap();
    let hosts = || {
        let generation = fleet.current();
        generation.pools[0]
            .endpoints
            .iter()
            .map(|endpoint| endpoint.address.host.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(hosts(), ["127.0.0.1"], "{:?}", loaded.problems);
    let (sender, told) = std::sync::mpsc::channel();
    fleet.follow(watch, loaded.objects, Options::default(), move |problems| sender.send(problems).unwrap());

    write(folder.path(), "a.yaml", &MANIFESTS.replace("ADDRESS", "127.0.0.2, 127.0.0.3"));
    support::until("the change", || hosts() == ["127.0.0.2", "127.0.0.3"]).await;
    let before = fleet.current().number;

    write(
        folder.path(),
        "a.yaml",
        &MANIFESTS.replace("ADDRESS", "127.0.0.9").replace("targetPorts", "targetSports"),
    );
    support::until("the mistake", || fleet.current().number > before).await;
    assert_eq!(hosts(), ["127.0.0.9"], "what is right is taken, and the pool with the mistake stays");
    assert!(fleet.current().problems > 0);
    let names = |problems: Vec<String>| {
        problems.iter().any(|line| line.contains("a.yaml") && line.contains("targetSports"))
    };
    support::until("the mistake's line", || told.try_iter().any(names)).await;

    std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
    support::until("the deletion", || fleet.current().pools.is_empty()).await;
    fleet.stop().await;
}
