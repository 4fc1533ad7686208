//! Frames from and to bytes: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#TOC-2.2-Framing>.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

use crate::headers::{Compressor, Decompressor};
use crate::{Frame, GoAwayStatus, Headers, HeadersError, ResetStatus, StreamId};

const VERSION: u16 = 3;
const HEAD: usize = 8;
/// Of a control frame. Data is handed on as it comes and needs no limit.
const CONTROL_LIMIT: usize = 64 << 10;
/// The length of a frame has 24 bits.
const DATA_LIMIT: usize = (1 << 24) - 1;
const FIN: u8 = 1;
const SETTINGS: u16 = 4;

/// Why bytes are no frames. Nothing that follows on the connection can be read.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The connection.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A block of headers: those that follow depend on it.
    #[error(transparent)]
    Headers(#[from] HeadersError),
    /// Another version of SPDY.
    #[error("version {0} of SPDY is not spoken here, only 3")]
    Version(u16),
    /// No such frame.
    #[error("frames of type {0} are not known")]
    Type(u16),
    /// A control frame larger than any client needs.
    #[error("a control frame of {0} bytes is too large")]
    TooLarge(usize),
    /// A frame has not the length that its type has.
    #[error("a frame of type {0} is too short")]
    TooShort(u16),
    /// Zero is no stream.
    #[error("a frame is for stream 0")]
    StreamZero,
}

/// One end's view of a connection: the state of both directions.
#[derive(Debug)]
pub struct Codec {
    compressor: Compressor,
    decompressor: Decompressor,
    /// The data frame that is being read: what is still to come of it.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    id: StreamId,
    fin: bool,
    left: usize,
}

impl Codec {
    /// At the beginning of a connection.
    pub fn new() -> Result<Self, CodecError> {
        Ok(Self {
            compressor: Compressor::new()?,
            decompressor: Decompressor::new(),
            open: None,
        })
    }

    /// Data is handed on as far as it is there, so that a large frame needs no large buffer.
    fn data(&mut self, open: Open, bytes: &mut BytesMut) -> Option<Frame> {
        let count = open.left.min(bytes.len());
        let (left, id) = (open.left - count, open.id);
        if count == 0 && left > 0 {
            self.open = Some(open);
            return None;
        }
        self.open = (left > 0).then_some(Open { left, ..open });
        let bytes = bytes.split_to(count).freeze();
        let fin = open.fin && left == 0;
        Some(Frame::Data { id, fin, bytes })
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> Result<Frame, CodecError> {
        let short = |_| CodecError::TooShort(kind);
        let fin = flags & FIN != 0;
        if kind == SETTINGS {
            return Ok(Frame::Settings);
        }
        let number = body.try_get_u32().map_err(short)?;
        let id = number & 0x7fff_ffff;
        if id == 0 && matches!(kind, 1 | 2 | 3 | 8) {
            return Err(CodecError::StreamZero);
        }
        Ok(match kind {
            1 => {
                // The stream with which it is associated, its priority, its slot.
                body.try_get_u32().map_err(short)?;
                body.try_get_u16().map_err(short)?;
                let headers = self.decompressor.decompress(&body)?;
                Frame::SynStream { id, fin, headers }
            }
            2 => Frame::SynReply {
                id,
                fin,
                headers: self.decompressor.decompress(&body)?,
            },
            3 => Frame::Reset {
                id,
                status: ResetStatus::from_number(body.try_get_u32().map_err(short)?),
            },
            6 => Frame::Ping(number),
            7 => Frame::GoAway {
                last: id,
                status: GoAwayStatus::from_number(body.try_get_u32().map_err(short)?),
            },
            8 => Frame::Headers {
                id,
                fin,
                headers: self.decompressor.decompress(&body)?,
            },
            9 => Frame::WindowUpdate {
                id,
                delta: body.try_get_u32().map_err(short)? & 0x7fff_ffff,
            },
            other => return Err(CodecError::Type(other)),
        })
    }

    fn named(
        &mut self,
        to: &mut BytesMut,
        kind: u16,
        fin: bool,
        numbers: &[u8],
        headers: &Headers,
    ) -> Result<(), CodecError> {
        let block = self.compressor.compress(headers)?;
        let body = [numbers, &block].concat();
        put_control(to, kind, if fin { FIN } else { 0 }, &body)
    }
}

fn put_control(to: &mut BytesMut, kind: u16, flags: u8, body: &[u8]) -> Result<(), CodecError> {
    if body.len() > CONTROL_LIMIT {
        return Err(CodecError::TooLarge(body.len()));
    }
    to.put_u16(0x8000 | VERSION);
    to.put_u16(kind);
    to.put_u8(flags);
    to.put_uint(body.len() as u64, 3);
    to.put_slice(body);
    Ok(())
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = CodecError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, CodecError> {
        if let Some(open) = self.open.take() {
            return Ok(self.data(open, bytes));
        }
        let Some((head, _)) = bytes.split_at_checked(HEAD) else {
            return Ok(None);
        };
        let mut head = head;
        let first = head.get_u32();
        let flags = head.get_u8();
        let length = usize::try_from(head.get_uint(3)).map_err(|_| CodecError::TooLarge(usize::MAX))?;
        if first & 0x8000_0000 == 0 {
            if first == 0 {
                return Err(CodecError::StreamZero);
            }
            bytes.advance(HEAD);
            let open = Open {
                id: first,
                fin: flags & FIN != 0,
                left: length,
            };
            return Ok(self.data(open, bytes));
        }
        let (version, kind) = ((first >> 16) & 0x7fff, first & 0xffff);
        if version != u32::from(VERSION) {
            return Err(CodecError::Version(u16::try_from(version).unwrap_or_default()));
        }
        if length > CONTROL_LIMIT {
            return Err(CodecError::TooLarge(length));
        }
        if bytes.len() < HEAD + length {
            bytes.reserve(HEAD + length - bytes.len());
            return Ok(None);
        }
        bytes.advance(HEAD);
        let body = bytes.split_to(length).freeze();
        self.control(u16::try_from(kind).unwrap_or_default(), flags, body)
            .map(Some)
    }
}

impl Encoder<Frame> for Codec {
    type Error = CodecError;

    fn encode(&mut self, frame: Frame, to: &mut BytesMut) -> Result<(), CodecError> {
        let two = |one: u32, other: u32| [one.to_be_bytes(), other.to_be_bytes()].concat();
        match frame {
            Frame::SynStream { id, fin, headers } => {
                let numbers = [&id.to_be_bytes()[..], &[0; 6]].concat();
                self.named(to, 1, fin, &numbers, &headers)
            }
            Frame::SynReply { id, fin, headers } => self.named(to, 2, fin, &id.to_be_bytes(), &headers),
            Frame::Reset { id, status } => put_control(to, 3, 0, &two(id, status.number())),
            Frame::Settings => put_control(to, SETTINGS, 0, &0_u32.to_be_bytes()),
            Frame::Ping(number) => put_control(to, 6, 0, &number.to_be_bytes()),
            Frame::GoAway { last, status } => put_control(to, 7, 0, &two(last, status.number())),
            Frame::Headers { id, fin, headers } => self.named(to, 8, fin, &id.to_be_bytes(), &headers),
            Frame::WindowUpdate { id, delta } => put_control(to, 9, 0, &two(id, delta)),
            Frame::Data { id, fin, bytes } => {
                if bytes.len() > DATA_LIMIT {
                    return Err(CodecError::TooLarge(bytes.len()));
                }
                to.reserve(HEAD + bytes.len());
                to.put_u32(id & 0x7fff_ffff);
                to.put_u8(if fin { FIN } else { 0 });
                to.put_uint(bytes.len() as u64, 3);
                to.put_slice(&bytes);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;
    use tokio_util::codec::{Decoder as _, Encoder as _};

    use super::{Codec, CodecError};
    use crate::{Frame, GoAwayStatus, Headers, ResetStatus};

    fn read(bytes: &[u8]) -> Result<Option<Frame>, CodecError> {
        Codec::new().unwrap().decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn frames_are_as_the_protocol_says() {
        let ping = b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x07";
        assert_eq!(read(ping).unwrap(), Some(Frame::Ping(7)));
        let mut written = BytesMut::new();
        Codec::new().unwrap().encode(Frame::Ping(7), &mut written).unwrap();
        assert_eq!(&written[..], ping);
        let data = Frame::Data {
            id: 5,
            fin: true,
            bytes: Bytes::from_static(b"abc"),
        };
        assert_eq!(read(b"\0\0\0\x05\x01\0\0\x03abc").unwrap(), Some(data));
        assert_eq!(read(b"\x80\x03\0\x06\0\0\0\x04\0\0\0").unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let told = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert!(told(b"\x80\x02\0\x06\0\0\0\x04\0\0\0\x07").contains("version 2"));
        assert!(told(b"\x80\x03\0\x63\0\0\0\x04\0\0\0\x07").contains("type 99"));
        assert!(told(b"\x80\x03\0\x03\0\0\0\x04\0\0\0\x07").contains("too short"));
        assert!(told(b"\x80\x03\0\x06\0\0\0\0").contains("too short"));
        assert!(told(b"\x80\x03\0\x01\0\xff\xff\xff").contains("too large"));
        assert!(told(b"\0\0\0\0\0\0\0\x03abc").contains("stream 0"));
        assert!(told(b"\x80\x03\0\x02\0\0\0\x04\0\0\0\0").contains("stream 0"));
    }

    #[test]
    fn a_large_frame_is_handed_on_in_pieces() {
        let mut codec = Codec::new().unwrap();
        let mut bytes = BytesMut::from(&b"\0\0\0\x05\x01\0\0\x03a"[..]);
        let piece = |fin, text: &'static [u8]| {
            let bytes = Bytes::from_static(text);
            Some(Frame::Data { id: 5, fin, bytes })
        };
        assert_eq!(codec.decode(&mut bytes).unwrap(), piece(false, b"a"));
        assert_eq!(codec.decode(&mut bytes).unwrap(), None);
        bytes.extend_from_slice(b"bc\0");
        assert_eq!(codec.decode(&mut bytes).unwrap(), piece(true, b"bc"));
        assert_eq!(&bytes[..], b"\0");
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let headers = || {
            prop::collection::btree_map("[a-z]{1,9}", "[ -~]{0,40}", 0..4)
                .prop_map(|map| map.into_iter().collect::<Headers>())
        };
        let id = || 1_u32..1 << 31;
        let data = prop::collection::vec(any::<u8>(), 0..300);
        prop_oneof![
            (id(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::SynStream { id, fin, headers }),
            (id(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::SynReply { id, fin, headers }),
            (id(), any::<bool>(), headers()).prop_map(|(id, fin, headers)| Frame::Headers { id, fin, headers }),
            (id(), any::<u32>()).prop_map(|(id, number)| Frame::Reset {
                id,
                status: ResetStatus::from_number(number)
            }),
            (id(), 0_u32..9).prop_map(|(last, number)| Frame::GoAway {
                last,
                status: GoAwayStatus::from_number(number)
            }),
            (id(), 0_u32..1 << 31).prop_map(|(id, delta)| Frame::WindowUpdate { id, delta }),
            any::<u32>().prop_map(Frame::Ping),
            Just(Frame::Settings),
            (id(), any::<bool>(), data).prop_map(|(id, fin, bytes)| Frame::Data {
                id,
                fin,
                bytes: bytes.into()
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(frames in prop::collection::vec(frame(), 1..12)) {
            let (mut out, mut back) = (Codec::new().unwrap(), Codec::new().unwrap());
            let mut bytes = BytesMut::new();
            for frame in frames {
                out.encode(frame.clone(), &mut bytes).unwrap();
                prop_assert_eq!(back.decode(&mut bytes).unwrap(), Some(frame));
            }
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn nothing_read_makes_it_panic(bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(3), Just(0x80), any::<u8>()], 0..80)) {
            let mut codec = Codec::new().unwrap();
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = codec.decode(&mut bytes) {}
        }
    }
}
