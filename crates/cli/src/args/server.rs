//! Arguments that all front doors share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// How long requests in flight may continue after SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) drain_timeout: Duration,
    /// Write an event log, for `pointsman replay`, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Keep the placement decisions of the last N requests (1,000 if no N is given) for `pointsman explain`
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_value_t = 0,
          default_missing_value = "1000", hide_default_value = true)]
    pub(crate) decisions: usize,
    /// Export traces to the OTLP collector at this URL [env: OTEL_EXPORTER_OTLP_ENDPOINT; docs/metrics.md lists the others]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,
}
