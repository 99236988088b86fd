//! Our own kinds: PoolPolicySpec and GatewayPolicy.

use std::net::IpAddr;
use std::time::Duration;

use pointsman_core::{PoolPolicy, RetryBudget, SaturationLimits};

use super::model::{PoolRef, read_pool_ref};
use super::placement;
use crate::decode::{Field, Fields};
use crate::problem::Spot;
use crate::source::quoted;
use crate::world::{GatewayPolicy, IpNet, Timeouts};

#[derive(Debug, PartialEq)]
pub(crate) struct PoolPolicySpec {
    pub(crate) pool: PoolRef,
    pub(crate) policy: PoolPolicy,
    /// Where it says what a picker's configuration file says too.
    pub(crate) picker_config: Option<Spot>,
    pub(crate) reject_undeclared: bool,
    pub(crate) timeouts: Timeouts,
    /// Paths as written: relative to the folder of the manifest.
    pub(crate) ca_file: Option<Box<str>>,
    pub(crate) api_key_file: Option<Box<str>>,
}

/// A GatewayPolicy, complete with defaults.
#[derive(Debug, PartialEq)]
pub(crate) struct GatewayLimits(pub(crate) GatewayPolicy);

pub(crate) fn read_pool(spec: &mut Fields<'_>) -> Option<PoolPolicySpec> {
    let pool = read_pool_ref(spec);
    let mut policy = PoolPolicy::default();
    let (placement, saturation) = (spec.get("placement"), spec.get("saturation"));
    let picker_config = placement.as_ref().or(saturation.as_ref()).map(Field::spot);
    if let Some(placement) = placement.and_then(|f| placement::read(&f)) {
        policy.placement = placement;
    }
    if let Some(limits) = saturation.and_then(|f| f.fields(read_saturation)) {
        policy.saturation = limits;
    }
    if let Some(budget) = spec.get("retryBudget").and_then(|f| f.fields(read_retry_budget)) {
        policy.retry_budget = budget;
    }
    let undeclared =
        spec.get("undeclaredModels").and_then(|f| f.choice(&[("allow", false), ("reject", true)]));
    let timeouts = spec.get("timeouts").and_then(|f| read_timeouts(&f)).unwrap_or_default();
    let engine = spec.get("engine").and_then(|f| {
        f.fields(|fields| {
            let mut path = |name| fields.get(name).and_then(|f| f.text_up_to(4096)).map(Box::<str>::from);
            (path("caFile"), path("apiKeyFile"))
        })
    });
    let (ca_file, api_key_file) = engine.unwrap_or_default();
    let reject_undeclared = undeclared.unwrap_or(false);
    Some(PoolPolicySpec {
        pool: pool?,
        policy,
        picker_config,
        reject_undeclared,
        timeouts,
        ca_file,
        api_key_file,
    })
}

fn read_saturation(fields: &mut Fields<'_>) -> SaturationLimits {
    let default = SaturationLimits::default();
    let waiting = fields.get("waiting").and_then(|f| f.u32_from(0)).unwrap_or(default.waiting);
    let kv_use = fields.get("kvUse").and_then(|f| f.share()).unwrap_or(default.kv_use);
    SaturationLimits { waiting, kv_use }
}

fn read_retry_budget(fields: &mut Fields<'_>) -> RetryBudget {
    let default = RetryBudget::default();
    let ratio = fields.get("ratio").and_then(|f| f.share()).unwrap_or(default.ratio);
    let min_per_second =
        fields.get("minPerSecond").and_then(|f| f.u32_from(0)).unwrap_or(default.min_per_second);
    let max_attempts = fields.get("maxAttempts").and_then(|f| f.u32_from(1)).unwrap_or(default.max_attempts);
    RetryBudget { ratio, min_per_second, max_attempts }
}

fn read_timeouts(field: &Field<'_>) -> Option<Timeouts> {
    let timeouts = field.fields(|fields| {
        let default = Timeouts::default();
        let mut budget = |name, default: Duration| {
            let Some(field) = fields.get(name) else { return default };
            let duration = field.duration();
            if duration.is_some_and(|d| d.is_zero()) {
                field.error("is zero, which leaves no time at all", "write a time, or remove it");
            }
            duration.unwrap_or(default)
        };
        Timeouts {
            connect: budget("connect", default.connect),
            first_byte: budget("firstByte", default.first_byte),
            idle: budget("idle", default.idle),
            idle_limit: budget("idleLimit", default.idle_limit),
            keep_alive: budget("keepAlive", default.keep_alive),
        }
    })?;
    let are_sound =
        ["idle", "idleLimit"].iter().all(|name| field.report.is_sound(&format!("{}.{name}", field.path)));
    if timeouts.idle_limit < timeouts.idle && are_sound {
        let (idle, limit) = (timeouts.idle, timeouts.idle_limit);
        field.error(
            format!("idleLimit ({limit:?}) is shorter than idle ({idle:?})"),
            "make idleLimit the longer one",
        );
    }
    Some(timeouts)
}

pub(crate) fn read_gateway(spec: &mut Fields<'_>) -> GatewayLimits {
    let mut policy = GatewayPolicy::default();
    if let Some(sources) = spec.get("trustedSources") {
        policy.trusted_sources = sources.list(256, |item| read_range(item));
    }
    if let Some(bytes) = spec.get("maxBodyBytes").and_then(|f| f.quantity()) {
        policy.max_body_bytes = bytes;
    }
    let held = spec.get("maxHeldBytes");
    if let Some(bytes) = held.as_ref().and_then(Field::quantity) {
        policy.max_held_bytes = bytes;
    }
    if let Some(field) = spec.get("maxRequests")
        && let Some(requests) = field.quantity()
    {
        match u32::try_from(requests) {
            Ok(requests) => policy.max_requests = requests,
            Err(_) => field.error("is more than 4294967295", "write a smaller number"),
        }
    }
    let are_sound = ["spec.maxBodyBytes", "spec.maxHeldBytes"].iter().all(|path| spec.report.is_sound(path));
    if policy.max_held_bytes < policy.max_body_bytes && are_sound {
        let spot = held.map_or_else(|| spec.spot(), |f| f.spot());
        let message = "less than maxBodyBytes can be held, so that the longest bodies never pass";
        spec.report.error_at(&spot, message, "raise maxHeldBytes, or lower maxBodyBytes");
    }
    GatewayLimits(policy)
}

fn read_range(field: &Field<'_>) -> Option<IpNet> {
    let text = field.text()?;
    let range = parse_range(text);
    if range.is_none() {
        field.error(
            format!("{} is not an address range", quoted(text)),
            "write it like 10.0.0.0/8 or ::1/128",
        );
    }
    range
}

fn parse_range(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix: u8 = prefix.parse().ok().filter(|prefix| digits && *prefix <= most)?;
    Some(IpNet { address, prefix })
}
