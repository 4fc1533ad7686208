//! `pgo sandbox demo`: the whole way, with the commands that a person would type.

use std::process::Stdio;
use std::time::{Duration, Instant};

use pgop_sandbox::Folder;
use tokio::process::Command;

use crate::command::Context;
use crate::error::Error;
use crate::exit_code::ExitCode;

/// The most that a replica may be behind.
const BEHIND: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// What a person may type next.
const NEXT: [(&str, &str); 5] = [
    ("pgo psql hippo", "SQL on the primary"),
    ("pgo scale cluster hippo --replicas 1 --wait", "fewer replicas, or more"),
    ("pgo logs hippo --follow", "what the servers say"),
    ("pgo sandbox stop", "end it; data stays"),
    ("pgo sandbox delete", "remove it with all data"),
];

/// Runs it on a sandbox that runs. A cluster `hippo` of a demo before is used again.
pub(super) async fn run(folder: &Folder, clean: bool, context: &mut Context<'_>) -> Result<ExitCode, Error> {
    let started = Instant::now();
    let mut tour = Tour { folder, context };
    if tour.ask("show cluster hippo").await?.is_none() {
        tour.tell("create cluster hippo --replicas 2 --storage-size 1Gi --wait")
            .await?;
    }
    tour.tell("show cluster hippo").await?;
    tour.sql(
        "hippo",
        "create table if not exists visit (at timestamptz default now())",
    )
    .await?;
    tour.sql("hippo", "insert into visit default values").await?;
    tour.is_on_the_replica("visit").await?;
    tour.sql("hippo --replica", "select count(*) as visits_on_a_replica from visit")
        .await?;
    tour.tell("create backup hippo --wait").await?;
    tour.tell("show backup hippo").await?;
    let (claim, path) = tour.last_backup().await?;
    let time: String = path.chars().rev().filter(char::is_ascii_digit).take(6).collect();
    let copy = format!("copy-{}", time.chars().rev().collect::<String>());
    tour.tell(&format!(
        "create database {copy} --storage-size 1Gi --backup-pvc={claim} --backup-path={path} --wait"
    ))
    .await?;
    tour.sql(&copy, "select count(*) as visits_in_the_copy from visit")
        .await?;
    tour.tell(&format!("show database {copy}")).await?;
    if clean {
        tour.tell("delete cluster hippo --yes --wait").await?;
        tour.tell(&format!("delete database {copy} --yes --wait")).await?;
    }
    let screen = &mut context.screen;
    screen.line("");
    screen.line(format!("That took {:.1} s. Go on:", started.elapsed().as_secs_f64()));
    for (command, what) in NEXT {
        screen.line(format!("  {command:<46} {what}"));
    }
    Ok(ExitCode::Ok)
}

struct Tour<'a, 'c> {
    folder: &'a Folder,
    context: &'a mut Context<'c>,
}

impl Tour<'_, '_> {
    fn command(&self, words: &[&str]) -> Result<Command, Error> {
        let own =
            std::env::current_exe().map_err(|error| Error::Object(format!("pgo does not find itself: {error}")))?;
        let mut command = Command::new(own);
        command
            .args(words)
            .env("KUBECONFIG", self.folder.kubeconfig())
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Shows a command and what it says.
    async fn tell(&mut self, line: &str) -> Result<(), Error> {
        self.show(line, &line.split(' ').collect::<Vec<_>>()).await
    }

    /// The same for `pgo psql` with a query.
    async fn sql(&mut self, server: &str, query: &str) -> Result<(), Error> {
        let mut words: Vec<&str> = std::iter::once("psql").chain(server.split(' ')).collect();
        words.extend(["--", "-c", query]);
        self.show(&format!("psql {server} -- -c \"{query}\""), &words).await
    }

    /// Waits until a replica has got a table: it follows the primary a moment behind.
    async fn is_on_the_replica(&self, table: &str) -> Result<(), Error> {
        let started = Instant::now();
        let query = format!("table\t{table}"); // a line is split at spaces
        while self
            .ask(&format!("psql hippo --replica -- -c {query}"))
            .await?
            .is_none()
        {
            if started.elapsed() > BEHIND {
                return Err(Error::Object(format!(
                    "no replica has table {table} after {} s",
                    BEHIND.as_secs()
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn show(&mut self, line: &str, words: &[&str]) -> Result<(), Error> {
        self.context.screen.line("");
        self.context.screen.line(format!("$ pgo {line}"));
        match self.command(words)?.status().await {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(Error::Object(format!("the demo ended at `pgo {line}`"))),
            Err(error) => Err(Error::Object(format!("`pgo {line}` could not be run: {error}"))),
        }
    }

    /// What a command prints, or nothing when it fails.
    async fn ask(&self, line: &str) -> Result<Option<String>, Error> {
        let words: Vec<&str> = line.split(' ').collect();
        let output = self.command(&words)?.stderr(Stdio::null()).output().await;
        let output = output.map_err(|error| Error::Object(format!("`pgo {line}` could not be run: {error}")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(output.status.success().then_some(text))
    }

    /// Claim and path of the snapshot that was just made. The cluster tells of it a moment later, and till then of the one before.
    async fn last_backup(&self) -> Result<(String, String), Error> {
        let text = self.ask("show backup hippo -o json").await?.unwrap_or_default();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        // In the order in which they were made.
        let newest = value["items"].as_array().and_then(|backups| backups.last());
        let of = |key: &str| newest?["status"][key].as_str().map(str::to_owned);
        of("claim")
            .zip(of("path"))
            .ok_or_else(|| Error::Object("`pgo show backup hippo` does not tell of the demo's backup".to_owned()))
    }
}
