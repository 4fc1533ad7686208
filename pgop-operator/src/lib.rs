//! The stock operator: a thin binary on [`pgop_core::runtime::Operator`], which does the work.
//!
//! ```text
//! args ─► run ─┬─► telemetry   where the log goes
//!              ├─► bundles     the built-in strategies and those of --strategies
//!              ├─► aside       a thread of its own for the next two
//!              │     ├─► admin   /healthz /readyz /metrics
//!              │     └─► lease   only its holder works
//!              ├─► cluster     the client, and what has to be true before work starts
//!              └─► pgop_core::runtime::Operator
//! ```
//!
//! Whoever embeds the operator in a controller of their own uses [`pgop_core::runtime::Operator`] and leaves this crate alone.

pub mod admin;
pub mod args;
pub mod aside;
pub mod bundles;
pub mod cluster;
pub mod lease;
pub mod run;
pub mod telemetry;
pub mod yaml;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use args::{Args, Command};

/// Runs the command line and tells how the process should end: 0 is a clean stop, 1 an error, 2 a wrong command line.
pub fn main(command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(command_line) {
        Ok(args) => args,
        Err(error) => {
            // `--help` and `--version` are errors too, with code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let Args { command, run } = args;
    let result = match command {
        Some(Command::Crd) => yaml::documents(&pgop_core::crd::all())
            .map_err(Box::<dyn Error>::from)
            .and_then(|text| Ok(io::stdout().write_all(text.as_bytes())?)),
        Some(Command::Run(run)) => start(*run).map_err(Into::into),
        None => start(run).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: args::RunArgs) -> Result<(), run::RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(run::RunError::Runtime)?;
    let result = runtime.block_on(run::run(args));
    // Whatever still runs is idempotent and may be cut off; a lost lease wants it gone now.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}
