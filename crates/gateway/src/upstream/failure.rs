//! Why a request could not be sent or got no response, as far as it matters for a retry.

use std::error::Error;

use http::Request;
use pointsman_core::FailureCause;
use pointsman_exchange::Refusal;

use super::request_body::RequestBody;

/// A request without a response.
#[derive(Debug)]
pub(crate) struct SendError {
    pub(crate) cause: SendCause,
    /// Whether it was sent on a reused connection, which the engine may have been closing; then the failure does not show
    /// that the engine is down.
    pub(crate) reused: bool,
}

/// The cause of a failure.
#[derive(Debug)]
pub(crate) enum SendCause {
    /// The attempt failed.
    Attempt(FailureCause),
    /// The client's body failed while it streamed through.
    ClientBody(Refusal),
}

/// The failure of a request on one connection.
#[derive(Debug)]
pub(crate) enum SendFailure {
    /// Nothing was written, and the request can be sent on another connection.
    Unsent(Box<Request<RequestBody>>),
    Failed(SendCause),
}

impl From<FailureCause> for SendCause {
    fn from(cause: FailureCause) -> Self {
        Self::Attempt(cause)
    }
}

impl From<FailureCause> for SendError {
    fn from(cause: FailureCause) -> Self {
        Self { cause: cause.into(), reused: false }
    }
}

/// The cause behind an error of hyper.
pub(super) fn cause(error: &hyper::Error) -> SendCause {
    if let Some(body) = source::<Refusal>(error) {
        return SendCause::ClientBody(body.clone());
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
