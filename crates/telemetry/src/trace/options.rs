//! Where and how spans are exported, from OpenTelemetry's environment variables
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::error::OtlpError;
use super::tls::TlsFiles;

/// Default of `OTEL_EXPORTER_OTLP_TIMEOUT`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Path of traces below the base URL of an OTLP/HTTP collector.
const TRACES_PATH: &str = "/v1/traces";

/// Encoding and transport of exports, as in `OTEL_EXPORTER_OTLP_PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `grpc`: protobuf messages in a gRPC call; collectors listen on port 4317.
    Grpc,
    /// `http/protobuf`, OpenTelemetry's default: protobuf messages in HTTP posts; collectors listen on port 4318.
    HttpProtobuf,
}

/// Where and how spans are exported.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpOptions {
    /// URL of the collector with scheme and host; for HTTP, with the path to post to.
    pub(super) endpoint: Uri,
    pub(super) protocol: Protocol,
    /// Headers of each export, as in `OTEL_EXPORTER_OTLP_HEADERS`.
    pub(super) headers: HeaderMap,
    /// Time limit of one export.
    pub(super) timeout: Duration,
    pub(super) tls: TlsFiles,
    /// The `service.name` of this process, as in `OTEL_SERVICE_NAME`.
    pub(super) service: String,
    /// The `service.version` of this process.
    pub(super) version: String,
    /// Share of traces to record among those without a parent, 0 to 1, as in `OTEL_TRACES_SAMPLER_ARG`.
    pub(super) share: f64,
}

impl OtlpOptions {
    /// Reads the options through `variable`, which looks up an environment variable. Returns `None` where no endpoint
    /// is set or tracing is turned off.
    ///
    /// `endpoint` takes precedence over `OTEL_EXPORTER_OTLP_ENDPOINT`; over HTTP, `/v1/traces` is appended to both.
    /// Variables for traces (`OTEL_EXPORTER_OTLP_TRACES_…`) take precedence over those for all signals.
    ///
    /// # Errors
    ///
    /// When a variable has a value that the exporter does not support: to ignore it would lose traces silently.
    pub fn from_env(
        endpoint: Option<String>,
        version: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, OtlpError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let exporter = |name: &str| {
            let specific = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            specific.or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let is = |name: &str, off: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(off));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        let protocol = match exporter("PROTOCOL").as_deref() {
            None | Some("http/protobuf") => Protocol::HttpProtobuf,
            Some("grpc") => Protocol::Grpc,
            Some(other) => return Err(OtlpError::Protocol(other.into())),
        };
        let traces_endpoint = endpoint.is_none().then(|| variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"));
        let endpoint = match traces_endpoint.flatten() {
            Some(complete) => complete,
            None => match endpoint.or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT")) {
                Some(base) => below_base(&base, protocol),
                None => return Ok(None),
            },
        };
        let headers = exporter("HEADERS").map(|list| headers(&list).ok_or(OtlpError::Headers));
        let client = match (exporter("CLIENT_CERTIFICATE"), exporter("CLIENT_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(OtlpError::ClientIdentity),
        };
        Ok(Some(Self {
            endpoint: url(&endpoint).ok_or(OtlpError::Endpoint(endpoint))?,
            protocol,
            headers: headers.transpose()?.unwrap_or_default(),
            timeout: exporter("TIMEOUT").map_or(Ok(DEFAULT_TIMEOUT), timeout)?,
            tls: TlsFiles { authorities: exporter("CERTIFICATE").map(Into::into), client },
            service: variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "pointsman".into()),
            version: version.into(),
            share: share(variable("OTEL_TRACES_SAMPLER").as_deref(), variable("OTEL_TRACES_SAMPLER_ARG"))?,
        }))
    }
}

fn below_base(base: &str, protocol: Protocol) -> String {
    match protocol {
        Protocol::Grpc => base.into(),
        Protocol::HttpProtobuf => format!("{}{TRACES_PATH}", base.trim_end_matches('/')),
    }
}

fn url(endpoint: &str) -> Option<Uri> {
    let url: Uri = endpoint.parse().ok()?;
    (matches!(url.scheme_str(), Some("http" | "https")) && url.query().is_none()).then_some(url)
}

fn timeout(milliseconds: String) -> Result<Duration, OtlpError> {
    match milliseconds.parse() {
        Ok(value @ 1..) => Ok(Duration::from_millis(value)),
        Ok(0) | Err(_) => Err(OtlpError::Timeout(milliseconds)),
    }
}

/// The share of new traces that a sampler records. A parent's decision is followed whatever the share.
fn share(sampler: Option<&str>, argument: Option<String>) -> Result<f64, OtlpError> {
    match sampler {
        None | Some("parentbased_always_on") => Ok(1.0),
        Some("parentbased_always_off") => Ok(0.0),
        Some("parentbased_traceidratio") => {
            let argument = argument.unwrap_or_else(|| "1".into());
            let share = argument.parse().ok().filter(|share| (0.0..=1.0).contains(share));
            share.ok_or(OtlpError::Share(argument))
        }
        Some(other) => Err(OtlpError::Sampler(other.into())),
    }
}

/// Parses comma-separated `name=value` pairs with percent-encoded values.
fn headers(list: &str) -> Option<HeaderMap> {
    list.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            let mut value = HeaderValue::from_bytes(&percent_decoded(value.trim())?).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        out.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(variables: &[(&str, &str)]) -> Result<Option<OtlpOptions>, OtlpError> {
        OtlpOptions::from_env(None, "1.2.3", |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        assert_eq!(options(&[]), Ok(None));
        assert_eq!(options(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(options(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(options(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    }

    #[test]
    fn traces_are_posted_below_the_base_url() {
        let check = |variables: &[(&str, &str)], expected: Result<&str, &str>| {
            let url = options(variables).map(|options| options.unwrap().endpoint.to_string());
            let expected = expected.map(str::to_owned).map_err(|url| OtlpError::Endpoint(url.into()));
            assert_eq!(url, expected, "{variables:?}");
        };
        let base = |endpoint| [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
        check(&base("http://collector:4318"), Ok("http://collector:4318/v1/traces"));
        check(&base("http://collector:4318/"), Ok("http://collector:4318/v1/traces"));
        check(&base("http://[::1]:4318/otel"), Ok("http://[::1]:4318/otel/v1/traces"));
        check(&base("https://collector"), Ok("https://collector/v1/traces"));
        check(&base("collector:4318"), Err("collector:4318/v1/traces"));
        check(&base("http://collector?a=b"), Err("http://collector?a=b/v1/traces"));
        check(&base("grpc://collector"), Err("grpc://collector/v1/traces"));
        check(&base("not a url"), Err("not a url/v1/traces"));
        let complete = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/in");
        check(&[ENDPOINT, complete], Ok("http://traces:4318/in"));
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        check(
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4317"), grpc],
            Ok("https://collector:4317/"),
        );
        check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"), grpc], Err("collector:4317"));
        let flag = OtlpOptions::from_env(Some("http://flag:4318".into()), "1.2.3", |name| {
            name.ends_with("_ENDPOINT").then(|| "http://variable:4318".into())
        });
        assert_eq!(flag.unwrap().unwrap().endpoint, "http://flag:4318/v1/traces");
    }

    #[test]
    fn the_sampler_sets_the_share_of_new_traces() {
        let check = |sampler: &str, argument: &str, expected: Result<f64, OtlpError>| {
            let variables =
                [ENDPOINT, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            let share = options(&variables).map(|options| options.unwrap().share);
            assert_eq!(share, expected, "{sampler} {argument}");
        };
        check("", "", Ok(1.0));
        check("parentbased_always_on", "", Ok(1.0));
        check("parentbased_always_off", "", Ok(0.0));
        check("parentbased_traceidratio", "0.25", Ok(0.25));
        check("parentbased_traceidratio", "", Ok(1.0));
        check("parentbased_traceidratio", "2", Err(OtlpError::Share("2".into())));
        check("parentbased_traceidratio", "NaN", Err(OtlpError::Share("NaN".into())));
        check("xray", "", Err(OtlpError::Sampler("xray".into())));
    }

    #[test]
    fn unsupported_protocols_are_refused() {
        let check = |protocol: &str, expected: Option<Protocol>| {
            let options = options(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
            let expected = expected.ok_or_else(|| OtlpError::Protocol(protocol.into()));
            assert_eq!(options.map(|options| options.unwrap().protocol), expected, "{protocol}");
        };
        check("", Some(Protocol::HttpProtobuf));
        check("http/protobuf", Some(Protocol::HttpProtobuf));
        check("grpc", Some(Protocol::Grpc));
        check("http/json", None);
        check("thrift", None);
    }

    #[test]
    fn the_time_limit_is_in_milliseconds() {
        let check = |limit: &str, expected: Option<u64>| {
            let options = options(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", limit)]);
            let expected =
                expected.map(Duration::from_millis).ok_or_else(|| OtlpError::Timeout(limit.into()));
            assert_eq!(options.map(|options| options.unwrap().timeout), expected, "{limit}");
        };
        check("", Some(10_000));
        check("250", Some(250));
        check("0", None);
        check("10s", None);
    }

    #[test]
    fn a_client_certificate_needs_its_key() {
        let certificate = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/tls/client.pem");
        let key = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/tls/key.pem");
        assert_eq!(options(&[ENDPOINT, certificate]), Err(OtlpError::ClientIdentity));
        assert_eq!(options(&[ENDPOINT, key]), Err(OtlpError::ClientIdentity));
        let files = options(&[ENDPOINT, certificate, key]).unwrap().unwrap().tls;
        assert_eq!(files.client, Some(("/tls/client.pem".into(), "/tls/key.pem".into())));
    }

    #[test]
    fn headers_are_decoded_and_kept_out_of_debug_output() {
        let check = |list: &str, expected: Option<&[(&str, &str)]>| {
            let headers = options(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_HEADERS", list)]);
            let Some(expected) = expected else {
                assert_eq!(headers, Err(OtlpError::Headers), "{list}");
                return;
            };
            let headers = headers.unwrap().unwrap().headers;
            let found: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            assert_eq!(found, expected, "{list}");
            assert!(!format!("{headers:?}").contains("secret"));
        };
        check(
            "authorization=Basic%20secret, x-tenant=a",
            Some(&[("authorization", "Basic secret"), ("x-tenant", "a")]),
        );
        check("a=b=c,", Some(&[("a", "b=c")]));
        check("a", None);
        check("a=%2", None);
        check("a=%zz", None);
        check("a=%0a", None);
        check("ä=b", None);
    }
}
