//! Why a request could not be sent or got no answer, told apart by what it means for a repetition.

use std::error::Error;

use http::Request;
use pointsman_core::FailureCause;

use super::body::OutBody;
use crate::client_body::ClientBodyError;

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    /// Why.
    pub(crate) cause: SendCause,
    /// It went out on a kept connection, which the engine may have been about to close: no sign of its death.
    pub(crate) kept: bool,
}

/// Whose fault it was.
#[derive(Debug)]
pub(crate) enum SendCause {
    /// The attempt failed.
    Attempt(FailureCause),
    /// The client's body failed on its way through.
    ClientBody(ClientBodyError),
}

/// The same for one connection.
#[derive(Debug)]
pub(crate) enum Sent {
    /// Nothing was written: the request is as good as new.
    Unsent(Box<Request<OutBody>>),
    /// It failed.
    Failed(SendCause),
}

impl From<FailureCause> for SendCause {
    fn from(cause: FailureCause) -> Self {
        Self::Attempt(cause)
    }
}

impl From<FailureCause> for SendError {
    fn from(cause: FailureCause) -> Self {
        Self { cause: cause.into(), kept: false }
    }
}

/// What an error of hyper's means for the attempt.
pub(super) fn cause(error: &hyper::Error) -> SendCause {
    if let Some(body) = source::<ClientBodyError>(error) {
        return SendCause::ClientBody(*body);
    }
    if error.is_parse() {
        return FailureCause::Garbage.into();
    }
    match source::<::h2::Error>(error) {
        Some(error) if error.reason() == Some(::h2::Reason::REFUSED_STREAM) => FailureCause::Refused.into(),
        // The stream that a GOAWAY turns away was above the last one the engine took.
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
