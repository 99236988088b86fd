//! Settings of `pointsman gateway --endpoint …` that a manifest has otherwise.

use std::time::Duration;

use clap::Args;

use super::values;

#[derive(Debug, Args)]
pub(crate) struct QuickArgs {
    /// The `host` of requests to engines [default: the client's; over https, the endpoint's own]
    #[arg(long, value_name = "NAME", conflicts_with = "manifests")]
    pub(crate) engine_host: Option<String>,
    /// Timeout from the request sent to the first byte of the response body, or of a stream's output [default: 10m]
    #[arg(long, value_name = "DURATION", conflicts_with = "manifests", value_parser = values::timeout)]
    pub(crate) first_byte_timeout: Option<Duration>,
    /// Lifetime of a client's connection without a request; a load balancer in front must close its own before [default: 620s]
    #[arg(long, value_name = "DURATION", conflicts_with = "manifests", value_parser = values::timeout)]
    pub(crate) client_keep_alive: Option<Duration>,
    /// Maximum length of a request body in bytes, or as 32Mi, the default
    #[arg(long, value_name = "BYTES", conflicts_with = "manifests", value_parser = values::bytes)]
    pub(crate) max_body_bytes: Option<u64>,
}
