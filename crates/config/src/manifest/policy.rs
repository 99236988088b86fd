//! PoolPolicy and GatewayPolicy.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pointsman_core::{PoolPolicy, RetryBudget, SaturationLimits};
use pointsman_yaml::{Field, Fields, Location, quoted};

use super::model::{PoolRef, read_pool_ref};
use super::placement;
use crate::endpoint::{AppProtocol, MetricsPage};
use crate::settings::{ApiKeyHeader, ClientTimeouts, EngineAccess, GatewayPolicy, IpNet, Timeouts};

/// The spec of a PoolPolicy manifest.
#[derive(Debug, PartialEq)]
pub(crate) struct PoolPolicySpec {
    pub(crate) pool: PoolRef,
    pub(crate) policy: PoolPolicy,
    /// The location of a setting that a picker's configuration file also contains.
    pub(crate) picker_setting: Option<Location>,
    /// Whether models that no rule declares are rejected.
    pub(crate) reject_undeclared: bool,
    /// The model of requests that name none.
    pub(crate) default_model: Option<Arc<str>>,
    pub(crate) timeouts: Timeouts,
    /// Paths as written, relative to the folder of the manifest.
    pub(crate) access: EngineAccess,
    /// Where the metrics pages of engines are, unless an EndpointSlice says otherwise.
    pub(crate) metrics: MetricsPage,
    /// The location of `engine`.
    pub(crate) engine_location: Location,
}

pub(crate) fn read_pool(spec: &mut Fields<'_>) -> Option<PoolPolicySpec> {
    let pool = read_pool_ref(spec);
    let mut policy = PoolPolicy::default();
    let (placement, saturation) = (spec.get("placement"), spec.get("saturation"));
    let picker_setting = placement.as_ref().or(saturation.as_ref()).map(Field::location);
    if let Some(placement) = placement.and_then(|f| placement::read(&f)) {
        policy.placement = placement;
    }
    if let Some(limits) = saturation.and_then(|f| f.fields(read_saturation)) {
        policy.saturation = limits;
    }
    if let Some(budget) = spec.get("retryBudget").and_then(|f| f.fields(read_retry_budget)) {
        policy.retry_budget = budget;
    }
    let undeclared = [("allow", false), ("reject", true)];
    let reject_undeclared = spec.value_or("undeclaredModels", false, |f| f.choice(&undeclared));
    let default_model = spec.get("defaultModel").and_then(|f| f.text_up_to(1024)).map(Arc::from);
    let timeouts = spec.value_or("timeouts", Timeouts::default(), read_timeouts);
    let engine = spec.get("engine");
    let engine_location = engine.as_ref().map_or_else(|| spec.location(), Field::location);
    let engine = engine.and_then(|f| f.fields(|fields| (read_access(fields), read_metrics(fields))));
    let (access, metrics) = engine.unwrap_or_default();
    Some(PoolPolicySpec {
        pool: pool?,
        policy,
        picker_setting,
        reject_undeclared,
        default_model,
        timeouts,
        access,
        metrics,
        engine_location,
    })
}

fn read_metrics(fields: &mut Fields<'_>) -> MetricsPage {
    fields.get("metrics").and_then(|f| f.fields(read_metrics_page)).unwrap_or_default()
}

fn read_metrics_page(fields: &mut Fields<'_>) -> MetricsPage {
    let path = |f: &Field<'_>| f.text_where(MetricsPage::is_path, "a path such as /metrics").map(Into::into);
    let schemes = [("http", AppProtocol::Http), ("https", AppProtocol::Https)];
    MetricsPage {
        port: fields.get("port").and_then(|f| f.port()),
        path: fields.get("path").and_then(|f| path(&f)),
        protocol: fields.get("scheme").and_then(|f| f.choice(&schemes)),
    }
}

fn read_access(fields: &mut Fields<'_>) -> EngineAccess {
    let mut path = |name| fields.get(name).and_then(|f| f.text_up_to(4096)).map(PathBuf::from);
    let (ca, api_key) = (path("caFile"), path("apiKeyFile"));
    let skip = fields.get("insecureSkipVerify");
    let insecure_skip_verify = skip.as_ref().and_then(Field::boolean).unwrap_or(false);
    if let (true, Some(skip), Some(_)) = (insecure_skip_verify, &skip, &ca) {
        skip.error("leaves caFile without effect", "remove one of the two");
    }
    let header = fields.get("apiKeyHeader");
    let api_key_header = header.as_ref().and_then(|f| f.choice(&ApiKeyHeader::ALL)).unwrap_or_default();
    if let (Some(header), None) = (&header, &api_key) {
        header.error("has no effect without apiKeyFile", "write apiKeyFile, or remove it");
    }
    EngineAccess { ca, insecure_skip_verify, api_key, api_key_header }
}

fn read_saturation(fields: &mut Fields<'_>) -> SaturationLimits {
    let default = SaturationLimits::default();
    SaturationLimits {
        waiting: fields.value_or("waiting", default.waiting, |f| f.u32_from(0)),
        kv_use: fields.value_or("kvUse", default.kv_use, Field::share),
    }
}

fn read_retry_budget(fields: &mut Fields<'_>) -> RetryBudget {
    let default = RetryBudget::default();
    RetryBudget {
        ratio: fields.value_or("ratio", default.ratio, Field::share),
        min_per_second: fields.value_or("minPerSecond", default.min_per_second, |f| f.u32_from(0)),
        max_attempts: fields.value_or("maxAttempts", default.max_attempts, |f| f.u32_from(1)),
    }
}

fn read_timeout(fields: &mut Fields<'_>, name: &'static str, default: Duration) -> Duration {
    fields.get(name).and_then(|field| read_duration(&field)).unwrap_or(default)
}

/// A duration above zero.
fn read_duration(field: &Field<'_>) -> Option<Duration> {
    let duration = field.gateway_duration();
    if duration.is_some_and(|d| d.is_zero()) {
        field.error("must be above zero", "write a duration above 0s, or remove it");
    }
    duration
}

fn read_timeouts(field: &Field<'_>) -> Option<Timeouts> {
    let timeouts = field.fields(|fields| {
        let default = Timeouts::default();
        let heartbeat = fields.get("heartbeat").and_then(|f| read_duration(&f));
        let mut timeout = |name, default| read_timeout(fields, name, default);
        Timeouts {
            connect: timeout("connect", default.connect),
            first_byte: timeout("firstByte", default.first_byte),
            idle: timeout("idle", default.idle),
            idle_limit: timeout("idleLimit", default.idle_limit),
            keep_alive: timeout("keepAlive", default.keep_alive),
            heartbeat,
        }
    })?;
    let are_sound = field.is_sound_at("idle") && field.is_sound_at("idleLimit");
    if timeouts.idle_limit < timeouts.idle && are_sound {
        let (idle, limit) = (timeouts.idle, timeouts.idle_limit);
        field.error(
            format!("idleLimit ({limit:?}) is shorter than idle ({idle:?})"),
            "raise idleLimit, or shorten idle",
        );
    }
    Some(timeouts)
}

pub(crate) fn read_gateway(spec: &mut Fields<'_>) -> GatewayPolicy {
    let default = GatewayPolicy::default();
    let trusted_sources = spec.get("trustedSources").map(|f| f.list(256, read_ip_net));
    let max_body_bytes = spec.value_or("maxBodyBytes", default.max_body_bytes, Field::quantity);
    let held = spec.get("maxHeldBytes");
    let max_held_bytes = held.as_ref().and_then(Field::quantity).unwrap_or(default.max_held_bytes);
    let max_requests = spec.value_or("maxRequests", default.max_requests, |f| {
        let requests = u32::try_from(f.quantity()?).ok();
        if requests.is_none() {
            f.error("is more than 4294967295", "write a smaller number");
        }
        requests
    });
    if max_held_bytes < max_body_bytes && spec.is_sound("maxBodyBytes") && spec.is_sound("maxHeldBytes") {
        let location = held.map_or_else(|| spec.location(), |f| f.location());
        let message = "maxHeldBytes is less than maxBodyBytes, so the longest bodies are always rejected";
        spec.error_at(&location, message, "raise maxHeldBytes, or lower maxBodyBytes");
    }
    let client_timeouts = spec.get("clientTimeouts").and_then(|f| f.fields(read_client_timeouts));
    GatewayPolicy {
        trusted_sources: trusted_sources.unwrap_or_default(),
        max_body_bytes,
        max_held_bytes,
        max_requests,
        client_timeouts: client_timeouts.unwrap_or_default(),
    }
}

fn read_client_timeouts(fields: &mut Fields<'_>) -> ClientTimeouts {
    let default = ClientTimeouts::default();
    let mut timeout = |name, default| read_timeout(fields, name, default);
    ClientTimeouts {
        head: timeout("head", default.head),
        body: timeout("body", default.body),
        body_idle: timeout("bodyIdle", default.body_idle),
        write: timeout("write", default.write),
        keep_alive: timeout("keepAlive", default.keep_alive),
    }
}

fn read_ip_net(field: &Field<'_>) -> Option<IpNet> {
    let text = field.text()?;
    let range = IpNet::parse(text);
    if range.is_none() {
        let message = format!("{} is not an address range", quoted(text));
        field.error(message, "write it like 10.0.0.0/8 or ::1/128");
    }
    range
}
