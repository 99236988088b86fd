//! `pointsman epp`, its printed bootstrap and `pointsman check --picker` accept and refuse the same, with the same words.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn pointsman(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    pointsman(arguments).output().unwrap()
}

/// The lines of errors.
fn errors(text: &str) -> Vec<String> {
    let is_error = |line: &&str| line.starts_with("error") || line.contains(": error: ");
    text.lines().filter(is_error).map(str::to_owned).collect()
}

/// Starts a picker with these flags, and ends it. Returns its errors, if it did not start.
fn start(flags: &[&str]) -> Vec<String> {
    let mut arguments = vec!["epp", "--bind", "127.0.0.1"];
    for flag in ["--grpc-port", "--grpc-health-port", "--metrics-port"] {
        if !flags.contains(&flag) {
            arguments.extend([flag, "0"]);
        }
    }
    arguments.extend(flags);
    let mut process = pointsman(&arguments).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if !line.is_empty() {
        process.kill().unwrap();
    }
    let mut said = String::new();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = process.wait().unwrap();
    let errors = errors(&said);
    assert_eq!(errors.is_empty(), line.contains("ready"), "{flags:?}: {status} {line} {said}");
    errors
}

fn print(flags: &[&str]) -> Vec<String> {
    let output = run(&[&["epp", "--print-envoy-config"], flags].concat());
    let errors = errors(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(errors.is_empty(), output.status.success(), "{flags:?}: {output:?}");
    assert_eq!(errors.is_empty(), !output.stdout.is_empty(), "{flags:?}");
    errors
}

/// `expected` is a part of the message, or empty where all is well.
#[track_caller]
fn check(flags: &[&str], expected: &str) {
    let (started, printed) = (start(flags), print(flags));
    assert_eq!(started, printed, "{flags:?}");
    let is_expected =
        if expected.is_empty() { started.is_empty() } else { started.concat().contains(expected) };
    assert!(is_expected, "{flags:?}: {started:?}");
}

#[test]
fn the_server_and_the_printed_bootstrap_refuse_the_same_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca = file("ca.pem", &certificate.cert.pem());
    let no_ca = file("none.pem", "nothing");
    let unknown = file(
        "unknown.yaml",
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: of-no-kind}]\n",
    );
    let rows: &[(&[&str], &str)] = &[
        (&["--endpoint", "http://127.0.0.1:1"], ""),
        (&["--endpoint", "http://localhost:1"], ""),
        (&["--endpoint", "http://[::1]:1"], ""),
        (&["--endpoint", "h2c://127.0.0.1:1"], ""),
        (&["--endpoint", "https://127.0.0.1:1"], ""),
        (&["--endpoint", "HTTPS://gpu-1.local", "--engine-ca", &ca], ""),
        (&["--endpoint", "https://127.0.0.1:1", "--engine-insecure-skip-verify"], ""),
        (&["--endpoint", "http://127.0.0.1:1", "--endpoint", "http://127.0.0.1:1/"], ""),
        (&["--endpoint", "http://127.0.0.1:1", "--pool-name", "pointsman"], ""),
        (&["--endpoint", "http://127.0.0.1:1", "--secure-serving=false"], ""),
        (&["--endpoint", "http://127.0.0.1:1", "--config-text", "kind: A"], "--config-text has errors"),
        (&["--endpoint", "http://127.0.0.1:1", "--config-file", &unknown], "plugins[0].type: "),
        (&["--endpoint", "http://127.0.0.1:1", "--config-file", "/nowhere"], "/nowhere: No such file"),
        (&["--endpoint", "http://127.0.0.1:70000"], "its port is not valid"),
        (&["--endpoint", "http://127.0.0.1:1/v1"], "it has a path"),
        (&["--endpoint", "127.0.0.1:1"], "it has no scheme"),
        (&["--endpoint", "http://a b"], "neither a host name nor an IP address"),
        (
            &["--endpoint", "http://127.0.0.1:1", "--endpoint", "https://127.0.0.1:2"],
            "pool default/pointsman: its endpoints use different protocols, http and https, and a gateway's cluster",
        ),
        (&["--endpoint", "http://127.0.0.1:1", "--engine-ca", &ca], "--engine-ca has no effect"),
        (&["--endpoint", "https://127.0.0.1:1", "--engine-ca", &no_ca], "none.pem"),
        (&["--endpoint", "https://127.0.0.1:1", "--engine-ca", "/nowhere"], "/nowhere"),
        (&["--endpoint", "http://127.0.0.1:1", "--engine-api-key-file", "/nowhere"], "/nowhere"),
        (&["--endpoint", "http://127.0.0.1:1", "--pool-name", "other"], ""),
        (&["--endpoint", "http://127.0.0.1:1", "--cert-path", "/nowhere"], "/nowhere/tls.crt"),
        (
            &["--endpoint", "http://127.0.0.1:1", "--cert-path", "/nowhere", "--secure-serving=false"],
            "--cert-path has no effect with --secure-serving=false",
        ),
        (
            &["--endpoint", "http://127.0.0.1:1", "--grpc-port", "9003", "--grpc-health-port", "9003"],
            "--grpc-port and --grpc-health-port are both 9003",
        ),
        (&["--endpoint", "http://127.0.0.1:1", "--kubeconfig", "a"], "--kubeconfig=a is not supported"),
        (&["--manifests", "/nowhere"], "/nowhere"),
    ];
    for (flags, expected) in rows {
        check(flags, expected);
    }
}

/// A pool with slices of these protocols, each with an address.
fn manifests(folder: &Path, protocols: &[&str], more: &str) {
    let mut text =
        "apiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata: {name: p}\nspec:\n  \
        selector: {matchLabels: {app: p}}\n  targetPorts: [{number: 8000}]\n  \
        endpointPickerRef: {name: p, port: {number: 9002}}\n"
            .to_owned();
    for (number, protocol) in (1..).zip(protocols) {
        text += &format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{number}, labels: {{app: p}}, \
             annotations: {{pointsman.dev/static-endpoints: \"true\"}}}}\naddressType: IPv4\n\
             ports: [{{port: 8000, appProtocol: {protocol}}}]\nendpoints: [{{addresses: [10.0.0.{number}]}}]\n"
        );
    }
    std::fs::write(folder.join("all.yaml"), text + more).unwrap();
}

#[test]
fn the_three_refuse_the_same_manifests() {
    let policy = |spec: &str| {
        format!(
            "---\napiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {{name: p}}\n\
             spec: {{poolRef: {{name: p}}, {spec}}}\n"
        )
    };
    let other = "---\napiVersion: inference.networking.k8s.io/v1\nkind: InferencePool\nmetadata: {name: q}\nspec: {}\n";
    for (protocols, more, expected) in [
        (&["http", "http"][..], String::new(), ""),
        (&["https"], policy("timeouts: {firstByte: 1m}"), ""),
        (&[], String::new(), ""),
        (&["http", "https"], String::new(), "InferencePool default/p: its endpoints use different protocols"),
        (&["http"], policy("engine: {apiKeyFile: nowhere}"), "spec.engine: "),
        (&["http"], policy("placement: none"), "spec.placement: "),
        (&["http"], other.to_owned(), "InferencePool default/q: "),
    ] {
        let folder = tempfile::tempdir().unwrap();
        manifests(folder.path(), protocols, &more);
        let path = folder.path().to_str().unwrap();
        check(&["--manifests", path], expected);
        let checked = run(&["check", "--picker", path]);
        let found = errors(&String::from_utf8_lossy(&checked.stdout));
        let mut started = start(&["--manifests", path]);
        started.retain(|line| !line.starts_with("error"));
        assert_eq!((checked.status.success(), found), (expected.is_empty(), started), "{protocols:?} {more}");
    }
}
