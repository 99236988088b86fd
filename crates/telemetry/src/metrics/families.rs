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

/// All families.
#[derive(Debug)]
pub(super) struct Families {
    // Metrics of the Gateway API Inference Extension.
    pub(super) requests: Family<Model, Counter>,
    pub(super) request_errors: Family<ModelError, Counter>,
    pub(super) duration: Family<Model, Histogram>,
    pub(super) request_bytes: Family<Model, Histogram>,
    pub(super) response_bytes: Family<Model, Histogram>,
    pub(super) input_tokens: Family<Model, Histogram>,
    pub(super) output_tokens: Family<Model, Histogram>,
    pub(super) ntpot: Family<Model, Histogram>,
    pub(super) running: Family<ModelRunning, Gauge>,
    pub(super) scheduler: Histogram,
    // Per request.
    pub(super) outcomes: Family<RequestOutcome, Counter>,
    pub(super) ttft: Family<Model, Histogram>,
    pub(super) tpot: Family<Model, Histogram>,
    pub(super) cached_tokens: Family<Model, Counter>,
    // Per pool and endpoint.
    pub(super) decision: Family<Pool, Histogram>,
    pub(super) body_wait: Family<Pool, Histogram>,
    pub(super) attempts: Family<Pool, Counter>,
    pub(super) retries: Family<Cause, Counter>,
    pub(super) retries_denied: Family<Pool, Counter>,
    pub(super) streams: Family<Pool, Gauge>,
    pub(super) endpoint_requests: Family<Endpoint, Counter>,
    pub(super) endpoint_failures: Family<EndpointCause, Counter>,
    pub(super) ejections: Family<EndpointCause, Counter>,
    pub(super) scrapes: Family<Endpoint, Counter>,
    pub(super) scrape_failures: Family<Endpoint, Counter>,
    // Per process.
    pub(super) client_connections: Gauge,
    pub(super) configuration_generation: Gauge,
    pub(super) configuration_errors: Gauge,
    pub(super) certificate_reloads: Family<Reload, Counter>,
    pub(super) dropped_spans: Counter,
}

impl Default for Families {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            request_errors: Family::default(),
            duration: Family::new(buckets::duration),
            request_bytes: Family::new(buckets::request_bytes),
            response_bytes: Family::new(buckets::response_bytes),
            input_tokens: Family::new(buckets::input_tokens),
            output_tokens: Family::new(buckets::output_tokens),
            ntpot: Family::new(buckets::ntpot),
            running: Family::default(),
            scheduler: buckets::scheduler(),
            outcomes: Family::default(),
            ttft: Family::new(buckets::ttft),
            tpot: Family::new(buckets::tpot),
            cached_tokens: Family::default(),
            decision: Family::new(buckets::decision),
            body_wait: Family::new(buckets::body_wait),
            attempts: Family::default(),
            retries: Family::default(),
            retries_denied: Family::default(),
            streams: Family::default(),
            endpoint_requests: Family::default(),
            endpoint_failures: Family::default(),
            ejections: Family::default(),
            scrapes: Family::default(),
            scrape_failures: Family::default(),
            client_connections: Gauge::default(),
            configuration_generation: Gauge::default(),
            configuration_errors: Gauge::default(),
            certificate_reloads: Family::default(),
            dropped_spans: Counter::default(),
        }
    }
}

impl Families {
    pub(super) fn outcome(&self, pool: &str, outcome: &'static str, reason: &'static str) -> Counter {
        self.outcomes.get(&RequestOutcome { pool: pool.into(), outcome, reason })
    }

    /// Registers every family. Counter names lack `_total`, which the encoder adds.
    pub(super) fn register(&self, build: &BuildInfo) -> Registry {
        let mut registry = Registry::default();
        self.register_models(&mut registry);
        self.register_pools(&mut registry);
        self.register_endpoints(&mut registry);
        self.register_process(&mut registry, build);
        registry
    }

    /// The extension's request metrics under both of its prefixes: `inference_model` up to v1.0 and
    /// `inference_objective` from v1.1 on. Both share the same series.
    fn register_models(&self, registry: &mut Registry) {
        for subject in ["inference_model", "inference_objective"] {
            let registry = registry.sub_registry_with_prefix(subject);
            registry.register("request", "Requests by public model and target model", self.requests.clone());
            registry.register(
                "request_error",
                "Requests that ended in an error, by error code",
                self.request_errors.clone(),
            );
            registry.register(
                "request_duration_seconds",
                "Time from a request's arrival to the end of its response",
                self.duration.clone(),
            );
            registry.register("request_sizes", "Size of request bodies in bytes", self.request_bytes.clone());
            registry.register(
                "response_sizes",
                "Size of response bodies in bytes",
                self.response_bytes.clone(),
            );
            registry.register(
                "input_tokens",
                "Prompt tokens per request, as the engine counts them",
                self.input_tokens.clone(),
            );
            registry.register("output_tokens", "Output tokens per request", self.output_tokens.clone());
            registry.register(
                "normalized_time_per_output_token_seconds",
                "Request duration divided by output tokens",
                self.ntpot.clone(),
            );
            registry.register("running_requests", "Requests in progress", self.running.clone());
        }
    }

    fn register_pools(&self, registry: &mut Registry) {
        registry.register(
            "pointsman_requests",
            "Requests by outcome and reason of failure",
            self.outcomes.clone(),
        );
        registry.register(
            "pointsman_time_to_first_token_seconds",
            "Time from a request's arrival to its first output token",
            self.ttft.clone(),
        );
        registry.register(
            "pointsman_time_per_output_token_seconds",
            "Mean time per output token after the first",
            self.tpot.clone(),
        );
        registry.register(
            "pointsman_cached_prompt_tokens",
            "Prompt tokens that engines read from their prefix caches",
            self.cached_tokens.clone(),
        );
        registry.register(
            "pointsman_decision_duration_seconds",
            "Time to choose an endpoint, without waiting in a queue",
            self.decision.clone(),
        );
        registry.register(
            "pointsman_request_body_wait_seconds",
            "Time from a request's headers to the end of its body, where the body is buffered",
            self.body_wait.clone(),
        );
        registry.register(
            "pointsman_attempts",
            "Requests sent to endpoints, retries included",
            self.attempts.clone(),
        );
        registry.register(
            "pointsman_retries",
            "Retries, by the failure of the attempt before",
            self.retries.clone(),
        );
        registry.register(
            "pointsman_retries_denied",
            "Attempts that were not retried because the retry budget was exhausted",
            self.retries_denied.clone(),
        );
        registry.register(
            "pointsman_streams_in_flight",
            "Streamed responses in progress",
            self.streams.clone(),
        );
    }

    fn register_endpoints(&self, registry: &mut Registry) {
        registry.register(
            "pointsman_endpoint_requests",
            "Attempts at an endpoint",
            self.endpoint_requests.clone(),
        );
        registry.register(
            "pointsman_endpoint_failures",
            "Failed attempts and broken streams of an endpoint, by cause",
            self.endpoint_failures.clone(),
        );
        registry.register(
            "pointsman_endpoint_ejections",
            "Ejections of an endpoint from placement, by cause",
            self.ejections.clone(),
        );
        registry.register(
            "pointsman_endpoint_scrapes",
            "Scrapes of an endpoint's metrics",
            self.scrapes.clone(),
        );
        registry.register(
            "pointsman_endpoint_scrape_failures",
            "Scrapes of an endpoint's metrics that failed",
            self.scrape_failures.clone(),
        );
    }

    fn register_process(&self, registry: &mut Registry, build: &BuildInfo) {
        registry.register(
            "inference_extension_scheduler_e2e_duration_seconds",
            "Time to choose an endpoint, over all pools",
            self.scheduler.clone(),
        );
        registry.register(
            "pointsman_client_connections",
            "Open client connections",
            self.client_connections.clone(),
        );
        registry.register(
            "pointsman_configuration_generation",
            "Generation of the configuration in force",
            self.configuration_generation.clone(),
        );
        registry.register(
            "pointsman_configuration_errors",
            "Objects of the newest configuration with errors",
            self.configuration_errors.clone(),
        );
        registry.register(
            "pointsman_certificate_reloads",
            "Reloads of certificate files",
            self.certificate_reloads.clone(),
        );
        registry.register(
            "pointsman_trace_spans_dropped",
            "Trace spans that were not exported",
            self.dropped_spans.clone(),
        );
        let extension = Info::new(ExtensionBuild { commit: build.commit, build_ref: build.version });
        registry.register(
            "inference_extension",
            "The running build, under the name of the Gateway API Inference Extension",
            extension,
        );
        let own = Info::new(Build { version: build.version, commit: build.commit });
        registry.register("pointsman_build", "The running build", own);
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
