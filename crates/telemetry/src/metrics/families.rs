//! Metric families that are updated as events happen, with their names and help texts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::buckets;
use super::family::Family;
use super::labels::{
    Build, Cause, Endpoint, EndpointCause, ExtensionBuild, Model, ModelError, ModelRunning, OfPool, Pool,
    Reload, RequestOutcome,
};

/// The running build; the labels of the info metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// Version, such as `0.1.0`.
    pub version: &'static str,
    /// Commit that the build was made from; empty where unknown.
    pub commit: &'static str,
}

/// Defines [`Families`] with a field, a constructor, a name and a help text per family, and one function per group that
/// registers it. Counter names lack `_total`, which the encoder adds.
macro_rules! families {
    ($($register:ident { $($field:ident: $type:ty = $new:expr => $name:literal, $help:literal;)+ })+) => {
        /// All families.
        #[derive(Debug)]
        pub(super) struct Families {
            $($(pub(super) $field: $type,)+)+
        }

        impl Default for Families {
            fn default() -> Self {
                Self { $($($field: $new,)+)+ }
            }
        }

        impl Families {
            $(fn $register(&self, registry: &mut Registry) {
                $(registry.register($name, $help, self.$field.clone());)+
            })+
        }
    };
}

families! {
    register_extension {
        requests: Family<Model, Counter> = Family::default() =>
            "request", "Requests by public model and target model";
        request_errors: Family<ModelError, Counter> = Family::default() =>
            "request_error", "Requests that ended in an error, by error code";
        duration: Family<Model, Histogram> = Family::new(|| Histogram::new(buckets::DURATION)) =>
            "request_duration_seconds", "Time from a request's arrival to the end of its response";
        request_bytes: Family<Model, Histogram> = Family::new(|| Histogram::new(buckets::request_bytes())) =>
            "request_sizes", "Size of request bodies in bytes";
        response_bytes: Family<Model, Histogram> = Family::new(|| Histogram::new(buckets::RESPONSE_BYTES)) =>
            "response_sizes", "Size of response bodies in bytes";
        input_tokens: Family<Model, Histogram> = Family::new(|| Histogram::new(buckets::INPUT_TOKENS)) =>
            "input_tokens", "Prompt tokens per request, as the engine counts them";
        output_tokens: Family<Model, Histogram> = Family::new(|| Histogram::new(buckets::OUTPUT_TOKENS)) =>
            "output_tokens", "Output tokens per request";
        ntpot: Family<Model, Histogram> = Family::new(|| Histogram::new(buckets::NTPOT)) =>
            "normalized_time_per_output_token_seconds", "Request duration divided by output tokens";
        running: Family<ModelRunning, Gauge> = Family::default() => "running_requests", "Requests in progress";
    }
    register_own {
        outcomes: Family<RequestOutcome, Counter> = Family::default() =>
            "pointsman_requests", "Requests by outcome and reason of failure";
        ttft: Family<Model, Histogram> = Family::new(|| Histogram::new(buckets::TTFT)) =>
            "pointsman_time_to_first_token_seconds", "Time from a request's arrival to its first output token";
        tpot: Family<Model, Histogram> = Family::new(|| Histogram::new(buckets::TPOT)) =>
            "pointsman_time_per_output_token_seconds", "Mean time per output token after the first";
        cached_tokens: Family<Model, Counter> = Family::default() =>
            "pointsman_cached_prompt_tokens", "Prompt tokens that engines read from their prefix caches";
        decision: Family<Pool, Histogram> = Family::new(|| Histogram::new(buckets::DECISION)) =>
            "pointsman_decision_duration_seconds", "Time to choose an endpoint, without waiting in a queue";
        body_wait: Family<Pool, Histogram> = Family::new(|| Histogram::new(buckets::TTFT)) =>
            "pointsman_request_body_wait_seconds",
            "Time from a request's headers to the end of its body, where the body is buffered";
        attempts: Family<Pool, Counter> = Family::default() =>
            "pointsman_attempts", "Requests sent to endpoints, retries included";
        retries: Family<Cause, Counter> = Family::default() =>
            "pointsman_retries", "Retries, by the failure of the attempt before";
        retries_denied: Family<Pool, Counter> = Family::default() =>
            "pointsman_retries_denied", "Attempts that were not retried because the retry budget was exhausted";
        streams: Family<Pool, Gauge> = Family::default() =>
            "pointsman_streams_in_flight", "Streaming responses in progress";
        endpoint_requests: Family<Endpoint, Counter> = Family::default() =>
            "pointsman_endpoint_requests", "Attempts at an endpoint";
        endpoint_failures: Family<EndpointCause, Counter> = Family::default() =>
            "pointsman_endpoint_failures", "Failed attempts and broken streams of an endpoint, by cause";
        ejections: Family<EndpointCause, Counter> = Family::default() =>
            "pointsman_endpoint_ejections", "Ejections of an endpoint from placement, by cause";
        scrapes: Family<Endpoint, Counter> = Family::default() =>
            "pointsman_endpoint_scrapes", "Scrapes of an endpoint's metrics";
        scrape_failures: Family<Endpoint, Counter> = Family::default() =>
            "pointsman_endpoint_scrape_failures", "Scrapes of an endpoint's metrics that failed";
        scheduler: Histogram = Histogram::new(buckets::SCHEDULER) =>
            "inference_extension_scheduler_e2e_duration_seconds", "Time to choose an endpoint, over all pools";
        client_connections: Gauge = Gauge::default() =>
            "pointsman_client_connections", "Open client connections";
        configuration_generation: Gauge = Gauge::default() =>
            "pointsman_configuration_generation", "Generation of the configuration in force";
        configuration_errors: Gauge = Gauge::default() =>
            "pointsman_configuration_errors", "Objects of the newest configuration with errors";
        certificate_reloads: Family<Reload, Counter> = Family::default() =>
            "pointsman_certificate_reloads", "Reloads of certificate files";
        dropped_spans: Counter = Counter::default() =>
            "pointsman_trace_spans_dropped", "Trace spans that were not exported";
    }
}

impl Families {
    pub(super) fn outcome(&self, pool: &str, outcome: &'static str, reason: &'static str) -> Counter {
        self.outcomes.get(&RequestOutcome { pool: pool.into(), outcome, reason })
    }

    /// Registers every family.
    pub(super) fn register(&self, build: &BuildInfo) -> Registry {
        let mut registry = Registry::default();
        // The extension's request metrics have the prefix `inference_model` up to its v1.0 and `inference_objective`
        // from v1.1 on. Both share the same series.
        for prefix in ["inference_model", "inference_objective"] {
            self.register_extension(registry.sub_registry_with_prefix(prefix));
        }
        self.register_own(&mut registry);
        let extension = Info::new(ExtensionBuild { commit: build.commit, build_ref: build.version });
        let help = "The running build, under the name of the Gateway API Inference Extension";
        registry.register("inference_extension", help, extension);
        let own = Info::new(Build { version: build.version, commit: build.commit });
        registry.register("pointsman_build", "The running build", own);
        registry
    }

    /// Drops every series of a pool.
    pub(super) fn remove_pool(&self, pool: &str) {
        fn drop_pool<L: OfPool + Ord + Clone, M: Clone>(family: &Family<L, M>, pool: &str) {
            family.retain(|labels| labels.pool() != pool);
        }
        self.remove_models(&|labels_pool, _, _| labels_pool != pool);
        drop_pool(&self.outcomes, pool);
        drop_pool(&self.decision, pool);
        drop_pool(&self.body_wait, pool);
        drop_pool(&self.attempts, pool);
        drop_pool(&self.retries, pool);
        drop_pool(&self.retries_denied, pool);
        drop_pool(&self.streams, pool);
        self.remove_endpoints(&|labels_pool, _| labels_pool != pool);
    }

    /// Drops the series of (pool, model, target model) that do not satisfy `keep`.
    pub(super) fn remove_models(&self, keep: &dyn Fn(&str, &str, Option<&str>) -> bool) {
        let models = |l: &Model| keep(&l.pool, &l.model_name, Some(&l.target_model_name));
        self.requests.retain(models);
        self.duration.retain(models);
        self.request_bytes.retain(models);
        self.response_bytes.retain(models);
        self.input_tokens.retain(models);
        self.output_tokens.retain(models);
        self.ntpot.retain(models);
        self.ttft.retain(models);
        self.tpot.retain(models);
        self.cached_tokens.retain(models);
        self.request_errors.retain(|l| keep(&l.pool, &l.model_name, Some(&l.target_model_name)));
        self.running.retain(|l| keep(&l.pool, &l.model_name, None));
    }

    /// Drops the series of (pool, endpoint) that do not satisfy `keep`.
    pub(super) fn remove_endpoints(&self, keep: &dyn Fn(&str, &str) -> bool) {
        self.endpoint_requests.retain(|l| keep(&l.pool, &l.endpoint));
        self.endpoint_failures.retain(|l| keep(&l.pool, &l.endpoint));
        self.ejections.retain(|l| keep(&l.pool, &l.endpoint));
        self.scrapes.retain(|l| keep(&l.pool, &l.endpoint));
        self.scrape_failures.retain(|l| keep(&l.pool, &l.endpoint));
    }
}
