//! The agent's program.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use pgop_agent::browse::{BrowseError, browse};
use pgop_agent::command::{Command, DONE, FAILED, HELP, NO_DIRECTORY, USAGE};
use pgop_agent::environment::{Environment, termination_log, volume};
use pgop_agent::install::install;
use pgop_agent::server::Agent;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let code = match Command::read(&arguments) {
        Ok(Command::Install(into)) => install(&into).map_or_else(|error| fail(FAILED, &error), |()| DONE),
        Ok(Command::Server) => run(server()),
        Ok(Command::Stop) => run(stop()),
        Ok(Command::Backup) => run(async { pgop_agent::backup::run(variable).await.code() }),
        Ok(Command::Restore) => run(async { pgop_agent::restore::run(variable).await.code() }),
        Ok(Command::Browse(path)) => browse(&volume(variable), &path, std::io::stdout().lock())
            .map_or_else(|error| fail(code_of(&error), &error), |()| DONE),
        Ok(Command::Psql(arguments)) => {
            // No last words: the container is the server's.
            eprintln!("pgop-agent: {}", pgop_agent::psql::run(&arguments));
            FAILED
        }
        Ok(Command::Feed) => run(feed()),
        Ok(Command::Version) => print(concat!("pgop-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Help) => print(HELP),
        Err(usage) => fail(USAGE, &usage),
    };
    ExitCode::from(code)
}

/// One thread is enough: what may block has threads of its own, which come and go.
fn run(work: impl Future<Output = u8>) -> u8 {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // What collects logs takes colours for text.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => fail(FAILED, &format_args!("could not start the runtime: {error}")),
    }
}

async fn server() -> u8 {
    let environment = match Environment::read(variable) {
        Ok(environment) => environment,
        Err(error) => return fail(USAGE, &error),
    };
    let served = match Agent::new(environment) {
        Ok(agent) => agent.run().await,
        Err(error) => Err(error),
    };
    served.unwrap_or_else(|error| fail(FAILED, &error))
}

async fn stop() -> u8 {
    pgop_agent::stop::ask(&pgop_agent::environment::run(variable)).await;
    DONE
}

async fn feed() -> u8 {
    pgop_agent::psql::feed(&pgop_agent::environment::run(variable), variable("PGAPPNAME")).await;
    DONE
}

fn code_of(error: &BrowseError) -> u8 {
    match error {
        BrowseError::Path { .. } => USAGE,
        BrowseError::NoDirectory { .. } => NO_DIRECTORY,
        _ => FAILED,
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn print(text: &str) -> u8 {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => DONE,
        Err(_) => FAILED, // nobody reads
    }
}

/// Says why, also in the container's last words. Whoever runs it outside of a container has no file for them.
fn fail(code: u8, why: &dyn Display) -> u8 {
    eprintln!("pgop-agent: {why}");
    let log: PathBuf = termination_log(variable);
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).truncate(true).open(log) {
        let _ = writeln!(file, "{why}");
    }
    code
}
