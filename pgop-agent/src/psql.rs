//! psql for somebody who is not in the container: what `pgo psql` runs where nobody sits at a terminal.
//!
//! Kubernetes before 1.30 can't tell a program that its input has ended, so the end is a line that nobody types ([`END`]). Whoever sends it keeps the input
//! open for as long as it is there itself. An input that ends without that line, or after it, means that they are gone (Ctrl-C, a lost connection). Then
//! psql must not take what it has for all: it would run the half of a statement that has arrived. So it is ended before its input is; and first of all what
//! it runs, as the server would not notice that nobody waits for it.
//!
//! Two processes, as whoever ends a command of somebody who is gone may kill its first process: that is psql itself, and its input comes from the other one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Signal, getppid, kill_process};
use thiserror::Error;

use crate::sql::{self, Answer};

/// The line that ends the input. Nothing of it, and nothing after it, reaches psql.
pub const END: &[u8] = b"\\pgo-end-of-input-8f1c2ad6\n";
/// What psql calls its session.
const NAME: &str = "PGAPPNAME";

/// Why psql is not run.
#[derive(Debug, Error)]
pub enum PsqlError {
    /// Nobody would feed it.
    #[error("the agent could not start itself beside psql: {0}")]
    Feed(#[source] io::Error),
    /// It could not be started.
    #[error("psql could not be started: {0}")]
    Start(#[source] io::Error),
}

/// Becomes psql, with these arguments and an input that [`feed`] gives it. Comes back only where it can't.
pub fn run(arguments: &[OsString]) -> PsqlError {
    let name = format!("pgo psql {}", std::process::id());
    let feeder = Command::new("/proc/self/exe")
        .arg("feed")
        .env(NAME, &name)
        .stdout(Stdio::piped())
        // Whoever reads what psql says waits for all who could still say something.
        .stderr(Stdio::null())
        .spawn();
    let input = match feeder {
        Ok(feeder) => feeder.stdout.map_or_else(Stdio::null, Stdio::from),
        Err(error) => return PsqlError::Feed(error),
    };
    PsqlError::Start(
        Command::new("psql")
            .args(arguments)
            .env(NAME, &name)
            .stdin(input)
            .exec(),
    )
}

/// Gives its parent, which is psql, this process' input to the line that ends it. When the input has ended, nobody waits for psql any more: it is ended, and
/// before that, on the server whose socket is in that directory, what it runs, or ran when somebody killed it.
pub async fn feed(socket: &Path, name: Option<String>) {
    let psql = getppid();
    pass_on(io::stdin().lock());
    if let (Some(name), Answer::Session(session)) = (name, sql::connect(socket).await) {
        // What could not be ended ends when it has something to say.
        drop(session.end(&name).await);
    }
    if let Some(psql) = psql.filter(|_| getppid() == psql) {
        // This process, and with it psql's input, ends after that.
        let _ = kill_process(psql, Signal::TERM);
    }
}

/// Until the input has ended. One that reads no more, as after `\q`, is no reason to stop looking.
fn pass_on(mut input: impl Read) {
    let (mut lines, mut buffer) = (Lines::default(), vec![0; 16 * 1024]);
    let mut is_open = true;
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let (text, has_ended) = lines.take(&buffer[..count]);
        let mut output = io::stdout().lock();
        let is_read = output.write_all(&text).and_then(|()| output.flush()).is_ok();
        if is_open && (has_ended || !is_read) {
            is_open = false;
            // The pipe is closed by what takes its place.
            if let Ok(nothing) = File::options().write(true).open("/dev/null") {
                let _ = rustix::stdio::dup2_stdout(nothing);
            }
        }
    }
}

/// Finds the last line of an input that comes in pieces.
#[derive(Debug, Default)]
struct Lines {
    /// What may be the beginning of that line.
    held: Vec<u8>,
    is_within_line: bool,
    has_ended: bool,
}

impl Lines {
    /// What of the input may go on, and whether the input has ended.
    fn take(&mut self, piece: &[u8]) -> (Vec<u8>, bool) {
        let mut text = Vec::with_capacity(self.held.len() + piece.len());
        for &byte in piece {
            if self.has_ended {
                break;
            }
            if !self.is_within_line && END.get(self.held.len()) == Some(&byte) {
                self.held.push(byte);
                self.has_ended = self.held.len() == END.len();
            } else {
                text.append(&mut self.held);
                text.push(byte);
                self.is_within_line = byte != b'\n';
            }
        }
        (text, self.has_ended)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_in_whatever_pieces_goes_on_to_the_line(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\\'), prop::sample::select(END.to_vec()), any::<u8>()], 0..200),
            sizes in prop::collection::vec(1usize..40, 1..20),
        ) {
            let mut text = text;
            if text.last().is_some_and(|last| *last != b'\n') {
                text.push(b'\n');
            }
            // The line itself is not among what was made at random.
            prop_assume!(!text.windows(END.len()).any(|window| window == END));
            let whole = [text.as_slice(), END, b"and more"].concat();
            let (mut lines, mut passed, mut rest) = (Lines::default(), Vec::new(), whole.as_slice());
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, left) = rest.split_at(*size.min(&rest.len()));
                rest = left;
                passed.extend(lines.take(piece).0);
            }
            prop_assert!(lines.has_ended);
            prop_assert_eq!(passed, text);
        }
    }
}
