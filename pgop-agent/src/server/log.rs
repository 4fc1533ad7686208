//! What a program says goes on to the container's log, and what matters of it is kept.

use std::io::{self, Write as _};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr};
use tokio::sync::mpsc;

/// How long the rest of a log may take to arrive.
const REST: Duration = Duration::from_millis(500);

/// The lines that matter and that nobody has read yet.
pub struct Log(mpsc::Receiver<String>);

impl Log {
    /// Of a program that was just started; `matters` tells which lines are kept.
    pub fn of(child: &mut Child, matters: fn(&str) -> bool) -> Self {
        let (sender, log) = mpsc::channel(100);
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(pass_on(stderr, sender, matters));
        }
        Self(log)
    }

    /// The last one, if there was any since it was asked.
    pub fn last(&mut self) -> Option<String> {
        let mut last = None;
        while let Ok(line) = self.0.try_recv() {
            last = Some(line);
        }
        last
    }

    /// The last one of a program that has ended. What it started may hold the other end still, and is not waited for.
    pub async fn end(&mut self) -> Option<String> {
        let mut last = None;
        let all = async {
            while let Some(line) = self.0.recv().await {
                last = Some(line);
            }
        };
        let _ = tokio::time::timeout(REST, all).await;
        last
    }
}

/// A log may hold anything: it is passed on as it is.
async fn pass_on(stderr: ChildStderr, sender: mpsc::Sender<String>, matters: fn(&str) -> bool) {
    let (mut lines, mut line) = (BufReader::new(stderr), Vec::new());
    while lines.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        // Where nobody reads the container's log, the server goes on.
        let _ = io::stderr().write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if matters(&text) {
            // Nobody listens: nobody has to be told.
            let _ = sender.try_send(text.trim_end().to_owned());
        }
        line.clear();
    }
}

/// What a server says of its end.
pub fn ends_server(line: &str) -> bool {
    // To its clients it says that it is starting up, or shutting down.
    let is_about_itself = !line.contains("the database system is ");
    is_about_itself && (line.contains("FATAL:") || line.contains("PANIC:"))
}

/// The same without what `log_line_prefix` puts before it: that is other each time.
pub fn without_prefix(line: &str) -> &str {
    let starts = ["FATAL:  ", "PANIC:  "].iter().filter_map(|level| line.find(level));
    starts.min().map_or(line, |start| &line[start..])
}

/// What one of the other programs says of its failure.
pub fn ends_program(line: &str) -> bool {
    line.contains("error: ") || line.contains("FATAL:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_clients_is_no_last_word() {
        assert!(ends_server(
            "2026 UTC [6] FATAL:  could not access file \"nope\": No such file or directory\n"
        ));
        assert!(!ends_server(
            "2026 UTC [6] FATAL:  the database system is starting up\n"
        ));
        assert!(!ends_server("2026 UTC [6] LOG:  database system is shut down\n"));
        assert_eq!(
            without_prefix("2026 UTC [6] FATAL:  could not open \"FATAL:  x\""),
            "FATAL:  could not open \"FATAL:  x\""
        );
        assert_eq!(without_prefix("exit status: 1"), "exit status: 1");
        assert!(ends_program("initdb: error: invalid locale name \"xx\"\n"));
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_end_nothing() {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", r"printf 'error: \377\nfine\nerror: b\n' >&2"]);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut log = Log::of(&mut child, ends_program);
        child.wait().await.unwrap();
        assert_eq!(log.0.recv().await.unwrap(), "error: \u{fffd}");
        assert_eq!(log.end().await.unwrap(), "error: b");
    }
}
