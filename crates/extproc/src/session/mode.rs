//! Body send modes of a stream.

use crate::wire::ProtocolConfiguration;

use super::SessionOptions;

/// How a gateway sends a body to the picker (`ProcessingMode.BodySendMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// `NONE`: not at all.
    Absent,
    /// `STREAMED`: in chunks, each of which waits for its response.
    Streamed,
    /// `BUFFERED`: in one message, after the response to the headers.
    Buffered,
    /// `BUFFERED_PARTIAL`: in one message, truncated at the gateway's buffer limit.
    BufferedPartial,
    /// `FULL_DUPLEX_STREAMED`: in chunks, which the picker has to send back.
    FullDuplex,
}

/// The modes of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) request: BodyMode,
    pub(super) response: BodyMode,
}

impl Modes {
    /// The modes in the stream's first message, or the assumed ones if it has none.
    ///
    /// # Errors
    /// The number of an unsupported mode.
    pub(super) fn of(config: Option<&ProtocolConfiguration>, options: &SessionOptions) -> Result<Self, i32> {
        let Some(config) = config else { return Ok(Self::assumed(options)) };
        Ok(Self { request: mode(config.request_body_mode)?, response: mode(config.response_body_mode)? })
    }

    pub(super) const fn assumed(options: &SessionOptions) -> Self {
        Self { request: options.assumed_request_mode, response: options.assumed_response_mode }
    }
}

impl BodyMode {
    /// Whether the whole body can be read before the request is placed.
    pub(super) const fn can_buffer(self) -> bool {
        match self {
            Self::Buffered | Self::BufferedPartial | Self::FullDuplex => true,
            Self::Absent | Self::Streamed => false,
        }
    }

    /// Whether chunks arrive as the engine sends them.
    pub(super) const fn is_streamed(self) -> bool {
        match self {
            Self::Streamed | Self::FullDuplex => true,
            Self::Absent | Self::Buffered | Self::BufferedPartial => false,
        }
    }
}

const fn mode(number: i32) -> Result<BodyMode, i32> {
    match number {
        0 => Ok(BodyMode::Absent),
        1 => Ok(BodyMode::Streamed),
        2 => Ok(BodyMode::Buffered),
        3 => Ok(BodyMode::BufferedPartial),
        4 => Ok(BodyMode::FullDuplex),
        _ => Err(number),
    }
}
