//! `pgo`: create, show, back up and restore `PostgreSQL` on Kubernetes.
//!
//! ```text
//! args      the command line; the only place that knows clap
//! config    flags, environment, .pgo.yaml and defaults, resolved
//! command   one verb a file
//! cluster   finding the cluster; every question with a timeout and an error that says what to do
//! request   from flags and configuration to resources, pure
//! preview   the checks and the plan that the operator makes, without a cluster
//! wait      following a resource until it is ready
//! volume    looking into a claim through a short-lived pod
//! exec      running a program in a pod
//! claim     what becomes of a claim, in words
//! ```
//!
//! The whole program is one function, so that tests run it as people do:
//!
//! ```
//! let (mut out, mut err) = (Vec::new(), Vec::new());
//! let env = pgop_cli::Env::of([], std::path::Path::new("/"));
//! let args = ["pgo", "create", "database", "orders", "--dry-run", "-o", "name"].map(Into::into);
//! let code = pgop_cli::run(args, &env, &mut out, &mut err);
//! assert_eq!(code, pgop_cli::ExitCode::Ok, "{}", String::from_utf8_lossy(&err));
//! assert!(String::from_utf8(out).unwrap().contains("statefulset.apps/orders\n"));
//! ```

#![allow(clippy::large_futures)] // one future runs the whole program, once; nothing is gained by boxing parts of it

pub mod args;
mod claim;
pub mod cluster;
pub mod command;
pub mod config;
mod env;
mod error;
pub mod exec;
mod exit_code;
pub mod input;
mod interrupt;
pub mod output;
pub mod preview;
pub mod request;
pub mod screen;
pub mod tree;
pub mod volume;
pub mod wait;

use std::ffi::OsString;
use std::io::Write;

use args::{Answer, Color};
use command::Context;
use screen::{ColourWish, Screen};

pub use env::Env;
pub use error::Error;
pub use exit_code::ExitCode;

/// Runs one command line.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: &Env,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> ExitCode {
    let cli = match args::parse(args) {
        Ok(cli) => cli,
        Err(Answer::Help(text)) => {
            let _ = write!(stdout, "{text}");
            return ExitCode::Ok;
        }
        Err(Answer::Wrong(text)) => {
            let _ = write!(stderr, "{text}");
            return ExitCode::Usage;
        }
    };
    let wish = match cli.global.color {
        Color::Auto => ColourWish::Auto,
        Color::Always => ColourWish::Always,
        Color::Never => ColourWish::Never,
    };
    let no_color = env.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let mut screen = Screen::new(
        stdout,
        stderr,
        (env.stdout_terminal, env.stderr_terminal),
        wish,
        no_color,
    );
    // These work whatever the configuration holds: they help to mend it.
    if let args::Verb::Completion { shell } = cli.verb {
        screen.raw(&args::completion(shell));
        return finish(&mut screen, ExitCode::Ok);
    }
    let config = match config::resolve(&cli.global, env) {
        Ok(config) => config,
        Err(error) => {
            screen.error(&error);
            return ExitCode::Usage;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            screen.error(format!("could not start: {error}"));
            return ExitCode::Failed;
        }
    };
    let mut context = Context::new(config, env, screen);
    let code = runtime.block_on(interrupt::guarded(context.interrupt.clone(), async {
        match command::run(cli.verb, &mut context).await {
            Ok(code) => code,
            Err(error) => context.fail(&error),
        }
    }));
    // A read of standard input that nobody waits for must not keep the process.
    runtime.shutdown_background();
    finish(&mut context.screen, code)
}

fn finish(screen: &mut Screen<'_>, code: ExitCode) -> ExitCode {
    match screen.failure() {
        Some(error) => {
            screen.error(format!("could not write to standard output: {error}"));
            code.and(ExitCode::Failed)
        }
        None => code,
    }
}
