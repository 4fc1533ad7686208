//! Running `pgo`.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::settings::settings;

/// What a run of `pgo` came to.
#[derive(Clone, Debug)]
#[must_use = "say what it has to come to: ok(), or fails()"]
pub struct Done {
    /// The command line.
    pub line: String,
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Wall time.
    pub took: Duration,
}

/// Runs `pgo` with these words. Nothing of this machine's configuration reaches it.
pub fn pgo(words: &[&str]) -> Done {
    let settings = settings();
    let home = std::env::temp_dir();
    let started = Instant::now();
    let output = Command::new(&settings.pgo)
        .args(words)
        .current_dir(&home)
        .env("HOME", &home)
        .env("PGO_DB_IMAGE", &settings.postgres_image)
        .env("PGO_DB_IMAGE_PULL_POLICY", "IfNotPresent")
        .env("PGO_DB_PVC_SIZE", "200Mi")
        .env("PGO_BROWSE_IMAGE", &settings.postgres_image)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{} can't be run ({error}): build it, or say with PGO where it is",
                settings.pgo.display()
            )
        });
    Done {
        line: format!("pgo {}", words.join(" ")),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: started.elapsed(),
    }
}

impl Done {
    /// It succeeded. Returns what it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.code == 0, "{self}");
        self.stdout
    }

    /// It succeeded, or what it was to create is there already.
    #[track_caller]
    pub fn ok_or_exists(self) {
        assert!(self.code == 0 || self.stderr.contains("exists already"), "{self}");
    }

    /// It ended with that code, and standard error says all of these words.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) {
        assert!(self.code == code, "exit code {code} was expected\n{self}");
        for word in words {
            assert!(
                self.stderr.contains(word),
                "standard error does not say `{word}`\n{self}"
            );
        }
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            code,
            stdout,
            stderr,
            took,
        } = self;
        write!(
            f,
            "$ {line}\n{stdout}{stderr}(exit code {code} after {:.1} s)",
            took.as_secs_f64()
        )
    }
}
