//! Gauges that are computed at each scrape.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
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

    /// Whether no endpoint has fresh metrics, so that placement uses Pointsman's own counts alone.
    fn blackout(&self) -> bool {
        !self.endpoints.is_empty() && !self.endpoints.iter().any(|endpoint| endpoint.metrics_fresh)
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
            gauge.encode(&mut encoder, &pools)?;
        }
        for gauge in ENDPOINT_GAUGES {
            gauge.encode(&mut encoder, &pools)?;
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

struct PoolGauge {
    name: &'static str,
    help: &'static str,
    /// Whether the series has the label `name` too, as the extension's gauges do.
    named: bool,
    value: fn(&PoolSample) -> Option<f64>,
}

const POOL_GAUGES: [PoolGauge; 6] = [
    PoolGauge {
        name: "inference_pool_average_kv_cache_utilization",
        help: "Mean KV cache utilization of the pool's ready endpoints, 0 to 1.",
        named: true,
        value: |pool| pool.mean(|endpoint| endpoint.kv_use),
    },
    PoolGauge {
        name: "inference_pool_average_queue_size",
        help: "Mean waiting requests per ready endpoint of the pool.",
        named: true,
        value: |pool| pool.mean(|endpoint| endpoint.waiting.map(f64::from)),
    },
    PoolGauge {
        name: "inference_pool_ready_pods",
        help: "Ready endpoints of the pool.",
        named: true,
        value: |pool| Some(pool.ready().fold(0.0, |count, _| count + 1.0)),
    },
    PoolGauge {
        name: "pointsman_pool_endpoints",
        help: "Endpoints of the pool, ready or not.",
        named: false,
        value: |pool| Some(pool.endpoints.iter().fold(0.0, |count, _| count + 1.0)),
    },
    PoolGauge {
        name: "pointsman_pool_metrics_blackout",
        help: "1 while no endpoint of the pool has fresh metrics; placement then uses Pointsman's own counts alone.",
        named: false,
        value: |pool| Some(f64::from(u8::from(pool.blackout()))),
    },
    PoolGauge {
        name: "pointsman_pool_saturated",
        help: "1 while all ready endpoints of the pool are saturated.",
        named: false,
        value: |pool| Some(f64::from(u8::from(pool.saturated))),
    },
];

impl PoolGauge {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>, pools: &[PoolSample]) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for pool in pools {
            let Some(value) = (self.value)(pool) else { continue };
            let gauge = ConstGauge::new(value);
            let name = self.named.then(|| pool.pool.rsplit('/').next().unwrap_or_default());
            gauge.encode(family.encode_family(&PoolLabels { name, pool: &pool.pool })?)?;
        }
        Ok(())
    }
}

struct EndpointGauge {
    name: &'static str,
    help: &'static str,
    /// Whether the series has the extension's labels `name` and `model_server_pod` instead of `endpoint`.
    named: bool,
    value: fn(&EndpointSample) -> Option<f64>,
}

const ENDPOINT_GAUGES: [EndpointGauge; 7] = [
    EndpointGauge {
        name: "inference_pool_per_pod_queue_size",
        help: "Requests waiting in the engine.",
        named: true,
        value: |endpoint| endpoint.waiting.map(f64::from),
    },
    EndpointGauge {
        name: "pointsman_endpoint_ready",
        help: "1 while the endpoint takes requests.",
        named: false,
        value: |endpoint| Some(f64::from(u8::from(endpoint.ready))),
    },
    EndpointGauge {
        name: "pointsman_endpoint_in_flight",
        help: "Requests that this process has at the endpoint.",
        named: false,
        value: |endpoint| Some(f64::from(endpoint.in_flight)),
    },
    EndpointGauge {
        name: "pointsman_endpoint_pending_tokens",
        help: "Prompt tokens dispatched to the endpoint and not yet prefilled.",
        named: false,
        value: |endpoint| Some(float(endpoint.pending_tokens)),
    },
    EndpointGauge {
        name: "pointsman_endpoint_running",
        help: "Requests running in the engine, from its metrics.",
        named: false,
        value: |endpoint| endpoint.running.map(f64::from),
    },
    EndpointGauge {
        name: "pointsman_endpoint_kv_cache_utilization",
        help: "KV cache utilization of the engine, 0 to 1.",
        named: false,
        value: |endpoint| endpoint.kv_use,
    },
    EndpointGauge {
        name: "pointsman_endpoint_metrics_age_seconds",
        help: "Age of the last scrape of the engine's metrics that succeeded.",
        named: false,
        value: |endpoint| endpoint.metrics_age.map(|age| age.as_secs_f64()),
    },
];

impl EndpointGauge {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>, pools: &[PoolSample]) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for pool in pools {
            for endpoint in pool.endpoints.iter().take(super::pool::MAX_ENDPOINTS) {
                let Some(value) = (self.value)(endpoint) else { continue };
                let labels =
                    EndpointLabels { named: self.named, pool: &pool.pool, endpoint: &endpoint.endpoint };
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct PoolLabels<'a> {
    name: Option<&'a str>,
    pool: &'a str,
}

impl EncodeLabelSet for PoolLabels<'_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>) -> fmt::Result {
        use prometheus_client::encoding::EncodeLabel;
        if let Some(name) = self.name {
            ("name", name).encode(encoder.encode_label())?;
        }
        ("pool", self.pool).encode(encoder.encode_label())
    }
}

#[derive(Debug)]
struct EndpointLabels<'a> {
    named: bool,
    pool: &'a str,
    endpoint: &'a str,
}

impl EncodeLabelSet for EndpointLabels<'_> {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>) -> fmt::Result {
        use prometheus_client::encoding::EncodeLabel;
        if self.named {
            ("name", self.pool.rsplit('/').next().unwrap_or_default()).encode(encoder.encode_label())?;
            ("model_server_pod", self.endpoint).encode(encoder.encode_label())?;
        } else {
            ("endpoint", self.endpoint).encode(encoder.encode_label())?;
        }
        ("pool", self.pool).encode(encoder.encode_label())
    }
}
