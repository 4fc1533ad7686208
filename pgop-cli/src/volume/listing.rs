//! What `pgop-agent browse` wrote, read back. Pure.

use jiff::Timestamp;
use serde::Deserialize;

/// What is in a folder of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The first entries by name.
    pub entries: Vec<Entry>,
    /// How many there are beyond those.
    pub left_out: u64,
}

/// Something on a volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Its name; what is not UTF-8 in it is U+FFFD.
    pub name: String,
    /// Its bytes in hexadecimal, when they are not UTF-8.
    pub raw: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Which snapshot it is, when it is one.
    pub snapshot: Option<Snapshot>,
    /// What it takes on the volume. `None` when some of it can't be read.
    pub bytes: Option<u64>,
    /// When it was last written.
    #[serde(deserialize_with = "from_seconds")]
    pub modified: Option<Timestamp>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link. It is not followed.
    Link,
    /// What a newer agent may tell, too.
    #[serde(other)]
    Other,
}

/// A copy of a server's data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Version of the server that it is of.
    pub version: String,
    /// Its manifest, which is written last, is whole.
    pub complete: bool,
}

/// The last line.
#[derive(Deserialize)]
struct End {
    entries: usize,
    left_out: u64,
}

/// Seconds since 1970.
fn from_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    i64::deserialize(deserializer).map(|second| Timestamp::from_second(second).ok())
}

impl Listing {
    /// What is said when there is more than is listed.
    pub fn rest(&self) -> Option<String> {
        let listed = self.entries.len();
        (self.left_out > 0).then(|| {
            format!(
                "{} more are not listed: only the first {listed} by name are",
                self.left_out
            )
        })
    }
}

impl Entry {
    /// Its name for people: what is no printable character is escaped, so that it says what is there and drives no terminal.
    pub fn shown(&self) -> String {
        match self.raw.as_deref().and_then(from_hex) {
            Some(bytes) => bytes.utf8_chunks().fold(String::new(), |shown, chunk| {
                let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
                shown + &escaped(chunk.valid()) + &invalid.collect::<String>()
            }),
            None => escaped(&self.name),
        }
    }
}

impl Snapshot {
    /// What there is to say of it.
    pub fn words(&self) -> String {
        let whole = if self.complete {
            "complete"
        } else {
            "INCOMPLETE: its manifest is not whole"
        };
        format!("snapshot of PostgreSQL {}, {whole}", escaped(&self.version))
    }
}

/// As Rust writes characters, but for quotes, which are no trouble.
fn escaped(text: &str) -> String {
    let shown = |character: char| match character {
        '\'' | '"' => character.to_string(),
        other => other.escape_debug().to_string(),
    };
    text.chars().map(shown).collect()
}

/// The bytes that hexadecimal digits stand for.
fn from_hex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .map(|pair| u8::from_str_radix(pair.filter(|pair| pair.len() == 2)?, 16).ok())
        .collect()
}

/// Reads a listing. One that is not whole says nothing: a log loses its beginning when it is rotated, and its end with the node.
pub fn parse(text: &str) -> Result<Listing, String> {
    let cut_off = || "the listing was cut off; try again".to_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    let last = lines.pop().and_then(|line| serde_json::from_str::<End>(line).ok());
    let End { entries, left_out } = last.ok_or_else(cut_off)?;
    if entries != lines.len() {
        return Err(cut_off());
    }
    let read = |line: &str| {
        serde_json::from_str::<Entry>(line).map_err(|error| format!("the listing has an odd line ({error}): {line}"))
    };
    let entries = lines.into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(Listing { entries, left_out })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// As the agent writes it: pgop-agent/src/browse.rs.
    const LISTING: &str = r#"{"name":"2026-11-22","kind":"directory","bytes":32485376,"modified":1795370241,"snapshot":{"label":"pgop 7c1e 17.2","version":"17.2","bytes":32481280,"complete":true}}
{"name":"a\ufffd","raw":"61ff","kind":"file","bytes":4096,"modified":1795370240}
{"name":"s","kind":"socket","bytes":null,"modified":9223372036854775807}
{"entries":3,"left_out":0}
"#;

    #[test]
    fn lines_become_entries() {
        let listing = parse(LISTING).unwrap();
        let expected = Entry {
            name: "2026-11-22".into(),
            raw: None,
            kind: Kind::Directory,
            snapshot: Some(Snapshot {
                version: "17.2".into(),
                complete: true,
            }),
            bytes: Some(32_485_376),
            modified: Some("2026-11-22T17:57:21Z".parse().unwrap()),
        };
        assert_eq!(listing.entries[0], expected);
        assert_eq!(listing.entries[1].shown(), "a\\xff");
        let odd = &listing.entries[2];
        assert_eq!((odd.kind, odd.bytes, odd.modified), (Kind::Other, None, None));
        assert_eq!(listing.rest(), None);
        assert_eq!(parse("{\"entries\":0,\"left_out\":0}\n").unwrap(), Listing::default());
    }

    #[test]
    fn a_listing_that_lost_its_beginning_or_its_end_says_nothing() {
        let lines: Vec<&str> = LISTING.lines().collect();
        for cut in [&lines[..0], &lines[..3], &lines[1..], &lines[3..]] {
            assert_eq!(
                parse(&cut.join("\n")),
                Err("the listing was cut off; try again".to_owned()),
                "{cut:?}"
            );
        }
        let odd = parse("{}\n{\"entries\":1,\"left_out\":0}\n").unwrap_err();
        assert!(odd.starts_with("the listing has an odd line (missing field"), "{odd}");
    }

    #[test]
    fn names_are_shown_as_what_they_are() {
        let shown = |name: &str, raw: Option<&str>| {
            let line = json!({"name": name, "raw": raw, "kind": "file", "bytes": 0, "modified": 0});
            serde_json::from_value::<Entry>(line).unwrap().shown()
        };
        for (name, expected) in [
            ("plain é $(id) 'quoted' \"twice\"", "plain é $(id) 'quoted' \"twice\""),
            ("odd\nname\t", "odd\\nname\\t"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
            ("\\n", "\\\\n"),
        ] {
            assert_eq!(shown(name, None), expected);
        }
        assert_eq!(shown("\u{fffd}b", Some("ff0a62")), "\\xff\\nb");
        // What is no hexadecimal is no reason to show nothing.
        for raw in ["f", "xy", "é"] {
            assert_eq!(shown("\u{fffd}b", Some(raw)), "\u{fffd}b");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_printable_and_a_name_of_its_own(one in ".{0,20}", other in ".{0,20}") {
            let (a, b) = (escaped(&one), escaped(&other));
            prop_assert!(!a.contains(char::is_control), "{a:?}");
            prop_assert_eq!(a == b, one == other);
        }
    }
}
