//! Logs: one line per event on standard error, as text where a person reads along and as JSON elsewhere.
//!
//! Prompt text is never in them: our own events carry the fields named here and nothing else of a request, and what
//! libraries log of the bytes they handle (debug and trace) is left out whatever the filter says.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::metrics::RequestRecord;

/// The names of log fields, for use as `{ field::POOL } = name`.
pub mod field {
    /// A pool's `namespace/name`.
    pub const POOL: &str = "pool";
    /// A public model name that the configuration declares.
    pub const MODEL: &str = "model";
    /// An endpoint's `host:port`.
    pub const ENDPOINT: &str = "endpoint";
    /// How a request ended.
    pub const OUTCOME: &str = "outcome";
    /// Why a request or an attempt failed, or was refused.
    pub const REASON: &str = "reason";
    /// The HTTP status sent to the client.
    pub const STATUS: &str = "status";
    /// End-to-end latency in milliseconds.
    pub const E2E_MS: &str = "e2e_ms";
    /// Time to the first token in milliseconds.
    pub const TTFT_MS: &str = "ttft_ms";
    /// Prompt tokens.
    pub const INPUT_TOKENS: &str = "input_tokens";
    /// Output tokens.
    pub const OUTPUT_TOKENS: &str = "output_tokens";
    /// The generation of the configuration.
    pub const GENERATION: &str = "generation";
    /// An error in words.
    pub const ERROR: &str = "error";
    /// A path of a file or directory.
    pub const PATH: &str = "path";
    /// The address a server listens on.
    pub const LISTEN: &str = "listen";
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line of text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// The form of a line.
    pub format: LogFormat,
    /// A filter as in `RUST_LOG` (`info`, `pointsman_gateway=debug,info`); `None` for `info`.
    pub filter: Option<String>,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("log filter {filter:?} is not understood: {reason}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The filter asks for lines that are never written.
    #[error(
        "log filter {directive:?} asks a library for more than info; what libraries log there may contain prompts"
    )]
    Library {
        /// The directive at fault.
        directive: String,
    },
    /// Something else in the process logs already.
    #[error("logging was already started: {0}")]
    Started(#[from] TryInitError),
}

/// Starts logging for the process; once.
///
/// # Errors
///
/// When the filter is not understood or asks for what is never logged, or when logging was started before.
pub fn init(options: &LogOptions) -> Result<(), LogError> {
    let filter = parse_filter(options.filter.as_deref().unwrap_or("info"))?.and(filter_fn(is_loggable));
    let terminal = std::io::stderr().is_terminal();
    let json = match options.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        lines.with_ansi(terminal).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()?;
    Ok(())
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    let verbose = |level: &str| level.parse::<LevelFilter>().is_ok_and(|level| level > LevelFilter::INFO);
    for directive in filter.split(',').map(str::trim) {
        if let Some((target, level)) = directive.split_once('=')
            && !target.starts_with(OWN_TARGETS)
            && verbose(level)
        {
            return Err(LogError::Library { directive: directive.into() });
        }
    }
    let error = |reason: &dyn std::fmt::Display| LogError::Filter {
        filter: filter.into(),
        reason: reason.to_string(),
    };
    EnvFilter::try_new(filter).map_err(|reason| error(&reason))
}

/// What the modules of our crates begin with.
const OWN_TARGETS: &str = "pointsman";

/// Libraries may log what passes through them below info: header blocks, frames.
fn is_loggable(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with(OWN_TARGETS)
}

/// Logs the end of a request at debug level. `model` is the label of its series, never the client's own text.
pub fn request_finished(pool: &str, model: &str, endpoint: Option<&str>, record: &RequestRecord) {
    if !tracing::enabled!(target: "pointsman::request", Level::DEBUG) {
        return;
    }
    let milliseconds = |span: std::time::Duration| span.as_secs_f64() * 1e3;
    tracing::debug!(
        target: "pointsman::request",
        {
            { field::POOL } = pool,
            { field::MODEL } = model,
            { field::ENDPOINT } = endpoint,
            { field::OUTCOME } = record.outcome.as_str(),
            { field::REASON } = record.outcome.reason(),
            { field::STATUS } = record.status,
            { field::E2E_MS } = milliseconds(record.duration),
            { field::TTFT_MS } = record.first_token.map(milliseconds),
            { field::INPUT_TOKENS } = record.usage.prompt_tokens,
            { field::OUTPUT_TOKENS } = record.usage.output_tokens
        },
        "request finished"
    );
}
