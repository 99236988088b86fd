//! Why a request could not be sent or got no response, as far as it matters for a retry.

use std::error::Error;
use std::time::{Duration, Instant};

use http::Request;
use pointsman_core::FailureCause;
use pointsman_exchange::Refusal;

use super::request_body::RequestBody;

/// How soon a reused connection is lost that its engine was closing when the request was written: a few round trips.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The attempt failed.
    Attempt(FailureCause),
    /// The client's body failed while it streamed through.
    ClientBody(Refusal),
}

impl SendError {
    /// The same on a reused connection. The engine may have been closing that when the request was written to it; then the
    /// failure does not show that the engine is down.
    pub(super) fn on_reused(self, written: Instant) -> Self {
        match self {
            Self::Attempt(FailureCause::Lost) if written.elapsed() < STALE_WITHIN => {
                Self::Attempt(FailureCause::StaleConnection)
            }
            Self::Attempt(_) | Self::ClientBody(_) => self,
        }
    }
}

/// The failure of a request on one connection.
#[derive(Debug)]
pub(crate) enum SendFailure {
    /// Nothing was written, and the request can be sent on another connection.
    Unsent(Box<Request<RequestBody>>),
    Failed(SendError),
}

impl From<FailureCause> for SendError {
    fn from(cause: FailureCause) -> Self {
        Self::Attempt(cause)
    }
}

/// The cause behind an error of hyper.
pub(super) fn cause(error: &hyper::Error) -> SendError {
    if let Some(body) = source::<Refusal>(error) {
        return SendError::ClientBody(body.clone());
    }
    if error.is_parse() {
        return FailureCause::Garbage.into();
    }
    match source::<::h2::Error>(error) {
        Some(error) if error.reason() == Some(::h2::Reason::REFUSED_STREAM) => FailureCause::Refused.into(),
        // A GOAWAY fails only streams that the engine has not processed.
        Some(error) if error.is_remote() && error.is_go_away() => FailureCause::Refused.into(),
        Some(error) if error.is_library() => FailureCause::Garbage.into(),
        Some(_) | None => FailureCause::Lost.into(),
    }
}

fn source<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
