//! One API request after routing.

use bytes::Bytes;

use super::fields::Fields;
use crate::error::{ApiError, ConnectionAborted, ErrorType, Failure};
use crate::fault::{Fault, ResponseFailure};
use crate::socket::ResetSwitch;
use crate::text::Finish;

/// A request with its body, and the fault that is injected into its response.
pub(crate) struct ApiRequest {
    pub(crate) body: Bytes,
    /// Whether the content type is JSON.
    pub(crate) is_json: bool,
    /// The `x-request-id` header.
    pub(crate) request_id: Option<String>,
    pub(crate) fault: Option<Fault>,
    pub(crate) reset: ResetSwitch,
}

impl ApiRequest {
    /// The fields of the body.
    pub(crate) fn fields(&self) -> Result<Fields, ApiError> {
        if !self.is_json {
            let message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed";
            return Err(ApiError::new(ErrorType::BadRequest, message));
        }
        Fields::parse(&self.body)
    }

    /// Applies the injected fault to a non-streaming response. Where the generation counts as aborted, its finish
    /// is returned instead.
    pub(crate) async fn apply_fault(&self) -> Result<Option<Finish<'static>>, Failure> {
        let Some(Fault::Response { failure, .. }) = self.fault else { return Ok(None) };
        match failure {
            ResponseFailure::Reset => {
                self.reset.set();
                Err(ConnectionAborted.into())
            }
            // A killed server closes the connection without a byte of a non-streaming response.
            ResponseFailure::Truncate => Err(ConnectionAborted.into()),
            ResponseFailure::Silence => std::future::pending().await,
            ResponseFailure::ErrorEvent => {
                Err(ApiError::engine_dead(http::StatusCode::INTERNAL_SERVER_ERROR).into())
            }
            ResponseFailure::Abort => Ok(Some(Finish::ABORT)),
        }
    }
}
