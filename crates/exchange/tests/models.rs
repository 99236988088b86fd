//! The model of a request, wherever the request names it, and the pool's rules for it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pointsman_config::models::ModelRules;
use pointsman_config::{Options, SourceText, load};
use pointsman_core::{ModelKey, PoolId};
use pointsman_exchange::{EngineRequest, Limits, Refusal, RequestHead, RequestReader, ResolveContext};
use pointsman_protocol::BlockKey;

const LIMITS: Limits = Limits { max_body_bytes: 64 << 10 };
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=x";

const POOL: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec: {gatewayClassName: pointsman, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: p}
spec:
  selector: {matchLabels: {app: p}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: e, port: {number: 9002}}
";

fn model(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: inference.networking.x-k8s.io/v1alpha2\nkind: InferenceModel\nmetadata: {{name: {name}}}\n\
         spec: {{modelName: {name}, poolRef: {{name: p}}{more}}}\n"
    )
}

fn policy(spec: &str) -> String {
    format!(
        "---\napiVersion: pointsman.dev/v1alpha1\nkind: PoolPolicy\nmetadata: {{name: p}}\nspec: {{poolRef: {{name: p}}, {spec}}}\n"
    )
}

fn rules(more: &[String]) -> Arc<ModelRules> {
    let text = [&[POOL.to_owned()], more].concat().concat();
    let loaded = load(&[SourceText::new("test.yaml", text.as_str())], &Options::default());
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    Arc::clone(&loaded.world.pools[0].models)
}

/// A pool that serves `public`, as `target`, and `cheap`, sheddable; nothing else.
fn strict() -> Arc<ModelRules> {
    rules(&[
        model("public", ", targetModels: [{name: target}]"),
        model("cheap", ", criticality: Sheddable"),
        policy("undeclaredModels: reject"),
    ])
}

struct Sent {
    request: EngineRequest,
    /// The body as the engine gets it.
    body: String,
}

/// Sends a POST through reading and rules, in chunks of 7 bytes.
fn send(rules: &ModelRules, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<Sent, Refusal> {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        })
        .collect();
    let method = if headers.contains_key(header::UPGRADE) { Method::GET } else { Method::POST };
    let head = RequestHead { method: &method, path, headers: &headers, has_body: true, trusted: false };
    let mut reader = RequestReader::begin(&head, LIMITS)?;
    let mut chunks = body.chunks(7);
    while reader.needs_body() {
        match chunks.next() {
            Some(chunk) => reader.body_chunk(Bytes::copy_from_slice(chunk))?,
            None => reader.body_ended(),
        }
    }
    let parsed = reader.finish(|_| Ok(()))?;
    let context = ResolveContext {
        rules,
        pool: PoolId(0),
        draw: 0,
        names_path_exactly: false,
        holder: None,
        default_model: rules.default_model().map(|name| &**name),
        path,
        block_key: &BlockKey::new([1, 2]),
    };
    let mut request = parsed.resolve(&context)?;
    let mut rest = request.take_rest();
    let mut sent = request.body().map(|body| body.parts.concat()).unwrap_or_default();
    for chunk in chunks {
        if let Some(rest) = &mut rest {
            rest.push(chunk).map_err(Refusal::Body)?;
        }
        sent.extend_from_slice(chunk);
    }
    Ok(Sent { request, body: String::from_utf8_lossy(&sent).into_owned() })
}

#[track_caller]
fn refused(result: Result<Sent, Refusal>, reason: &str) {
    match result {
        Ok(sent) => panic!("not refused but {reason} due: {}", sent.body),
        Err(refusal) => assert_eq!(refusal.reason(), reason),
    }
}

fn multipart(model: &str, file_first: bool) -> String {
    let file = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\0\r\n";
    let field = format!("--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n");
    if file_first { format!("{file}{field}--x--\r\n") } else { format!("{field}{file}--x--\r\n") }
}

/// Path, content-type and body of requests for `model`, in every way that engines read.
fn ways(model: &str) -> Vec<(String, &'static str, String)> {
    let json = format!(r#"{{"model":"{model}","prompt":"x"}}"#);
    vec![
        ("/v1/completions".into(), JSON, json.clone()),
        ("/v1/completions".into(), "text/json", json.clone()),
        ("/v1/completions".into(), "application/vnd.api+json; charset=utf-8", json.clone()),
        ("/v1/completions".into(), FORM, json.clone()),
        ("/v1/completions".into(), "text/plain", json.clone()),
        ("/v1/completions".into(), "application/octet-stream", json.clone()),
        ("/invocations".into(), JSON, json.clone()),
        ("/api/generate".into(), JSON, json.clone()),
        ("/api/generate".into(), FORM, json.clone()),
        ("/prefix/v1/completions".into(), JSON, json.clone()),
        ("/v1/completions".into(), JSON, format!("\u{feff}{json}")),
        ("/any".into(), FORM, format!("prompt=x&model={model}")),
        ("/v1/audio/transcriptions".into(), MULTIPART, multipart(model, true)),
        ("/v1/images/edits".into(), MULTIPART, multipart(model, false)),
    ]
}

#[test]
fn the_rules_hold_on_every_path_and_content_type() {
    let rules = strict();
    for (path, kind, body) in ways("public") {
        let sent = send(&rules, &path, &[("content-type", kind)], body.as_bytes())
            .unwrap_or_else(|refusal| panic!("{path} {kind}: {refusal}"));
        assert_eq!(sent.request.model().map(|name| &**name), Some("public"), "{path} {kind}");
        assert_eq!(sent.request.placement.target, Some(ModelKey::of("target")));
        assert_eq!(sent.body, body.replacen("public", "target", 1), "{path} {kind}");
    }
    for (path, kind, body) in ways("cheap") {
        let sent = send(&rules, &path, &[("content-type", kind)], body.as_bytes()).unwrap();
        assert_eq!((sent.request.placement.priority, sent.body), (-1, body), "{path} {kind}");
    }
    for (path, kind, body) in ways("nope") {
        refused(send(&rules, &path, &[("content-type", kind)], body.as_bytes()), "undeclared_model");
    }
}

#[test]
fn a_model_in_the_path_has_precedence() {
    let rules = strict();
    let azure = |model: &str| format!("/openai/deployments/{model}/chat/completions?api-version=1");
    for (body, expected) in [
        (r#"{"messages":[]}"#, r#"{"model":"target","messages":[]}"#),
        (r#"{"model":"gpt-4","messages":[]}"#, r#"{"model":"target","messages":[]}"#),
    ] {
        let sent = send(&rules, &azure("public"), &[("content-type", JSON)], body.as_bytes()).unwrap();
        assert_eq!(sent.body, expected);
        assert_eq!(sent.request.path(), Some(azure("target").as_str()));
    }
    let body = br#"{"model":"public","messages":[]}"#;
    refused(send(&rules, &azure("nope"), &[("content-type", JSON)], body), "undeclared_model");
    let sent =
        send(&rules, "/v2/models/public/infer", &[("content-type", JSON)], br#"{"inputs":[]}"#).unwrap();
    assert_eq!(
        (sent.request.path(), sent.body.as_str()),
        (Some("/v2/models/target/infer"), r#"{"inputs":[]}"#)
    );
    refused(
        send(&rules, "/v2/models/nope/infer", &[("content-type", "application/octet-stream")], b"\0\x01"),
        "undeclared_model",
    );
}

#[test]
fn what_cannot_be_read_is_refused_where_the_rules_need_a_model() {
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [u8], &'static str);
    let cases: [Case; 8] = [
        ("/v1/audio/x", &[("content-type", "audio/wav")], b"RIFF", "missing_model"),
        ("/any", &[("content-type", JSON), ("content-encoding", "br")], b"{}", "content_encoding"),
        ("/any", &[("content-type", JSON)], br#"{"model":"public","model":"nope"}"#, "invalid_body"),
        ("/any", &[("content-type", JSON)], br#"[{"model":"nope"}]"#, "invalid_body"),
        ("/any", &[("content-type", FORM)], b"model=public&model=nope", "invalid_body"),
        ("/any", &[("content-type", "multipart/form-data")], b"--x", "invalid_body"),
        ("/any", &[("content-type", JSON), ("content-type", "text/plain")], b"{}", "invalid_body"),
        ("/v1/realtime", &[("upgrade", "websocket"), ("connection", "upgrade")], b"", "missing_model"),
    ];
    for (path, fields, body, reason) in cases {
        refused(send(&strict(), path, fields, body), reason);
        let sent = send(&ModelRules::default(), path, fields, body);
        assert_eq!(sent.unwrap().body.as_bytes(), body, "without rules it passes: {path} {fields:?}");
    }
}

#[test]
fn a_second_model_in_the_rest_of_a_form_is_found() {
    let twice =
        [&multipart("public", false)[..multipart("public", false).len() - 7], &multipart("nope", false)]
            .concat();
    refused(
        send(&strict(), "/v1/audio/transcriptions", &[("content-type", MULTIPART)], twice.as_bytes()),
        "invalid_body",
    );
}

#[test]
fn a_request_without_a_model_gets_the_default() {
    let one =
        rules(&[model("public", ", targetModels: [{name: target}]"), policy("undeclaredModels: reject")]);
    let declared =
        rules(&[model("a", ""), model("b", ""), policy("undeclaredModels: reject, defaultModel: b")]);
    for (rules, name) in [(&one, "target"), (&declared, "b")] {
        for body in [r#"{"prompt":"x"}"#, r#"{"model":null,"prompt":"x"}"#, r#"{"model":"","prompt":"x"}"#] {
            let sent = send(rules, "/v1/completions", &[("content-type", JSON)], body.as_bytes()).unwrap();
            assert_eq!(sent.body, format!(r#"{{"model":"{name}","prompt":"x"}}"#));
            assert_eq!(sent.request.placement.target, Some(ModelKey::of(name)));
        }
    }
    for (path, body) in [("/v1/completions", "{}"), ("/generate", "{}"), ("/any", "{}")] {
        refused(send(&strict(), path, &[("content-type", JSON)], body.as_bytes()), "missing_model");
    }
    let tokenize = send(&ModelRules::default(), "/tokenize", &[("content-type", JSON)], b"{}").unwrap();
    assert_eq!(tokenize.body, "{}", "an API of the engine itself needs no model");
}

#[test]
fn compressed_bodies_are_decoded() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let body = r#"{"model":"public","prompt":"x"}"#;
    encoder.write_all(body.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let zstd =
        ruzstd::encoding::compress_to_vec(body.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    for (coding, encoded) in [("gzip", gzip), ("zstd", zstd)] {
        for path in ["/v1/completions", "/any"] {
            let sent = send(&strict(), path, &[("content-encoding", coding)], &encoded).unwrap();
            assert_eq!(sent.body, body.replace("public", "target"));
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(encoded.len()));
            sent.request.prepare_headers(&mut headers);
            assert!(!headers.contains_key(header::CONTENT_ENCODING));
            assert_eq!(headers[header::CONTENT_LENGTH], sent.body.len().to_string());
        }
    }
}

#[test]
fn the_length_of_a_form_follows_its_model() {
    let body = multipart("public", false);
    let length = body.len().to_string();
    let fields = [("content-type", MULTIPART), ("content-length", length.as_str())];
    let sent = send(&strict(), "/v1/audio/transcriptions", &fields, body.as_bytes()).unwrap();
    assert!(sent.request.streams(), "the file is not held");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    sent.request.prepare_headers(&mut headers);
    assert_eq!(headers[header::CONTENT_LENGTH], sent.body.len().to_string());
}
