//! The quick form and the manifests that it prints.

use pointsman_config::{AppProtocol, Options, QuickOptions, SourceText, load, print_manifests, quick_form};

#[test]
fn the_printed_manifests_load_to_the_same_world() {
    let options = QuickOptions {
        port: 8081,
        engine_ca: Some("/etc/ca \"1\".pem".into()),
        engine_api_key_file: Some("key".into()),
    };
    let urls = ["http://127.0.0.1:8000", "https://gpu-1.local/", "http://[::1]:8001", "h2c://127.0.0.1:8002"];
    let world = quick_form(&urls, &options).unwrap();
    let text = print_manifests(&urls, &options).unwrap();
    let loaded = load(&[SourceText::new("folder.yaml", text)], &Options::default());
    assert_eq!(loaded.problems, []);
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
    assert_eq!(world.listeners[0].port, 8081);
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
    let none: [&str; 0] = [];
    assert!(quick_form(&none, &QuickOptions::default()).is_err());
}
