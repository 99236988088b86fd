//! Logs: one line per event on standard error, as text on a terminal and as JSON elsewhere.
//!
//! Prompt text is never logged: of a request, our own events carry the fields of [`RequestLog`](crate::RequestLog) at
//! most, and the debug and trace events of libraries, which may hold the bytes they handle, are dropped whatever the
//! filter says.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry};

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One line of text per event.
    Text,
    /// One JSON object per event and line.
    Json,
}

/// Settings of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Format of a line.
    pub format: LogFormat,
    /// Comma-separated directives, each a level or `TARGET=LEVEL` as in `RUST_LOG` (`pointsman_gateway=debug,info`);
    /// `None` for `info`.
    pub filter: Option<String>,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter does not parse.
    #[error(
        "invalid log filter {directive:?}; a directive is a level (error, warn, info, debug, trace, off) or TARGET=LEVEL"
    )]
    Filter {
        /// The offending directive.
        directive: String,
    },
    /// The filter asks for a library's events below info level, which are never written.
    #[error(
        "log filter {directive:?} asks for events of a library below info level, which may contain prompts"
    )]
    Library {
        /// The offending directive.
        directive: String,
    },
    /// The process has a global subscriber already.
    #[error("logging is already started: {0}")]
    Started(#[from] TryInitError),
}

/// Installs the process-wide log subscriber.
///
/// # Errors
///
/// When the filter does not parse or asks for events that are never logged, or when a subscriber is installed already.
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

/// A [`LogFormat`] after `Auto` was resolved.
#[derive(Clone, Copy, Debug)]
enum Form {
    Text { colours: bool },
    Json,
}

fn lines<W>(filter: Targets, form: Form, writer: W) -> impl Layer<Registry>
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

fn parse_filter(filter: &str) -> Result<Targets, LogError> {
    let mut targets = Targets::new();
    let directives = filter.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    for directive in directives {
        let invalid = || LogError::Filter { directive: directive.into() };
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (target.trim(), level.parse().map_err(|_| invalid())?),
            None => match directive.parse::<LevelFilter>() {
                // A level without a target is the default, which `is_loggable` caps for libraries.
                Ok(level) => {
                    targets = targets.with_default(level);
                    continue;
                }
                Err(_) => (directive, LevelFilter::TRACE),
            },
        };
        if target.is_empty() || !target.chars().all(|c| c.is_ascii_alphanumeric() || "_-:".contains(c)) {
            return Err(invalid());
        }
        if level > LevelFilter::INFO && !target.starts_with(OWN_TARGETS) {
            return Err(LogError::Library { directive: directive.into() });
        }
        targets = targets.with_target(target, level);
    }
    Ok(targets)
}

/// Prefix of the targets of this workspace's crates.
const OWN_TARGETS: &str = "pointsman";

/// Drops the debug and trace events of libraries, which may hold header blocks and frames.
fn is_loggable(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || metadata.target().starts_with(OWN_TARGETS)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use pointsman_core::{Completion, FailureCause, Usage};
    use serde_json::Value;

    use super::*;
    use crate::{Outcome, RequestLog, RequestRecord};

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

    /// Runs `log` under this filter and returns the lines written.
    fn logged(filter: &str, form: Form, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let layer = lines(parse_filter(filter).unwrap(), form, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn log_request(endpoint: Option<&str>) {
        let record = RequestRecord {
            outcome: Outcome::Served(Completion::Broken(FailureCause::Stalled)),
            status: 200,
            duration: Duration::from_millis(1500),
            body_wait: Some(Duration::from_millis(3)),
            first_token: Some(Duration::from_millis(250)),
            request_bytes: 10,
            response_bytes: 20,
            usage: Usage { prompt_tokens: Some(3), cached_tokens: None, output_tokens: Some(4) },
        };
        RequestLog {
            pool: Some("default/llama"),
            model: Some("llama"),
            target_model: Some("llama-v1"),
            endpoint,
            request: Some(17),
            request_id: None,
            api: "chat_completions",
            attempts: 2,
            placement: None,
            record: &record,
        }
        .write();
    }

    #[test]
    fn a_finished_request_is_one_json_object() {
        let finished = || log_request(Some("10.0.0.1:8000"));
        let line = logged("debug", Form::Json, finished);
        let mut event: Value = serde_json::from_str(&line).unwrap();
        let time = event.as_object_mut().and_then(|event| event.remove("timestamp")).unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'));
        assert_eq!(
            event,
            serde_json::json!({
                "level": "DEBUG", "target": "pointsman::request", "message": "request finished",
                "pool": "default/llama", "model": "llama", "target_model": "llama-v1",
                "endpoint": "10.0.0.1:8000", "request": 17, "api": "chat_completions",
                "outcome": "broken", "reason": "stalled", "status": 200, "attempts": 2,
                "body_wait_ms": 3.0, "ttft_ms": 250.0, "e2e_ms": 1500.0,
                "input_tokens": 3, "output_tokens": 4,
            })
        );
        assert_eq!(logged("info", Form::Json, finished), "");
    }

    #[test]
    fn the_documented_fields_are_those_of_the_line() {
        let record = RequestRecord {
            outcome: Outcome::Rejected("stalled"),
            status: 504,
            duration: Duration::from_millis(1500),
            body_wait: Some(Duration::ZERO),
            first_token: Some(Duration::ZERO),
            request_bytes: 10,
            response_bytes: 20,
            usage: Usage { prompt_tokens: Some(3), cached_tokens: Some(1), output_tokens: Some(4) },
        };
        let line = logged("debug", Form::Json, || {
            RequestLog {
                pool: Some("default/llama"),
                model: Some("llama"),
                target_model: Some("llama-v1"),
                endpoint: Some("10.0.0.1:8000"),
                request: Some(17),
                request_id: Some("an-id"),
                api: "chat_completions",
                attempts: 2,
                placement: Some(Duration::ZERO),
                record: &record,
            }
            .write();
        });
        let event: BTreeMap<String, Value> = serde_json::from_str(&line).unwrap();
        let of_the_line = |name: &str| !["timestamp", "level", "target", "message"].contains(&name);
        let written: BTreeSet<&str> =
            event.keys().map(String::as_str).filter(|name| of_the_line(name)).collect();
        let page = include_str!("../../../docs/metrics.md");
        let table = page.split("## Logs").nth(1).unwrap().split("## Traces").next().unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: BTreeSet<&str> = rows
            .flat_map(|row| row.split(" |").next().unwrap().split(", "))
            .map(|name| name.trim_matches('`'))
            .collect();
        assert_eq!(documented, written);
    }

    #[test]
    fn text_has_colours_on_a_terminal_only() {
        let finished = || log_request(None);
        let line = logged("debug", Form::Text { colours: false }, finished);
        assert!(line.contains("request finished pool=\"default/llama\""), "{line}");
        assert!(!line.contains('\u{1b}') && !line.contains("endpoint="), "{line}");
        assert!(logged("debug", Form::Text { colours: true }, finished).contains('\u{1b}'));
    }

    #[test]
    fn debug_events_of_libraries_are_dropped() {
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
    fn invalid_filters_are_refused() {
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
        check("=debug", false);
        check("pointsman[request{id=1}]=debug", false);
    }
}
