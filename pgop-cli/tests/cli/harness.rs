//! One run of `pgo`, described and checked.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A run: an empty home that is also the working directory, no environment but what is given.
#[must_use = "a test does nothing before `run`"]
pub struct Test {
    home: TempDir,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    stdin: String,
    program: Option<String>,
}

/// A run that goes on.
pub struct Running {
    pub child: Child,
    #[allow(dead_code)] // it is there for as long as the run
    pub home: TempDir,
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Test {
    /// A command line, split at blanks.
    pub fn new(line: &str) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            args: line.split_whitespace().map(str::to_owned).collect(),
            variables: Vec::new(),
            stdin: String::new(),
            program: None,
        }
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file in the working directory.
    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.home.path().join(name), text).unwrap();
        self
    }

    /// Standard input.
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin.push_str(text);
        self
    }

    /// Another name of the program.
    pub fn called(mut self, name: &str) -> Self {
        self.program = Some(name.to_owned());
        self
    }

    /// Runs it.
    pub fn run(self) -> Ran {
        self.run_and_keep().0
    }

    /// Runs it, and keeps its home.
    pub fn run_and_keep(self) -> (Ran, TempDir) {
        let stdin = self.stdin.clone();
        let Running { mut child, home } = self.start(Stdio::piped(), Stdio::piped());
        // A program that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let ran = Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        (ran, home)
    }

    /// Starts it.
    pub fn start(self, stdout: Stdio, stderr: Stdio) -> Running {
        let binary = env!("CARGO_BIN_EXE_pgo");
        let program = match &self.program {
            None => Path::new(binary).to_owned(),
            Some(name) => {
                let link = self.home.path().join(name);
                std::os::unix::fs::symlink(binary, &link).unwrap();
                link
            }
        };
        let child = Command::new(program)
            .args(&self.args)
            .env_clear()
            .env("HOME", self.home.path())
            .envs(self.variables)
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        Running { child, home: self.home }
    }
}

impl Ran {
    /// The exit code, or the test fails with all that was said.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Standard error, as a whole.
    #[track_caller]
    pub fn err(self, text: &str) -> Self {
        assert_eq!(self.err, text, "{self:#?}");
        self
    }

    /// A part of standard error.
    #[track_caller]
    pub fn err_has(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no {text:?} in {self:#?}");
        self
    }

    /// A part of standard output.
    #[track_caller]
    pub fn out_has(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no {text:?} in {self:#?}");
        self
    }

    /// Standard output, as a whole.
    #[track_caller]
    pub fn out(self, text: &str) -> Self {
        assert_eq!(self.out, text, "{self:#?}");
        self
    }

    /// Nothing on standard error.
    #[track_caller]
    pub fn quiet(self) -> Self {
        self.err("")
    }
}
