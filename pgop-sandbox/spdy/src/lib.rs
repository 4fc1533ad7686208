//! SPDY/3.1 as far as Kubernetes uses it: exec, attach and port-forward of kubectl before 1.30, and, inside of a websocket, port-forward of
//! newer ones. <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>
//!
//! Kubernetes' clients open streams and never push; nobody who speaks it there counts windows, so this doesn't either: a stream that is
//! not read holds up its connection, as it does on a real cluster.
//!
//! ```text
//! bytes ─► Codec ─► Frame ─► Connection ─► Stream: headers, Input, Output
//!            └─ headers: name/value blocks, compressed
//! ```

mod codec;
mod connection;
mod frame;
mod headers;

pub use crate::codec::{Codec, CodecError};
pub use crate::connection::{Connection, Gone, Input, Output, Stream, serve};
pub use crate::frame::{Frame, GoAwayStatus, ResetStatus, StreamId};
pub use crate::headers::{Headers, HeadersError};
