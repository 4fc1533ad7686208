//! From a container's output to its log file, and to whoever is attached.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{broadcast, watch};

use super::line;

/// A file is put aside when it is that long; one that was put aside before goes.
const ROTATE: u64 = 10 << 20;
/// Longer lines are written in parts.
const LINE: usize = 16 << 10;

/// Which of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Learns when a run has ended.
pub(crate) struct Ends(watch::Receiver<(u64, bool)>);

impl Ends {
    /// Returns when it has, or when nobody is there to say so.
    pub(crate) async fn ended(&mut self) {
        let _ = self.0.wait_for(|state| state.1).await;
    }
}

/// The log of one run of a container.
pub(crate) struct Feed {
    path: PathBuf,
    file: Mutex<(File, u64)>,
    /// Bytes written so far; whether it is the end.
    state: watch::Sender<(u64, bool)>,
    live: broadcast::Sender<(Stream, Bytes)>,
}

impl Feed {
    /// Begins the file; one that is there is gone on with.
    pub(crate) fn create(path: PathBuf) -> io::Result<Arc<Self>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let length = file.metadata()?.len();
        let (live, _) = broadcast::channel(256);
        Ok(Arc::new(Self {
            path,
            file: Mutex::new((file, length)),
            state: watch::Sender::new((length, false)),
            live,
        }))
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Learns of what is written and of the end.
    pub(super) fn watch(&self) -> watch::Receiver<(u64, bool)> {
        self.state.subscribe()
    }

    /// The output from now on.
    pub(crate) fn live(&self) -> broadcast::Receiver<(Stream, Bytes)> {
        self.live.subscribe()
    }

    /// Learns of the end.
    pub(crate) fn ends(&self) -> Ends {
        Ends(self.state.subscribe())
    }

    /// Nothing more will come.
    pub(crate) fn end(&self) {
        self.state.send_modify(|state| state.1 = true);
    }

    /// Carries one output, line by line, until it ends.
    pub(crate) async fn carry(&self, stream: Stream, mut from: impl AsyncRead + Unpin) {
        let mut held = Vec::new();
        let mut buffer = vec![0; 32 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let piece = buffer.get(..length).unwrap_or_default();
            let _ = self.live.send((stream, Bytes::copy_from_slice(piece)));
            held.extend_from_slice(piece);
            let mut start = 0;
            while let Some(rest) = held.get(start..).filter(|rest| !rest.is_empty()) {
                if let Some(end) = rest.iter().take(LINE + 1).position(|b| *b == b'\n') {
                    self.append(stream, true, rest.get(..end).unwrap_or_default());
                    start += end + 1;
                } else if rest.len() > LINE {
                    self.append(stream, false, rest.get(..LINE).unwrap_or_default());
                    start += LINE;
                } else {
                    break;
                }
            }
            held.drain(..start);
        }
        if !held.is_empty() {
            self.append(stream, false, &held);
        }
    }

    fn append(&self, stream: Stream, full: bool, text: &[u8]) {
        let mut bytes = Vec::with_capacity(text.len() + 48);
        line::write(&mut bytes, pgop_sandbox_tasks::now(), stream.name(), full, text);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = append(&self.path, &mut file, &bytes) {
            tracing::warn!(path = %self.path.display(), %error, "can't write a container's log");
            return;
        }
        self.state.send_modify(|state| state.0 += bytes.len() as u64);
    }
}

/// Where a file is put aside.
pub(super) fn aside(path: &Path) -> PathBuf {
    path.with_extension("log.1")
}

fn append(path: &Path, (file, length): &mut (File, u64), bytes: &[u8]) -> io::Result<()> {
    if *length + bytes.len() as u64 > ROTATE && *length > 0 {
        std::fs::rename(path, aside(path))?;
        *file = OpenOptions::new().create(true).append(true).open(path)?;
        *length = 0;
    }
    file.write_all(bytes)?;
    *length += bytes.len() as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Feed, LINE, ROTATE, Stream, aside};

    #[tokio::test]
    async fn lines_get_their_stream_and_the_last_may_have_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed::create(folder.path().join("main/0.log")).unwrap();
        feed.carry(Stream::Stdout, &b"one\n\ntwo"[..]).await;
        feed.carry(Stream::Stderr, &b"three\n"[..]).await;
        let text = std::fs::read_to_string(feed.path()).unwrap();
        let ends: Vec<_> = text.lines().map(|l| l.split_once(' ').unwrap().1).collect();
        assert_eq!(ends, ["stdout F one", "stdout F ", "stdout P two", "stderr F three"]);
    }

    #[tokio::test]
    async fn long_lines_are_written_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed::create(folder.path().join("0.log")).unwrap();
        let line = [vec![b'x'; LINE + 10], b"\n".to_vec()].concat();
        feed.carry(Stream::Stdout, &line[..]).await;
        let text = std::fs::read_to_string(feed.path()).unwrap();
        let kinds: Vec<_> = text.lines().map(|l| l.split(' ').nth(2).unwrap()).collect();
        assert_eq!(kinds, ["P", "F"]);
    }

    #[tokio::test]
    async fn a_long_file_is_put_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed::create(folder.path().join("0.log")).unwrap();
        let piece = [vec![b'x'; 16_000], b"\n".to_vec()].concat().repeat(100);
        for _ in 0..15 {
            feed.carry(Stream::Stdout, &piece[..]).await;
        }
        for path in [feed.path().to_owned(), aside(feed.path())] {
            let length = std::fs::metadata(path).unwrap().len();
            assert!(length > 0 && length <= ROTATE, "{length}");
        }
    }
}
