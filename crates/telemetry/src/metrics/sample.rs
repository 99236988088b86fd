//! Gauges that are computed at each scrape.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, EncodeMetric, LabelSetEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::request::float;

/// Current state of a gateway over all pools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewaySample {
    /// Requests in flight, including those without a pool.
    pub requests: u64,
    /// Bytes of buffered request bodies.
    pub held_body_bytes: u64,
}

/// Current state of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSample {
    /// The pool's `namespace/name`.
    pub pool: Arc<str>,
    /// Whether all its ready endpoints are saturated.
    pub saturated: bool,
    /// Its endpoints.
    pub endpoints: Vec<EndpointSample>,
}

/// Current state of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSample {
    /// The endpoint's `host:port`.
    pub endpoint: Arc<str>,
    /// Whether it takes requests.
    pub ready: bool,
    /// Requests that this process has at the endpoint.
    pub in_flight: u32,
    /// Prompt tokens dispatched and not yet prefilled.
    pub pending_tokens: u64,
    /// Requests waiting in the engine, from fresh metrics of the engine.
    pub waiting: Option<u32>,
    /// Requests running in the engine, from fresh metrics of the engine.
    pub running: Option<u32>,
    /// KV cache utilization from 0 to 1, from fresh metrics of the engine.
    pub kv_use: Option<f64>,
    /// Age of the last scrape that succeeded; `None` before the first.
    pub metrics_age: Option<Duration>,
    /// Whether that scrape is recent enough for placement.
    pub metrics_fresh: bool,
}

impl PoolSample {
    fn ready(&self) -> impl Iterator<Item = &EndpointSample> {
        self.endpoints.iter().filter(|endpoint| endpoint.ready)
    }

    /// Mean over the ready endpoints where the value is known.
    fn mean(&self, gauge: impl Fn(&EndpointSample) -> Option<f64>) -> Option<f64> {
        let (sum, count) =
            self.ready().filter_map(gauge).fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// The endpoints with series of their own, each with the names of its pool and itself.
    fn labelled_endpoints(&self) -> impl Iterator<Item = (&str, Option<&str>, &EndpointSample)> {
        let endpoints = self.endpoints.iter().take(super::pool::MAX_ENDPOINTS);
        endpoints.map(|endpoint| (&*self.pool, Some(&*endpoint.endpoint), endpoint))
    }

    /// Whether metrics were read and none are fresh any more, so that placement uses Pointsman's own counts alone. Engines
    /// that never had a page are no blackout.
    fn blackout(&self) -> bool {
        let had_metrics = |endpoint: &EndpointSample| endpoint.metrics_age.is_some();
        self.endpoints.iter().any(had_metrics)
            && !self.endpoints.iter().any(|endpoint| endpoint.metrics_fresh)
    }
}

pub(super) struct PoolCollector(pub(super) Box<dyn Fn() -> Vec<PoolSample> + Send + Sync>);

impl fmt::Debug for PoolCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolCollector")
    }
}

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let pools = (self.0)();
        for gauge in POOL_GAUGES {
            gauge.encode(&mut encoder, pools.iter().map(|pool| (&*pool.pool, None, pool)))?;
        }
        let endpoints = || pools.iter().flat_map(PoolSample::labelled_endpoints);
        for gauge in ENDPOINT_GAUGES {
            gauge.encode(&mut encoder, endpoints())?;
        }
        Ok(())
    }
}

pub(super) struct GatewayCollector(pub(super) Box<dyn Fn() -> GatewaySample + Send + Sync>);

impl fmt::Debug for GatewayCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewayCollector")
    }
}

impl Collector for GatewayCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let GatewaySample { requests, held_body_bytes } = (self.0)();
        for (name, help, value) in [
            ("pointsman_requests_in_flight", "Requests in flight, over all pools.", requests),
            ("pointsman_held_body_bytes", "Bytes of buffered request bodies.", held_body_bytes),
        ] {
            let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(float(value)).encode(family)?;
        }
        Ok(())
    }
}

/// A gauge of pools or endpoints. Series under the extension's names have its labels.
struct SampleGauge<S> {
    name: &'static str,
    help: &'static str,
    value: fn(&S) -> Option<f64>,
}

impl<S> SampleGauge<S> {
    /// Encodes one series per sample, each with the names of its pool and its endpoint, if it is of one.
    fn encode<'a>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        samples: impl Iterator<Item = (&'a str, Option<&'a str>, &'a S)>,
    ) -> fmt::Result
    where
        S: 'a,
    {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        let is_extension = self.name.starts_with("inference_pool_");
        for (pool, endpoint, sample) in samples {
            let Some(value) = (self.value)(sample) else { continue };
            let labels = Labels { is_extension, pool, endpoint };
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Labels<'a> {
    is_extension: bool,
    pool: &'a str,
    endpoint: Option<&'a str>,
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        if self.is_extension {
            ("name", self.pool.rsplit('/').next().unwrap_or_default()).encode(encoder.encode_label())?;
        }
        if let Some(endpoint) = self.endpoint {
            let label = if self.is_extension { "model_server_pod" } else { "endpoint" };
            (label, endpoint).encode(encoder.encode_label())?;
        }
        ("pool", self.pool).encode(encoder.encode_label())
    }
}

const POOL_GAUGES: [SampleGauge<PoolSample>; 6] = [
    SampleGauge {
        name: "inference_pool_average_kv_cache_utilization",
        help: "Mean KV cache utilization of the pool's ready endpoints, 0 to 1.",
        value: |pool| pool.mean(|endpoint| endpoint.kv_use),
    },
    SampleGauge {
        name: "inference_pool_average_queue_size",
        help: "Mean waiting requests per ready endpoint of the pool.",
        value: |pool| pool.mean(|endpoint| endpoint.waiting.map(f64::from)),
    },
    SampleGauge {
        name: "inference_pool_ready_pods",
        help: "Ready endpoints of the pool.",
        value: |pool| Some(pool.ready().fold(0.0, |count, _| count + 1.0)),
    },
    SampleGauge {
        name: "pointsman_pool_endpoints",
        help: "Endpoints of the pool, ready or not.",
        value: |pool| Some(pool.endpoints.iter().fold(0.0, |count, _| count + 1.0)),
    },
    SampleGauge {
        name: "pointsman_pool_metrics_blackout",
        help: "1 while metrics of the pool's endpoints were read before and none are fresh now; placement then uses Pointsman's own counts alone.",
        value: |pool| Some(f64::from(u8::from(pool.blackout()))),
    },
    SampleGauge {
        name: "pointsman_pool_saturated",
        help: "1 while all ready endpoints of the pool are saturated.",
        value: |pool| Some(f64::from(u8::from(pool.saturated))),
    },
];

const ENDPOINT_GAUGES: [SampleGauge<EndpointSample>; 7] = [
    SampleGauge {
        name: "inference_pool_per_pod_queue_size",
        help: "Requests waiting in the engine.",
        value: |endpoint| endpoint.waiting.map(f64::from),
    },
    SampleGauge {
        name: "pointsman_endpoint_ready",
        help: "1 while the endpoint takes requests.",
        value: |endpoint| Some(f64::from(u8::from(endpoint.ready))),
    },
    SampleGauge {
        name: "pointsman_endpoint_in_flight",
        help: "Requests that this process has at the endpoint.",
        value: |endpoint| Some(f64::from(endpoint.in_flight)),
    },
    SampleGauge {
        name: "pointsman_endpoint_pending_tokens",
        help: "Prompt tokens dispatched to the endpoint and not yet prefilled.",
        value: |endpoint| Some(float(endpoint.pending_tokens)),
    },
    SampleGauge {
        name: "pointsman_endpoint_running",
        help: "Requests running in the engine, from its metrics.",
        value: |endpoint| endpoint.running.map(f64::from),
    },
    SampleGauge {
        name: "pointsman_endpoint_kv_cache_utilization",
        help: "KV cache utilization of the engine, 0 to 1.",
        value: |endpoint| endpoint.kv_use,
    },
    SampleGauge {
        name: "pointsman_endpoint_metrics_age_seconds",
        help: "Age of the last scrape of the engine's metrics that succeeded.",
        value: |endpoint| endpoint.metrics_age.map(|age| age.as_secs_f64()),
    },
];
