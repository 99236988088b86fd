//! PoolPolicy and GatewayPolicy.

use std::path::PathBuf;
use std::time::Duration;

use pointsman_core::{PoolPolicy, RetryBudget, SaturationLimits};
use pointsman_yaml::{Field, Fields, Location, quoted};

use super::model::{PoolRef, read_pool_ref};
use super::placement;
use crate::settings::{EngineAccess, GatewayPolicy, IpNet, Timeouts};

/// The spec of a PoolPolicy manifest.
#[derive(Debug, PartialEq)]
pub(crate) struct PoolPolicySpec {
    pub(crate) pool: PoolRef,
    pub(crate) policy: PoolPolicy,
    /// The location of a setting that a picker's configuration file also contains.
    pub(crate) picker_setting: Option<Location>,
    /// Whether models that no rule declares are rejected.
    pub(crate) reject_undeclared: bool,
    pub(crate) timeouts: Timeouts,
    /// Paths as written, relative to the folder of the manifest.
    pub(crate) access: EngineAccess,
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
    let timeouts = spec.value_or("timeouts", Timeouts::default(), read_timeouts);
    let engine = spec.get("engine").and_then(|f| {
        f.fields(|fields| {
            let mut path = |name| fields.get(name).and_then(|f| f.text_up_to(4096)).map(PathBuf::from);
            EngineAccess { ca: path("caFile"), api_key: path("apiKeyFile") }
        })
    });
    let access = engine.unwrap_or_default();
    Some(PoolPolicySpec { pool: pool?, policy, picker_setting, reject_undeclared, timeouts, access })
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

fn read_timeouts(field: &Field<'_>) -> Option<Timeouts> {
    let timeouts = field.fields(|fields| {
        let default = Timeouts::default();
        let mut optional = |name| {
            let field = fields.get(name)?;
            let duration = field.gateway_duration();
            if duration.is_some_and(|d| d.is_zero()) {
                field.error("must be above zero", "write a duration above 0s, or remove it");
            }
            duration
        };
        let heartbeat = optional("heartbeat");
        let mut timeout = |name, default: Duration| optional(name).unwrap_or(default);
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
    let trusted_sources = trusted_sources.unwrap_or_default();
    GatewayPolicy { trusted_sources, max_body_bytes, max_held_bytes, max_requests }
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
