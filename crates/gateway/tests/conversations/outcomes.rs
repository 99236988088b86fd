//! The log lines of finished requests, by pool.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static LINES: Mutex<Option<HashMap<String, usize>>> = Mutex::new(None);

/// Starts to collect log lines and panics.
pub fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Lines).unwrap();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            // h2 asserts in debug builds that a connection ends after its streams, which holds only of orderly ends.
            let is_h2_end = place.contains("/h2-") && place.contains("counts.rs");
            if !place.contains("tests/") && !is_h2_end {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(place);
            }
            hook(panic);
        }));
    });
}

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The places of panics outside the tests since the last call.
pub fn panics() -> Vec<String> {
    std::mem::take(&mut *PANICS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The lines of a pool's requests.
pub fn lines(pool: &str) -> usize {
    LINES.lock().unwrap().as_ref().and_then(|lines| lines.get(pool).copied()).unwrap_or(0)
}

struct Lines;

#[derive(Default)]
struct Pool(String);

impl Visit for Pool {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "pool" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "pointsman::request"
    }

    fn event(&self, event: &Event<'_>) {
        let mut pool = Pool::default();
        event.record(&mut pool);
        *LINES.lock().unwrap().get_or_insert_default().entry(pool.0).or_default() += 1;
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
