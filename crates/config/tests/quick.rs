//! The quick form and the manifests that it prints.

use std::time::Duration;

use pointsman_config::{
    ApiKeyHeader, AppProtocol, EngineAccess, Files, Options, QuickOptions, SourceText, load, print_manifests,
    quick_form,
};

#[test]
fn the_printed_manifests_load_to_the_same_world() {
    let access = EngineAccess {
        ca: Some("/etc/ca \"1\".pem".into()),
        api_key: Some("key".into()),
        api_key_header: ApiKeyHeader::XApiKey,
        ..EngineAccess::default()
    };
    let options = QuickOptions {
        listen: "0.0.0.0:8081".parse().unwrap(),
        access,
        engine_host: Some("engines.example.com".into()),
        first_byte_timeout: Some(Duration::from_millis(90_061_500)),
        client_keep_alive: Some(Duration::from_secs(65)),
        max_body_bytes: Some(2 << 30),
    };
    let urls = ["http://127.0.0.1:8000", "https://gpu-1.local/", "http://[::1]:8001", "h2c://127.0.0.1:8002"];
    let world = quick_form(&urls, &options).unwrap();
    let text = print_manifests(&urls, &options).unwrap();
    let loaded = load(&[SourceText::new("folder.yaml", text)], &Options::default());
    // The key stands behind an open port.
    assert_eq!(loaded.problems.len(), 1, "{:?}", loaded.problems);
    assert!(loaded.problems[0].message.contains("is open to other machines"), "{:?}", loaded.problems);
    assert_eq!(format!("{world:?}"), format!("{:?}", loaded.world));

    let pool = &world.pools[0];
    assert_eq!(pool.name.to_string(), "default/pointsman");
    assert_eq!(pool.access.ca.as_deref().unwrap().to_str(), Some("/etc/ca \"1\".pem"));
    let endpoints: Vec<_> = pool.endpoints.iter().map(|e| (&*e.host, e.port, e.protocol)).collect();
    assert_eq!(
        endpoints,
        [
            ("127.0.0.1", 8000, AppProtocol::Http),
            ("127.0.0.1", 8002, AppProtocol::H2c),
            ("::1", 8001, AppProtocol::Http),
            ("gpu-1.local", 443, AppProtocol::Https),
        ]
    );
    let listener = &world.listeners[0];
    assert_eq!((listener.address.to_string(), listener.port), ("0.0.0.0".to_owned(), 8081));
    assert_eq!(pool.access.api_key_header, ApiKeyHeader::XApiKey);
    assert_eq!(pool.timeouts.first_byte, Duration::from_millis(90_061_500));
    assert_eq!(world.gateway.max_body_bytes, 2 << 30);
    assert_eq!(world.gateway.client_timeouts.keep_alive, Duration::from_secs(65));
    assert!(world.gateway.trusted_sources.iter().any(|net| net.contains("127.0.0.1".parse().unwrap())));
}

#[test]
fn invalid_urls_are_reported_with_the_reason() {
    #[track_caller]
    fn check(url: &str, reason: &str) {
        let error = quick_form(&[url], &QuickOptions::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{url:?} is not an endpoint: {reason}; write it like http://127.0.0.1:8000")
        );
    }
    check("127.0.0.1:8000", "it has no scheme");
    check("ftp://127.0.0.1", "its scheme is not http, https or h2c");
    check("http://127.0.0.1:8000/v1", "it has a path or a query; clients send the path");
    check("http://me@127.0.0.1", "it contains a user name; use --engine-api-key-file for API keys");
    check("http://127.0.0.1:0", "its port is not valid");
    check("http://127.0.0.1:+80", "its port is not valid");
    check("http://127.0.0.1:", "its port is not valid");
    check("http://[::1", "a bracket is not closed");
    check("http://[::g]", "its address is not an IPv6 address");
    check("http://", "its host is neither a host name nor an IP address");
    check("http://a b", "its host is neither a host name nor an IP address");
    check("http://a:1,http://b:1", "it is several; repeat the flag for each");
    let none: [&str; 0] = [];
    assert!(quick_form(&none, &QuickOptions::default()).is_err());
}

#[test]
fn a_listener_is_on_loopback_unless_the_manifest_names_an_address() {
    let text = print_manifests(&["http://127.0.0.1:8000"], &QuickOptions::default()).unwrap();
    let address = |text: &str| {
        let loaded = load(&[SourceText::new("a.yaml", text)], &Options::default());
        assert!(!loaded.has_errors(), "{:?}", loaded.problems);
        loaded.world.listeners[0].address.to_string()
    };
    assert_eq!(address(&text), "127.0.0.1");
    let with =
        |addresses: &str| text.replace("  listeners:", &format!("  addresses: {addresses}\n  listeners:"));
    assert_eq!(address(&with("[{value: \"::\"}]")), "::");
    assert_eq!(address(&with("[{type: IPAddress, value: 10.0.0.7}]")), "10.0.0.7");
    assert_eq!(address(&with("[{type: NamedAddress, value: llm-ip}]")), "127.0.0.1");
}

#[test]
fn files_are_named_with_the_place_that_names_them() {
    let access = EngineAccess { api_key: Some("k".into()), ..EngineAccess::default() };
    let options = QuickOptions { access, ..QuickOptions::default() };
    let text = print_manifests(&["http://127.0.0.1:8000"], &options).unwrap();
    let loaded = load(&[SourceText::new("folder/a.yaml", text)], &Options::default());
    let [named] = loaded.files.as_slice() else { panic!("{:?}", loaded.files) };
    assert!(matches!(&named.files, Files::EngineAccess(access) if access.api_key == Some("folder/k".into())));
    let problem = named.problem("is missing".into()).to_string();
    assert!(problem.contains("PoolPolicy default/pointsman: spec.engine: is missing"), "{problem}");
}
