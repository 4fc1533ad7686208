//! Reads a log: the asked part of what is there, then, if asked to follow, what comes until the container ends.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, unfold};
use pgop_sandbox_kubelet::LogOptions;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::line::Line;
use super::write::{Feed, aside};

/// The log in `path`. With `feed`, the run still goes on and can be followed.
pub(crate) async fn read(
    path: PathBuf,
    feed: Option<Arc<Feed>>,
    options: LogOptions,
) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    let follow = if options.follow {
        feed.map(|feed| (feed.watch(), feed))
    } else {
        None
    };
    let mut old = tokio::fs::read(aside(&path)).await.unwrap_or_default();
    let mut file = File::open(&path).await?;
    file.read_to_end(&mut old).await?;
    let mut reader = Reader {
        options,
        file,
        path,
        follow: follow.map(|(watch, feed)| Follow { watch, _feed: feed }),
        held: Vec::new(),
        sent: 0,
    };
    let first = reader.first(&old);
    let begin = (!first.is_empty()).then(|| Ok(Bytes::from(first)));
    let rest = unfold(reader, |mut reader| async move {
        match reader.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), reader)),
            Ok(None) => None,
            Err(error) => {
                reader.follow = None; // the error is the last thing that is told
                Some((Err(error), reader))
            }
        }
    });
    Ok(futures::stream::iter(begin).chain(rest).boxed())
}

struct Follow {
    watch: watch::Receiver<(u64, bool)>,
    _feed: Arc<Feed>,
}

struct Reader {
    options: LogOptions,
    file: File,
    path: PathBuf,
    follow: Option<Follow>,
    /// The beginning of a line whose end has not been read.
    held: Vec<u8>,
    sent: u64,
}

impl Reader {
    /// What is asked for of what is there.
    fn first(&mut self, bytes: &[u8]) -> Vec<u8> {
        let complete = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at(complete);
        self.held = rest.to_vec();
        let lines: Vec<Line> = lines
            .split(|b| *b == b'\n')
            .filter_map(Line::parse)
            .filter(|l| self.wanted(l))
            .collect();
        let mut from = 0;
        if let Some(tail) = self.options.tail_lines {
            from = start_of_tail(&lines, usize::try_from(tail).unwrap_or(usize::MAX));
        }
        let mut out = Vec::new();
        for line in lines.get(from..).unwrap_or_default() {
            line.render(self.options.timestamps, &mut out);
        }
        self.limit(out)
    }

    fn wanted(&self, line: &Line) -> bool {
        self.options.since.is_none_or(|since| line.time >= since)
    }

    fn limit(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let Some(limit) = self.options.limit_bytes {
            let left = usize::try_from(limit.saturating_sub(self.sent)).unwrap_or(usize::MAX);
            bytes.truncate(left);
        }
        self.sent += bytes.len() as u64;
        bytes
    }

    /// The next piece; none at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.options.limit_bytes.is_some_and(|limit| self.sent >= limit) {
                return Ok(None);
            }
            let Some(follow) = &mut self.follow else {
                return Ok(None);
            };
            // First whether it is the end, then the file: what is written before the end is never missed.
            let ended = follow.watch.borrow_and_update().1;
            let mut piece = Vec::new();
            self.file.read_to_end(&mut piece).await?;
            if piece.is_empty() && self.was_put_aside().await? {
                // Something may have come to it since we last looked. From here on nothing will.
                self.file.read_to_end(&mut piece).await?;
                self.file = File::open(&self.path).await?;
                if piece.is_empty() {
                    continue;
                }
            }
            if !piece.is_empty() {
                let out = self.lines(&piece);
                if !out.is_empty() {
                    return Ok(Some(out));
                }
                continue;
            }
            let Some(follow) = &mut self.follow else {
                return Ok(None);
            };
            if ended || follow.watch.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    fn lines(&mut self, piece: &[u8]) -> Bytes {
        self.held.extend_from_slice(piece);
        let complete = self.held.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.held.drain(..complete).collect();
        let mut out = Vec::new();
        for line in lines
            .split(|b| *b == b'\n')
            .filter_map(Line::parse)
            .filter(|l| self.wanted(l))
        {
            line.render(self.options.timestamps, &mut out);
        }
        Bytes::from(self.limit(out))
    }

    async fn was_put_aside(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let (ours, named) = (self.file.metadata().await?, tokio::fs::metadata(&self.path).await);
        Ok(named.is_ok_and(|named| named.ino() != ours.ino()))
    }
}

/// Where the last so many lines begin; parts of a line are no lines of their own.
fn start_of_tail(lines: &[Line], count: usize) -> usize {
    if count == 0 {
        return lines.len();
    }
    let mut left = count;
    for (at, line) in lines.iter().enumerate().rev() {
        let ends_a_line = line.full || at + 1 == lines.len();
        if ends_a_line {
            if left == 0 {
                return at + 1;
            }
            left -= 1;
        }
    }
    0
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a test sees a panic of its own tasks
mod tests {
    use super::read;
    use crate::logs::{Feed, Stream};
    use futures::StreamExt;
    use pgop_sandbox_kubelet::LogOptions;
    use std::time::Duration;

    async fn all(feed: &Feed, options: LogOptions) -> String {
        let pieces: Vec<_> = read(feed.path().to_owned(), None, options)
            .await
            .unwrap()
            .collect()
            .await;
        let bytes: Vec<u8> = pieces.into_iter().flat_map(|p| p.unwrap().to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn parts_can_be_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed::create(folder.path().join("0.log")).unwrap();
        feed.carry(Stream::Stdout, &b"one\ntwo\nthree"[..]).await;
        assert_eq!(all(&feed, LogOptions::default()).await, "one\ntwo\nthree");
        let tail = |n| LogOptions {
            tail_lines: Some(n),
            ..LogOptions::default()
        };
        assert_eq!(all(&feed, tail(0)).await, "");
        assert_eq!(all(&feed, tail(1)).await, "three");
        assert_eq!(all(&feed, tail(2)).await, "two\nthree");
        assert_eq!(all(&feed, tail(9)).await, "one\ntwo\nthree");
        assert_eq!(
            all(
                &feed,
                LogOptions {
                    limit_bytes: Some(5),
                    ..LogOptions::default()
                }
            )
            .await,
            "one\nt"
        );
        let later = pgop_sandbox_tasks::now() + jiff::SignedDuration::from_secs(60);
        assert_eq!(
            all(
                &feed,
                LogOptions {
                    since: Some(later),
                    ..LogOptions::default()
                }
            )
            .await,
            ""
        );
        let stamped = all(
            &feed,
            LogOptions {
                timestamps: true,
                tail_lines: Some(1),
                ..LogOptions::default()
            },
        )
        .await;
        assert!(stamped.ends_with("Z three"), "{stamped}");
    }

    #[tokio::test]
    async fn following_ends_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let feed = Feed::create(folder.path().join("0.log")).unwrap();
        feed.carry(Stream::Stdout, &b"one\n"[..]).await;
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let stream = read(feed.path().to_owned(), Some(feed.clone()), options).await.unwrap();
        let reading = tokio::spawn(
            stream
                .map(|p| String::from_utf8(p.unwrap().to_vec()).unwrap())
                .collect::<String>(),
        );
        feed.carry(Stream::Stdout, &b"two\n"[..]).await;
        tokio::task::yield_now().await;
        feed.carry(Stream::Stderr, &b"three\n"[..]).await;
        feed.end();
        let text = tokio::time::timeout(Duration::from_secs(60), reading)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(text, "one\ntwo\nthree\n");
    }
}
