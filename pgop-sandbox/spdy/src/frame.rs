//! What is sent: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#TOC-2.6-Control-frames>.

use bytes::Bytes;

use crate::Headers;

/// Number of a stream: 31 bits; odd ones are the client's.
pub type StreamId = u32;

/// One frame, without what Kubernetes' clients have no use for (priorities, associated streams, settings' values).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A new stream.
    SynStream {
        /// Its number.
        id: StreamId,
        /// The sender has nothing more to say on it.
        fin: bool,
        /// What it is for.
        headers: Headers,
    },
    /// The stream is taken.
    SynReply {
        /// Its number.
        id: StreamId,
        /// The sender has nothing to say on it.
        fin: bool,
        /// In Kubernetes: none.
        headers: Headers,
    },
    /// The stream has ended, both ways, at once.
    Reset {
        /// Its number.
        id: StreamId,
        /// Why.
        status: ResetStatus,
    },
    /// Wishes of the other end. None is of interest here.
    Settings,
    /// Asks whether the other end is there, which sends it back. Odd numbers are the client's.
    Ping(u32),
    /// The sender takes no new streams.
    GoAway {
        /// The last stream that it has taken.
        last: StreamId,
        /// Why.
        status: GoAwayStatus,
    },
    /// More headers of a stream.
    Headers {
        /// Its number.
        id: StreamId,
        /// The sender has nothing more to say on it.
        fin: bool,
        /// What is added.
        headers: Headers,
    },
    /// The sender has room for more.
    WindowUpdate {
        /// The stream; 0: all of them.
        id: StreamId,
        /// How many bytes more.
        delta: u32,
    },
    /// Bytes on a stream.
    Data {
        /// Its number.
        id: StreamId,
        /// The sender has nothing more to say on it.
        fin: bool,
        /// What it says.
        bytes: Bytes,
    },
}

/// Why a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetStatus {
    /// A rule was broken.
    ProtocolError,
    /// There is no such stream.
    InvalidStream,
    /// It is not taken.
    RefusedStream,
    /// It is no longer needed.
    Cancel,
    /// Another of the numbers that the protocol knows.
    Other(u32),
}

impl ResetStatus {
    /// By its number.
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::ProtocolError,
            2 => Self::InvalidStream,
            3 => Self::RefusedStream,
            5 => Self::Cancel,
            other => Self::Other(other),
        }
    }

    /// Its number.
    pub fn number(self) -> u32 {
        match self {
            Self::ProtocolError => 1,
            Self::InvalidStream => 2,
            Self::RefusedStream => 3,
            Self::Cancel => 5,
            Self::Other(other) => other,
        }
    }
}

/// Why somebody goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoAwayStatus {
    /// It is done.
    Ok,
    /// The other end broke a rule.
    ProtocolError,
    /// Another of the numbers that the protocol knows.
    Other(u32),
}

impl GoAwayStatus {
    /// By its number.
    pub fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::ProtocolError,
            other => Self::Other(other),
        }
    }

    /// Its number.
    pub fn number(self) -> u32 {
        match self {
            Self::Ok => 0,
            Self::ProtocolError => 1,
            Self::Other(other) => other,
        }
    }
}
