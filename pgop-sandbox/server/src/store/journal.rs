//! The store's file: one record for each write, and a rewrite of the whole when it has grown long.
//!
//! A record is its length and checksum (CRC-32), 4 bytes each, little endian, then JSON. The first record that does not check out is
//! where the machine stopped: it and all after it are cut off when the file is opened. A rewrite goes to another file which then takes
//! the journal's name, so there is always one whole journal.
//!
//! Every write reaches the kernel before it is answered: killing the process loses nothing. A thread asks the kernel to bring it
//! to the disk, as often as the disk allows; a power cut may lose the last moments.

use std::borrow::Cow;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{Key, Object};

const HEADER: usize = 8;
/// A process that ends lets go of its files one after the other: for a moment this lock may be held by one that does nothing any more.
const FAREWELL: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);
/// A journal shorter than this is not worth a rewrite.
const SHORT: u64 = 16 << 20;

/// One write: what is under a key from that revision on.
#[derive(Serialize, Deserialize)]
pub(super) struct Record<'a> {
    #[serde(rename = "r")]
    pub(super) revision: u64,
    #[serde(rename = "t")]
    pub(super) table: Cow<'a, str>,
    #[serde(rename = "ns", default, skip_serializing_if = "str::is_empty")]
    pub(super) namespace: Cow<'a, str>,
    #[serde(rename = "n", default, skip_serializing_if = "str::is_empty")]
    pub(super) name: Cow<'a, str>,
    /// Nothing: it was deleted.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub(super) object: Option<Box<RawValue>>,
}

impl<'a> Record<'a> {
    pub(super) fn of(
        revision: u64,
        table: &'a str,
        key: &'a Key,
        object: Option<&Object>,
    ) -> Result<Self, JournalError> {
        let object = object
            .map(|object| RawValue::from_string(String::from_utf8_lossy(&object.json).into_owned()))
            .transpose()
            .map_err(JournalError::Encode)?;
        Ok(Self {
            revision,
            table: Cow::Borrowed(table),
            namespace: Cow::Borrowed(&key.namespace),
            name: Cow::Borrowed(&key.name),
            object,
        })
    }
}

/// Why the folder of a store can't be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// A file can't be opened, read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record with a good checksum is no JSON of ours: written by another version.
    #[error("a record of the journal can't be read: {0}")]
    Decode(#[source] serde_json::Error),
    /// A record can't be written as JSON.
    #[error("a record of the journal can't be written: {0}")]
    Encode(#[source] serde_json::Error),
}

/// The open journal.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    /// Its length after the last rewrite.
    rewritten: u64,
    syncer: Option<SyncSender<()>>,
    /// Held as long as the journal is open.
    _lock: File,
}

impl Journal {
    /// Opens the journal of a folder and reads its records.
    pub(super) fn open(folder: &Path) -> Result<(Self, Vec<Record<'static>>), JournalError> {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        let lock = lock(&folder.join("lock"))?;
        let path = folder.join("journal");
        let mut file = open_file(&path, false)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(at(&path))?;
        let (records, good) = parse(&bytes)?;
        let length = good as u64;
        if good < bytes.len() {
            tracing::warn!(cut = bytes.len() - good, "the journal ended within a record");
            file.set_len(length).map_err(at(&path))?;
        }
        file.seek(SeekFrom::Start(length)).map_err(at(&path))?;
        let syncer = syncer(&file, &path)?;
        Ok((
            Self {
                path,
                file,
                length,
                rewritten: 0,
                syncer: Some(syncer),
                _lock: lock,
            },
            records,
        ))
    }

    /// Adds a record. When that fails, the file is as it was before.
    pub(super) fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let bytes = frame(record)?;
        if let Err(source) = self.file.write_all(&bytes) {
            // Half a record in the middle would cut off all later ones.
            let _ = self.file.set_len(self.length);
            let _ = self.file.seek(SeekFrom::Start(self.length));
            return Err(JournalError::File {
                path: self.path.clone(),
                source,
            });
        }
        self.length += bytes.len() as u64;
        if let Some(syncer) = &self.syncer {
            // Full: a sync is due anyway.
            let _ = syncer.try_send(());
        }
        Ok(())
    }

    /// Whether a rewrite is worth it: half of it or more may be overwritten.
    pub(super) fn is_long(&self) -> bool {
        self.length > SHORT.max(self.rewritten * 2)
    }

    /// Writes the journal anew.
    pub(super) fn rewrite<'a>(
        &mut self,
        revision: u64,
        records: impl Iterator<Item = Result<Record<'a>, JournalError>>,
    ) -> Result<(), JournalError> {
        let path = self.path.with_extension("new");
        let mut writer = BufWriter::new(open_file(&path, true)?);
        // The counter itself: the newest write may have been a deletion.
        let counter = Record {
            revision,
            table: Cow::Borrowed(""),
            namespace: Cow::Borrowed(""),
            name: Cow::Borrowed(""),
            object: None,
        };
        let mut length = 0;
        for record in std::iter::once(Ok(counter)).chain(records) {
            let bytes = frame(&record?)?;
            length += bytes.len() as u64;
            writer.write_all(&bytes).map_err(at(&path))?;
        }
        let file = writer.into_inner().map_err(|error| at(&path)(error.into_error()))?;
        file.sync_all().map_err(at(&path))?;
        let syncer = syncer(&file, &path)?;
        std::fs::rename(&path, &self.path).map_err(at(&self.path))?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(at(folder))?;
        }
        (self.file, self.length, self.rewritten, self.syncer) = (file, length, length, Some(syncer));
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.syncer = None;
        if let Err(error) = self.file.sync_all() {
            tracing::warn!(%error, "the journal could not be brought to the disk");
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::File {
        path: path.to_owned(),
        source,
    }
}

fn lock(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(at(path))?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begin.elapsed() < FAREWELL => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => {
                return Err(JournalError::File {
                    path: path.to_owned(),
                    source,
                });
            }
        }
    }
}

/// Secrets are in it: only its owner may read it.
fn open_file(path: &Path, empty: bool) -> Result<File, JournalError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = OpenOptions::new();
    options.create(true).read(true).write(true).truncate(empty).mode(0o600);
    options.open(path).map_err(at(path))
}

/// A thread that syncs the file each time it is told to, and ends when the sender goes.
fn syncer(file: &File, path: &Path) -> Result<SyncSender<()>, JournalError> {
    let file = file.try_clone().map_err(at(path))?;
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new()
        .name("journal-sync".into())
        .spawn(move || {
            while receiver.recv().is_ok() {
                if let Err(error) = file.sync_data() {
                    tracing::warn!(%error, "the journal could not be brought to the disk");
                }
            }
        })
        .map_err(at(path))?;
    Ok(sender)
}

fn frame(record: &Record) -> Result<Vec<u8>, JournalError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, record).map_err(JournalError::Encode)?;
    let payload = &bytes[HEADER..];
    let (checksum, length) = (crc32fast::hash(payload), payload.len());
    let length = u32::try_from(length).map_err(|_| JournalError::Encode(too_long()))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..HEADER].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

fn too_long() -> serde_json::Error {
    serde::ser::Error::custom("longer than 4 GiB")
}

/// The records up to the first that is not whole, and where that is.
fn parse(bytes: &[u8]) -> Result<(Vec<Record<'static>>, usize), JournalError> {
    let (mut records, mut offset) = (Vec::new(), 0);
    while let Some(payload) = payload(&bytes[offset..]) {
        let record: Record<'static> = serde_json::from_slice(payload).map_err(JournalError::Decode)?;
        records.push(record);
        offset += HEADER + payload.len();
    }
    Ok((records, offset))
}

fn payload(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    // An empty record is none: a file that ends in zeros has checksums of 0 for lengths of 0.
    (!payload.is_empty() && crc32fast::hash(payload) == u32::from_le_bytes(*checksum)).then_some(payload)
}
