//! One line of a log file.

use jiff::Timestamp;

/// A line as it is in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: Timestamp,
    /// The time as it is written.
    pub(super) stamp: &'a str,
    pub(super) full: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads it, without its line break. None where it is no such line.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = bytes.splitn(4, |b| *b == b' ');
        let stamp = std::str::from_utf8(parts.next()?).ok()?;
        let time = stamp.parse().ok()?;
        let _stream = parts.next()?;
        let full = parts.next()? == b"F";
        Some(Self {
            time,
            stamp,
            full,
            text: parts.next()?,
        })
    }

    /// What a client gets of it.
    pub(super) fn render(&self, stamped: bool, into: &mut Vec<u8>) {
        if stamped {
            into.extend_from_slice(self.stamp.as_bytes());
            into.push(b' ');
        }
        into.extend_from_slice(self.text);
        if self.full {
            into.push(b'\n');
        }
    }
}

/// Writes one.
pub(super) fn write(into: &mut Vec<u8>, time: Timestamp, stream: &str, full: bool, text: &[u8]) {
    into.extend_from_slice(format!("{time:.9} {stream} {} ", if full { 'F' } else { 'P' }).as_bytes());
    into.extend_from_slice(text);
    into.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::{Line, write};

    #[test]
    fn a_line_survives_the_file() {
        let time = "2026-11-22T10:00:00.5Z".parse().unwrap();
        let mut bytes = Vec::new();
        write(&mut bytes, time, "stderr", true, b"it is  so");
        assert_eq!(bytes, b"2026-11-22T10:00:00.500000000Z stderr F it is  so\n");
        let line = Line::parse(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!((line.time, line.full, line.text), (time, true, &b"it is  so"[..]));
        let mut out = Vec::new();
        line.render(true, &mut out);
        assert_eq!(out, b"2026-11-22T10:00:00.500000000Z it is  so\n");
    }

    #[test]
    fn empty_lines_are_lines_and_nonsense_is_none() {
        assert_eq!(Line::parse(b"2026-11-22T10:00:00.5Z stdout F ").unwrap().text, b"");
        assert_eq!(Line::parse(b"hello"), None);
        assert_eq!(Line::parse(b""), None);
    }

    #[test]
    fn parts_of_long_lines_are_put_together() {
        let mut out = Vec::new();
        for text in [
            &b"2026-11-22T10:00:00Z stdout P ab"[..],
            b"2026-11-22T10:00:00Z stdout F c",
        ] {
            Line::parse(text).unwrap().render(false, &mut out);
        }
        assert_eq!(out, b"abc\n");
    }
}
