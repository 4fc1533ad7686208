//! What is told of an entry. Pure.

use std::fmt::Write as _;

use serde::Serialize;

/// Something in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name. What is not UTF-8 in it is U+FFFD, and control characters are still there.
    pub name: String,
    /// Its bytes in hexadecimal, when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// What it takes on the volume, with all that is in it. None when some of that can't be read.
    pub bytes: Option<u64>,
    /// When it was last written, in seconds since 1970.
    pub modified: i64,
    /// Which snapshot it is, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A socket, a pipe, a device.
    Other,
}

/// A copy of a server's data that a server can start from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// What the backup was called: `pgop UID VERSION` for those of pgop.
    pub label: String,
    /// Version of the server it is of; of a backup that is not pgop's, the major version.
    pub version: String,
    /// How much there is to read, in bytes. None when some of it can't be read.
    pub bytes: Option<u64>,
    /// Its manifest is whole. `pg_basebackup` writes that last; whether all files are there, and intact, `pg_verifybackup` tells.
    pub complete: bool,
}

/// What every snapshot has: `PG_VERSION`, `backup_label`, `backup_manifest`.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Beginning of the first.
    pub version: Option<Vec<u8>>,
    /// Beginning of the second. A server that has started from a snapshot has renamed it.
    pub label: Option<Vec<u8>>,
    /// End of the third.
    pub manifest: Option<Vec<u8>>,
}

/// A label may be as long as a path.
const LONGEST: usize = 200;

/// A name, and its bytes when those are no text.
pub fn name(bytes: &[u8]) -> (String, Option<String>) {
    let raw = std::str::from_utf8(bytes).is_err().then(|| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // a String takes everything
            text
        })
    });
    (String::from_utf8_lossy(bytes).into_owned(), raw)
}

impl Marks {
    /// Which snapshot they are of, of that many bytes.
    pub fn snapshot(&self, bytes: Option<u64>) -> Option<Snapshot> {
        let major = text(self.version.as_deref()?);
        let told = text(self.label.as_deref()?);
        let label: String = told
            .lines()
            .find_map(|line| line.strip_prefix("LABEL: "))
            .unwrap_or_default()
            .chars()
            .take(LONGEST)
            .collect();
        let words: Vec<&str> = label.split_whitespace().collect();
        let version = match words[..] {
            ["pgop", _, version, ..] => version.to_owned(),
            _ => major.trim().chars().take(LONGEST).collect(),
        };
        Some(Snapshot {
            label,
            version,
            bytes,
            complete: self.manifest.as_deref().is_some_and(is_whole),
        })
    }
}

/// A manifest ends with the checksum of all that comes before.
fn is_whole(end: &[u8]) -> bool {
    let text = text(end);
    let Some((_, sum)) = text.rsplit_once("\"Manifest-Checksum\":") else {
        return false;
    };
    let digits = sum.trim().strip_suffix('}').map(|sum| sum.trim().trim_matches('"'));
    digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
