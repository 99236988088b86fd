//! Where spans go, from OpenTelemetry's own environment variables
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::otlp::Encoding;

/// Where spans go.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpOptions {
    /// The URL that traces are posted to.
    pub endpoint: String,
    /// How batches are written, as in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub encoding: Encoding,
    /// Headers of each export, as in `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: HeaderMap,
    /// The `service.name` of this process, as in `OTEL_SERVICE_NAME`.
    pub service: String,
    /// The version of this process.
    pub version: String,
    /// The share of traces to record among those that begin here, 0 to 1, as in `OTEL_TRACES_SAMPLER_ARG`.
    pub share: f64,
}

/// Why traces cannot be exported as configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// The endpoint is no URL with a host.
    #[error("OTLP endpoint {0:?} is not a URL such as http://127.0.0.1:4318")]
    Endpoint(String),
    /// The endpoint needs TLS.
    #[error(
        "OTLP endpoint {0:?} needs TLS, which the exporter does not speak; send to a collector nearby by http://"
    )]
    Tls(String),
    /// The protocol is another.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is {0:?}; traces are exported by http/protobuf or http/json")]
    Protocol(String),
    /// The sampler is not known.
    #[error("OTEL_TRACES_SAMPLER is {0:?}; known are parentbased_always_on, _always_off and _traceidratio")]
    Sampler(String),
    /// The share is no share.
    #[error("the share of traces to record is {0:?}, and must be between 0 and 1")]
    Share(String),
    /// The headers are no list of headers.
    #[error("OTEL_EXPORTER_OTLP_HEADERS is not a list of name=value")]
    Headers,
}

impl OtlpOptions {
    /// The options that `variable`, which looks up an environment variable, amounts to; `None` where no endpoint is
    /// set or tracing is turned off. `endpoint` goes before `OTEL_EXPORTER_OTLP_ENDPOINT`; to both, `/v1/traces` is
    /// added. Variables for traces (`OTEL_EXPORTER_OTLP_TRACES_…`) go before those for all signals.
    ///
    /// # Errors
    ///
    /// When a variable asks for what the exporter cannot do: ignoring it would lose traces silently.
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
        let below = |base: String| format!("{}/v1/traces", base.trim_end_matches('/'));
        let endpoint = match (endpoint, variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")) {
            (Some(base), _) => below(base),
            (None, Some(whole)) => whole,
            (None, None) => match variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
                Some(base) => below(base),
                None => return Ok(None),
            },
        };
        let encoding = match exporter("PROTOCOL").as_deref() {
            None | Some("http/protobuf") => Encoding::Protobuf,
            Some("http/json") => Encoding::Json,
            Some(other) => return Err(OtlpError::Protocol(other.into())),
        };
        let options = Self {
            endpoint,
            encoding,
            headers: exporter("HEADERS")
                .map_or_else(|| Ok(HeaderMap::new()), |list| headers(&list).ok_or(OtlpError::Headers))?,
            service: variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "pointsman".into()),
            version: version.into(),
            share: share(variable("OTEL_TRACES_SAMPLER").as_deref(), variable("OTEL_TRACES_SAMPLER_ARG"))?,
        };
        options.url()?;
        Ok(Some(options))
    }

    /// The endpoint, once it is clear that the exporter can reach it.
    pub(super) fn url(&self) -> Result<Uri, OtlpError> {
        let error = || OtlpError::Endpoint(self.endpoint.clone());
        let url: Uri = self.endpoint.parse().map_err(|_| error())?;
        match url.scheme_str() {
            Some("http") if url.query().is_none() => Ok(url),
            Some("https") => Err(OtlpError::Tls(self.endpoint.clone())),
            Some(_) | None => Err(error()),
        }
    }
}

/// The share of new traces that a sampler records. What a parent says is followed in every case.
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

/// `name=value` pairs set off by commas, their values percent-encoded.
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
    fn without_an_endpoint_nothing_is_exported() {
        assert_eq!(options(&[]), Ok(None));
        assert_eq!(options(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(options(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(options(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    }

    #[test]
    fn traces_are_posted_below_the_endpoints_path() {
        let check = |variables: &[(&str, &str)], expected: Result<&str, OtlpError>| {
            let url = options(variables).map(|options| options.unwrap().url().unwrap().to_string());
            assert_eq!(url, expected.map(str::to_owned), "{variables:?}");
        };
        let base = |endpoint| [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
        check(&base("http://collector:4318"), Ok("http://collector:4318/v1/traces"));
        check(&base("http://collector:4318/"), Ok("http://collector:4318/v1/traces"));
        check(&base("http://[::1]:4318/otel"), Ok("http://[::1]:4318/otel/v1/traces"));
        check(&base("https://collector"), Err(OtlpError::Tls("https://collector/v1/traces".into())));
        check(&base("collector:4318"), Err(OtlpError::Endpoint("collector:4318/v1/traces".into())));
        check(
            &base("http://collector?a=b"),
            Err(OtlpError::Endpoint("http://collector?a=b/v1/traces".into())),
        );
        check(&base("grpc://collector"), Err(OtlpError::Endpoint("grpc://collector/v1/traces".into())));
        check(&base("not a url"), Err(OtlpError::Endpoint("not a url/v1/traces".into())));
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318/in");
        check(&[ENDPOINT, whole], Ok("http://traces:4318/in"));
        let flag = OtlpOptions::from_env(Some("http://flag:4318".into()), "1.2.3", |_| Some(String::new()));
        assert_eq!(flag.unwrap().unwrap().endpoint, "http://flag:4318/v1/traces");
    }

    #[test]
    fn the_sampler_says_which_new_traces_are_recorded() {
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
    fn a_protocol_that_is_not_spoken_is_refused() {
        let check = |protocol: &str, expected: Result<Encoding, OtlpError>| {
            let options = options(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
            assert_eq!(options.map(|options| options.unwrap().encoding), expected, "{protocol}");
        };
        check("", Ok(Encoding::Protobuf));
        check("http/protobuf", Ok(Encoding::Protobuf));
        check("http/json", Ok(Encoding::Json));
        check("grpc", Err(OtlpError::Protocol("grpc".into())));
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
