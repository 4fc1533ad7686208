//! The bytes of a connection: they are the same frames however they are cut, and what is written is read.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use pgop_sandbox_spdy::{Codec, Frame};
use tokio_util::codec::{Decoder as _, Encoder as _};

/// All frames that can be read. Pieces of data that belong together are put together.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Frame> {
    let (mut codec, mut bytes, mut frames) = (Codec::new().expect("a codec"), BytesMut::new(), Vec::new());
    let mut open = false;
    for piece in pieces {
        bytes.extend_from_slice(piece);
        loop {
            match codec.decode(&mut bytes) {
                Ok(Some(frame)) => add(&mut frames, frame, &mut open),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}

fn add(frames: &mut Vec<Frame>, frame: Frame, open: &mut bool) {
    if let (
        Some(Frame::Data { id, fin, bytes }),
        Frame::Data {
            id: same,
            fin: end,
            bytes: more,
        },
    ) = (frames.last_mut(), &frame)
        && id == same
        && !*fin
        && *open
    {
        *bytes = [&bytes[..], more].concat().into();
        *fin = *end;
        return;
    }
    *open = matches!(frame, Frame::Data { .. });
    frames.push(frame);
}

fuzz_target!(|input: &[u8]| {
    let whole = read(std::iter::once(input));
    assert_eq!(read(input.chunks(1)), whole);
    let (mut codec, mut written) = (Codec::new().expect("a codec"), BytesMut::new());
    for frame in &whole {
        codec
            .encode(frame.clone(), &mut written)
            .expect("what was read can be written");
    }
    assert_eq!(read(std::iter::once(&written[..])), whole);
});
