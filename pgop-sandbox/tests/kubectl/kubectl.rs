//! A kubectl, and what it says.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use pgop_sandbox::{Options, Sandbox};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// No command takes nearly that long, on a busy machine either.
pub const LIMIT: Duration = Duration::from_secs(300);

/// A kubectl that works in a namespace of its own.
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    pub namespace: String,
    /// Its minor version: 20 of 1.20.
    pub minor: u32,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Does the same with each kubectl that there is to test, on one sandbox.
pub async fn with_each(test: impl AsyncFn(Kubectl)) {
    let sandbox = Sandbox::start(Options::default()).await.expect("a sandbox");
    let programs = std::env::var_os("PGOP_KUBECTL").unwrap_or_else(|| OsString::from("kubectl"));
    for (number, program) in std::env::split_paths(&programs).enumerate() {
        let kubectl = Kubectl::new(&program, sandbox.kubeconfig(), number).await;
        eprintln!("kubectl 1.{}: {}", kubectl.minor, program.display());
        test(kubectl).await;
    }
    sandbox.stop().await;
}

impl Kubectl {
    async fn new(program: &Path, kubeconfig: PathBuf, number: usize) -> Self {
        let mut kubectl = Self {
            program: program.to_owned(),
            kubeconfig,
            namespace: format!("kubectl-{number}"),
            minor: 0,
        };
        let version = kubectl.ok(&["version", "--client", "-o", "json"]).await;
        let version: serde_json::Value = serde_json::from_str(&version).expect("its version");
        let minor = version["clientVersion"]["minor"]
            .as_str()
            .unwrap()
            .trim_end_matches('+');
        kubectl.minor = minor.parse().unwrap();
        kubectl.ok(&["create", "namespace", &kubectl.namespace]).await;
        kubectl
    }

    /// It, to be run in its namespace.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--namespace", &self.namespace])
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            // Its caches of what is served are for one server at an address; here is another each time.
            .env("HOME", self.kubeconfig.parent().unwrap())
            .kill_on_drop(true);
        command
    }

    /// Runs it with an input, to its end.
    pub async fn with_input(&self, args: &[&str], input: &str) -> Said {
        // What begins with a brace is taken for JSON; the tests write YAML.
        let begin = if input.starts_with('{') { "---\n" } else { "" };
        finish(self.command(args), &format!("{begin}{input}")).await
    }

    /// Runs it to its end.
    pub async fn run(&self, args: &[&str]) -> Said {
        self.with_input(args, "").await
    }

    /// What it says when all goes well.
    pub async fn ok(&self, args: &[&str]) -> String {
        let said = self.run(args).await;
        assert_eq!(said.code, 0, "kubectl {args:?}: {said:?}");
        said.out
    }

    /// Runs it; what it says must have these words.
    pub async fn says(&self, args: &[&str], words: &[&str]) -> String {
        let out = self.ok(args).await;
        for word in words {
            assert!(out.contains(word), "kubectl {args:?} does not say {word:?}: {out}");
        }
        out
    }

    /// Runs it; it must fail with these words.
    pub async fn fails(&self, args: &[&str], words: &[&str]) {
        let said = self.run(args).await;
        assert_ne!(said.code, 0, "kubectl {args:?}: {said:?}");
        for word in words {
            assert!(
                said.err.contains(word),
                "kubectl {args:?} does not say {word:?}: {said:?}"
            );
        }
    }

    /// Creates or changes what a text in YAML says.
    pub async fn apply(&self, yaml: &str) -> String {
        let said = self.with_input(&["apply", "-f", "-"], yaml).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// Runs it on a terminal of so many rows and columns, with keys that are pressed.
    pub async fn on_terminal(&self, args: &[&str], (rows, columns): (u16, u16), keys: &str) -> Said {
        let quote = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
        let words: Vec<String> = args.iter().map(|word| quote(word)).collect();
        let line = format!(
            "stty rows {rows} cols {columns}; exec {} --namespace {} {}",
            quote(&self.program.display().to_string()),
            self.namespace,
            words.join(" ")
        );
        let mut command = self.command(&[]);
        let environment: Vec<_> = command
            .as_std()
            .get_envs()
            .map(|(k, v)| (k.to_owned(), v.unwrap().to_owned()))
            .collect();
        command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .envs(environment)
            .kill_on_drop(true);
        finish(command, keys).await
    }
}

async fn finish(mut command: Command, input: &str) -> Said {
    let pipes = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = pipes
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} can't be run: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move {
        // It may end without having read all.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ended = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = timeout(LIMIT, ended).await;
    let Output { status, stdout, stderr } = output.unwrap_or_else(|_| panic!("{command:?} does not end")).unwrap();
    Said {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Asks until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asked = async {
        let mut pause = tokio::time::interval(Duration::from_millis(100));
        while !is_so().await {
            pause.tick().await;
        }
    };
    timeout(LIMIT, asked)
        .await
        .unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
