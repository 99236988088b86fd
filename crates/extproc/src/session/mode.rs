//! Which bodies come, and how.

use crate::wire::ProtocolConfiguration;

use super::SessionOptions;

/// How a gateway hands a body to the picker (`ProcessingMode.BodySendMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// Not at all.
    Absent,
    /// In pieces, each of which waits for its answer.
    Streamed,
    /// Whole, after the head was answered.
    Buffered,
    /// Whole if it fits the gateway's buffer, else its beginning.
    BufferedPartial,
    /// In pieces, of which nothing goes on but what the picker sends back.
    FullDuplex,
}

/// The modes of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Modes {
    pub(super) request: BodyMode,
    pub(super) response: BodyMode,
}

impl Modes {
    /// What the first message says, or what is assumed where it says nothing; an unsupported mode by its number.
    pub(super) fn of(config: Option<&ProtocolConfiguration>, options: &SessionOptions) -> Result<Self, i32> {
        let Some(config) = config else { return Ok(Self::assumed(options)) };
        Ok(Self { request: mode(config.request_body_mode)?, response: mode(config.response_body_mode)? })
    }

    pub(super) const fn assumed(options: &SessionOptions) -> Self {
        Self { request: options.assumed_request_mode, response: options.assumed_response_mode }
    }
}

impl BodyMode {
    /// Whether a body of this kind can be read whole before the request is placed.
    pub(super) const fn can_hold(self) -> bool {
        match self {
            Self::Buffered | Self::BufferedPartial | Self::FullDuplex => true,
            Self::Absent | Self::Streamed => false,
        }
    }

    /// Whether pieces come as the engine sends them.
    pub(super) const fn shows_pace(self) -> bool {
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
