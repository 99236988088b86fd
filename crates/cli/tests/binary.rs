//! The built binary as its user meets it: exit statuses, what it prints, signals.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

fn pointsman(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    pointsman(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A running server with the line that it printed first.
struct Server {
    process: Child,
    ready_line: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut process = pointsman(arguments).stderr(Stdio::null()).spawn().unwrap();
        let mut ready_line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready_line).unwrap();
        Self { process, ready_line }
    }

    /// The last address of the line.
    fn address(&self) -> SocketAddr {
        self.ready_line.trim().rsplit("http://").next().unwrap().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let number = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &number]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An address on which nothing listens.
fn unused() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn every_command_has_the_version_of_the_program() {
    let version = text(&run(&["--version"]).stdout);
    assert!(version.starts_with(concat!("pointsman ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
    for command in ["gateway", "epp", "bench"] {
        assert_eq!(text(&run(&[command, "--version"]).stdout), version);
    }
}

#[test]
fn a_reader_that_leaves_ends_a_command_quietly() {
    for arguments in [&["engine", "--profile", "list"][..], &["completions", "bash"], &["--help"]] {
        let mut process = pointsman(arguments).spawn().unwrap();
        drop(process.stdout.take());
        let mut errors = String::new();
        process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        process.wait().unwrap();
        assert_eq!(errors, "", "{arguments:?}");
    }
}

#[test]
fn a_reader_that_leaves_ends_every_listing_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().to_str().unwrap();
    print_manifests(folder.path(), &[]);
    for arguments in [
        &["check", manifests][..],
        &["check", "--json", manifests],
        &["simulate", "--explain-format"],
        &["gateway", "--endpoint", "http://127.0.0.1:1", "--print-manifests"],
        &["epp", "--endpoint", "http://127.0.0.1:1", "--print-envoy-config"],
        &["epp", "--help"],
        &["--version"],
    ] {
        let mut process = pointsman(arguments).spawn().unwrap();
        drop(process.stdout.take());
        let mut errors = String::new();
        process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        process.wait().unwrap();
        assert_eq!(errors, "", "{arguments:?}");
    }
}

#[test]
fn endpoints_on_the_command_line_are_the_pool_that_is_named() {
    let print = |more: &[&str]| {
        run(&[&["epp", "--endpoint", "http://127.0.0.1:1", "--print-envoy-config"], more].concat())
    };
    let named = print(&["--pool-name", "llama", "--pool-namespace", "ml"]);
    assert!(named.status.success(), "{}", text(&named.stderr));
    let folder = tempfile::tempdir().unwrap();
    print_manifests(folder.path(), &[]);
    let folder = folder.path().to_str().unwrap();
    let other = run(&["epp", "--manifests", folder, "--pool-name", "llama", "--print-envoy-config"]);
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(
        text(&other.stderr),
        "error: no pool default/llama; the configuration has default/pointsman\n"
    );
}

#[test]
fn check_names_files_that_it_cannot_read_among_the_other_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    print_manifests(folder.path(), &[]);
    std::fs::write(folder.path().join("utf-16.yaml"), [0xff, 0xfe, b'k', 0]).unwrap();
    std::fs::write(folder.path().join("wrong.yaml"), "kind: Gateway").unwrap();
    let output = run(&["check", folder.path().to_str().unwrap()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("utf-16.yaml:1:1: error: is not UTF-8 (fix: save it in that encoding)"), "{said}");
    assert!(said.contains("wrong.yaml:1:1: error: Gateway: apiVersion: is missing"), "{said}");
    let config = folder.path().join("picker.yaml");
    std::fs::write(&config, "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins: []\n").unwrap();
    let said = text(&run(&["check", config.to_str().unwrap()]).stdout);
    assert_eq!(said, "ok: 1 picker configuration in 1 file\n");
    let missing = run(&["check", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(1));
    let said = text(&missing.stdout);
    assert!(said.starts_with("/nowhere:1:1: error: cannot be read: No such file"), "{said}");
    assert!(said.contains("\n1 error, 0 warnings: "), "{said}");
}

#[test]
fn flags_without_effect_or_sense_are_refused() {
    let check = |arguments: &[&str], expected: &str| {
        let output = run(arguments);
        let errors = text(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    };
    let gateway = ["gateway", "--endpoint", "http://127.0.0.1:1"];
    let longer = ["--drain-timeout", "3s", "--handover-timeout", "4s"];
    check(&[&gateway[..], &longer].concat(), "--handover-timeout is longer than --drain-timeout");
    check(
        &[&gateway[..], &["--first-byte-timeout", "0s", "--print-manifests"]].concat(),
        "write a duration from 1ms",
    );
    check(&[&gateway[..], &["--listen", "8081"]].concat(), "such as 127.0.0.1:8081");
    check(&["gateway", "--endpoint", "http://a:1,http://b:1"], "it is several; repeat the flag for each");
    let print = ["epp", "--endpoint", "http://127.0.0.1:1", "--print-envoy-config"];
    check(&[&print[..], &["--response-bodies", "usage", "--sample", "7"]].concat(), "--sample has no effect");
    check(&[&print[..], &["--pick-timeout", "0s"]].concat(), "write a duration from 1ms");
}

#[test]
fn a_taken_port_ends_with_status_1_and_a_hint() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["gateway", "--endpoint", "http://127.0.0.1:1", "--admin", &address]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&format!("cannot listen on {address}")), "{errors}");
    assert!(errors.contains("hint: another process listens there"), "{errors}");
    let unknown = run(&["epp", "--endpoint", "http://127.0.0.1:1", "--pool-nam", "a", "--other-thing"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));
}

#[test]
fn a_gateway_is_ready_once_an_endpoint_answers() {
    let engine = unused().to_string();
    let url = format!("http://{engine}");
    let arguments = ["gateway", "--endpoint", &url, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let gateway = Server::start(&arguments);
    let admin = gateway.address();
    assert!(get(admin, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(get(admin, "/readyz?verbose").contains("[-] endpoints: none has answered yet"));
    let started = Server::start(&["engine", "--listen", &engine]);
    until("the gateway is ready", || get(admin, "/readyz").starts_with("HTTP/1.1 200"));
    drop(started);
    assert!(get(admin, "/readyz").starts_with("HTTP/1.1 200"), "it stays ready");
}

fn print_manifests(folder: &Path, more: &[&str]) {
    let arguments = [&["gateway", "--endpoint", "http://127.0.0.1:1", "--print-manifests"], more].concat();
    std::fs::write(folder.join("all.yaml"), run(&arguments).stdout).unwrap();
}

#[test]
fn printed_manifests_listen_where_the_quick_form_does_and_are_read_again_on_hangup() {
    let folder = tempfile::tempdir().unwrap();
    let listen = unused().to_string();
    print_manifests(folder.path(), &["--listen", &listen]);
    let folder = folder.path().to_str().unwrap();
    let gateway = Server::start(&["gateway", "--manifests", folder, "--admin", "127.0.0.1:0"]);
    assert!(
        gateway.ready_line.contains(&format!("listening on http://{listen}, ")),
        "{}",
        gateway.ready_line
    );
    let admin = gateway.address();
    let generation = |number: u32| get(admin, "/readyz?verbose").contains(&format!("generation {number},"));
    assert!(generation(1));
    gateway.signal("-HUP");
    until("the manifests are read again", || generation(2));
}

#[test]
fn check_looks_at_the_files_that_manifests_name() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    print_manifests(folder.path(), &["--engine-api-key-file", key.to_str().unwrap()]);
    let check = || run(&["check", folder.path().to_str().unwrap()]);
    let (missing, said) = (check(), text(&check().stdout));
    assert_eq!(missing.status.code(), Some(1), "{said}");
    assert!(
        said.contains("PoolPolicy default/pointsman: spec.engine: ") && said.contains("No such file"),
        "{said}"
    );
    std::fs::write(&key, "sk-1\n").unwrap();
    assert_eq!(check().status.code(), Some(0), "{}", text(&check().stdout));
}
