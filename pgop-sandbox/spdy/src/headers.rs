//! Names and values of a stream. They travel compressed, with one state for all blocks of a direction:
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#TOC-2.6.10-Name-Value-Header-Block>.

use std::sync::LazyLock;

use bytes::{Buf as _, BufMut as _};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

/// More than any client has to say.
const LIMIT: usize = 64 << 10;

/// Names, in lower case, with their values. A name with several values is there several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a name (lower case).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

/// Why a block can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeadersError {
    /// It is not compressed as it should be.
    #[error("a block of headers can't be decompressed")]
    Compression,
    /// It has more bytes than any client needs.
    #[error("a block of headers is larger than {LIMIT} bytes")]
    TooLarge,
    /// Its lengths lead beyond its end, or not to it.
    #[error("a block of headers has not the length that it tells")]
    Length,
    /// A name is empty, is not in lower case or is there twice.
    #[error("a name in a block of headers is empty, not in lower case, or repeated")]
    Name,
    /// Something is not UTF-8.
    #[error("a block of headers is no text")]
    Text,
}

/// Writes the blocks of one direction.
#[derive(Debug)]
pub(crate) struct Compressor(Compress);

impl Compressor {
    pub(crate) fn new() -> Result<Self, HeadersError> {
        let mut state = Compress::new(Compression::best(), true);
        state
            .set_dictionary(&DICTIONARY)
            .map_err(|_| HeadersError::Compression)?;
        Ok(Self(state))
    }

    pub(crate) fn compress(&mut self, headers: &Headers) -> Result<Vec<u8>, HeadersError> {
        let plain = block(headers)?;
        let (mut packed, start) = (Vec::with_capacity(plain.len() + 64), self.0.total_in());
        loop {
            let done = usize::try_from(self.0.total_in() - start).map_err(|_| HeadersError::TooLarge)?;
            let rest = plain.get(done..).unwrap_or_default();
            self.0
                .compress_vec(rest, &mut packed, FlushCompress::Sync)
                .map_err(|_| HeadersError::Compression)?;
            // With room left, all that was to be written has been.
            if packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(packed.len());
        }
    }
}

/// Reads the blocks of one direction.
#[derive(Debug)]
pub(crate) struct Decompressor(Decompress);

impl Decompressor {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(crate) fn decompress(&mut self, packed: &[u8]) -> Result<Headers, HeadersError> {
        let (mut plain, start) = (Vec::with_capacity(1024), self.0.total_in());
        loop {
            let done = usize::try_from(self.0.total_in() - start).map_err(|_| HeadersError::TooLarge)?;
            let rest = packed.get(done..).unwrap_or_default();
            let status = match self.0.decompress_vec(rest, &mut plain, FlushDecompress::Sync) {
                Ok(status) => status,
                // Only the first block asks for it.
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&DICTIONARY)
                        .map_err(|_| HeadersError::Compression)?;
                    continue;
                }
                Err(_) => return Err(HeadersError::Compression),
            };
            if plain.len() > LIMIT {
                return Err(HeadersError::TooLarge);
            }
            if plain.len() < plain.capacity() {
                let used = self.0.total_in() - start == packed.len() as u64;
                // An end of the whole stream is not for a client to make: no block could follow.
                return match status {
                    Status::Ok | Status::BufError if used => parse(&plain),
                    _ => Err(HeadersError::Compression),
                };
            }
            plain.reserve(plain.len());
        }
    }
}

fn block(headers: &Headers) -> Result<Vec<u8>, HeadersError> {
    let mut names: Vec<(&str, String)> = Vec::new();
    for (name, value) in &headers.0 {
        match names.iter_mut().find(|(known, _)| known == name) {
            // How several values of a name travel.
            Some((_, values)) => {
                values.push('\0');
                values.push_str(value);
            }
            None => names.push((name, value.clone())),
        }
    }
    let mut plain = Vec::new();
    let length = |length: usize| u32::try_from(length).map_err(|_| HeadersError::TooLarge);
    plain.put_u32(length(names.len())?);
    for (name, values) in names {
        for text in [name, values.as_str()] {
            plain.put_u32(length(text.len())?);
            plain.put_slice(text.as_bytes());
        }
    }
    if plain.len() > LIMIT {
        return Err(HeadersError::TooLarge);
    }
    Ok(plain)
}

fn parse(mut plain: &[u8]) -> Result<Headers, HeadersError> {
    let count = plain.try_get_u32().map_err(|_| HeadersError::Length)?;
    let mut headers: Vec<(String, String)> = Vec::new();
    for _ in 0..count {
        let name = text(&mut plain)?;
        let values = text(&mut plain)?;
        let repeated = headers.iter().any(|(known, _)| known == name);
        if name.is_empty() || name.chars().any(char::is_uppercase) || repeated {
            return Err(HeadersError::Name);
        }
        headers.extend(values.split('\0').map(|value| (name.to_owned(), value.to_owned())));
    }
    if plain.is_empty() {
        Ok(Headers(headers))
    } else {
        Err(HeadersError::Length)
    }
}

fn text<'a>(plain: &mut &'a [u8]) -> Result<&'a str, HeadersError> {
    let length = plain.try_get_u32().map_err(|_| HeadersError::Length)?;
    let length = usize::try_from(length).map_err(|_| HeadersError::Length)?;
    let (text, rest) = plain.split_at_checked(length).ok_or(HeadersError::Length)?;
    *plain = rest;
    std::str::from_utf8(text).map_err(|_| HeadersError::Text)
}

/// What both ends know before the first block: words with their lengths, then plain text. The protocol gives it byte by byte.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dictionary = Vec::new();
    for word in WORDS {
        dictionary.put_u32(u32::try_from(word.len()).unwrap_or_default());
        dictionary.put_slice(word.as_bytes());
    }
    dictionary.put_slice(TAIL.as_bytes());
    dictionary
});

#[rustfmt::skip]
const WORDS: [&str; 65] = [
    "options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding", "accept-language", "accept-ranges",
    "age", "allow", "authorization", "cache-control", "connection", "content-base", "content-encoding", "content-language",
    "content-length", "content-location", "content-md5", "content-range", "content-type", "date", "etag", "expect", "expires", "from",
    "host", "if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "location",
    "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer", "retry-after", "server", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning", "www-authenticate", "method", "get", "status", "200 OK",
    "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin",
];

const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
    203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found\
    500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, \
    Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
    text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

#[cfg(test)]
mod tests {
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::prelude::*;

    use super::{Compressor, DICTIONARY, Decompressor, Headers, HeadersError};

    #[test]
    fn the_dictionary_is_the_protocols() {
        assert_eq!(DICTIONARY.len(), 1423);
        // The checksum by which a stream names its dictionary.
        let named = Compress::new(Compression::best(), true).set_dictionary(&DICTIONARY);
        assert_eq!(named.unwrap(), 0xe3c6_a7c2);
    }

    #[test]
    fn blocks_share_their_state() {
        let (mut out, mut back) = (Compressor::new().unwrap(), Decompressor::new());
        let headers = Headers::from_iter([
            ("streamtype", "data"),
            ("port", "5432"),
            ("requestid", "0"),
            ("port", "1"),
        ]);
        let first = out.compress(&headers).unwrap();
        let second = out.compress(&headers).unwrap();
        assert!(second.len() < first.len(), "{} {}", second.len(), first.len());
        for packed in [first, second] {
            let read = back.decompress(&packed).unwrap();
            assert_eq!(read.get("streamtype"), Some("data"));
            assert_eq!(read.get("port"), Some("5432"));
            assert_eq!(read.0.iter().filter(|(name, _)| name == "port").count(), 2);
        }
    }

    /// A block of those bytes, compressed.
    fn packed(plain: &[u8], flush: FlushCompress) -> Vec<u8> {
        let mut state = Compressor::new().unwrap();
        let mut packed = Vec::with_capacity(plain.len() + 1024);
        state.0.compress_vec(plain, &mut packed, flush).unwrap();
        packed
    }

    #[test]
    fn bad_blocks_are_told_apart() {
        let told = |plain: &[u8]| Decompressor::new().decompress(&packed(plain, FlushCompress::Sync));
        assert_eq!(told(b"\0\0\0\0"), Ok(Headers::default()));
        assert_eq!(told(b"\0\0\0\x01\0\0\0\x01a\0\0\0\x01b").unwrap().get("a"), Some("b"));
        assert_eq!(told(b""), Err(HeadersError::Length));
        assert_eq!(told(b"\0\0\0\0x"), Err(HeadersError::Length));
        assert_eq!(told(b"\xff\xff\xff\xff"), Err(HeadersError::Length));
        assert_eq!(told(b"\0\0\0\x01\xff\xff\xff\xffa"), Err(HeadersError::Length));
        assert_eq!(told(b"\0\0\0\x01\0\0\0\x01A\0\0\0\0"), Err(HeadersError::Name));
        assert_eq!(told(b"\0\0\0\x01\0\0\0\0\0\0\0\0"), Err(HeadersError::Name));
        assert_eq!(
            told(b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\x01a\0\0\0\0"),
            Err(HeadersError::Name)
        );
        assert_eq!(told(b"\0\0\0\x01\0\0\0\x01\xff\0\0\0\0"), Err(HeadersError::Text));
        assert_eq!(told(&vec![0; 1 << 20]), Err(HeadersError::TooLarge));
        let ended = packed(b"\0\0\0\0", FlushCompress::Finish);
        assert_eq!(Decompressor::new().decompress(&ended), Err(HeadersError::Compression));
        assert_eq!(
            Decompressor::new().decompress(b"no zlib"),
            Err(HeadersError::Compression)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(blocks in prop::collection::vec(prop::collection::btree_map("[a-z-]{1,20}", "[ -~ä]{0,300}", 0..8), 1..6)) {
            let (mut out, mut back) = (Compressor::new().unwrap(), Decompressor::new());
            for block in blocks {
                let headers: Headers = block.into_iter().collect();
                prop_assert_eq!(back.decompress(&out.compress(&headers).unwrap()).unwrap(), headers);
            }
        }

        #[test]
        fn nothing_read_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), plain in prop::collection::vec(0_u8..4, 0..60)) {
            let _ = Decompressor::new().decompress(&bytes);
            let _ = Decompressor::new().decompress(&packed(&plain, FlushCompress::Sync));
        }
    }
}
