//! Logs: one line per event on standard error, as text where a person reads along and as JSON elsewhere.
//!
//! Prompt text is never in them: our own events carry the fields named here and nothing else of a request, and what
//! libraries log of the bytes they handle (debug and trace) is left out whatever the filter says.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry};

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
    let filter = parse_filter(options.filter.as_deref().unwrap_or("info"))?;
    let terminal = std::io::stderr().is_terminal();
    let form = match options.format {
        LogFormat::Auto if terminal => Form::Text { colours: true },
        LogFormat::Auto | LogFormat::Json => Form::Json,
        LogFormat::Text => Form::Text { colours: terminal },
    };
    tracing_subscriber::registry().with(lines(filter, form, std::io::stderr)).try_init()?;
    Ok(())
}

/// How a line is written, once it is known where to.
#[derive(Clone, Copy, Debug)]
enum Form {
    Text { colours: bool },
    Json,
}

fn lines<W>(filter: EnvFilter, form: Form, writer: W) -> impl Layer<Registry>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match form {
        Form::Text { colours } => lines.with_ansi(colours).boxed(),
        Form::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    lines.with_filter(filter.and(filter_fn(is_loggable)))
}

fn parse_filter(filter: &str) -> Result<EnvFilter, LogError> {
    for directive in filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        // A level alone is for all of ours; a target alone means all of its levels.
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (target, level.parse().unwrap_or(LevelFilter::OFF)),
            None if directive.parse::<LevelFilter>().is_ok() => continue,
            None => (directive, LevelFilter::TRACE),
        };
        if level > LevelFilter::INFO && !target.starts_with(OWN_TARGETS) {
            return Err(LogError::Library { directive: directive.into() });
        }
    }
    EnvFilter::try_new(filter)
        .map_err(|reason| LogError::Filter { filter: filter.into(), reason: reason.to_string() })
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use pointsman_core::{Completion, FailureCause, Usage};
    use serde_json::Value;

    use super::*;
    use crate::metrics::Outcome;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What `log` leaves in the log under this filter.
    fn logged(filter: &str, form: Form, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let layer = lines(parse_filter(filter).unwrap(), form, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn record() -> RequestRecord {
        RequestRecord {
            outcome: Outcome::Served(Completion::Broken(FailureCause::Silent)),
            status: 200,
            duration: Duration::from_millis(1500),
            body_wait: Some(Duration::from_millis(3)),
            first_token: Some(Duration::from_millis(250)),
            request_bytes: 10,
            response_bytes: 20,
            usage: Usage { prompt_tokens: Some(3), cached_tokens: None, output_tokens: Some(4) },
        }
    }

    #[test]
    fn a_finished_request_is_one_json_object() {
        let finished = || request_finished("default/llama", "llama", Some("10.0.0.1:8000"), &record());
        let line = logged("debug", Form::Json, finished);
        let mut event: Value = serde_json::from_str(&line).unwrap();
        let time = event.as_object_mut().and_then(|event| event.remove("timestamp")).unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'));
        assert_eq!(
            event,
            serde_json::json!({
                "level": "DEBUG", "target": "pointsman::request", "message": "request finished",
                "pool": "default/llama", "model": "llama", "endpoint": "10.0.0.1:8000",
                "outcome": "broken", "reason": "silent", "status": 200,
                "e2e_ms": 1500.0, "ttft_ms": 250.0, "input_tokens": 3, "output_tokens": 4,
            })
        );
        assert_eq!(logged("info", Form::Json, finished), "");
    }

    #[test]
    fn text_has_no_colours_where_nobody_looks() {
        let finished = || request_finished("default/llama", "llama", None, &record());
        let line = logged("debug", Form::Text { colours: false }, finished);
        assert!(line.contains("request finished pool=\"default/llama\""), "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains("endpoint"), "{line}");
        assert!(logged("debug", Form::Text { colours: true }, finished).contains('\u{1b}'));
    }

    #[test]
    fn libraries_never_log_what_passes_through_them() {
        let line = logged("trace", Form::Json, || {
            tracing::trace!(target: "hyper::proto", "seen: secret");
            tracing::debug!(target: "h2::codec", "seen: secret");
            tracing::warn!(target: "hyper::proto", "a connection broke");
            tracing::trace!(target: "pointsman_gateway", "our own");
        });
        assert!(!line.contains("secret"), "{line}");
        assert_eq!(line.lines().count(), 2, "{line}");
    }

    #[test]
    fn filters_that_cannot_work_are_refused() {
        let check = |filter: &str, expected: bool| {
            assert_eq!(parse_filter(filter).is_ok(), expected, "{filter}");
        };
        check("info", true);
        check("debug", true);
        check("pointsman_gateway=trace,warn", true);
        check("hyper=warn,pointsman=debug", true);
        check("pointsman::request=debug", true);
        check("pointsman_fleet", true);
        check("", true);
        check("hyper", false);
        check("hyper=debug", false);
        check("info, h2::codec=TRACE", false);
        check("pointsman=loud", false);
    }
}
